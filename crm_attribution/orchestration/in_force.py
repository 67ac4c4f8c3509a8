"""The settings in force, for people who look at Dagster: what is read, by which rules, what is sent where."""

from __future__ import annotations

from urllib.parse import urlsplit

from crm_attribution import mapping, settings
from crm_attribution.clock import iso
from crm_attribution.conversions.plan import accounts_of, why_not
from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Destination
from crm_attribution.errors import ConfigurationError
from crm_attribution.hubspot import settings as hubspot
from crm_attribution.mapping import Rules
from crm_attribution.settings import Settings


def rules_in_force(given: Settings) -> Rules | str:
    """The mapping's rules, or why it cannot be read: the catalog shows it, and a run stops at it."""
    try:
        return mapping.load(given.mapping)
    except ConfigurationError as error:
        return str(error)


def shown(given: Settings, rules: Rules | str) -> dict[str, str]:
    """The settings a person asks for first, without secrets. Times are ISO 8601, UTC."""
    facts = {
        "data directory": str(given.data_dir),
        "first hour": iso(given.start),
        "clock": _place(given[settings.CLOCK]),
        "hubspot": _place(given[hubspot.BASE_URL]),
        "mapping file": str(given.mapping or "none: as shipped"),
        "mapping version": rules.version if isinstance(rules, Rules) else f"cannot be read: {rules}",
    }
    sinks = {f"sends to {name}": sends(one, given, rules) for name, one in destinations().items()}
    return {**facts, **sinks}


def _place(text: str) -> str:
    """An address without user, password and parameters; what is no address as it is."""
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else text


def sends(destination: Destination, given: Settings, rules: Rules | str) -> str:
    """What a destination is sent, or why nothing is."""
    if isinstance(rules, str):
        return "nothing: the mapping cannot be read"
    reason = why_not(destination, rules, given)
    if reason:
        return f"nothing: {reason}"
    return ", ".join(dict.fromkeys(fact for fact, _ in rules.named(destination.name)))


def sending(destination: Destination, given: Settings, rules: Rules | str) -> dict[str, str]:
    """What a sink is sent, to whose account, from when on; each rule of the mapping as milestone -> action."""
    facts = {"sends": sends(destination, given, rules)}
    if isinstance(rules, str):
        return facts
    if destination.is_hubspot:
        since = {"send from": iso(mapping.send_from(rules.write_back.send_from, given.start))}
        named: dict[str, list[str]] = {}
        for kind, name in rules.named(destination.name):
            named.setdefault(f"rule: {kind}", []).append(name)
        return {**facts, **since, **{kind: ", ".join(names) for kind, names in named.items()}}
    if destination.name not in rules.destinations:
        return facts
    mine = rules.destinations[destination.name]
    if why_not(destination, rules, given) is None:
        for account in accounts_of(destination, rules, given):
            facts[f"account {account.name}".strip()] = account.missing or account.id
    facts["send from"] = iso(mapping.send_from(mine.send_from, given.start))
    for rule in mine.conversions:
        worth = f", value {rule.value}" if rule.value else ""
        to = f" of account {rule.account}" if rule.account else ""
        name = f"rule: {rule.milestone}" + (f" ({rule.account})" if rule.account else "")
        shown = f"{rule.action}{to}{worth}, once per {rule.once_per}"
        facts[name] = f"{facts[name]}; {shown}" if name in facts else shown
    return facts
