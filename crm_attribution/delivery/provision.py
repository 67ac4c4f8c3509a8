"""What must exist in HubSpot before it is told anything: looked for, and made where it is missing."""

from __future__ import annotations

from collections.abc import Iterator

from crm_attribution.conversions import traits
from crm_attribution.conversions.plan import not_named
from crm_attribution.delivery.deliver import transport_for
from crm_attribution.destinations import destinations
from crm_attribution.destinations.accounts import not_configured, values
from crm_attribution.destinations.base import Destination, Piece, Request
from crm_attribution.errors import ConfigurationError, CrmAttributionError
from crm_attribution.findings import Finding
from crm_attribution.http.answers import Answer, missing_scopes
from crm_attribution.http.transport import Transport
from crm_attribution.mapping import Rules
from crm_attribution.settings import Settings


def provision(rules: Rules, given: Settings, *, act: bool) -> list[Finding]:
    """Make event definitions and properties that the mapping names. What is there is left as it is.

    Args:
        act: make what is missing; else only name it.

    Raises:
        ConfigurationError: where HubSpot is told nothing by these settings.
    """
    if not given.write_back:
        raise ConfigurationError("HubSpot is told nothing: CRM_ATTRIBUTION_WRITE_BACK is off")
    told = [one for one in destinations().values() if one.is_hubspot]
    used = [one for one in told if rules.named(one.name)]
    if not used:
        raise ConfigurationError("; ".join(not_named(one) for one in told))
    for one in used:
        if (missing := not_configured(one, given)) is not None:
            raise ConfigurationError(f"{one.name}: {missing}")
    return [finding for one in used for finding in _provision(one, rules, given, act)]


def _provision(destination: Destination, rules: Rules, given: Settings, act: bool) -> Iterator[Finding]:
    transport = transport_for(destination, given)
    wanted = rules.write_back.wanted(destination.name)
    if destination.plans_from == "inputs":
        used, wrong = traits.usable(rules, given)
        for name, why in wrong.items():
            yield Finding(f"computed trait {name}", "failed", why, "correct the file, then run it again")
        for kind, properties in traits.properties(used).items():
            if kind in rules.write_back.identify.tell:
                wanted[kind] = {**wanted.get(kind, {}), **properties}
    try:
        for piece in destination.pieces(wanted, values(destination, given), rules.options(destination.name)):
            yield from _made(piece, transport, act)
    finally:
        transport.close()


def _made(piece: Piece, transport: Transport, act: bool) -> Iterator[Finding]:
    try:
        lacking = piece.lacking(_sent(piece.look, transport))
    except CrmAttributionError as error:
        lacking = Finding(piece.about, "cannot be checked", str(error), "run it again later")
    if isinstance(lacking, Finding):
        yield lacking
        return
    if not lacking:
        yield Finding(piece.about, "ok", "it is there")
    for about, request in lacking:
        if not act:
            yield Finding(about, "warning", "missing", "run `crm-attribution provision`")
            continue
        try:
            yield _outcome(about, _sent(request, transport))
        except CrmAttributionError as error:
            yield Finding(about, "failed", str(error), "run it again")


def _sent(request: Request, transport: Transport) -> Answer:
    return transport.send_once(
        request.method, request.path, params=request.params, json=request.json or None, headers=request.headers
    )


def _outcome(about: str, answer: Answer) -> Finding:
    if 200 <= answer.status < 300:
        return Finding(about, "ok", "made")
    if answer.status == 409:
        return Finding(about, "ok", "it is there")
    lacking = missing_scopes(answer.body)
    if answer.status == 403 and lacking:
        return Finding(about, "failed", f"403: missing scope {', '.join(lacking)}", "grant it to HUBSPOT_WRITE_TOKEN")
    category = answer.body.get("category") if isinstance(answer.body, dict) else None
    return Finding(about, "failed", f"HubSpot answers {answer.status} {category or ''}".strip(), "make it by hand")
