"""raw.association: a journal of what HubSpot does not date, and the rotation that finds what moves no stamp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from crm_attribution.hubspot.associations import Association
from crm_attribution.hubspot.parse import associations
from crm_attribution.raw.reading import BEGINNING
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

Associations = Mapping[int, Sequence[Association]]
"""From-record -> its other ends of one type."""


def by_record(found: Mapping[str, Sequence[Association]]) -> dict[int, Sequence[Association]]:
    """HubSpot's answer by record id."""
    return {int(record): ends for record, ends in found.items()}


_ENDS = ["from_id", "to_id"]
_KIND = ["type_ids", "labels", "is_primary"]


def journal_associations(
    session: Session,
    from_type: str,
    to_type: str,
    found: Associations,
    first_read: set[int],
    now: datetime,
) -> set[int]:
    """Open what is new, close what is gone or has other labels, keep what holds.

    HubSpot does not date associations: what came with a record's first read holds from the beginning.

    Args:
        session: an open session, in a transaction.
        from_type: contacts, companies or deals.
        to_type: of the other end.
        found: records with all their associations of this pair; those of others are left as they are.
        first_read: those of them that were never read before.
        now: when this was learned.

    Returns:
        the records whose associations changed.
    """
    current = associations(from_type, to_type, found)
    scope = records_frame("from_id", found).with_columns(from_type=pl.lit(from_type), to_type=pl.lit(to_type))
    stored = session.read_keys("raw.association", scope)
    open_rows = stored.filter(pl.col("valid_to").is_null())
    moment = pl.lit(now).dt.cast_time_unit("us")
    since = pl.when(pl.col("from_id").is_in(list(first_read))).then(pl.lit(BEGINNING)).otherwise(moment)
    before = open_rows.select(*_ENDS, "valid_from", **{f"_{name}": name for name in _KIND})
    same = pl.all_horizontal(pl.col(name) == pl.col(f"_{name}") for name in _KIND)
    compared = current.join(before, on=_ENDS, how="left").with_columns(
        _held=same.fill_null(False), valid_to=pl.lit(None, pl.Datetime("us", "UTC"))
    )
    held = compared.with_columns(
        valid_from=pl.when("_held").then("valid_from").otherwise(since.dt.cast_time_unit("us"))
    )
    gone = open_rows.join(compared.filter("_held"), on=_ENDS, how="anti").with_columns(valid_to=moment)
    closed = stored.filter(pl.col("valid_to").is_not_null())
    columns = stored.columns
    rows = pl.concat([held.select(columns), gone.select(columns), closed], how="vertical_relaxed")
    rows = rows.filter(pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("valid_from")))
    return set(session["raw.association"].replace(rows, scope)["from_id"])
