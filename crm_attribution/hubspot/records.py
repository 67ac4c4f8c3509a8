"""Reading records: by listing all of them, or by ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from crm_attribution.errors import Rejected, Retryable
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.paging import Record, next_after, rows
from crm_attribution.hubspot.paths import segment

# https://developers.hubspot.com/docs/api-reference/legacy/crm/objects/contacts/guide: 100 a call. With
# propertiesWithHistory HubSpot answers 400 for more than 50 ("maximum number of inputs supported in a batch
# request for property histories is 50").
PLAIN, WITH_HISTORY = 100, 50
# HubSpot answers 414 at about 16,000 characters (https://developers.hubspot.com/docs/api-reference/error-handling);
# proxies in between often allow only 8,192.
LONGEST_QUERY = 8_000
MERGED = "hs_merged_object_ids"


@dataclass
class BatchResult:
    """Records for requested ids.

    Attributes:
        records: each record once, under the id it has now.
        missing: requested ids HubSpot does not know (any more), or whose answer could not be matched.
        aliases: requested id of a merged record → the id that answered. Since 2025 a merge makes a new record
            and reads of either old id answer with it
            (https://developers.hubspot.com/changelog/updated-merge-functionality-for-contacts-and-companies).
    """

    records: list[Record] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)

    def add(self, other: BatchResult) -> None:
        """Take in the result of another call."""
        known = {record["id"] for record in self.records}
        self.records += [record for record in other.records if record["id"] not in known]
        self.missing += other.missing
        self.aliases |= other.aliases


@dataclass(frozen=True)
class Page:
    """A page of a listing.

    Attributes:
        records: in the order of ids.
        after: the cursor of the page that follows, None after the last.
    """

    records: list[Record]
    after: str | None


def list_pages(
    transport: Transport,
    path: str,
    properties: Sequence[str],
    history: Sequence[str],
    *,
    archived: bool,
    after: str | None = None,
) -> Iterator[Page]:
    """Every record of a type. Where the names do not fit into a URL: ids by list, contents by batch read."""
    limit = WITH_HISTORY if history else PLAIN
    params: dict[str, Any] = {"limit": limit, "archived": str(archived).lower()}
    wanted = dict(params)
    if properties:
        wanted["properties"] = ",".join(properties)
    if history:
        wanted["propertiesWithHistory"] = ",".join(history)
    if len(urlencode(wanted)) <= LONGEST_QUERY:
        yield from _listing(transport, path, wanted, after)
        return
    for page in _listing(transport, path, params | {"limit": PLAIN, "properties": "hs_object_id"}, after):
        ids = [str(row["id"]) for row in page.records]
        results = batch_results(transport, path, ids, properties, history, archived=archived)
        yield Page([record for result in results for record in result.records], page.after)


def _listing(transport: Transport, path: str, params: dict[str, Any], after: str | None) -> Iterator[Page]:
    where = f"hubspot list {path.rsplit('/', 1)[-1]}"
    while True:
        cursor = {} if after is None else {"after": after}
        body: Record = transport.request("GET", path, params=params | cursor).body
        following = next_after(body)
        if following is not None and following == after:
            raise Retryable(f"{where}: paging does not advance (a cursor came twice)")
        yield Page(rows(body, where, need="id"), following)
        if following is None:
            return
        after = following


def batch_results(
    transport: Transport,
    path: str,
    ids: Sequence[int] | Sequence[str],
    properties: Sequence[str],
    history: Sequence[str],
    *,
    archived: bool = False,
) -> Iterator[BatchResult]:
    """One result per call, so that a large read can be stored piece by piece."""
    size = WITH_HISTORY if history else PLAIN
    asked = list(dict.fromkeys(str(i) for i in ids))
    names = list(dict.fromkeys([*properties, MERGED]))
    for start in range(0, len(asked), size):
        chunk = asked[start : start + size]
        body: Record = {"inputs": [{"id": i} for i in chunk], "properties": names}
        if history:
            body["propertiesWithHistory"] = list(history)
        params = {"archived": "true"} if archived else None
        answer = transport.request("POST", f"{path}/batch/read", params=params, json=body, expected=(200, 207))
        yield _matched(chunk, answer.body, f"hubspot batch read {path.rsplit('/', 1)[-1]}")


def _matched(asked: list[str], body: Record, where: str) -> BatchResult:
    """Answers are matched by id, never by place: found ones come first and unknown ones only as errors
    (https://community.hubspot.com/t5/APIs-Integrations/Question-about-using-batch-read-API/m-p/1101616)."""
    found = {str(row["id"]): row for row in rows(body, where, need="id")}
    missing = _unknown_ids(body, where)
    aliases = {old: new for new, row in found.items() for old in merged_ids(row) if old in asked and old not in found}
    unexplained = [i for i in asked if i not in found and i not in missing and i not in aliases]
    surplus = [i for i in found if i not in asked and i not in aliases.values()]
    if len(unexplained) == len(surplus) == 1:
        aliases[unexplained.pop()] = surplus[0]
    gone = [i for i in asked if i in missing and i not in aliases] + unexplained
    return BatchResult([row | {"id": i} for i, row in found.items()], gone, aliases)


def merged_ids(record: Record) -> list[str]:
    """The ids this record absorbed: `hs_merged_object_ids`, `;`-separated, chains included."""
    properties = record.get("properties")
    text = properties.get(MERGED) if isinstance(properties, dict) else None
    return [part.strip() for part in str(text or "").split(";") if part.strip()]


def _unknown_ids(body: Record, where: str) -> set[str]:
    errors = body.get("errors")
    unknown: set[str] = set()
    for error in (e for e in errors if isinstance(e, dict)) if isinstance(errors, list) else ():
        if error.get("category") != "OBJECT_NOT_FOUND":
            raise Rejected(f"{where}: a row failed with {error.get('category')}", status=207, body=body)
        context = error.get("context")
        ids = context.get("ids") if isinstance(context, dict) else None
        unknown |= {str(i) for i in ids} if isinstance(ids, list) else set()
    return unknown


def record_path(objects: str, object_type: str) -> str:
    """The path of one object type."""
    return f"{objects}/{segment(object_type)}"
