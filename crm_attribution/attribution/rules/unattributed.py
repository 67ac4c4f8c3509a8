"""Why an outcome has no touch."""

from __future__ import annotations

import polars as pl

from crm_attribution.attribution.rules import slices
from crm_attribution.attribution.rules.journeys import OUTCOME, Journeys, moments_by_key

_ORDER = ("contact_created_later", "before_previous_win", "only_bot_clicks", "outside_window", "after_outcome")
"""Reasons for a journey whose account or persons have touches or bot clicks; the first that holds is given."""


def reasons(
    found: Journeys,
    contacts: pl.DataFrame,
    touches: pl.DataFrame,
    births: pl.DataFrame,
    bots: pl.DataFrame,
) -> pl.DataFrame:
    """Why journeys have no touch: milestone, milestone_id, scope, unattributed_reason of those that have none.

    Args:
        found: the journeys.
        contacts: as for `journeys`.
        touches: as for `journeys`.
        births: as for `journeys`.
        bots: account_id, person_id String, touched_at UTC of bot clicks of the same accounts and persons.
    """
    empty = found.outcomes.with_columns(journey=pl.int_range(pl.len(), dtype=pl.Int64)).filter(
        ~pl.col("journey").is_in(found.touches["journey"].unique().implode())
    )
    by_account, by_person = moments_by_key(empty, contacts)
    seen = _seen(touches, births, bots)
    moments = [(by_account, "account_id"), (by_person, "person_id")]
    near = pl.concat([_near(seen, asked, key) for asked, key in moments]).join(
        empty.select("journey", "opens", "previous_win"), on="journey"
    )
    with_key = pl.concat([by_account, by_person])["journey"].unique()
    nobody = pl.when(pl.col("deal_id").is_null()).then(pl.lit("no_account")).otherwise(pl.lit("no_contact_on_deal"))
    first = pl.coalesce(*(pl.when(pl.col(name)).then(pl.lit(name)) for name in _ORDER), pl.lit("no_touch"))
    return empty.join(_found(near), on="journey", how="left", maintain_order="left").select(
        *OUTCOME,
        "scope",
        unattributed_reason=pl.when(~pl.col("journey").is_in(with_key.implode())).then(nobody).otherwise(first),
    )


def _near(seen: pl.DataFrame, asked: pl.DataFrame, key: str) -> pl.DataFrame:
    """Each of these journeys with everything seen of its account or persons."""
    line = slices.line(seen, key, asked["key"])
    which, at = line.slices(asked["key"], None, slices.moments(asked["occurred_at"]))
    theirs = seen.select("touched_at", "_born", "_bot")[line.places[at]]
    return pl.concat([asked.select("journey", "occurred_at", "since")[which], theirs], how="horizontal")


def _seen(touches: pl.DataFrame, births: pl.DataFrame, bots: pl.DataFrame) -> pl.DataFrame:
    """Touches and bot clicks: account_id, person_id, touched_at, touch_id, _born (of the contact), _bot."""
    of_people = touches.join(births.rename({"created_at": "_born"}), on="contact_id", how="left").select(
        "account_id", "person_id", "touched_at", "touch_id", "_born", _bot=pl.lit(value=False)
    )
    of_bots = bots.select(
        "account_id",
        "person_id",
        "touched_at",
        touch_id=pl.lit(""),
        _born=pl.lit(None, pl.Datetime("us", "UTC")),
        _bot=pl.lit(value=True),
    )
    return pl.concat([of_people, of_bots])


def _found(near: pl.DataFrame) -> pl.DataFrame:
    """Of each journey, a column for each of `_ORDER`: whether that reason left out a touch or bot click."""
    at, end = pl.col("touched_at"), pl.col("occurred_at")
    person = ~pl.col("_bot")
    window = at.is_between(pl.col("since"), end)
    return near.group_by("journey").agg(
        contact_created_later=(person & window & (pl.col("_born") > end)).any(),
        before_previous_win=(person & at.is_between(pl.col("opens"), pl.col("previous_win"))).any(),
        only_bot_clicks=(pl.col("_bot") & window).any(),
        outside_window=(person & (at < pl.col("opens"))).any(),
        after_outcome=(person & (at > end)).any(),
    )
