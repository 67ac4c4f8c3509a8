"""attribution.channel_effect: what models that learn know of channels at the beginning of each month.

A month's outcomes are shared by what the journeys of the months before it show: those that led to the outcome, and
what accounts without it had done by then. So a month, once begun, stays as it is, and credit changes only where
something before it did. A fingerprint of the input decides whether to learn again.
"""

from __future__ import annotations

import hashlib
from datetime import date

import polars as pl

from crm_attribution.attribution.models.base import Learn
from crm_attribution.contracts import topics
from crm_attribution.mapping import Attribution, ChosenModel
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.session import Session

MONTHS = 12
"""A model without a parameter `months` learns from so many."""

_ACTED = "coalesce('account:' || account_id, 'person:' || person_id)"
_OUTCOMES = f"""
    SELECT milestone, milestone_id, occurred_at, date_trunc('month', occurred_at)::DATE AS month, {_ACTED} AS actor
    FROM events.milestone WHERE state = 'live' AND suppressed_by IS NULL
"""
_MONTHS = f"""
    SELECT DISTINCT milestone, month FROM ({_OUTCOMES}) JOIN attribution.journey USING (milestone, milestone_id)
    WHERE touches > 0 ORDER BY ALL
"""
_TOUCHES = """
    SELECT date_trunc('month', touched_at)::DATE AS month,
        bit_xor(hash(touch_id, touched_at, channel, account_id, person_id))::VARCHAR || ':' || count(*) AS fingerprint
    FROM attribution.touch WHERE {some} GROUP BY ALL
"""
_SOME = """
    touched_at >= $1 AND touched_at < $2 + INTERVAL 1 MONTH AND date_trunc('month', touched_at)::DATE IN
        (SELECT unnest($3))
"""
_JOURNEYS = f"""
    SELECT milestone, month, bit_xor(hash(milestone_id, occurred_at, actor, channels))::VARCHAR || ':' || count(*)
        AS fingerprint
    FROM ({_OUTCOMES}) LEFT JOIN
        (SELECT milestone, milestone_id, channels FROM attribution.journey WHERE scope = $1)
        USING (milestone, milestone_id) GROUP BY ALL
"""
_LED = f"""
    SELECT channels AS path, true AS converted, count(*) AS journeys FROM ({_OUTCOMES})
    JOIN attribution.journey USING (milestone, milestone_id)
    WHERE milestone = $1 AND scope = $2 AND touches > 0 AND month >= $3 AND month < $4 GROUP BY ALL
"""
_LED_NOWHERE = f"""
    WITH ended AS (
        SELECT actor, max(occurred_at) AS at FROM ({_OUTCOMES})
        WHERE list_contains($3, milestone) AND month < $2 GROUP BY actor),
    path AS (
        SELECT list(channel ORDER BY touched_at, touch_id) AS path
        FROM (SELECT *, {_ACTED} AS actor FROM attribution.touch) AS touch LEFT JOIN ended USING (actor)
        WHERE touched_at >= $1 AND touched_at < $2 AND (ended.at IS NULL OR touched_at > ended.at)
            AND (NOT $4 OR ended.at IS NULL) AND (NOT $5 OR ended.at IS NOT NULL)
        GROUP BY actor)
    SELECT path, false AS converted, count(*) AS journeys FROM path GROUP BY path
"""
_ENDS = {"customer_won": ["customer_won"], "customer_expanded": ["customer_won", "customer_expanded"]}
"""Outcome -> milestones after which a journey to it begins again, where that is not the outcome itself."""


