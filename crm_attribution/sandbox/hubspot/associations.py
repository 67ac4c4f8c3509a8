"""Associations: batch read and the list of one record.

https://developers.hubspot.com/docs/api/crm/associations: 1,000 inputs, paged for each from-record by itself. A record
without associations is no empty result but an error with status 207, as integrators report. `toObjectId` is a number in
v4 and a text in the dated versions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Json
from crm_attribution.sandbox.hubspot.answers import (
    answer,
    integer,
    invalid,
    json_body,
    kind_in_path,
    missing,
    next_page,
    world_of,
)
from crm_attribution.sandbox.hubspot.objects import batch_answer
from crm_attribution.sandbox.portal.associations import Node

MOST_INPUTS, PAGE = 1000, 500


def routes() -> Sequence[BaseRoute]:
    return [
        Route("/crm/associations/{kind}/{other}/batch/read", batch_read, methods=["POST"]),
        Route("/crm/objects/{kind}/{id}/associations/{other}", list_page),
    ]


def _ends(request: Request, node: Node, other: str) -> list[Json]:
    """The other ends in the order of their ids, archived records left out."""
    portal = world_of(request).portal
    rows: list[Json] = []
    for end, link in portal.graph.links(node, other):
        record = portal.stores[other].records.get(end.id)
        if record is None or record.archived_at is not None:
            continue
        types = [
            {"category": kind.category, "typeId": kind.type_id, "label": kind.label}
            for kind in portal.graph.types(node, end, link)
        ]
        identifier: int | str = int(end.id) if request.state.version == "v4" else end.id
        rows.append({"toObjectId": identifier, "associationTypes": types})
    return sorted(rows, key=lambda row: int(row["toObjectId"]))


def _page(request: Request, rows: list[Json], after: str, limit: int) -> tuple[list[Json], str | None]:
    """A page and the cursor behind it."""
    if not after.isdigit():
        raise invalid(request, f"after is not a cursor of this list: {after}")
    first = bisect_right(rows, int(after), key=lambda row: int(row["toObjectId"]))
    page = rows[first : first + limit]
    return page, str(page[-1]["toObjectId"]) if first + limit < len(rows) else None


async def batch_read(request: Request) -> Response:
    world = world_of(request)
    kind, other = kind_in_path(request), kind_in_path(request, "other")
    inputs = (await json_body(request)).get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(i, dict) and "id" in i for i in inputs):
        raise invalid(request, "inputs is a list of objects with an id")
    if len(inputs) > MOST_INPUTS:
        raise invalid(request, f"At most {MOST_INPUTS} inputs are allowed, got {len(inputs)}")
    results: list[Json] = []
    errors: list[Json] = []
    for item in inputs:
        identifier = str(item["id"])
        record = world.portal.stores[kind.name].find(identifier)
        alive = record is not None and record.archived_at is None
        rows = _ends(request, Node(kind.name, record.id), other.name) if record and alive else []
        if not rows:
            errors.append(_nothing(identifier, kind.type_id, other.type_id))
            continue
        page, cursor = _page(request, rows, str(item.get("after") or "0"), PAGE)
        row: Json = {"from": {"id": identifier}, "to": page}
        if cursor is not None:
            row["paging"] = {"next": {"after": cursor}}
        results.append(row)
    return batch_answer(request, results, errors)


def _nothing(identifier: str, from_type: str, to_type: str) -> Json:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {to_type} is associated with {from_type} {identifier}.",
        "context": {"fromObjectId": [identifier], "fromObjectType": [from_type], "toObjectType": [to_type]},
    }


async def list_page(request: Request) -> Response:
    """The associations of one record with one type; here nothing is an empty list."""
    kind, other = kind_in_path(request), kind_in_path(request, "other")
    record = world_of(request).portal.stores[kind.name].find(request.path_params["id"])
    if record is None or record.archived_at is not None:
        raise missing(request)
    rows = _ends(request, Node(kind.name, record.id), other.name)
    limit = integer(request, "limit", PAGE, PAGE)
    page, cursor = _page(request, rows, request.query_params.get("after", "0"), limit)
    body: Json = {"results": page}
    if cursor is not None:
        body["paging"] = next_page(request, cursor)
    return answer(body)
