"""The whole check of an installation."""

from __future__ import annotations

from crm_attribution import mapping
from crm_attribution.conversions import traits
from crm_attribution.destinations import destinations
from crm_attribution.errors import ConfigurationError, CrmAttributionError
from crm_attribution.findings import Finding
from crm_attribution.http.clock import make_clock
from crm_attribution.ledger.settings import open_ledger
from crm_attribution.preflight import machine, platforms, portal
from crm_attribution.preflight.rules import portal as rule
from crm_attribution.settings import Settings


def check(given: Settings) -> list[Finding]:
    """Everything, one finding after another. Writes an empty file into the data directory and takes it away again.

    Raises:
        ConfigurationError: when the clock that the settings name cannot be read.
    """
    clock = make_clock(given)
    now = clock.now()
    try:
        known, ledger = machine.kept(given, open_ledger(given))
    except CrmAttributionError as error:
        known, ledger = None, Finding("delivery ledger", "failed", str(error), "correct the ledger's settings")
    found = machine.look(given, now, ledger)
    found += [Finding("settings", "warning", message, "correct or remove it") for message in given.unknown]
    try:
        rules = mapping.load(given.mapping)
    except ConfigurationError as error:
        return [
            Finding("mapping", "failed", str(error), "correct the mapping file; the rest was not looked at"),
            *found,
        ]
    found = [*portal.look(given, rules, clock, known), *found]
    found += _traits(rules, given)
    for destination in destinations().values():
        found += platforms.look(destination, rules, given, clock)
    ads = {name: one for name, one in destinations().items() if one.plans_from == "milestones"}
    used = [name for name, one in ads.items() if platforms.used(one, rules, given)]
    return found + rule.own_sync(used)


def _traits(rules: mapping.Rules, given: Settings) -> list[Finding]:
    """The files of computed traits that the mapping names; their queries run with the hour."""
    good, wrong = traits.usable(rules, given)
    fix = "correct the file, or take the name out of write_back.identify.traits"
    return [
        *(Finding(f"computed trait {name}", "ok", f"{trait.path.name} can be read") for name, trait in good.items()),
        *(Finding(f"computed trait {name}", "failed", why, fix) for name, why in wrong.items()),
    ]
