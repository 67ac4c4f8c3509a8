"""HubSpot's search request: what it may contain and what it means for one record.

https://developers.hubspot.com/docs/api-reference/search/guide: 5 groups, 6 filters each, 18 in all, one sort, 200 a
page, 10,000 results. Strings compare without case for EQ; IN and NOT_IN want lower-case values; enumerations are
case-sensitive. Not documented and assumed: NEQ and NOT_IN also find records without the property.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from crm_attribution.sandbox.instants import property_ms
from crm_attribution.sandbox.portal.records import Document

MOST_GROUPS, MOST_IN_GROUP, MOST_FILTERS = 5, 6, 18
MOST_RESULTS, MOST_ON_PAGE, DEFAULT_PAGE = 10_000, 200, 10
ORDERINGS = ("LT", "LTE", "GT", "GTE", "BETWEEN")
LISTS = ("IN", "NOT_IN")
BARE = ("HAS_PROPERTY", "NOT_HAS_PROPERTY")
OPERATORS = (*ORDERINGS, "EQ", "NEQ", *LISTS, *BARE, "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN")

Predicate = Callable[[Document], bool]


class BadQuery(ValueError):
    """The search request breaks a rule; the message goes into the answer."""


@dataclass(frozen=True)
class Filter:
    name: str
    operator: str
    value: str = ""
    high: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Query:
    """A checked search request. `sort` is a property and whether it descends."""

    groups: tuple[tuple[Filter, ...], ...]
    sort: tuple[str, bool] | None
    limit: int
    after: int
    properties: tuple[str, ...]
    text: str


def _filter(raw: Any) -> Filter:
    name, operator = (raw.get("propertyName"), raw.get("operator")) if isinstance(raw, dict) else (None, None)
    if not isinstance(name, str) or not name:
        raise BadQuery("a filter needs a propertyName")
    if operator not in OPERATORS:
        raise BadQuery(f"operator {operator!r} of {name} is not one of {', '.join(OPERATORS)}")
    values = raw.get("values") or []
    if operator in LISTS and (not isinstance(values, list) or not values):
        raise BadQuery(f"operator {operator} of {name} needs values")
    if operator not in LISTS + BARE and raw.get("value") in (None, ""):
        raise BadQuery(f"operator {operator} of {name} needs a value")
    if operator == "BETWEEN" and raw.get("highValue") in (None, ""):
        raise BadQuery(f"operator BETWEEN of {name} needs value and highValue")
    high = str(raw.get("highValue") or "")
    return Filter(name, operator, str(raw.get("value", "")), high, tuple(str(value) for value in values))


def _groups(body: dict[str, Any]) -> tuple[tuple[Filter, ...], ...]:
    raw = body.get("filterGroups") or []
    if not isinstance(raw, list) or not all(isinstance(g, dict) and isinstance(g.get("filters"), list) for g in raw):
        raise BadQuery("filterGroups is a list of objects with filters")
    groups = tuple(tuple(_filter(item) for item in group["filters"]) for group in raw)
    if len(groups) > MOST_GROUPS:
        raise BadQuery(f"{len(groups)} filterGroups, at most {MOST_GROUPS} are allowed")
    if any(len(group) > MOST_IN_GROUP for group in groups):
        raise BadQuery(f"at most {MOST_IN_GROUP} filters are allowed in a group")
    if sum(len(group) for group in groups) > MOST_FILTERS:
        raise BadQuery(f"at most {MOST_FILTERS} filters are allowed in a request")
    return groups


def _sort(body: dict[str, Any]) -> tuple[str, bool] | None:
    sorts = body.get("sorts") or []
    if not isinstance(sorts, list) or len(sorts) > 1:
        raise BadQuery("only one sort is allowed")
    if not sorts:
        return None
    sort = sorts[0]
    if isinstance(sort, str):
        return sort.removeprefix("-"), sort.startswith("-")
    direction = sort.get("direction", "ASCENDING") if isinstance(sort, dict) else None
    if direction not in ("ASCENDING", "DESCENDING") or not sort.get("propertyName"):
        raise BadQuery("a sort is a propertyName and a direction, ASCENDING or DESCENDING")
    return str(sort["propertyName"]), direction == "DESCENDING"


def parse(body: Any) -> Query:
    """Check a request body.

    Raises:
        BadQuery: with the rule that is broken.
    """
    if not isinstance(body, dict):
        raise BadQuery("the request body is a JSON object")
    limit = body.get("limit") if body.get("limit") is not None else DEFAULT_PAGE
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MOST_ON_PAGE:
        raise BadQuery(f"limit must be between 1 and {MOST_ON_PAGE}")
    after = body.get("after")
    if after is not None and not re.fullmatch(r"\d+", str(after)):
        raise BadQuery("after must be formatted as an integer")
    start = int(after or 0)
    if start + limit > MOST_RESULTS:
        raise BadQuery(f"a query ends at {MOST_RESULTS} results: after {start} and limit {limit} reach beyond")
    properties = body.get("properties") or []
    if not isinstance(properties, list):
        raise BadQuery("properties is a list")
    names = tuple(str(name) for name in properties)
    return Query(_groups(body), _sort(body), limit, start, names, str(body.get("query") or ""))


# -- one record ------------------------------------------------------------------------------------------------------


def comparable(value_type: str, value: str | None) -> float | str | None:
    """A value in the order of its type; None where it is missing or not of that type."""
    if not value:
        return None
    if value_type in ("date", "datetime"):
        return property_ms(value)
    if value_type == "number":
        try:
            return float(value)
        except ValueError:
            return None
    return value if value_type == "enumeration" else value.lower()


def _matches_token(value: str | None, pattern: str) -> bool:
    pattern, value = pattern.lower(), (value or "").lower()
    return any(fnmatchcase(token, pattern) for token in [value, *re.findall(r"\w+", value)])


def _ordering(item: Filter, value_type: str) -> Predicate:
    low, high = comparable(value_type, item.value), comparable(value_type, item.high)
    if low is None or (item.operator == "BETWEEN" and high is None):
        raise BadQuery(f"{item.value!r} is no value of the {value_type} property {item.name}")
    tests: dict[str, Callable[[Any], bool]] = {
        "LT": lambda value: value < low,
        "LTE": lambda value: value <= low,
        "GT": lambda value: value > low,
        "GTE": lambda value: value >= low,
        "BETWEEN": lambda value: low <= value <= high,
    }
    test = tests[item.operator]

    def holds(document: Document) -> bool:
        value = comparable(value_type, document.value(item.name))
        return value is not None and test(value)

    return holds


def predicate(item: Filter, value_type: str) -> Predicate:
    """The test a filter makes of one record, by the type of its property."""
    name = item.name
    if item.operator in ORDERINGS:
        return _ordering(item, value_type)
    if item.operator in BARE:
        wanted = item.operator == "HAS_PROPERTY"
        return lambda document: (document.value(name) is not None) == wanted
    if item.operator.endswith("CONTAINS_TOKEN"):
        wanted = item.operator == "CONTAINS_TOKEN"
        return lambda document: _matches_token(document.value(name), item.value) == wanted
    wanted = item.operator in ("EQ", "IN")
    if item.operator in LISTS and value_type == "string":
        choices: set[Any] = set(item.values)
    else:
        choices = {comparable(value_type, value) for value in item.values or (item.value,)}
    return lambda document: (comparable(value_type, document.value(name)) in choices) == wanted
