"""What is wrong with an entry of the mapping, in words of the mapping file instead of pydantic's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from crm_attribution.destinations import destinations
from crm_attribution.findings import did_you_mean
from crm_attribution.mapping.conversions import Destination
from crm_attribution.mapping.rules import Rules
from crm_attribution.mapping.write_back import RECORDS

_EXPECTED = {
    "missing": "is missing",
    "dict_type": "must be a section: lines of `name: value`",
    "model_type": "must be a section: lines of `name: value`",
    "list_type": "must be a list, as in [one, two]",
    "tuple_type": "must be a list, as in [one, two]",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be on or off",
    "bool_parsing": "must be on or off",
    "string_too_short": "must not be empty",
    "extra_forbidden": "there is no such entry",
}


def described(problem: ErrorDetails, shipped: Mapping[str, Any]) -> str:
    """What is wrong with an entry. `shipped`: the shipped mapping, for the names that the user may have meant."""
    message = _EXPECTED.get(problem["type"]) or (
        problem["msg"].removeprefix("Value error, ").replace("Input should be ", "must be ")
    )
    name, given = str(problem["loc"][-1]), problem["input"]
    if problem["type"] == "extra_forbidden":
        return message + _meant(name, _names(shipped, problem["loc"][:-1]))
    if problem["type"] == "missing" and len(problem["loc"]) == 3 and problem["loc"][0] == "destinations":
        return message + _meant(str(problem["loc"][1]), _names(shipped, problem["loc"][:1]))
    if problem["type"] == "literal_error" and isinstance(given, str):
        return f"{message}, not {given!r}"
    return message


def of_destinations(mapped: Mapping[str, Destination]) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """What destinations refuse in their sections of the mapping: path and message of each entry."""
    known = destinations()
    ads = [name for name, one in known.items() if one.plans_from == "milestones"]
    for name, section in mapped.items():
        where: tuple[int | str, ...] = ("destinations", name)
        destination = known.get(name)
        if destination is None:
            yield where, "there is no such destination" + _meant(name, ads)
            continue
        if destination.is_hubspot:
            yield where, "is HubSpot, which gets no conversions: what it is told stands under `write_back`"
            continue
        if destination.plans_from == "news":
            yield where, "gets no conversions: what it is told stands under `alerts`"
            continue
        for option in sorted(section.options.keys() - set(destination.option_names)):
            yield (
                (*where, "options", option),
                _EXPECTED["extra_forbidden"] + _meant(option, [*destination.option_names]),
            )
        for place, rule in enumerate(section.conversions):
            if wrong := destination.wrong_action(rule.action, rule.value):
                yield (*where, "conversions", place, "action"), wrong
            if rule.browser_event_id is not None and destination.browser_events is None:
                can = [one.name for one in known.values() if one.browser_events is not None]
                message = f"{name} does not deduplicate events of the browser and ours; {' and '.join(can)} do"
                yield (*where, "conversions", place, "browser_event_id"), message


_NEWS = "the pipeline reads this property: what it wrote there would come back to it as news"


def read_by_the_pipeline(rules: Rules) -> dict[str, set[str]]:
    """Properties by object type that the pipeline reads: what it wrote there would come back to it as news."""
    values = rules.values
    of_values = [one for source in (values.mrr, values.arr, values.tcv) for one in (source.property, source.line_items)]
    of_deals = [*rules.churn.names(), values.billing_period_property, values.term_months_property, *of_values]
    found: dict[str, list[str | None]] = {
        "contacts": [
            *(*rules.consent.properties, *rules.identifiers.of_contact, *rules.identity.click_id_properties),
            rules.touches.self_reported.property,
            *rules.history["contacts"],
        ],
        "companies": [*rules.churn.company.names(), *rules.history["companies"]],
        "deals": [*of_deals, *rules.history["deals"]],
    }
    return {kind: {name for name in names if name is not None} for kind, names in found.items()}


def kept_from_inputs(rules: Rules) -> dict[str, set[str]]:
    """Properties by object type that no input may write. Names, phones and countries are an input's to tell, although
    the pipeline reads them: they make no touch and no milestone."""
    identifiers = set(rules.identifiers.of_contact)
    return {kind: names - identifiers for kind, names in read_by_the_pipeline(rules).items()}


def of_write_back(rules: Rules) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Properties that the pipeline reads and would be told to write."""
    read = read_by_the_pipeline(rules)
    for kind in RECORDS:
        for name in rules.write_back.properties.of(kind):
            if name in read[kind]:
                yield ("write_back", "properties", kind, name), _NEWS
    for place, rule in enumerate(rules.write_back.stages.rules):
        for name in rule.requires:
            if name in read["deals"]:
                yield ("write_back", "stages", "rules", place, "requires", name), _NEWS
    kept = kept_from_inputs(rules)
    for of, renamed in rules.write_back.identify.names.items():
        for key, to in renamed.items():
            if to in kept[of]:
                yield ("write_back", "identify", "names", of, key), _NEWS


def _names(shipped: Mapping[str, Any], where: Sequence[int | str]) -> list[str]:
    """The entries of a section of the shipped file; nothing where it has none there."""
    section: Any = shipped
    for part in where:
        section = section.get(part) if isinstance(section, dict) else None
    return list(section) if isinstance(section, dict) else []


def _meant(name: str, names: list[str]) -> str:
    return did_you_mean(name, names) or (f"; there are {', '.join(names)}" if names else "")
