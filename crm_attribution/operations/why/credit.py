"""How an outcome was credited: sums per model and measure, the touches, and the source rows of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from crm_attribution.clock import from_millis
from crm_attribution.identity.rules.edges import TIMESTAMP
from crm_attribution.operations.why.tree import Context, Node

Row = dict[str, Any]

_SHOWN = {
    "raw.link_click": ("clicked_at", "link_slug", "destination_url", "contact_id"),
    "raw.form_submission": ("submitted_at", "email", "page_url", "link_click_id"),
    "raw.offline_touch": ("touched_at", "act", "contact_id", "email"),
    "raw.activity": ("occurred_at", "kind", "outcome", "name", "gone"),
    "raw.contact": ("id", "created_at"),
    "raw.property_history": ("timestamp", "property", "source_type"),
    "raw.email_click": ("created_at", "email_campaign_id", "recipient", "url"),
}


def credit(context: Context, milestone: Row) -> list[Node]:
    """The credit of an outcome that holds now, and the touches it went to."""
    rows = rows_of(context, [milestone])
    return [sums(context, milestone, rows), *touches(context, rows)]


def rows_of(context: Context, milestones: Sequence[Row]) -> pl.DataFrame:
    """attribution.credit rows of some milestones, those that are superseded too."""
    names = pl.DataFrame(
        [(row["milestone"], row["milestone_id"]) for row in milestones],
        schema={"milestone": pl.String, "milestone_id": pl.String},
        orient="row",
    )
    return context.session.read_keys("attribution.credit", names)


def sums(context: Context, milestone: Row, rows: pl.DataFrame) -> Node:
    """What each model and measure gives in total, or why there is none; the shares stand at the touches."""
    mine = rows.filter(
        (pl.col("milestone") == milestone["milestone"]) & (pl.col("milestone_id") == milestone["milestone_id"])
    )
    now = mine.filter(pl.col("superseded_at").is_null())
    if now.is_empty():
        outcome = milestone["milestone"] in context.rules.attribution.outcomes
        why = _why_none(milestone) if outcome else "attribution.outcomes does not name it"
        return context.node("credit", {"none": why, "rows_no_longer_valid": mine.height or None})
    groups = now.group_by("model", "scope", "measure", "currency").agg(
        total=pl.col("credit").sum(),
        unattributed=pl.col("credit").filter(pl.col("touch_id") == "").sum(),
        unattributed_reason=pl.col("unattributed_reason").drop_nulls().first(),
        touches=(pl.col("touch_id") != "").sum(),
        known_since=pl.col("recorded_at").max(),
    )
    parts = groups.sort("model", "scope", "measure", "currency").rows(named=True)
    return context.node(
        "credit",
        {"rows": now.height, "rows_no_longer_valid": mine.height - now.height},
        (_sum(context, part) for part in parts),
    )


def _why_none(milestone: Row) -> str:
    if milestone["suppressed_by"] is not None:
        return f"it is internal or test traffic: {milestone['suppressed_by']}"
    if milestone["state"] != "live":
        return f"it is no longer live: {milestone['reason']}"
    return "none is recorded yet: the next run credits it"


def _sum(context: Context, part: Row) -> Node:
    facts = {
        "total": part["total"],
        "unattributed": part["unattributed"],
        "unattributed_reason": part["unattributed_reason"],
        "unit": "millionths of an outcome" if part["measure"] == "count" else f"minor units of {part['currency']}",
        "touches": part["touches"],
        "known_since": part["known_since"],
    }
    return context.node(_name(part), facts)


def _name(row: Row) -> str:
    """Model, measure, and the scope where it is not the account."""
    scope = "" if row["scope"] == "account" else f"{row['scope']} "
    return f"{row['model']} {scope}{row['measure']}"


def touches(context: Context, rows: pl.DataFrame) -> list[Node]:
    """Each touch that has credit now, once, with its share of every outcome, model and measure; at the end those that
    are no more."""
    given = rows.filter(pl.col("superseded_at").is_null() & (pl.col("touch_id") != ""))
    ids = given.select("touch_id").unique()
    known = pl.concat([context.session.read_keys("attribution.touch", ids), _answers(context, ids)], how="diagonal")
    listed = known.join(ids, on="touch_id", how="right").sort("touched_at", "touch_id", nulls_last=True)
    clicks = listed.head(context.limit).select(click_id=pl.col("touch_id").str.strip_prefix("click:"))
    found = context.session.read_keys("identity.click", clicks)
    resolved = {row["click_id"]: row for row in found.iter_rows(named=True)}
    gone = {"erased_or_replaced_since": ids.height - known.height} if ids.height > known.height else {}

    def line(row: Row) -> Node:
        shares = _shares(context, given.filter(pl.col("touch_id") == row["touch_id"]))
        if row["touched_at"] is None:
            return context.node(row["touch_id"], {"gone": "erased or replaced since"}, shares)
        return _touch(context, row, shares, resolved.get(row["touch_id"].removeprefix("click:")))

    return context.several("touches", listed.rows(named=True), line, **gone)


def _answers(context: Context, ids: pl.DataFrame) -> pl.DataFrame:
    """What people said, as touches are shown."""
    said = context.session.read_keys("attribution.self_reported", ids).drop("answer")
    return said.with_columns(kind=pl.lit("self_reported"), origin=pl.format("raw.contact:{}", "contact_id"))


def _shares(context: Context, mine: pl.DataFrame) -> list[Node]:
    """A touch's credit, a node for each outcome."""
    shares: dict[tuple[str, str], dict[str, int]] = {}
    for row in mine.sort("milestone", "milestone_id", "model", "scope", "measure").iter_rows(named=True):
        outcome = shares.setdefault((row["milestone"], row["milestone_id"]), {})
        outcome[_name(row)] = row["credit"]
    return [context.node(f"credit for {milestone}", facts) for (milestone, _), facts in shares.items()]


def _touch(context: Context, row: Row, shares: list[Node], click: Row | None) -> Node:
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
    behind = [*shares, *source_row(context, row["origin"])]
    if click is not None:
        resolution = {"status": click["status"], "by": click["reason"], "form": click["form_id"],
                      "submission": click["conversion_id"]}  # fmt: skip
        behind.append(context.node(f"identity.click:{click['click_id']}", resolution))
    return context.node(row["touch_id"], facts, behind)


def source_row(context: Context, origin: str) -> list[Node]:
    """The row of raw that a touch names."""
    table, _, key = origin.partition(":")
    one, _, other = key.partition(":")
    if table == "raw.link_click":
        keys = pl.DataFrame({"click_id": [key]})
    elif table == "raw.offline_touch":
        keys = pl.DataFrame({"touch_id": [key]})
    elif table == "raw.activity":
        keys = pl.DataFrame({"kind": [one], "id": [other]})
    elif table == "raw.contact":
        keys = pl.DataFrame({"id": [int(key)]})
    elif table == "raw.property_history":
        contact, _, name = other.partition(":")
        keys = pl.DataFrame({"object_type": [one], "object_id": [int(contact)], "property": [name]})
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
