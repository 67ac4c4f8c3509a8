"""Following opaque cursors, with the checks that keep a scan from going round in circles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from crm_attribution.errors import Rejected, Retryable

Record = dict[str, Any]


def rows(body: object, where: str, key: str = "results", *, need: str | None = None) -> list[Record]:
    """The list of objects under `key`, each with a value for `need`.

    Raises:
        Rejected: when the answer does not have that shape.
    """
    found = body.get(key) if isinstance(body, dict) else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise Rejected(f"{where}: the answer has no list of objects under {key!r}")
    if need is not None and any(row.get(need) in (None, "") for row in found):
        raise Rejected(f"{where}: an object in the answer has no {need}")
    return found


def next_after(body: Record) -> str | None:
    """`paging.next.after`; absent paging means the last page. A cursor is a parameter, its link is not followed."""
    paging = body.get("paging")
    following = paging.get("next") if isinstance(paging, dict) else None
    after = following.get("after") if isinstance(following, dict) else None
    return str(after) if after not in (None, "") else None


def pages(
    fetch: Callable[[str | None], Record],
    where: str,
    *,
    key: str = "results",
    need: str | None = None,
    following: Callable[[Record], str | None] = next_after,
) -> Iterator[list[Record]]:
    """Every page from the first to the last.

    Raises:
        Retryable: when a cursor comes twice: the source changed under the scan, so the scan is not complete.
    """
    cursor: str | None = None
    used: set[str] = set()
    while True:
        body = fetch(cursor)
        yield rows(body, where, key, need=need)
        cursor = following(body)
        if cursor is None:
            return
        if cursor in used:
            raise Retryable(f"{where}: paging does not advance (a cursor came twice)")
        used.add(cursor)
