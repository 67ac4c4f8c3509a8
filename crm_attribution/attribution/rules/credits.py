"""Credit of outcomes to touches: exact in minor units, conserved per outcome, model and measure.

Windows: the touches of the account in [T - look-back, T], both ends included, ordered by (time, touch id). Models
(`attribution/models`) give each a weight. Without an eligible touch the whole outcome is unattributed.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from crm_attribution.attribution.models import models
from crm_attribution.attribution.models.base import Model
from crm_attribution.mapping import Attribution

COUNT_UNIT = 1_000_000
"""One outcome in the measure `count`."""

CREDITED = {"amount": "amount_current", "mrr": "mrr_new", "arr": "arr_new", "tcv": "tcv_current"}
"""Money measure -> the outcome's column that is credited. Of a renewal only the change is new recurring revenue."""

_OUTCOME = ["milestone", "milestone_id"]
_GROUP = [*_OUTCOME, "model", "measure"]


def credits(
    outcomes: pl.DataFrame, touches: pl.DataFrame, wins: pl.DataFrame, contacts: pl.DataFrame, rules: Attribution
) -> pl.DataFrame:
    """Return attribution.credit columns without the two recording times; credit is Int64 in minor units, or
    in millionths of an outcome for the measure `count`.

    Args:
        outcomes: live events.milestone rows that count as outcomes.
        touches: attribution.touch rows of their accounts (and persons, for outcomes without an account); read are
            touch_id, touched_at, account_id, person_id, contact_id and channel.
        wins: account_id String, occurred_at UTC of live wins: an expansion's window opens after the previous one.
        contacts: contact_id, created_at UTC: contacts created after the close are left out.
        rules: models, and look-backs in days.
    """
    paths = _paths(outcomes, touches, wins, contacts, rules)
    amounts = _amounts(outcomes)
    chosen = [models()[name] for name in rules.models]
    weighted = pl.concat(
        [_empty_weights(paths), *(_weighted(paths, model, rules.parameters.get(model.name, {})) for model in chosen)]
    )
    split = _split(weighted.join(amounts, on=_OUTCOME))
    names = pl.DataFrame({"model": rules.models}, schema={"model": pl.String})
    unattributed = (
        amounts.join(names, how="cross")
        .join(weighted.select(*_OUTCOME, "model").unique(), on=[*_OUTCOME, "model"], how="anti")
        .select(*_GROUP, "currency", touch_id=pl.lit(""), credit="total")
    )
    return (
        pl.concat([split, unattributed])
        .with_columns(scope=pl.lit("account"))
        .select(*_OUTCOME, "model", "scope", "measure", "currency", "touch_id", "credit")
        .sort(*_OUTCOME, "model", "measure", "touch_id")
    )


def needs_all(rules: Attribution) -> bool:
    """Whether a model in use weighs a touch by other journeys than its own."""
    return any(models()[name].over_all for name in rules.models)


