"""Planning: which business fact becomes which platform's conversion, once per destination, also after merges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from crm_attribution import mapping
from crm_attribution.events.rules.deal_milestones import WINS
from crm_attribution.events.rules.milestones import KEY
from crm_attribution.identifiers import delivery_key

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
    """Group the milestones that are one business fact: a renamed win stays the same conversion."""
    return pl.when(milestone.is_in(WINS)).then(pl.lit("win")).otherwise(milestone)


def plan(
    plan_: Plan, milestones: pl.DataFrame, events: pl.DataFrame, existing: pl.DataFrame, now: datetime
) -> pl.DataFrame:
    """Return new conversions.conversion rows.

    Nothing is planned where any linked event already has a row of that destination and action, was planned under
    another name of the same fact (a first win that became an expansion), or under an action that no rule has any
    more: a renamed rule plans nothing twice, a second rule plans its own rows. What occurred before `send_from` is
    suppressed, so that a first load, a new destination or a new rule uploads no history. What may be the copy of an
    archived deal's fact is held until a person decides.

    Args:
        plan_: the destination.
        milestones: live events.milestone rows with once_person String, the person a once-per-person rule counts.
        events: their events.milestone_event rows.
        existing: this destination's rows that any linked event or once-per-person rule could meet.
        now: log time, UTC.
    """
    rows = [_of_rule(plan_, rule, milestones) for rule in plan_.rules.conversions]
    if not rows or milestones.is_empty():
        return pl.DataFrame()
    wanted = pl.concat(rows).sort("observed_at", "event_id", "action")
    new = wanted.join(_planned_before(plan_, wanted, events, existing), on=["action", "milestone_id"], how="anti")
    return _rows(plan_, _once_per_person(new, existing), now)


def _rows(plan_: Plan, new: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """conversions.conversion rows of what is new, in the state it begins in."""
    copied = pl.col("possible_duplicate_of").is_not_null()
    state = (
        pl.when(pl.col("reason").is_not_null())
        .then(pl.lit("suppressed"))
        .when(copied)
        .then(pl.lit("held"))
        .otherwise(pl.lit("pending"))
    )
    keys = [
        delivery_key(plan_.destination, plan_.account, action, milestone_id, 0)
        for action, milestone_id in new.select("action", "milestone_id").iter_rows()
    ]
    return new.select(
        *("action", "milestone", "milestone_id", "event_id", "occurred_at", "ready_at", "value", "currency"),
        reason=pl.coalesce("reason", pl.when(copied).then(pl.lit("possible_duplicate"))),
        conversion_id=pl.Series(keys, dtype=pl.String),
        destination=pl.lit(plan_.destination),
        account=pl.lit(plan_.account),
        kind=pl.lit("conversion"),
        revision=pl.lit(0, pl.Int64),
        expires_at=pl.col("occurred_at") + plan_.max_age,
        person_id="once_person",
        state=state,
        attempts=pl.lit(0, pl.Int64),
        planned_at=pl.lit(now),
        updated_at=pl.lit(now),
    ).unique("conversion_id", keep="first", maintain_order=True)


def _planned_before(plan_: Plan, wanted: pl.DataFrame, events: pl.DataFrame, existing: pl.DataFrame) -> pl.DataFrame:
    """Return action, milestone_id of what has a row already."""
    actions: dict[str, list[str]] = {}
    for rule in plan_.rules.conversions:
        actions.setdefault(rule.milestone, []).append(rule.action)
    current = pl.DataFrame(
        [(name, action) for name, given in actions.items() for action in given],
        schema={"milestone": pl.String, "_action": pl.String},
        orient="row",
    ).unique()
    taken = (
        existing.select(
            pl.col("milestone").alias("_milestone"),
            pl.col("action").alias("_action"),
            family(pl.col("milestone")).alias("_family"),
            pl.concat_list("milestone_id", "event_id").alias("_event"),
        )
        .explode("_event")
        .unique()
        .join(
            current.rename({"milestone": "_milestone"}).with_columns(_current=True),
            on=["_milestone", "_action"],
            how="left",
        )
    )
    each = _with_events(wanted.select("action", *KEY, "_family"), events)
    met = each.join(taken, on=["_family", "_event"])
    same = (
        (pl.col("action") == pl.col("_action"))
        | (pl.col("milestone") != pl.col("_milestone"))
        | pl.col("_current").is_null()
    )
    return met.filter(same).select("action", "milestone_id").unique()


def _with_events(milestones: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """One row per milestone and event of it (`_event` String)."""
    return milestones.join(events.select(*KEY, _event="event_id"), on=KEY, maintain_order="left")


def _of_rule(plan_: Plan, rule: mapping.ConversionRule, milestones: pl.DataFrame) -> pl.DataFrame:
    settle = plan_.defaults.settle_minutes if rule.settle_minutes is None else rule.settle_minutes
    begin = mapping.send_from(rule.send_from or plan_.rules.send_from, plan_.start)
    mine = milestones.filter(
        (pl.col("milestone") == rule.milestone) & (pl.col("subtype").is_null() | pl.col("subtype").is_in(rule.subtypes))
    )
    ready = pl.max_horizontal("observed_at", "ready_from", pl.col("occurred_at") + timedelta(minutes=settle))
    value = rule_value(rule)
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


def rule_value(rule: mapping.ConversionRule) -> pl.Expr:
    """The value a rule sends, in minor units: the current measure, or the change to recurring revenue of a renewal."""
    if rule.value is None:
        return pl.lit(None, pl.Int64)
    current = pl.col(f"{rule.value}_current")
    if rule.value not in ("mrr", "arr"):
        return current
    return pl.when(pl.col("subtype").eq_missing(pl.lit("renewal"))).then(f"{rule.value}_new").otherwise(current)


def _once_per_person(new: pl.DataFrame, existing: pl.DataFrame) -> pl.DataFrame:
    """Suppress all but the first conversion of each person under a once-per-person rule, with the reason."""
    counted = existing.filter(pl.col("reason").ne_missing("once_per_person")).select(
        "action", once_person="person_id", _has=True
    )
    new = new.join(
        counted.drop_nulls("once_person").unique(), on=["action", "once_person"], how="left", maintain_order="left"
    )
    later = pl.int_range(pl.len()).over("action", "once_person") > 0
    again = pl.col("_once") & pl.col("once_person").is_not_null() & (pl.col("_has").fill_null(False) | later)
    return new.with_columns(reason=pl.coalesce("reason", pl.when(again).then(pl.lit("once_per_person")))).drop("_has")


def refresh(
    existing: pl.DataFrame, milestones: pl.DataFrame, events: pl.DataFrame, plan_: Plan, now: datetime
) -> pl.DataFrame:
    """Return unsent rows whose fact has changed, with its current state: what is sent is the state at `ready_at`.

    The time changes when a win was taken back and won again, the value when it was edited.
    """
    facts = _with_events(milestones, events).select(
        _family=family(pl.col("milestone")),
        milestone_id="_event",
        _currency="currency",
        _occurred="occurred_at",
        _heard=pl.max_horizontal("observed_at", "ready_from"),
        _named="milestone",
        **{f"_value_{number}": rule_value(rule) for number, rule in enumerate(plan_.rules.conversions)},
    )
    facts = facts.unique(["_family", "milestone_id"], keep="first", maintain_order=True)
    unsent = existing.filter(pl.col("state").is_in(UNSENT) & (pl.col("attempts") == 0) & pl.col("adjusts").is_null())
    rows = unsent.with_columns(_family=family(pl.col("milestone"))).join(facts, on=["_family", "milestone_id"])
    value, settle = pl.col("value"), pl.duration(minutes=plan_.defaults.settle_minutes)
    ruled = pl.col("action").is_in([rule.action for rule in plan_.rules.conversions])
    # Of several rules of one action that of the fact's milestone, or the first where it has been renamed to another.
    exact = [
        (pl.col("action") == rule.action) & (pl.col("_named") == rule.milestone) for rule in plan_.rules.conversions
    ]
    for number, rule in reversed(list(enumerate(plan_.rules.conversions))):
        mine = exact[number] | ((pl.col("action") == rule.action) & ~pl.any_horizontal(exact))
        value = pl.when(mine).then(f"_value_{number}").otherwise(value)
        if rule.settle_minutes is not None:
            settle = pl.when(mine).then(pl.duration(minutes=rule.settle_minutes)).otherwise(settle)
    moved = pl.col("_occurred") != pl.col("occurred_at")
    fresh = rows.with_columns(
        value=value,
        currency=pl.when(~ruled).then("currency").when(value.is_not_null()).then("_currency"),
        occurred_at="_occurred",
        ready_at=pl.when(moved).then(pl.max_horizontal("_heard", pl.col("_occurred") + settle)).otherwise("ready_at"),
        expires_at=pl.when(moved).then(pl.col("_occurred") + plan_.max_age).otherwise("expires_at"),
        updated_at=pl.lit(now),
    ).select(existing.columns)
    compared = ["conversion_id", "value", "currency", "occurred_at"]
    return fresh.join(existing.select(compared), on=compared, how="anti", nulls_equal=True)


def standing(existing: pl.DataFrame, milestones: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return the unsent rows that must change their state because facts became one, or may be copies, or no longer.

    Of several rows of one action and one fact (persons merged after both were planned) the one already sent stays,
    else the earliest; of a row planned again, the newest revision. The others are suppressed as `duplicate`, and become
    pending again if the persons split.
    What looks like the copy of an archived deal's fact is held as `possible_duplicate`, unless a person released it.

    Args:
        existing: the destination's rows that any linked event could meet.
        milestones: live events.milestone rows.
        events: their events.milestone_event rows.

    Returns:
        conversion_id String, state String, reason String of the rows to move.
    """
    facts = _with_events(milestones, events).select(
        "possible_duplicate_of",
        _family=family(pl.col("milestone")),
        _fact="milestone_id",
        milestone_id="_event",
    )
    facts = facts.unique(["_family", "milestone_id"], keep="first", maintain_order=True)
    newest = pl.col("revision") == pl.col("revision").max().over("action", "milestone_id")
    rows = existing.filter(pl.col("adjusts").is_null()).filter(newest).with_columns(_family=family(pl.col("milestone")))
    rows = rows.join(facts, on=["_family", "milestone_id"])
    unsent = pl.col("state").is_in(UNSENT) & (pl.col("attempts") == 0)
    duplicate = (pl.col("state") == "suppressed") & (pl.col("reason") == "duplicate")
    sent = pl.col("state").is_in(["in_flight", "retry", "unknown", "accepted", "processed", "rejected"]) | (
        pl.col("attempts") > 0
    )
    carrier = pl.col("milestone_id") == pl.col("_fact")
    rows = rows.sort(~sent, duplicate, ~carrier, "occurred_at", "planned_at", "conversion_id")
    again = (pl.int_range(pl.len()).over("_fact", "_family", "action") > 0) & (unsent | duplicate)
    copy = pl.col("possible_duplicate_of").is_not_null() & pl.col("released_at").is_null()
    held = (pl.col("state") == "held") & (pl.col("reason") == "possible_duplicate")
    rows = rows.with_columns(
        _to=pl.when(again)
        .then(pl.lit("suppressed"))
        .when(unsent & copy)
        .then(pl.lit("held"))
        .when(duplicate | held)
        .then(pl.lit("pending")),
        _why=pl.when(again).then(pl.lit("duplicate")).when(unsent & copy).then(pl.lit("possible_duplicate")),
    )
    moved = rows.filter(
        pl.col("_to").is_not_null()
        & (pl.col("_to").ne_missing(pl.col("state")) | pl.col("_why").ne_missing(pl.col("reason")))
    )
    return moved.select("conversion_id", state="_to", reason="_why")
