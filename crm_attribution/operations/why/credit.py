"""How an outcome was credited: sums per model and measure, the touches, and the source rows of these."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution.clock import from_millis
from crm_attribution.identity.rules.edges import TIMESTAMP
from crm_attribution.operations.why.tree import Context, Node

Row = dict[str, Any]

_SHOWN = {
    "raw.link_click": ("clicked_at", "link_slug", "destination_url", "contact_id"),
    "raw.form_submission": ("submitted_at", "email", "page_url", "link_click_id"),
    "raw.email_click": ("created_at", "email_campaign_id", "recipient", "url"),
}


def credit(context: Context, milestone: Row) -> list[Node]:
    """The credit that holds now, and the touches it went to."""
    key = pl.DataFrame({"milestone": [milestone["milestone"]], "milestone_id": [milestone["milestone_id"]]})
    rows = context.session.read_keys("attribution.credit", key)
    now = rows.filter(pl.col("superseded_at").is_null())
    if now.is_empty():
        outcome = milestone["milestone"] in context.rules.attribution.outcomes
        why = "it is no longer live" if outcome else "attribution.outcomes does not name it"
        return [context.node("credit", {"none": why, "rows_no_longer_valid": rows.height or None})]
    groups = now.group_by("model", "measure", "currency").agg(
        total=pl.col("credit").sum(),
        unattributed=pl.col("credit").filter(pl.col("touch_id") == "").sum(),
        touches=(pl.col("touch_id") != "").sum(),
        known_since=pl.col("recorded_at").max(),
    )
    parts = groups.sort("model", "measure", "currency").rows(named=True)
    sums = context.node(
        "credit",
        {"rows": now.height, "rows_no_longer_valid": rows.height - now.height},
        (_sum(context, part, now) for part in parts),
    )
    return [sums, *_touches(context, now)]


def _sum(context: Context, part: Row, now: pl.DataFrame) -> Node:
    mine = now.filter((pl.col("model") == part["model"]) & (pl.col("measure") == part["measure"]))
    given = mine.filter(pl.col("touch_id") != "").sort(-pl.col("credit").abs(), "touch_id").rows(named=True)
    facts = {
        "total": part["total"],
        "unattributed": part["unattributed"],
        "unit": "millionths of an outcome" if part["measure"] == "count" else f"minor units of {part['currency']}",
        "touches": part["touches"],
        "shown": context.limit if part["touches"] > context.limit else None,
        "known_since": part["known_since"],
    }
    shares = (context.node(row["touch_id"], {"credit": row["credit"]}) for row in given[: context.limit])
    return context.node(f"{part['model']} {part['measure']}", facts, shares)


def _touches(context: Context, now: pl.DataFrame) -> list[Node]:
    ids = now.filter(pl.col("touch_id") != "").select("touch_id").unique()
    rows = context.session.read_keys("attribution.touch", ids).sort("touched_at", "touch_id")
    shown = rows.head(context.limit)
    clicks = shown.select(click_id=pl.col("touch_id").str.strip_prefix("click:")).filter(
        shown["touch_id"].str.starts_with("click:")
    )
    resolved = {
        row["click_id"]: row for row in context.session.read_keys("identity.click", clicks).iter_rows(named=True)
    }
    gone = {"erased_or_replaced_since": ids.height - rows.height} if ids.height > rows.height else {}
    return context.several("touches", rows.rows(named=True), lambda row: _touch(context, row, resolved), **gone)


def _touch(context: Context, row: Row, resolved: dict[str, Row]) -> Node:
    click = resolved.get(row["touch_id"].removeprefix("click:"))
    facts = {
        "touched": row["touched_at"],
        "kind": row["kind"],
        "channel": row["channel"],
        "source": row["source"],
        "medium": row["medium"],
        "campaign": row["campaign"],
        "click_ids": row["click_id_kinds"] or None,
        "person": row["person_id"],
        "contact": row["contact_id"] and str(row["contact_id"]),
        "account": row["account_id"],
    }
    behind = _source_row(context, row["origin"])
    if click is not None:
        resolution = {"status": click["status"], "by": click["reason"], "form": click["form_id"],
                      "submission": click["conversion_id"]}  # fmt: skip
        behind.append(context.node(f"identity.click:{click['click_id']}", resolution))
    return context.node(row["touch_id"], facts, behind)


def _source_row(context: Context, origin: str) -> list[Node]:
    """The row of raw that a touch names."""
    table, _, key = origin.partition(":")
    one, _, other = key.partition(":")
    if table == "raw.link_click":
        keys = pl.DataFrame({"click_id": [key]})
    elif table == "raw.form_submission":
        keys = pl.DataFrame({"form_id": [one], "conversion_id": [other]})
    else:
        keys = pl.DataFrame(
            {"created_at": [from_millis(one)], "id": [other]}, schema_overrides={"created_at": TIMESTAMP}
        )
    rows = context.session.read_keys(table, keys)
    if rows.is_empty():
        return [context.node(origin, {"gone": "the row is not in raw any more"})]
    row = rows.row(0, named=True)
    return [context.node(origin, {name: _shown(context, name, row[name]) for name in _SHOWN[table]})]


def _shown(context: Context, name: str, value: Any) -> Any:
    """A value of a source row; addresses masked, and pages without their parameters, which may name people."""
    if value is None or context.show_personal:
        return value
    if name in ("email", "recipient"):
        return context.email(value)
    return value.split("?")[0].split("#")[0] if name.endswith("url") else value
