"""What HubSpot has erased stays erased: rows from any source that still mention it must not be stored."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session


def tombstones(session: Session, object_type: str, ids: Iterable[int]) -> set[int]:
    """Those of `ids` that HubSpot has erased; a stale file, a late webhook or an earlier page may still name them."""
    asked = records_frame("object_id", ids).with_columns(object_type=pl.lit(object_type), kind=pl.lit("privacy"))
    return set(session.read_keys("raw.deletion", asked)["object_id"]) if asked.height else set()
