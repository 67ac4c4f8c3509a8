"""Search over a store: bounds on the ordered property are cut out of its index, the rest is tested record by record."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from crm_attribution.sandbox.instants import property_ms
from crm_attribution.sandbox.portal.associations import Graph, Node
from crm_attribution.sandbox.portal.kinds import find_kind
from crm_attribution.sandbox.portal.query import BadQuery, Filter, Predicate, Query, comparable, predicate
from crm_attribution.sandbox.portal.records import Document, Row, Store

FAR = 2**62
Groups = tuple[tuple[Filter, ...], ...]
Read = Callable[[str], int | None]


class Found(NamedTuple):
    total: int
    page: list[Document]


class _Bounds(NamedTuple):
    """A group as the inclusive range of the index it asks for, and the filters that are left."""

    low: int
    high: int
    rest: list[Filter]


def _number(value: str) -> int | None:
    return int(value) if value.lstrip("-").isdigit() else None


def _bounds(group: tuple[Filter, ...], name: str, read: Read) -> _Bounds:
    low, high, rest = -FAR, FAR, []
    for item in group:
        value = read(item.value) if item.name == name else None
        end = read(item.high) if item.operator == "BETWEEN" else value
        if value is None or end is None or item.operator not in ("EQ", "BETWEEN", "LT", "LTE", "GT", "GTE"):
            rest.append(item)
            continue
        if item.operator in ("EQ", "BETWEEN", "GT", "GTE"):
            low = max(low, value + (item.operator == "GT"))
        if item.operator in ("EQ", "BETWEEN", "LT", "LTE"):
            high = min(high, end - (item.operator == "LT"))
    return _Bounds(low, high, rest)


def _merged(spans: Iterable[range]) -> list[range]:
    """Ascending ranges without overlap."""
    result: list[range] = []
    for span in sorted((span for span in spans if span), key=lambda span: span.start):
        if result and span.start <= result[-1].stop:
            result[-1] = range(result[-1].start, max(result[-1].stop, span.stop))
        else:
            result.append(span)
    return result


class Searcher:
    """Answers queries over one store as its index sees it: now, or as it was at `seen`."""

    def __init__(self, store: Store, graph: Graph, seen: int | None = None) -> None:
        self.store, self.kind, self.graph, self.seen = store, store.kind, graph, seen

    def run(self, query: Query) -> Found:
        """The total and the page a query asks for.

        Raises:
            BadQuery: when a value does not fit its property.
        """
        name, descending = query.sort or ("", False)
        groups = query.groups or ((),)
        if name == "hs_object_id":
            rows, spans = self._by_id(groups, query.text)
        elif not name and not query.groups and self.seen is None:
            rows = self.store.by_created.rows()
            spans = self._spans(rows, groups, query.text, "", _number)
        else:
            rows = self.store.indexed(self.seen)
            spans = self._spans(rows, groups, query.text, self.kind.modified_property, property_ms)
            if name != self.kind.modified_property:
                documents = [rows[position][2] for span in spans for position in span]
                key = _sort_key(name, self.store.properties.type_of(name))
                documents.sort(key=key, reverse=descending)
                return Found(len(documents), documents[query.after : query.after + query.limit])
        total = sum(len(span) for span in spans)
        positions = _backwards(spans) if descending else (position for span in spans for position in span)
        page = islice(positions, query.after, query.after + query.limit)
        return Found(total, [rows[position][2] for position in page])

    def _by_id(self, groups: Groups, text: str) -> tuple[list[Row], list[range]]:
        """By id, inside the window of modified times that all groups share."""
        cut = [_bounds(group, self.kind.modified_property, property_ms) for group in groups]
        shared = {(bounds.low, bounds.high) for bounds in cut}
        if len(shared) == 1:
            groups = tuple(tuple(bounds.rest) for bounds in cut)
        low, high = shared.pop() if len(shared) == 1 else (-FAR, FAR)
        everything = (low, high, self.seen) == (-FAR, FAR, None)
        rows = self.store.by_id.rows() if everything else self.store.window(low, high, self.seen)
        return rows, self._spans(rows, groups, text, "hs_object_id", _number)

    def _spans(self, rows: list[Row], groups: Groups, text: str, name: str, read: Read) -> list[range]:
        """The positions in `rows`, which are in the order of the property `name`, at which some group matches."""
        contains = [self._contains(text.lower())] if text else []
        spans: list[range] = []
        for group in groups:
            bounds = _bounds(group, name, read)
            tests = [self._predicate(item) for item in bounds.rest] + contains
            span = range(bisect_left(rows, (bounds.low,)), bisect_left(rows, (bounds.high + 1,)))
            if tests:
                spans.extend(range(p, p + 1) for p in span if all(test(rows[p][2]) for test in tests))
            else:
                spans.append(span)
        return _merged(spans)

    def _predicate(self, item: Filter) -> Predicate:
        if item.name in ("hs_object_id", self.kind.modified_property):
            of_id = item.name == "hs_object_id"
            low, high, rest = _bounds((item,), item.name, _number if of_id else property_ms)
            if not rest:
                return lambda document: low <= (document.number if of_id else document.modified) <= high
        if not item.name.startswith("associations."):
            return predicate(item, self.store.properties.type_of(item.name))
        other = find_kind(item.name.removeprefix("associations."))
        if other is None or item.operator not in ("EQ", "IN"):
            raise BadQuery(f"{item.name} {item.operator} is not supported")
        wanted = set(item.values or (item.value,))
        return lambda document: any(
            end.id in wanted for end, _ in self.graph.links(Node(self.kind.name, document.id), other.name)
        )

    def _contains(self, text: str) -> Predicate:
        """The `query` parameter: a text in one of the default searchable properties."""
        names = {
            "contacts": ("email", "firstname", "lastname", "phone", "company", "hs_additional_emails", "hs_object_id"),
            "companies": ("name", "domain", "website", "phone"),
            "deals": ("dealname", "pipeline", "dealstage", "description", "dealtype"),
        }[self.kind.name]
        return lambda document: any(text in (document.value(name) or "").lower() for name in names)


def _backwards(spans: list[range]) -> Iterator[int]:
    return (position for span in reversed(spans) for position in reversed(span))


def _sort_key(name: str, value_type: str) -> Callable[[Document], tuple[object, ...]]:
    """Creation by default; records without the property come first."""
    if not name:
        return lambda document: (document.created, document.number)

    def key(document: Document) -> tuple[object, ...]:
        value = comparable(value_type, document.value(name))
        return (value is not None, value if value is not None else "", document.number)

    return key
