"""Shared parts of explanations: a milestone in a line, what was merged into a record, what is in quarantine."""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Any

import polars as pl

from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]

_MEANS = {
    "refused": "its newest version is not stored: what is told of it is older, and nothing of it is sent",
    "stored": "the record is stored, without the fields named",
    "history": "the values named are left out of its history",
}


def milestone_line(context: Context, row: Row, **more: Any) -> Node:
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


def quarantined(context: Context, object_type: str, records: Collection[int]) -> list[Node]:
    """What of some records waits in quarantine: since when, why, and what that means for the figures."""
    table, history = OBJECT_TYPES[object_type].quarantine, "quarantine.property_history"
    told = "key, reasons, observed_at, coalesce(stored, false) AS stored"
    rows = context.session.query(
        f"SELECT '{table}' AS home, {told} FROM {table} SEMI JOIN _asked USING (key) WHERE NOT resolved"
        f" UNION ALL SELECT '{history}', {told} FROM {history} SEMI JOIN _histories USING (key) WHERE NOT resolved"
        " ORDER BY observed_at, home, key, reasons",
        _asked=ids_frame("key", {str(record) for record in records}),
        _histories=ids_frame("key", {f"{object_type}:{record}" for record in records}),
    )
    return [
        context.node(
            f"in quarantine since {context.text(row['observed_at'])}",
            {
                "reasons": _reasons(row["reasons"]),
                "means": _MEANS["history" if row["home"] == history else "stored" if row["stored"] else "refused"],
                "source": f"{row['home']}:{row['key']}",
            },
        )
        for row in rows.iter_rows(named=True)
    ]


def _reasons(text: str) -> str:
    """`column: check`, without the pattern that a check compares with."""
    parts = (part.partition(":") for part in text.split("; "))
    return "; ".join(f"{column}: {check.partition('(')[0]}" for column, _, check in parts)


def since_when(context: Context, object_type: str, record: int) -> str | None:
    """Since when a record is in quarantine, and why, in a line; None where it is not."""
    found = quarantined(context, object_type, [record])
    if not found:
        return None
    return f"{found[0].what.removeprefix('in quarantine since ')}: {found[0].facts['reasons']}"