def _paths(
    outcomes: pl.DataFrame, touches: pl.DataFrame, wins: pl.DataFrame, contacts: pl.DataFrame, rules: Attribution
) -> pl.DataFrame:
    """Eligible touches of each outcome with position i of n."""
    days = pl.col("milestone").replace_strict(
        rules.lookback_days, default=rules.lookback_days["default"], return_dtype=pl.Int64
    )
    ends = outcomes.with_columns(
        _from=pl.col("occurred_at") - pl.duration(days=days),
        _key=_scope_key(pl.col("account_id"), pl.col("person_id")),
    )
    previous = (
        ends.filter(pl.col("milestone") == "customer_expanded")
        .select(*_OUTCOME, "account_id", "occurred_at")
        .join(wins.rename({"occurred_at": "_won"}), on="account_id")
        .filter(pl.col("_won") < pl.col("occurred_at"))
        .group_by(_OUTCOME)
        .agg(_previous=pl.col("_won").max())
    )
    ends = ends.join(previous, on=_OUTCOME, how="left").drop_nulls("_key")
    keyed = pl.concat(
        [
            touches.with_columns(_key=_scope_key(pl.col("account_id"), pl.lit(None, pl.String))),
            touches.with_columns(_key=_scope_key(pl.lit(None, pl.String), pl.col("person_id"))),
        ]
    ).drop_nulls("_key")
    born = contacts.select("contact_id", _born="created_at")
    at = pl.col("touched_at")
    return (
        ends.select(*_OUTCOME, "_key", "_from", "_previous", "occurred_at")
        .join(keyed.select("_key", "touch_id", "touched_at", "contact_id", "channel"), on="_key")
        .join(born, on="contact_id", how="left")
        .filter(
            at.is_between(pl.col("_from"), pl.col("occurred_at"))
            & (pl.col("_previous").is_null() | (at > pl.col("_previous")))
            & (pl.col("_born").is_null() | (pl.col("_born") <= pl.col("occurred_at")))
        )
        .sort(*_OUTCOME, "touched_at", "touch_id")
        .with_columns(
            i=pl.int_range(1, pl.len() + 1).over(_OUTCOME),
            n=pl.len().over(_OUTCOME).cast(pl.Int64),
        )
        .select(*_OUTCOME, "occurred_at", "touch_id", "touched_at", "channel", "i", "n")
    )


def _scope_key(account: pl.Expr, person: pl.Expr) -> pl.Expr:
    return (
        pl.when(account.is_not_null())
        .then(pl.lit("account:") + account)
        .when(person.is_not_null())
        .then(pl.lit("person:") + person)
    )


def _amounts(outcomes: pl.DataFrame) -> pl.DataFrame:
    count = outcomes.select(*_OUTCOME, measure=pl.lit("count"), currency=pl.lit(""), total=pl.lit(COUNT_UNIT, pl.Int64))
    money = [
        outcomes.select(
            *_OUTCOME, measure=pl.lit(name), currency=pl.col("currency").fill_null(""), total=pl.col(total)
        ).drop_nulls("total")
        for name, total in CREDITED.items()
    ]
    return pl.concat([count, *money])


def _empty_weights(paths: pl.DataFrame) -> pl.DataFrame:
    return paths.clear().select(*_OUTCOME, "touch_id", "i", model=pl.lit(""), weight=pl.lit(0, pl.Int64))


def _weighted(paths: pl.DataFrame, model: Model, parameters: Mapping[str, int]) -> pl.DataFrame:
    """milestone, milestone_id, touch_id, i, model, weight (Int64) of the touches the model gives something to."""
    weight = model.weights(paths, {**model.parameters, **parameters})
    weighed = paths.with_columns(_weight=weight).select(
        *_OUTCOME, "touch_id", "i", model=pl.lit(model.name), weight=pl.col("_weight").cast(pl.Int64)
    )
    return weighed.filter(pl.col("weight") > 0)


def _split(rows: pl.DataFrame) -> pl.DataFrame:
    """Integer shares that add up to the total: floors first, what is missing to the largest remainders."""
    size = pl.col("total").abs()
    whole = pl.col("weight").sum().over(_GROUP)
    rows = rows.with_columns(_part=size * pl.col("weight") // whole, _rest=size * pl.col("weight") % whole, _size=size)
    missing = pl.col("_size") - pl.col("_part").sum().over(_GROUP)
    ranked = rows.sort(*_GROUP, pl.col("_rest"), "i", descending=[False] * len(_GROUP) + [True, False])
    place = pl.int_range(1, pl.len() + 1).over(_GROUP)
    ranked = ranked.with_columns(credit=pl.col("_part") + (place <= missing).cast(pl.Int64))
    return ranked.select(
        *_GROUP, "currency", "touch_id", credit=pl.when(pl.col("total") < 0).then(-pl.col("credit")).otherwise("credit")
    )
