"""Lifecycle changes to opportunity or customer: an echo of a deal near in time, adopted by a later one, or a fact."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crm_attribution.mapping import Rules

ORDER = ["observed_at", "event_id"]


def lifecycle_changes(
    events: pl.DataFrame, deals: pl.DataFrame, deal_persons: pl.DataFrame, mapping: Rules
) -> pl.DataFrame:
    """Lifecycle changes that may carry a milestone, each with what becomes of it.

    Returns:
        the events' columns and `_outcome` (echo | adopted | own | linked), `_deal_id` of the deal it belongs to,
        `_group` it is once per.
    """
    told = events.filter(
        pl.col("object_type").is_in(["contacts", "companies"]) & pl.col("event").is_in(mapping.milestones.carriers)
    ).with_columns(
        _group=pl.when(pl.col("account_id").is_not_null())
        .then(pl.lit("account:") + pl.col("account_id"))
        .otherwise(pl.lit("person:") + pl.col("person_id"))
    )
    echo = timedelta(hours=mapping.milestones.echo_hours)
    adopt = timedelta(days=mapping.milestones.adopt_days)
    near = _nearest_deals(told.drop_nulls("_group"), deals, deal_persons, echo, adopt)
    adopts = pl.col("_adopts").fill_null(False)
    carriers = near.sort(ORDER).with_columns(_echo=pl.col("_echo").fill_null(False))
    first = pl.int_range(pl.len()).over("_group", "event", "_echo") == 0
    return carriers.with_columns(
        _outcome=pl.when("_echo")
        .then(pl.lit("echo"))
        .when(~first)
        .then(pl.lit("linked"))
        .when(adopts)
        .then(pl.lit("adopted"))
        .otherwise(pl.lit("own"))
    )


def _starts(deals: pl.DataFrame) -> pl.DataFrame:
    """event, _deal_id, account_id, _deal_at, _begun_at: what in deals a lifecycle change may repeat, and when the deal
    was created.

    An opportunity repeats a deal's first tracked entry, a customer its win, an expansion any win of the account but
    the first acquiring one.
    """
    begun = deals.group_by("deal_id").agg(
        _begun_at=pl.min_horizontal(pl.col("createdate").first(), pl.col("occurred_at").min())
    )
    entries = deals.group_by("deal_id", "account_id").agg(_deal_at=pl.col("occurred_at").min())
    wins = (
        deals.filter(pl.col("event") == "deal_won")
        .group_by("deal_id", "account_id", "_renews")
        .agg(_deal_at=pl.col("occurred_at").min())
        .sort("_renews", "_deal_at", "deal_id")
    )
    acquired = ~pl.col("_renews") & (pl.int_range(pl.len()).over("account_id") == 0)
    told = {
        "opportunity_created": entries,
        "customer_won": wins.drop("_renews"),
        "customer_expanded": wins.filter(~acquired).drop("_renews"),
    }
    starts = pl.concat(frame.with_columns(event=pl.lit(event)) for event, frame in told.items())
    return starts.join(begun, on="deal_id").rename({"deal_id": "_deal_id"})


def _nearest_deals(
    told: pl.DataFrame, deals: pl.DataFrame, deal_persons: pl.DataFrame, echo: timedelta, adopt: timedelta
) -> pl.DataFrame:
    """Add `_deal_id`, `_echo` (a deal of the account or the contact tells the same, until `echo` later) and `_adopts`
    (one was created until `adopt` later); the earliest of those that do."""
    starts = _starts(deals)
    by_account = told.select("event_id", "event", "account_id").drop_nulls().join(starts, on=["account_id", "event"])
    by_person = (
        told.select("event_id", "event", "person_id")
        .drop_nulls()
        .join(deal_persons, on="person_id")
        .join(starts.drop("account_id"), left_on=["deal_id", "event"], right_on=["_deal_id", "event"])
        .rename({"deal_id": "_deal_id"})
    )
    columns = ["event_id", "_deal_id", "_deal_at", "_begun_at"]
    earliest = (
        pl.concat([by_account.select(columns), by_person.select(columns)])
        .join(told.select("event_id", "occurred_at"), on="event_id")
        .with_columns(
            _echo=pl.col("_deal_at") <= pl.col("occurred_at") + echo,
            _adopts=pl.col("_begun_at") <= pl.col("occurred_at") + adopt,
        )
        .sort(~pl.col("_echo"), ~pl.col("_adopts"), "_deal_at", "_deal_id")
        .unique("event_id", keep="first", maintain_order=True)
    )
    columns = ["event_id", "_deal_id", "_echo", "_adopts"]
    return told.join(earliest.select(columns), on="event_id", how="left", maintain_order="left")


def adopt(rows: pl.DataFrame, lifecycle: pl.DataFrame) -> pl.DataFrame:
    """Link lifecycle changes to their deal's milestone; an adopted one, being earlier, gives it its id. Time, value and
    carrier stay the deal's own.

    Args:
        rows: one per deal; `_fact` is the event whose id it has (default its carrier), `_heard` when that was observed.
        lifecycle: from `lifecycle_changes`.
    """
    if "_fact" not in rows.columns:
        rows = rows.with_columns(_fact=pl.col("event_id"), _heard=pl.col("observed_at"))
    mine = lifecycle.filter(pl.col("_outcome").is_in(["echo", "adopted"]))
    later = lifecycle.filter(pl.col("_outcome") == "linked").select("_group", "event", "event_id", "observed_at")
    adopted = mine.filter(pl.col("_outcome") == "adopted").select(
        "_group",
        "event",
        deal_id="_deal_id",
        _event="event_id",
        _observed="observed_at",
    )
    extra = pl.concat(
        [
            mine.select("event_id", "observed_at", deal_id="_deal_id"),
            later.join(adopted.select("_group", "event", "deal_id"), on=["_group", "event"]).select(
                "event_id", "observed_at", "deal_id"
            ),
        ]
    )
    linked = extra.sort(ORDER).group_by("deal_id", maintain_order=True).agg(_echoes=pl.col("event_id"))
    one = adopted.sort("_observed", "_event").unique("deal_id", keep="first", maintain_order=True)
    rows = rows.join(linked, on="deal_id", how="left").join(one.drop("_group", "event"), on="deal_id", how="left")
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
