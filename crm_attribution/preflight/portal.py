"""Asks HubSpot: the account, the scopes, and whether what the mapping names exists. Some ten small calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from crm_attribution import mapping
from crm_attribution.clock import Clock
from crm_attribution.destinations.base import date_of
from crm_attribution.errors import CrmAttributionError, Forbidden, Retryable
from crm_attribution.findings import Finding
from crm_attribution.hubspot import settings as hubspot
from crm_attribution.hubspot.access import VERSION, Credential, credential, open_transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.inspection import Inspection
from crm_attribution.hubspot.limits import Limits
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.mapping import Rules
from crm_attribution.preflight.rules import portal as rule
from crm_attribution.raw.records import named_properties
from crm_attribution.settings import Settings

T = TypeVar("T")
_DAILY = "X-HubSpot-RateLimit-Daily"


def look(given: Settings, rules: Rules, clock: Clock, known: str | None) -> list[Finding]:
    """Everything about HubSpot.

    Args:
        given: settings.
        rules: the mapping.
        clock: beside HubSpot's, where it is the wall clock.
        known: the portal the data directory belongs to; None where it is new.
    """
    try:
        who = credential(given, clock)
        oauth = hubspot.uses_oauth(given)
        limits = Limits(clock, burst=given[hubspot.BURST_LIMIT], daily=given[hubspot.DAILY_LIMIT], oauth=oauth)
        transport = open_transport(given, who, limits, attempts=3, deadline_seconds=30)
        inspection = Inspection(transport)
        answer = inspection.account()
    except CrmAttributionError as error:
        return [failed("HubSpot token", error)]
    found = [Finding("HubSpot token", "ok", f"{who.kind}, accepted")]
    found += rule.account(answer.body, answer.headers.get(_DAILY), known)
    if clock.is_wall:
        found.append(rule.clock(clock.now(), date_of(answer)))
    found += _scopes(inspection, given, who, rules)
    return found + _named(HubSpotClient(transport, version=VERSION), inspection, rules)


def failed(about: str, error: CrmAttributionError) -> Finding:
    """What an error of a call means. One that may pass says nothing about the installation, unless nobody listens."""
    if isinstance(error, Retryable) and error.sent:
        return Finding(about, "cannot be checked", str(error), "run preflight again later")
    return Finding(about, "failed", str(error), "act as the message says, then run preflight again")


def _scopes(inspection: Inspection, given: Settings, who: Credential, rules: Rules) -> list[Finding]:
    """Each scope by HubSpot's list of them. One that is not in it, and each where there is no list, is tried: HubSpot
    takes one of several scopes for some calls."""
    granted, _ = _tried("HubSpot scopes", lambda: inspection.granted(given, who))
    found = []
    for need in rule.needs(rules):
        listed = None if granted is None else need.scope in granted
        if listed:
            found.append(rule.scope(need, granted=True, refused=None))
            continue
        refusal, problem = _tried(f"HubSpot scope {need.scope}", partial(inspection.refused, need.scope))
        refused = None if refusal is None else refusal.scopes
        found.append(problem or rule.scope(need, granted=listed, refused=refused))
    return [*found, *rule.writing(granted, on=given.write_back)]


def _named(client: HubSpotClient, inspection: Inspection, rules: Rules) -> list[Finding]:
    """What the mapping names, beside what the portal has."""
    shipped = mapping.load()
    found: list[Finding] = []
    for kind in OBJECT_TYPES:
        about = f"properties of {kind}"
        listed, problem = _tried(about, partial(client.properties, kind))
        if listed is None:
            found += [problem] if problem else []
            continue
        found += rule.properties(kind, wanted(rules, kind), listed)
        if OBJECT_TYPES[kind].carries_consent:
            found += rule.consent(rules, listed) + rule.lifecycle(rules, shipped, listed)
    pipelines, problem = _tried("pipelines", lambda: _pipelines(client, inspection, rules, shipped))
    return found + (pipelines if pipelines is not None else [problem] if problem else [])


def _pipelines(client: HubSpotClient, inspection: Inspection, rules: Rules, shipped: Rules) -> list[Finding]:
    listed: Sequence[Mapping[str, Any]] = client.pipelines("deals")
    deals = {name: inspection.deals_in(name) for name in rule.without_kind(rules, listed)}
    return rule.pipelines(rules, shipped, listed, deals)


def wanted(rules: Rules, kind: str) -> list[str]:
    """Every property of an object type that the mapping or the product names."""
    copied, tracked = named_properties(rules, kind)
    values, accounts = rules.values, rules.accounts
    sources = (values.mrr, values.arr, values.tcv)
    more: dict[str, list[str | None]] = {
        "contacts": [*rules.identity.click_id_properties],
        "companies": [values.target_account_property, accounts.owner_property, accounts.tier_property],
        "deals": [values.billing_period_property, values.term_months_property],
    }
    more["companies"].append(accounts.parent_property)
    more["deals"] += [name for source in sources for name in (source.property, source.line_items)]
    return list(dict.fromkeys([*copied, *tracked, *(name for name in more.get(kind, []) if name)]))


def _tried(about: str, ask: Callable[[], T]) -> tuple[T | None, Finding | None]:
    """An answer, or what its error means. A missing scope is a finding of its own already."""
    try:
        return ask(), None
    except Forbidden:
        return None, Finding(about, "cannot be checked", "HubSpot does not allow it", "grant the scopes named failed")
    except CrmAttributionError as error:
        return None, failed(about, error)
