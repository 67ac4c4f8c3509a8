"""Associations of many records per call."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypedDict

from crm_attribution.errors import Rejected, Retryable
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.paging import Record, next_after, rows

# https://developers.hubspot.com/changelog/bug-fix-batch-read-limit-for-hubspot-associations-api
PER_CALL = 1_000
NONE = "crm.associations.NO_ASSOCIATIONS_FOUND"


class AssociationType(TypedDict):
    """`typeId` is directional; `label` is None for the unlabeled type that comes with every label."""

    category: str
    typeId: int
    label: str | None


class Association(TypedDict):
    """One other end with all its types."""

    toObjectId: str
    associationTypes: list[AssociationType]


def read_associations(
    transport: Transport, path: str, ids: Sequence[int] | Sequence[str], where: str
) -> dict[str, list[Association]]:
    """All other ends for each id; an id HubSpot said nothing about is not a key.

    Paging is per from-record, so a record with more goes to the end of the queue with its cursor and shares a
    later call (https://developers.hubspot.com/docs/api/crm/associations). No associations is not an empty
    list there but an error entry of a 207; an id that does not exist looks the same.
    """
    queue: deque[tuple[str, str | None]] = deque((i, None) for i in dict.fromkeys(str(i) for i in ids))
    found: dict[str, list[Association]] = {}
    used: set[tuple[str, str]] = set()
    while queue:
        batch = [queue.popleft() for _ in range(min(PER_CALL, len(queue)))]
        inputs = [{"id": i} if after is None else {"id": i, "after": after} for i, after in batch]
        body = transport.request("POST", path, json={"inputs": inputs}, budget="associations", expected=(200, 207)).body
        for row in rows(body, where, need="from"):
            origin = str(row["from"].get("id"))
            found.setdefault(origin, []).extend(_association(to) for to in rows(row, where, "to", need="toObjectId"))
            after = next_after(row)
            if after is None:
                continue
            if (origin, after) in used:
                raise Retryable(f"{where}: paging does not advance (a cursor came twice)")
            used.add((origin, after))
            queue.append((origin, after))
        for origin in _without_any(body, where):
            found.setdefault(origin, [])
    return found


def _association(to: Record) -> Association:
    # A number in HubSpot's samples, a string in its specification.
    return {"toObjectId": str(to["toObjectId"]), "associationTypes": list(to.get("associationTypes") or [])}


def _without_any(body: Record, where: str) -> list[str]:
    errors = body.get("errors")
    without: list[str] = []
    for error in (e for e in errors if isinstance(e, dict)) if isinstance(errors, list) else ():
        if error.get("subCategory") != NONE and error.get("category") != "OBJECT_NOT_FOUND":
            raise Rejected(f"{where}: a row failed with {error.get('category')}", status=207, body=body)
        context = error.get("context")
        ids = context.get("fromObjectId") if isinstance(context, dict) else None
        without += [str(i) for i in ids] if isinstance(ids, list) else []
    return without
