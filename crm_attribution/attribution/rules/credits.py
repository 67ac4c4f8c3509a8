"""Credit of outcomes to touches: exact in minor units, conserved per outcome, model, scope and measure.

Models (`attribution/models`) weigh the touches of each journey. Without a touch, or where a model gives its touches
nothing, the whole outcome is unattributed, with the reason.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from crm_attribution.attribution.rules.journeys import OUTCOME, Journeys
from crm_attribution.attribution.rules.split import MAXIMUM, Groups, Ints, split
from crm_attribution.errors import ConfigurationError
from crm_attribution.events.rules.values import CREDITED
from crm_attribution.mapping import Attribution, ChosenModel

COUNT_UNIT = 1_000_000
"""One outcome in the measure `count`."""

_COLUMNS = (
    *(*OUTCOME, "model", "scope", "measure", "currency", "touch_id", "credit", "home_currency", "credit_home"),
    "unattributed_reason",
)


def credits(found: Journeys, reasons: pl.DataFrame, effects: pl.DataFrame, rules: Attribution) -> pl.DataFrame:
    """Return attribution.credit columns without the two recording times; credit is Int64 in minor units, or
    in millionths of an outcome for the measure `count`; credit_home, in minor units of home_currency, is the outcome's
    converted value, split as it is.

    The rows of an outcome stand together: so they are stored, and an hour reads them from one place.

    Args:
        found: the journeys; of outcomes are read also currency, home_currency, the columns of `CREDITED` and each
            measure's `_home`.
        reasons: milestone, milestone_id, scope, unattributed_reason of journeys without touches.
        effects: attribution.channel_effect rows of the outcomes' months.
        rules: the models.
    """
    outcomes = found.outcomes.join(reasons, on=[*OUTCOME, "scope"], how="left", maintain_order="left")
    totals = _totals(outcomes)
    parts: dict[bytes, _Part] = {}
    rows: list[pl.DataFrame] = []
    for model in rules.chosen:
        given = weights(found, model, effects)
        weighed = found.groups.sum(given) > 0
        for measure, total in totals.items():
            held = total.is_not_null().to_numpy()
            amounts = total.fill_null(0).to_numpy()
            at_home = outcomes[f"{measure}_home"] if measure in CREDITED else None
            wanted = held[found.numbers] & weighed
            part = parts.setdefault(wanted.tobytes(), _Part(found, wanted))
            alone = held.copy()
            alone[part.numbers] = False
            rows += (
                made.with_columns(model=pl.lit(model.name), measure=pl.lit(measure))
                for made in (
                    _shared(part, given, amounts, at_home),
                    _alone(outcomes, np.flatnonzero(alone), amounts, at_home),
                )
            )
    return _named(outcomes, pl.concat(rows).sort("_journey"))


_GIVEN = ("_journey", "touch_id", "credit", "credit_home", "_reason")


class _Part:
    """Some of the journeys that have touches: all models share the amounts of one measure among the same ones."""

    def __init__(self, found: Journeys, wanted: NDArray[np.bool_]) -> None:
        """`wanted`: which of `found.numbers`."""
        self.found, self.wanted = found, wanted

    @cached_property
    def numbers(self) -> Ints:
        return self.found.numbers[self.wanted]

    @cached_property
    def places(self) -> NDArray[np.bool_]:
        """Which of the rows are theirs."""
        return self.found.groups.spread(self.wanted)

    @cached_property
    def groups(self) -> Groups:
        if self.wanted.all():
            return self.found.groups
        lengths = self.found.groups.lengths[self.wanted]
        return Groups(np.cumsum(lengths) - lengths, int(lengths.sum()))

    @cached_property
    def touches(self) -> pl.DataFrame:
        """_journey, touch_id of their rows."""
        rows = self.found.touches.select("touch_id", _journey="journey")
        return rows if self.wanted.all() else rows.filter(self.places)


def weights(found: Journeys, model: ChosenModel, effects: pl.DataFrame) -> Ints:
    """The weight of each touch of the journeys, as the model gives it.

    Raises:
        ConfigurationError: when the model gives something else than whole numbers of 0 or more, or too large ones.
    """
    touches = found.touches
    if model.model.learn is not None:
        touches = touches.with_columns(effect=_effect(found, model.name, effects))
    given = touches.with_columns(_weight=model.model.weights(touches, model.parameters))["_weight"].cast(pl.Int64)
    if given.null_count() or (given < 0).any():
        raise ConfigurationError(f"attribution model {model.name}: a weight is null or negative")
    found_weights: Ints = given.to_numpy()
    if (found.groups.sum(found_weights) >= MAXIMUM).any():
        raise ConfigurationError(f"attribution model {model.name}: the weights of a journey add up to 2^48 or more")
    return found_weights


def _effect(found: Journeys, model: str, effects: pl.DataFrame) -> pl.Series:
    key = found.outcomes.select(milestone="learned_as", month=pl.col("occurred_at").dt.date().dt.month_start())
    asked = key[found.touches["journey"]].with_columns(found.touches["channel"])
    known = effects.filter(pl.col("model") == model).select("milestone", "month", "channel", "effect")
    return asked.join(known, on=["milestone", "month", "channel"], how="left", maintain_order="left")["effect"]


def _shared(part: _Part, weights: Ints, totals: Ints, at_home: pl.Series | None) -> pl.DataFrame:
    """Rows of touches that the model gives something."""
    mine = weights if part.wanted.all() else weights[part.places]
    shares = split(totals[part.numbers], mine, part.groups)
    kept = mine > 0
    rows = part.touches.with_columns(
        credit=pl.Series(shares, dtype=pl.Int64),
        credit_home=_shared_home(part, mine, shares, totals, at_home),
        _reason=pl.lit(None, pl.String),
    )
    return (rows if kept.all() else rows.filter(kept)).select(_GIVEN)


def _shared_home(part: _Part, weights: Ints, shares: Ints, totals: Ints, at_home: pl.Series | None) -> pl.Series:
    """The shares of what the outcomes are worth in the home currency; null where that is not known."""
    if at_home is None:
        return pl.Series([None] * len(shares), dtype=pl.Int64)
    mine = at_home[part.numbers]
    values = mine.fill_null(0).to_numpy()
    same = np.array_equal(values, totals[part.numbers])
    found = pl.Series(shares if same else split(values, weights, part.groups), dtype=pl.Int64)
    unknown = mine.is_null()
    return found.set(pl.Series(part.groups.spread(unknown.to_numpy())), None) if unknown.any() else found


def _alone(outcomes: pl.DataFrame, numbers: Ints, totals: Ints, at_home: pl.Series | None) -> pl.DataFrame:
    """Rows of outcomes that no touch gets."""
    home = pl.Series([None] * len(numbers), dtype=pl.Int64) if at_home is None else at_home[numbers]
    return pl.DataFrame({"_journey": numbers, "credit": totals[numbers], "credit_home": home}).select(
        "_journey",
        pl.lit("").alias("touch_id"),
        "credit",
        "credit_home",
        _reason=outcomes["unattributed_reason"][numbers].fill_null("no_weight"),
    )


def _named(outcomes: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    mine = outcomes.select(*OUTCOME, "scope", "currency", "home_currency")[rows["_journey"]]
    money = pl.col("measure") != "count"
    return (
        pl.concat([mine, rows], how="horizontal")
        .select(
            *OUTCOME,
            "model",
            "scope",
            "measure",
            currency=pl.when(money).then(pl.col("currency").fill_null("")).otherwise(pl.lit("")),
            touch_id="touch_id",
            credit="credit",
            home_currency=pl.when(pl.col("credit_home").is_not_null()).then("home_currency"),
            credit_home="credit_home",
            unattributed_reason="_reason",
        )
        .select(_COLUMNS)
    )


def _totals(outcomes: pl.DataFrame) -> dict[str, pl.Series]:
    """Measure -> what each outcome has of it; null where it has none."""
    count = pl.repeat(COUNT_UNIT, outcomes.height, dtype=pl.Int64, eager=True)
    return {"count": count, **{measure: outcomes[column] for measure, column in CREDITED.items()}}