def update(session: Session, changes: Changes, rules: Attribution) -> pl.DataFrame:
    """Learn again where something before a month changed.

    Returns:
        milestone, milestone_id of outcomes in months whose effects changed.
    """
    models = [model for model in rules.chosen if model.model.learn is not None]
    held = session.read("attribution.channel_effect")
    if not models:
        session["attribution.channel_effect"].replace(held.clear(), None)
        for month in session.state.touch_prints.all():
            del session.state.touch_prints[month]
        return pl.DataFrame(schema={"milestone": pl.String, "milestone_id": pl.String})
    prints = pl.concat([_touch_prints(session, changes), session.query(_JOURNEYS, [rules.scopes[0]])], how="diagonal")
    months = session.query(_MONTHS)
    wanted = []
    for model in models:
        for milestone, month in months.iter_rows():
            basis = _basis(prints, model, milestone, month)
            known = held.filter(
                (pl.col("model") == model.name)
                & (pl.col("milestone") == milestone)
                & (pl.col("month") == month)
                & (pl.col("basis") == basis)
            )
            wanted.append(known if known.height else _learned(session, rules, model, milestone, month, basis))
    frame = pl.concat([held.clear(), *wanted])
    changed = session["attribution.channel_effect"].replace(frame, None)
    effect = ["model", "milestone", "month", "channel", "effect"]
    moved = changed.filter(changed.select(effect).is_unique()).select("milestone", "month").unique()
    return session.query(
        f"SELECT milestone, milestone_id FROM ({_OUTCOMES}) SEMI JOIN moved USING (milestone, month)", moved=moved
    )


def _touch_prints(session: Session, changes: Changes) -> pl.DataFrame:
    """milestone (empty), month, fingerprint of the touches of each month; read are those of months with a change."""
    known = session.state.touch_prints
    again = [date.fromisoformat(month) for month in known.all()]
    if changes.everything or not again:
        found = session.query(_TOUCHES.format(some="true"))
    elif again := [date.fromisoformat(month) for month in changes.of(topics.TOUCH_MONTH)]:
        found = session.query(_TOUCHES.format(some=_SOME), [again[0], again[-1], again])
    else:
        found = pl.DataFrame(schema={"month": pl.Date, "fingerprint": pl.String})
    for month in again:
        del known[month.isoformat()]
    for month, fingerprint in found.iter_rows():
        known[month.isoformat()] = fingerprint
    rows = [("", date.fromisoformat(month), fingerprint) for month, fingerprint in known.all().items()]
    return pl.DataFrame(rows, schema={"milestone": pl.String, "month": pl.Date, "fingerprint": pl.String}, orient="row")


def _first(model: ChosenModel, month: date) -> date:
    """The first of the months a model learns from."""
    months = month.year * 12 + month.month - 1 - model.parameters.get("months", MONTHS)
    return date(max(months // 12, 1), months % 12 + 1, 1)


def _basis(prints: pl.DataFrame, model: ChosenModel, milestone: str, month: date) -> str:
    ends = _ENDS.get(milestone, [milestone])
    read = prints.filter(
        (pl.col("month") < month)
        & (
            ((pl.col("milestone") == "") & (pl.col("month") >= _first(model, month)))
            | pl.col("milestone").is_in([milestone, *ends])
        )
    )
    text = [repr(sorted(model.parameters.items())), model.model.name, *sorted(map(repr, read.rows()))]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


def _learned(
    session: Session, rules: Attribution, model: ChosenModel, milestone: str, month: date, basis: str
) -> pl.DataFrame:
    """attribution.channel_effect rows of one model, outcome and month."""
    learn: Learn = model.model.learn  # type: ignore[assignment]
    first = _first(model, month)
    led = session.query(_LED, [milestone, rules.scopes[0], first, month])
    ends = _ENDS.get(milestone, [milestone])
    once, again = milestone == "customer_won", milestone == "customer_expanded"
    nowhere = session.query(_LED_NOWHERE, [first, month, ends, once, again])
    effects = learn(pl.concat([led, nowhere]), model.parameters)
    none = pl.DataFrame({"channel": [""], "effect": [0]})
    return (effects if effects.height else none).select(
        model=pl.lit(model.name),
        milestone=pl.lit(milestone),
        month=pl.lit(month),
        channel="channel",
        effect=pl.col("effect").cast(pl.Int64),
        basis=pl.lit(basis),
    )
