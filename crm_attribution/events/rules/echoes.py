"""Lifecycle changes to opportunity or customer: an echo of a deal near in time, adopted by a later one, or a fact."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from crm_attribution.mapping import Rules

ORDER = ["observed_at", "event_id"]


def lifecycle_changes(
    events: pl.DataFrame, deals: pl.DataFrame, passing: pl.DataFrame, deal_persons: pl.DataFrame, mapping: Rules
) -> pl.DataFrame:
    """Lifecycle changes that may carry a milestone, each with what becomes of it.

    Args:
        events: events.event rows with `person_id`, `account_id`.
        deals: entries from `deal_facts`.
        passing: entries in pipelines that the mapping ignores or does not name, from `passing_entries`.
        deal_persons: deal_id, person_id, `until` (UTC) when the person was taken off the deal, null while on it.
        mapping: the windows.

    Returns:
        the events' columns and `_outcome` (echo | adopted | own | linked | ignored_pipeline), `_deal_id` and `_chapter`
        of the deal it belongs to, `_group` it is once per.
    """
    moves = events.filter(
        pl.col("object_type").is_in(["contacts", "companies"]) & pl.col("event").is_in(mapping.milestones.carriers)
    ).with_columns(
        _group=pl.when(pl.col("account_id").is_not_null())
        .then(pl.lit("account:") + pl.col("account_id"))
        .otherwise(pl.lit("person:") + pl.col("person_id"))
    )
    echo = timedelta(hours=mapping.milestones.echo_hours)
    adopt = timedelta(days=mapping.milestones.adopt_days)
    moves = moves.drop_nulls("_group")
    near = _nearest_deals(moves, _starts(deals), deal_persons, echo, adopt)
    ignored = _near_passing(moves, passing, deal_persons, echo)
    adopts = pl.col("_adopts").fill_null(False)
    carriers = near.sort(ORDER).with_columns(_echo=pl.col("_echo").fill_null(False))
    carriers = carriers.with_columns(_ignored=~pl.col("_echo") & pl.col("event_id").is_in(ignored.implode()))
    first = pl.int_range(pl.len()).over("_group", "event", "_echo", "_ignored") == 0
    return carriers.with_columns(
        _outcome=pl.when("_echo")
        .then(pl.lit("echo"))
        .when("_ignored")
        .then(pl.lit("ignored_pipeline"))
        .when(~first)
        .then(pl.lit("linked"))
        .when(adopts)
        .then(pl.lit("adopted"))
        .otherwise(pl.lit("own"))
    )


def _starts(deals: pl.DataFrame) -> pl.DataFrame:
    """event, _deal_id, _chapter (null where the deal counts as one), account_id, _deal_at, _begun_at: what in deals a
    lifecycle change may repeat, and when the deal was created.

    An opportunity repeats a deal's first tracked entry, a customer its win, an expansion any win of the account but
    the first.
    """
    begun = deals.group_by("deal_id").agg(
        _begun_at=pl.min_horizontal(pl.col("createdate").first(), pl.col("occurred_at").min())
    )
    entries = deals.group_by("deal_id", "account_id").agg(_deal_at=pl.col("occurred_at").min())
    wins = (
        deals.filter(pl.col("event") == "deal_won")
        .group_by("deal_id", "account_id", "_chapter")
        .agg(_deal_at=pl.col("occurred_at").min())
        .sort("_deal_at", "deal_id", "_chapter")
    )
    acquired = pl.int_range(pl.len()).over("account_id") == 0
    by_event = {
        "opportunity_created": entries,
        "customer_won": wins,
        "customer_expanded": wins.filter(~acquired),
    }
    starts = pl.concat((frame.with_columns(event=pl.lit(event)) for event, frame in by_event.items()), how="diagonal")
    return starts.join(begun, on="deal_id").rename({"deal_id": "_deal_id"})


def _nearest_deals(
    moves: pl.DataFrame, starts: pl.DataFrame, deal_persons: pl.DataFrame, echo: timedelta, adopt: timedelta
) -> pl.DataFrame:
    """Add `_deal_id`, `_chapter`, `_echo` (a deal of the account or the contact shows the same, until `echo` later) and
    `_adopts` (one was created until `adopt` later); the earliest of those that do."""
    earliest = (
        _pairs(moves, starts, deal_persons)
        .with_columns(
            _echo=pl.col("_deal_at") <= pl.col("occurred_at") + echo,
            _adopts=pl.col("_begun_at") <= pl.col("occurred_at") + adopt,
        )
        .sort(~pl.col("_echo"), ~pl.col("_adopts"), "_deal_at", "_deal_id", "_chapter")
        .unique("event_id", keep="first", maintain_order=True)
    )
    columns = ["event_id", "_deal_id", "_chapter", "_echo", "_adopts"]
    return moves.join(earliest.select(columns), on="event_id", how="left", maintain_order="left")


def _near_passing(moves: pl.DataFrame, passing: pl.DataFrame, deal_persons: pl.DataFrame, echo: timedelta) -> pl.Series:
    """event_id of the changes that repeat a deal of a pipeline without milestones, before it or after it by `echo` at
    most."""
    entries = passing.group_by("deal_id", "account_id").agg(_deal_at=pl.col("occurred_at").min())
    wins = passing.filter(pl.col("event") == "deal_won").select("deal_id", "account_id", _deal_at="occurred_at")
    told_by = {"opportunity_created": entries, "customer_won": wins, "customer_expanded": wins}
    starts = pl.concat(frame.with_columns(event=pl.lit(event)) for event, frame in told_by.items())
    starts = starts.rename({"deal_id": "_deal_id"}).with_columns(
        _chapter=pl.lit(None, pl.String), _begun_at=pl.col("_deal_at")
    )
    apart = (pl.col("_deal_at") - pl.col("occurred_at")).abs()
    return _pairs(moves, starts, deal_persons).filter(apart <= echo)["event_id"].unique()


def _pairs(moves: pl.DataFrame, starts: pl.DataFrame, deal_persons: pl.DataFrame) -> pl.DataFrame:
    """event_id and occurred_at of lifecycle changes, with the `starts` of the same event of their account's deals, and
    of the deals their person had not been taken off before."""
    by_account = moves.select("event_id", "occurred_at", "event", "account_id").drop_nulls()
    of_account = by_account.join(starts, on=["account_id", "event"])
    of_person = (
        moves.select("event_id", "occurred_at", "event", "person_id")
        .drop_nulls()
        .join(deal_persons, on="person_id")
        .filter(pl.col("until").is_null() | (pl.col("until") > pl.col("occurred_at")))
        .join(starts.drop("account_id"), left_on=["deal_id", "event"], right_on=["_deal_id", "event"])
        .rename({"deal_id": "_deal_id"})
    )
    columns = ["event_id", "occurred_at", "_deal_id", "_chapter", "_deal_at", "_begun_at"]
    return pl.concat([of_account.select(columns), of_person.select(columns)])


def adopt(rows: pl.DataFrame, lifecycle: pl.DataFrame, by: Sequence[str] = ("deal_id",)) -> pl.DataFrame:
    """Link lifecycle changes to their deal's milestone; an adopted one, being earlier, gives it its id. Time, value and
    carrier stay the deal's own.

    Args:
        rows: one per deal; `_fact` is the event whose id it has (default its carrier), `_heard` when that was observed.
        lifecycle: from `lifecycle_changes`.
        by: deal_id, and `_chapter` where rows are one per deal and chapter.
    """
    if "_fact" not in rows.columns:
        rows = rows.with_columns(_fact=pl.col("event_id"), _heard=pl.col("observed_at"))
    mine = (
        lifecycle.filter(pl.col("_outcome").is_in(["echo", "adopted"])).drop("deal_id").rename({"_deal_id": "deal_id"})
    )
    later = lifecycle.filter(pl.col("_outcome") == "linked").select("_group", "event", "event_id", "observed_at")
    adopted = mine.filter(pl.col("_outcome") == "adopted").select(
        "_group", "event", *by, _event="event_id", _observed="observed_at"
    )
    extra = pl.concat(
        [
            mine.select("event_id", "observed_at", *by),
            later.join(adopted.select("_group", "event", *by), on=["_group", "event"]).select(
                "event_id", "observed_at", *by
            ),
        ]
    )
    linked = extra.sort(ORDER).group_by(by, maintain_order=True).agg(_echoes=pl.col("event_id"))
    one = adopted.sort("_observed", "_event").unique(by, keep="first", maintain_order=True)
    rows = rows.join(linked, on=by, how="left").join(one.drop("_group", "event"), on=by, how="left")
    takes = pl.col("_event").is_not_null() & (pl.col("_observed") <= pl.col("_heard"))
    rows = rows.with_columns(_adopted=takes.fill_null(False))
    return rows.with_columns(
        linked_event_ids=pl.concat_list(
            "linked_event_ids", pl.col("_echoes").fill_null(pl.lit([], pl.List(pl.String)))
        ),
        _fact=pl.when("_adopted").then("_event").otherwise("_fact"),
    ).drop("_echoes", "_event", "_observed", "_heard")


def own_milestones(lifecycle: pl.DataFrame, mapping: Rules) -> pl.DataFrame:
    """Lifecycle changes that no deal explains: once per account, or per person without one."""
    own = lifecycle.filter(pl.col("_outcome") == "own")
    linked = (
        lifecycle.filter(pl.col("_outcome") == "linked")
        .sort(ORDER)
        .group_by("_group", "event", maintain_order=True)
        .agg(_more=pl.col("event_id"))
    )
    rows = own.join(linked, on=["_group", "event"], how="left")
    none = pl.lit([], pl.List(pl.String))
    return rows.select(
        "person_id",
        "account_id",
        "event_id",
        "occurred_at",
        "time_basis",
        "observed_at",
        "imported",
        "suppressed_by",
        milestone="event",
        milestone_id="event_id",
        subject=pl.when(pl.col("account_id").is_not_null()).then(pl.lit("account")).otherwise(pl.lit("person")),
        group_key="_group",
        linked_event_ids=pl.concat_list(pl.concat_list("event_id"), pl.col("_more").fill_null(none)),
        rule=pl.lit("lifecycle_without_deal"),
        ready_from=pl.col("occurred_at") + timedelta(hours=mapping.milestones.echo_hours),
        state=pl.lit("live"),
    )
