"""raw.merge: what was learned of merges from records, webhooks and lookups, closed over chains."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crm_attribution.raw.rules.merges import closure, combine
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session


def record_merges(session: Session, object_type: str, found: pl.DataFrame) -> set[int]:
    """Record merges of one object type, in any order and any number of times.

    Args:
        session: an open session, in a transaction.
        object_type: contacts, companies or deals.
        found: raw.merge rows as they were learned, each survivor possibly absorbed itself since.

    Returns:
        the ids that mean something else now: absorbed ones with the survivors they had and have. They are journaled
        under the object type.
    """
    if found.is_empty():
        return set()
    stored = _touching(session, object_type, {*found["absorbed_id"], *found["survivor_id"]})
    closed = combine(stored, found)
    written = session.upsert("raw.merge", closed)["absorbed_id"]
    changed = closed.filter(pl.col("absorbed_id").is_in(written.implode()))
    former = stored.filter(pl.col("absorbed_id").is_in(written.implode()))
    dirty = {*changed["absorbed_id"], *changed["survivor_id"], *former["survivor_id"]}
    return dirty


def _touching(session: Session, object_type: str, ids: set[int]) -> pl.DataFrame:
    """Return stored rows that name any of the ids, and the rows that those name."""
    known: set[int] = set()
    while True:
        frame = records_frame("id", ids)
        rows = session.query(
            "SELECT m.* FROM raw.merge m WHERE m.object_type = ?"
            " AND (m.absorbed_id IN (SELECT id FROM frame) OR m.survivor_id IN (SELECT id FROM frame))",
            [object_type],
            frame=frame,
        )
        ids |= {*rows["absorbed_id"], *rows["survivor_id"]}
        if ids == known:
            return rows
        known = set(ids)


def merged(session: Session, object_type: str) -> dict[int, int]:
    """absorbed id -> live id of one object type, closed over chains. Reads every merge: see `survivors_of`."""
    rows = session.query("SELECT absorbed_id, survivor_id FROM raw.merge WHERE object_type = ?", [object_type])
    return closure(rows)


def survivors_of(session: Session, object_type: str, ids: Iterable[int]) -> dict[int, int]:
    """absorbed id -> live id for those of some ids that were absorbed, followed over chains."""
    found: dict[int, int] = {}
    asked = set(ids)
    while asked:
        keys = records_frame("absorbed_id", asked).with_columns(object_type=pl.lit(object_type))
        rows = session.read_keys("raw.merge", keys).select("absorbed_id", "survivor_id")
        found.update(rows.iter_rows())
        asked = set(rows["survivor_id"]) - found.keys()
    return closure(pl.DataFrame({"absorbed_id": list(found), "survivor_id": list(found.values())},
                                schema={"absorbed_id": pl.Int64, "survivor_id": pl.Int64}))  # fmt: skip
