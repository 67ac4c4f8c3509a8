"""Shared parts of explanations: a milestone in a line, and what was merged into a record."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import polars as pl

from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.warehouse.frames import records_frame


def milestone_line(context: Context, row: dict[str, Any], **more: Any) -> Node:
    """A milestone by name, id, time and state."""
    facts = {
        "milestone_id": row["milestone_id"],
        "occurred": row["occurred_at"],
        "state": row["state"] + (f": {row['reason']}" if row["reason"] else ""),
        "deal": row["deal_id"] and str(row["deal_id"]),
        "rule": row["rule"],
        **more,
    }
    return context.node(row["milestone"], facts)


def merged_into(context: Context, object_type: str, records: Set[int]) -> pl.DataFrame:
    """raw.merge rows of everything that was merged into some records, over chains."""
    keys = records_frame("survivor_id", records).with_columns(object_type=pl.lit(object_type))
    return context.session.read_keys("raw.merge", keys)
