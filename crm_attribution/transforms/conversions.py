"""Planning: which business fact is which platform's conversion, once per destination, whatever the facts merge into."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from crm_attribution import mapping
from crm_attribution.identifiers import delivery_key

WINS = ["customer_won", "customer_expanded"]

UNSENT = ["pending", "held"]


@dataclass(frozen=True)
class Plan:
    """One destination's rules.

    Attributes:
        destination: platform.
        account: ad account or dataset, part of the delivery key.
        rules: its section of the mapping.
        defaults: settle time.
        max_age: how old a conversion the platform takes.
        start: what `send_from: start` means.
    """

    destination: str
    account: str
    rules: mapping.Destination
    defaults: mapping.ConversionDefaults
    max_age: timedelta
    start: datetime


def family(milestone: pl.Expr) -> pl.Expr:
    """Milestones of which a business fact can only be one: a win that is renamed stays the same conversion."""
    return pl.when(milestone.is_in(WINS)).then(pl.lit("win")).otherwise(milestone)


def plan(plan_: Plan, milestones: pl.DataFrame, existing: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """New conversions.conversion rows.

    Nothing is planned where any linked event already has a row of that destination and family. What occurred before
    `send_from` is suppressed, so that a first load, a new destination or a new rule uploads no history.

    Args:
        plan_: the destination.
        milestones: live events.milestone rows with `once_person`, the person a once-per-person rule counts.
        existing: this destination's rows that any linked event or once-per-person rule could meet.
        now: log time.
    """
    rows = [_of_rule(plan_, rule, milestones) for rule in plan_.rules.conversions]
    if not rows or milestones.is_empty():
        return pl.DataFrame()
    wanted = pl.concat(rows).sort("observed_at", "event_id", "action")
    taken = existing.select(
        family(pl.col("milestone")).alias("_family"), pl.concat_list("milestone_id", "event_id").alias("_event")
    )
    taken = taken.explode("_event").unique()
    told = wanted.select("action", "milestone_id", "_family", _event="linked_event_ids").explode("_event")
    met = told.join(taken, on=["_family", "_event"], how="semi").select("action", "milestone_id").unique()
    new = wanted.join(met, on=["action", "milestone_id"], how="anti")
    new = _once_per_person(new, existing)
    keys = [
        delivery_key(plan_.destination, plan_.account, action, milestone_id, 0)
        for action, milestone_id in new.select("action", "milestone_id").iter_rows()
    ]
    return new.select(
        "action",
        "milestone",
        "milestone_id",
        "event_id",
        "occurred_at",
        "ready_at",
        "value",
        "currency",
        "reason",
        conversion_id=pl.Series(keys, dtype=pl.String),
        destination=pl.lit(plan_.destination),
        account=pl.lit(plan_.account),
        kind=pl.lit("conversion"),
        revision=pl.lit(0, pl.Int64),
        expires_at=pl.col("occurred_at") + plan_.max_age,
        person_id="once_person",
        state=pl.when(pl.col("reason").is_null()).then(pl.lit("pending")).otherwise(pl.lit("suppressed")),
        attempts=pl.lit(0, pl.Int64),
        planned_at=pl.lit(now),
        updated_at=pl.lit(now),
    ).unique("conversion_id", keep="first", maintain_order=True)


def _of_rule(plan_: Plan, rule: mapping.ConversionRule, milestones: pl.DataFrame) -> pl.DataFrame:
    settle = plan_.defaults.settle_minutes if rule.settle_minutes is None else rule.settle_minutes
    begin = mapping.send_from(rule.send_from or plan_.rules.send_from, plan_.start)
    mine = milestones.filter(
        (pl.col("milestone") == rule.milestone) & (pl.col("subtype").is_null() | pl.col("subtype").is_in(rule.subtypes))
    )
    ready = pl.max_horizontal("observed_at", "ready_from", pl.col("occurred_at") + timedelta(minutes=settle))
    value = pl.col(f"{rule.value}_current") if rule.value else pl.lit(None, pl.Int64)
    return mine.with_columns(
        action=pl.lit(rule.action),
        _family=family(pl.col("milestone")),
        _once=pl.lit(rule.once_per == "person"),
        ready_at=ready,
        value=value,
        currency=pl.when(value.is_not_null()).then("currency"),
        reason=pl.when(pl.col("occurred_at") < begin)
        .then(pl.lit("before_activation"))
        .when(pl.col("suppressed_by").is_not_null())
        .then(pl.lit("internal"))
        .when(pl.col("imported") & (not rule.imported))
        .then(pl.lit("imported")),
    )


def _once_per_person(new: pl.DataFrame, existing: pl.DataFrame) -> pl.DataFrame:
    """Of a once-per-person rule only the first conversion of each person is sent; the others say why not."""
    counted = existing.filter(pl.col("reason").ne_missing("once_per_person")).select(
        "action", once_person="person_id", _has=True
    )
    new = new.join(
        counted.drop_nulls("once_person").unique(), on=["action", "once_person"], how="left", maintain_order="left"
    )
    later = pl.int_range(pl.len()).over("action", "once_person") > 0
    again = pl.col("_once") & pl.col("once_person").is_not_null() & (pl.col("_has").fill_null(False) | later)
    return new.with_columns(reason=pl.coalesce("reason", pl.when(again).then(pl.lit("once_per_person")))).drop("_has")


def refresh(existing: pl.DataFrame, milestones: pl.DataFrame, plan_: Plan, now: datetime) -> pl.DataFrame:
    """Unsent rows whose fact has moved meanwhile, as it stands now: what is sent is how things are at `ready_at`.

    The time moves where a win was taken back and won again, the value wherever somebody typed another.
    """
    facts = milestones.explode("linked_event_ids").select(
        _family=family(pl.col("milestone")),
        milestone_id="linked_event_ids",
        _currency="currency",
        _occurred="occurred_at",
        _heard=pl.max_horizontal("observed_at", "ready_from"),
        **{f"_{name}": f"{name}_current" for name in ("amount", "mrr", "arr", "tcv")},
    )
    facts = facts.unique(["_family", "milestone_id"], keep="first", maintain_order=True)
    unsent = existing.filter(pl.col("state").is_in(UNSENT) & (pl.col("attempts") == 0))
    rows = unsent.with_columns(_family=family(pl.col("milestone"))).join(facts, on=["_family", "milestone_id"])
    value, settle = pl.lit(None, pl.Int64), pl.duration(minutes=plan_.defaults.settle_minutes)
    for rule in plan_.rules.conversions:
        mine = pl.col("action") == rule.action
        value = pl.when(mine).then(f"_{rule.value}" if rule.value else pl.lit(None, pl.Int64)).otherwise(value)
        if rule.settle_minutes is not None:
            settle = pl.when(mine).then(pl.duration(minutes=rule.settle_minutes)).otherwise(settle)
    moved = pl.col("_occurred") != pl.col("occurred_at")
    fresh = rows.with_columns(
        value=value,
        currency=pl.when(value.is_not_null()).then("_currency"),
        occurred_at="_occurred",
        ready_at=pl.when(moved).then(pl.max_horizontal("_heard", pl.col("_occurred") + settle)).otherwise("ready_at"),
        expires_at=pl.when(moved).then(pl.col("_occurred") + plan_.max_age).otherwise("expires_at"),
        updated_at=pl.lit(now),
    ).select(existing.columns)
    compared = ["conversion_id", "value", "currency", "occurred_at"]
    return fresh.join(existing.select(compared), on=compared, how="anti", nulls_equal=True)
