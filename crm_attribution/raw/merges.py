"""raw.merge: what was learned of merges from records, webhooks and lookups, closed over chains when it comes in.

So raw.merge is the relation that resolves ids: an id in `absorbed_id` lives on as `survivor_id`, any other as itself.
A query joins it by key (`LEFT JOIN raw.merge`, `coalesce(survivor_id, id)`); nothing follows chains or reads it whole.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crm_attribution.raw.rules.merges import combine
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
    written = session["raw.merge"].upsert(closed)["absorbed_id"]
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


def survivors_of(session: Session, object_type: str, ids: Iterable[int]) -> dict[int, int]:
    """absorbed id -> live id for those of some ids that were absorbed; one lookup, since raw.merge is closed."""
    keys = records_frame("absorbed_id", ids).with_columns(object_type=pl.lit(object_type))
    rows = session.read_keys("raw.merge", keys, ["absorbed_id", "survivor_id"])
    return dict(rows.select("absorbed_id", "survivor_id").iter_rows())


def absorbed_by(session: Session, object_type: str, ids: Iterable[int]) -> dict[int, int]:
    """absorbed id -> live id for everything that was merged into some live records, over any chain of merges."""
    keys = records_frame("survivor_id", ids).with_columns(object_type=pl.lit(object_type))
    rows = session.read_keys("raw.merge", keys, ["absorbed_id", "survivor_id"])
    return dict(rows.select("absorbed_id", "survivor_id").iter_rows())
