"""Asks each platform that gets conversions: whether token, account and actions are what the mapping takes them for."""

from __future__ import annotations

from dataclasses import replace

from crm_attribution.clock import Clock
from crm_attribution.conversions.plan import not_named
from crm_attribution.delivery.access import Access, access_to
from crm_attribution.delivery.deliver import transport_for
from crm_attribution.destinations import not_configured, values
from crm_attribution.destinations.base import Asked, Destination, Finding, Question
from crm_attribution.errors import CrmAttributionError
from crm_attribution.http.transport import Transport
from crm_attribution.mapping import Rules
from crm_attribution.preflight.portal import failed
from crm_attribution.settings import Settings


def used(destination: Destination, rules: Rules, given: Settings) -> bool:
    """Whether it is configured and has conversions in the mapping."""
    switched_on = destination.plans_from == "milestones" or given.write_back
    return switched_on and not_configured(destination, given) is None and bool(actions(destination, rules))


def actions(destination: Destination, rules: Rules) -> list[str]:
    """Its actions in the mapping, each once."""
    return list(dict.fromkeys(action for _, action in rules.named(destination.name)))


def look(destination: Destination, rules: Rules, given: Settings, clock: Clock) -> list[Finding]:
    """Everything about one platform; names begin with its own."""
    return [
        replace(finding, name=f"{destination.name}: {finding.name}")
        for finding in _look(destination, rules, given, clock)
    ]


def _look(destination: Destination, rules: Rules, given: Settings, clock: Clock) -> list[Finding]:
    named, set_ = actions(destination, rules), values(destination, given)
    if destination.plans_from == "touches" and not given.write_back:
        return [Finding("use", "ok", "not in use: CRM_ATTRIBUTION_WRITE_BACK is off")]
    if not named:
        return [Finding("use", "ok", f"not in use: {not_named(destination)}")]
    if (missing := not_configured(destination, given)) is not None:
        some = any(setting.name in set_ for setting in destination.required)
        fix = "set what is missing" if some else "nothing, where it is not to be used"
        return [Finding("use", "warning" if some else "ok", f"not in use: {missing}", fix)]
    access, found = access_to(destination, given), []
    if access is not None:
        refused = access.renew()
        if refused is not None:
            fix = f"check {destination.credential} and the client it was granted to"
            return [Finding("access token", "failed" if refused.person else "cannot be checked", refused.reason, fix)]
        found.append(Finding("access token", "ok", "the platform gives one"))
    asked = Asked(named, set_, rules.options(destination.name), clock.now())
    transport = transport_for(destination, given)
    found += [_answered(question, transport, access) for question in destination.questions(asked)]
    found += destination.not_checked(asked)
    if not found or (access is not None and len(found) == 1):
        fix = f"look at the platform itself; {destination.documentation}"
        found.append(
            Finding("account and actions", "cannot be checked", "the platform has no call that shows them", fix)
        )
    return found


def _answered(question: Question, transport: Transport, access: Access | None) -> Finding:
    request = question.request
    headers = {**request.headers, **(access.headers() if access else {})}
    body = request.json or None
    try:
        answer = transport.send_once(request.method, request.path, params=request.params, json=body, headers=headers)
    except CrmAttributionError as error:
        return failed(question.about, error)
    return question.read(answer)
