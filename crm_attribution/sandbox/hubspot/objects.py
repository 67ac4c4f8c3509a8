"""Objects: list, read, batch read, search.

https://developers.hubspot.com/docs/api/crm/contacts (100 a page or batch, 50 with histories) and
https://developers.hubspot.com/docs/api-reference/search/guide (no rate-limit headers, bodies up to 3,000 characters).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Json
from crm_attribution.sandbox.hubspot.answers import (
    answer,
    error,
    integer,
    invalid,
    json_body,
    kind_in_path,
    missing,
    next_page,
    store_in_path,
    world_of,
)
from crm_attribution.sandbox.instants import SECOND, iso
from crm_attribution.sandbox.portal.associations import PRIMARY, Node
from crm_attribution.sandbox.portal.kinds import CONTACTS, Kind, find_kind
from crm_attribution.sandbox.portal.query import BadQuery, parse
from crm_attribution.sandbox.portal.records import Document, Record, Store
from crm_attribution.sandbox.portal.search import Searcher

MOST, MOST_WITH_HISTORY, DEFAULT_PAGE = 100, 50, 10
LONGEST_SEARCH = 3000


def routes() -> Sequence[BaseRoute]:
    return [
        Route("/crm/objects/{kind}", list_page),
        Route("/crm/objects/{kind}/search", search, methods=["POST"]),
        Route("/crm/objects/{kind}/batch/read", batch_read, methods=["POST"]),
        Route("/crm/objects/{kind}/{id}", read_one),
    ]


# -- what a record looks like ---------------------------------------------------------------------------------------


def known_properties(store: Store, asked: Iterable[str]) -> list[str]:
    """The asked properties the account has, or the default ones, always with id and both dates.

    Unknown names are ignored without a word.
    """
    kind = store.kind
    asked = list(asked)
    names = [name for name in asked if store.properties.known(name)]
    always = ("createdate", kind.modified_property, "hs_object_id")
    return sorted({*names, *always} if asked else set(kind.default_properties))


def shown(document: Document, names: Iterable[str]) -> Json:
    """A record as every endpoint answers it, without histories and associations."""
    result: Json = {
        "id": document.id,
        "properties": {name: document.value(name) for name in names},
        "createdAt": iso(document.created),
        "updatedAt": iso(document.modified),
        "archived": document.archived_at is not None,
    }
    if document.archived_at is not None:
        result["archivedAt"] = iso(document.archived_at)
    return result


def histories(record: Record, names: Iterable[str]) -> Json:
    """`propertiesWithHistory`: newest first."""
    result: Json = {}
    for name in names:
        rows: list[Json] = []
        for entry in record.entries(name):
            row: Json = {"value": entry.value, "timestamp": iso(entry.at), "sourceType": entry.source}
            if entry.source_id is not None:
                row["sourceId"] = entry.source_id
            rows.append(row)
        result[name] = rows
    return result


def associated(request: Request, record: Record, others: Iterable[Kind]) -> Json:
    """The `associations` of a list or read: every type of a pair is a row of its own, primary first."""
    portal = world_of(request).portal
    result: Json = {}
    for other in others:
        rows: list[Json] = []
        name = f"{record.kind.singular}_to_{other.singular}"
        for end, link in portal.graph.links(Node(record.kind.name, record.id), other.name):
            found = portal.stores[other.name].records.get(end.id)
            if found is None or found.archived_at is not None:
                continue
            if link.primary:
                rows.append({"id": end.id, "type": name})
            has_primary = (record.kind.name, other.name) in PRIMARY
            rows.append({"id": end.id, "type": f"{name}_unlabeled" if has_primary else name})
        if rows:
            result[other.name] = {"results": rows}
    return result


class _Asked:
    """What a list or read asks to be shown."""

    def __init__(self, request: Request, store: Store) -> None:
        self.request, self.store = request, store
        self.with_history = self._names("propertiesWithHistory")
        self.names = known_properties(store, [*self._names("properties"), *self.with_history])
        self.archived = request.query_params.get("archived", "false").lower() == "true"
        self.others: list[Kind] = []
        for spelling in self._names("associations"):
            other = find_kind(spelling)
            if other is None:
                raise invalid(request, f"Unable to infer object type from: {spelling}")
            self.others.append(other)

    def _names(self, parameter: str) -> list[str]:
        parts = (part.strip() for text in self.request.query_params.getlist(parameter) for part in text.split(","))
        return [part for part in parts if part]

    def show(self, record: Record) -> Json:
        result = shown(record, self.names)
        if self.with_history:
            kept = [name for name in self.with_history if name in self.names]
            result["propertiesWithHistory"] = histories(record, kept)
        if self.others:
            found = associated(self.request, record, self.others)
            if found:
                result["associations"] = found
        return result


# -- routes ---------------------------------------------------------------------------------------------------------


async def list_page(request: Request) -> Response:
    """In the order of ids; `archived=true` lists only the archived ones."""
    store = store_in_path(request)
    asked = _Asked(request, store)
    limit = integer(request, "limit", DEFAULT_PAGE, MOST_WITH_HISTORY if asked.with_history else MOST)
    after = request.query_params.get("after", "0")
    if not after.isdigit():
        raise invalid(request, f"after is not a cursor of this list: {after}")
    rows = (store.archived_by_id if asked.archived else store.by_id).rows()
    first = bisect_left(rows, (int(after) + 1,))
    page = rows[first : first + limit]
    body: Json = {"results": [asked.show(row[2]) for row in page if isinstance(row[2], Record)]}
    if first + limit < len(rows):
        body["paging"] = next_page(request, str(page[-1][1]))
    return answer(body)


async def read_one(request: Request) -> Response:
    """By id, or by e-mail with `idProperty=email`. A merged id answers with its survivor."""
    store = store_in_path(request)
    record = _found(request, store, request.path_params["id"], request.query_params.get("idProperty"))
    asked = _Asked(request, store)
    if record is None or (record.archived_at is not None) != asked.archived:
        raise missing(request)
    return answer(asked.show(record))


def _found(request: Request, store: Store, identifier: str, id_property: str | None) -> Record | None:
    if id_property in (None, "", "hs_object_id"):
        return store.find(identifier)
    if id_property != "email" or store.kind.name != "contacts":
        raise invalid(request, f"Property {id_property} is not a unique identifier of {store.kind.name}")
    return store.find_by_email(identifier)


async def batch_read(request: Request) -> Response:
    """Results in no promised order; unknown ids are named in one error, and then the status is 207."""
    store = store_in_path(request)
    body = await json_body(request)
    inputs = body.get("inputs")
    with_history = _names(request, body, "propertiesWithHistory")
    most = MOST_WITH_HISTORY if with_history else MOST
    if not isinstance(inputs, list) or not all(isinstance(i, dict) and "id" in i for i in inputs):
        raise invalid(request, "inputs is a list of objects with an id")
    if len(inputs) > most:
        what = "a batch request for property histories" if with_history else "a batch request"
        raise invalid(request, f"The maximum number of inputs supported in {what} is {most}. Got {len(inputs)}.")
    names = known_properties(store, [*_names(request, body, "properties"), *with_history])
    archived = request.query_params.get("archived", "false").lower() == "true"
    found: dict[str, Record] = {}
    unknown: list[str] = []
    for identifier in (str(item["id"]) for item in inputs):
        record = _found(request, store, identifier, body.get("idProperty"))
        if record is None or (record.archived_at is not None) != archived:
            unknown.append(identifier)
        else:
            found[record.id] = record
    results = []
    for record in found.values():
        row = shown(record, names)
        if with_history:
            row["propertiesWithHistory"] = histories(record, [name for name in with_history if name in names])
        results.append(row)
    return batch_answer(request, results, [_unknown(request, store, unknown)] if unknown else [])


def _names(request: Request, body: Json, field: str) -> list[str]:
    names = body.get(field) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid(request, f"{field} is a list of property names")
    return names


def _unknown(request: Request, store: Store, identifiers: list[str]) -> Json:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": f"Could not get some {store.kind.singular.upper()} objects, they may be deleted or not exist. "
        "Check that ids are valid.",
        "context": {"ids": identifiers},
        "correlationId": world_of(request).trace_id(),
    }


def batch_answer(request: Request, results: list[Json], errors: list[Json]) -> Response:
    """The batch envelope: 200, or 207 with errors."""
    now = iso(world_of(request).portal.now)
    body: Json = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
    if errors:
        body.update(numErrors=len(errors), errors=errors)
    return answer(body, 207 if errors else 200)


async def search(request: Request) -> Response:
    """Archived and merged-away records are never here; a lagging index answers from the past.

    A contact's hs_merged_object_ids is null here, as reported of some portals: batch read has it.
    """
    world = world_of(request)
    kind_in_path(request)
    store = store_in_path(request)
    raw = await request.body()
    if len(raw.decode("utf-8", errors="replace")) > LONGEST_SEARCH:
        raise invalid(request, f"The request body is longer than {LONGEST_SEARCH} characters")
    lag = getattr(request.state, "index_lag", None)
    seen = None if lag is None else world.portal.now - int(lag * SECOND)
    try:
        query = parse(await json_body(request))
        found = Searcher(store, world.portal.graph, seen).run(query)
    except BadQuery as problem:
        raise error(request, 400, "VALIDATION_ERROR", f"There was a problem with the request: {problem}") from None
    names = known_properties(store, query.properties)
    results = [shown(document, names) for document in found.page]
    for row in results:
        if store.kind is CONTACTS and "hs_merged_object_ids" in row["properties"]:
            row["properties"]["hs_merged_object_ids"] = None
    body: Json = {"total": found.total, "results": results}
    end = query.after + query.limit
    if end < found.total:
        body["paging"] = {"next": {"after": str(end)}}
    return answer(body)
