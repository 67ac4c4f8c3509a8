"""Milestones: what happened in the business, once, however often HubSpot tells it.

Three families. Person milestones: the first entry of a person into a lead stage. Deal milestones: a deal's creation,
its stages and its win. Lifecycle changes to opportunity or customer: an echo of a deal that is near in time, else a
milestone of their own, which a later deal adopts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from crm_attribution.mapping import Mapping
from crm_attribution.transforms.events import IMPORTED_SOURCES, slipped
from crm_attribution.transforms.values import MEASURES

PERSON_MILESTONES = ["lead_captured", "qualified_lead", "sales_qualified_lead"]
DEAL_STAGES = [
    "meeting_scheduled",
    "opportunity_qualified",
    "demo_completed",
    "negotiation_started",
    "proposal_sent",
]
LIFECYCLE = ["opportunity_created", "customer_won"]

_ORDER = ["observed_at", "event_id"]


@dataclass(frozen=True)
class Facts:
    """What milestones are made of.

    Attributes:
        events: events.event rows with `person_id` and `account_id` (of that moment) added.
        deals: live deals: deal_id, account_id, archived, closedate, currency and the current measures.
        deal_persons: deal_id, person_id of the deals' contacts.
        time_zone: the HubSpot account's, for finance days.
    """

    events: pl.DataFrame
    deals: pl.DataFrame
    deal_persons: pl.DataFrame
    time_zone: str


def milestones(facts: Facts, mapping: Mapping) -> pl.DataFrame:
    """events.milestone rows of everything in `facts`."""
    events = facts.events.filter(~slipped("observed_at", mapping)).with_columns(
        imported=pl.col("source").is_in(IMPORTED_SOURCES).fill_null(False)
    )
    persons = _person_milestones(events)
    deals = _deal_facts(facts, events, mapping)
    lifecycle = _lifecycle(events, deals, facts.deal_persons, mapping)
    rows = pl.concat(
        [
            persons,
            _opportunities(deals, lifecycle),
            _stages(deals),
            _wins(deals, lifecycle),
            _own(lifecycle, mapping),
        ],
        how="diagonal",
    )
    return _finish(rows, facts)


def _carried(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """One row per group: its earliest event by (observed_at, event_id), with all event ids linked."""
    return (
        rows.sort(_ORDER)
        .group_by(by, maintain_order=True)
        .agg(pl.all().exclude("linked_event_ids").first(), linked_event_ids=pl.col("event_id"))
    )


def _person_milestones(events: pl.DataFrame) -> pl.DataFrame:
    rows = events.filter(
        (pl.col("object_type") == "contacts")
        & pl.col("event").is_in(PERSON_MILESTONES)
        & pl.col("person_id").is_not_null()
    )
    return _carried(rows, ["person_id", "event"]).select(
        "person_id",
        "account_id",
        "linked_event_ids",
        "event_id",
        "occurred_at",
        "observed_at",
        "imported",
        "suppressed_by",
        milestone="event",
        milestone_id="event_id",
        subject=pl.lit("person"),
        group_key=pl.lit("person:") + pl.col("person_id"),
        rule=pl.lit("first_entry_of_person"),
        ready_from="observed_at",
        state=pl.lit("live"),
    )


def _deal_facts(facts: Facts, events: pl.DataFrame, mapping: Mapping) -> pl.DataFrame:
    """Deal events in tracked pipelines, with the live deal's account, kind and whether its win stands."""
    kinds = {pipeline: kind for pipeline, kind in mapping.deals.pipelines.items() if kind != "ignore"}
    rows = (
        events.filter(pl.col("object_type") == "deals")
        .with_columns(subtype=pl.col("pipeline").replace_strict(kinds, default=None, return_dtype=pl.String))
        .drop("deal_id", "account_id", "person_id")
        .rename({"record_id": "deal_id"})
        .join(facts.deals.select("deal_id", "account_id", "archived", "closedate"), on="deal_id")
        .sort("deal_id", *_ORDER)
    )
    won = pl.col("event") == "deal_won"
    later_not_won = (~won).cast(pl.Int64).reverse().cum_sum().reverse().over("deal_id")
    return rows.with_columns(
        _standing=won & (later_not_won == 0) & ~pl.col("archived"),
        _last_event=pl.col("event").last().over("deal_id"),
    )


def _opportunities(deals: pl.DataFrame, lifecycle: pl.DataFrame) -> pl.DataFrame:
    first = _carried(deals.drop_nulls("subtype"), ["deal_id"])
    rows = _adopt(first, lifecycle.filter(pl.col("event") == "opportunity_created"))
    return _deal_rows(rows, "opportunity_created", pl.lit("first_entry_of_deal")).with_columns(
        state=pl.when("archived").then(pl.lit("reversed")).otherwise(pl.lit("live")),
        reason=pl.when("archived").then(pl.lit("archived")),
    )


def _stages(deals: pl.DataFrame) -> pl.DataFrame:
    rows = deals.drop_nulls("subtype").filter(pl.col("event").is_in(DEAL_STAGES))
    carried = _carried(rows, ["deal_id", "event"]).with_columns(_adopted=pl.lit(False))
    return _deal_rows(carried, pl.col("event"), pl.lit("first_entry_of_deal")).with_columns(
        state=pl.when("archived").then(pl.lit("reversed")).otherwise(pl.lit("live")),
        reason=pl.when("archived").then(pl.lit("archived")),
    )


def _wins(deals: pl.DataFrame, lifecycle: pl.DataFrame) -> pl.DataFrame:
    """One row per deal ever won: customer_won for the account's earliest standing win, else customer_expanded."""
    won = deals.drop_nulls("subtype").filter(pl.col("event") == "deal_won")
    standing = (
        won.filter("_standing")
        .group_by("deal_id")
        .agg(_standing_at=pl.col("occurred_at").min(), _standing_event=pl.col("event_id").sort_by(_ORDER).first())
    )
    customer = lifecycle.filter(pl.col("event") == "customer_won")
    rows = _adopt(_carried(won, ["deal_id"]), customer).join(standing, on="deal_id", how="left")
    lives = pl.col("_standing_at").is_not_null()
    acquires = lives & (pl.col("subtype") != "renewal")
    rows = rows.with_columns(
        occurred_at=pl.when("_adopted").then("occurred_at").otherwise(pl.coalesce("_standing_at", "occurred_at"))
    )
    earliest = (
        rows.filter(acquires)
        .sort("occurred_at", "deal_id")
        .group_by("account_id", maintain_order=True)
        .agg(_first_at=pl.col("occurred_at").first(), _first_deal=pl.col("deal_id").first())
    )
    before = (
        customer.filter(pl.col("_outcome") == "own")
        .select(account_id="account_id", _customer_since="occurred_at")
        .drop_nulls("account_id")
        .unique("account_id")
    )
    rows = rows.join(earliest, on="account_id", how="left").join(before, on="account_id", how="left")
    leads = (pl.col("_first_deal") == pl.col("deal_id")) | (
        ~lives & (pl.col("_first_at").is_null() | (pl.col("occurred_at") < pl.col("_first_at")))
    )
    known_customer = (pl.col("_customer_since") <= pl.col("occurred_at")).fill_null(False)
    is_first = leads.fill_null(False) & ~known_customer & (pl.col("subtype") != "renewal")
    reason = (
        pl.when("archived")
        .then(pl.lit("archived"))
        .when(pl.col("_last_event") == "deal_lost")
        .then(pl.lit("lost_after_won"))
        .otherwise(pl.lit("reopened"))
    )
    rows = rows.with_columns(
        _name=pl.when(is_first).then(pl.lit("customer_won")).otherwise(pl.lit("customer_expanded"))
    )
    rule = pl.when(is_first).then(pl.lit("earliest_standing_win_of_account")).otherwise(pl.lit("later_win_of_account"))
    return _deal_rows(rows.with_columns(_rule=rule), pl.col("_name"), pl.col("_rule")).with_columns(
        state=pl.when(pl.col("_standing_at").is_null()).then(pl.lit("reversed")).otherwise(pl.lit("live")),
        reason=pl.when(pl.col("_standing_at").is_null()).then(reason),
    )


def _deal_rows(rows: pl.DataFrame, name: str | pl.Expr, rule: pl.Expr) -> pl.DataFrame:
    adopted = pl.col("_adopted")
    return rows.with_columns(
        milestone=pl.lit(name) if isinstance(name, str) else name,
        milestone_id="event_id",
        subject=pl.lit("deal"),
        group_key=pl.lit("account:") + pl.col("account_id"),
        rule=pl.when(adopted).then(pl.lit("lifecycle_adopted_by_deal")).otherwise(rule),
        ready_from="observed_at",
    )


def _lifecycle(events: pl.DataFrame, deals: pl.DataFrame, deal_persons: pl.DataFrame, mapping: Mapping) -> pl.DataFrame:
    """Lifecycle changes to opportunity or customer, each with what becomes of it.

    Returns:
        the events' columns and `_outcome` (echo | adopted | own | linked), `_deal_id` of the deal it belongs to,
        `_group` it is once per.
    """
    told = events.filter(
        pl.col("object_type").is_in(["contacts", "companies"]) & pl.col("event").is_in(LIFECYCLE)
    ).with_columns(
        _group=pl.when(pl.col("account_id").is_not_null())
        .then(pl.lit("account:") + pl.col("account_id"))
        .otherwise(pl.lit("person:") + pl.col("person_id"))
    )
    echo = timedelta(hours=mapping.milestones.echo_hours)
    adopt = timedelta(days=mapping.milestones.adopt_days)
    near = _nearest_deals(told.drop_nulls("_group"), deals, deal_persons)
    is_echo = pl.col("_deal_at") <= pl.col("occurred_at") + echo
    adopts = (pl.col("_deal_at") <= pl.col("occurred_at") + adopt).fill_null(False)
    carriers = near.sort(_ORDER).with_columns(_echo=is_echo.fill_null(False))
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


def _nearest_deals(told: pl.DataFrame, deals: pl.DataFrame, deal_persons: pl.DataFrame) -> pl.DataFrame:
    """Add `_deal_id` and `_deal_at`: the earliest tracked (for customer: won) deal of the account or the contact."""
    tracked = deals.drop_nulls("subtype")
    starts = pl.concat(
        [
            tracked.group_by("deal_id", "account_id")
            .agg(_deal_at=pl.col("occurred_at").min())
            .with_columns(event=pl.lit("opportunity_created")),
            tracked.filter(pl.col("event") == "deal_won")
            .group_by("deal_id", "account_id")
            .agg(_deal_at=pl.col("occurred_at").min())
            .with_columns(event=pl.lit("customer_won")),
        ]
    ).rename({"deal_id": "_deal_id"})
    by_account = told.select("event_id", "event", "account_id").drop_nulls().join(starts, on=["account_id", "event"])
    by_person = (
        told.select("event_id", "event", "person_id")
        .drop_nulls()
        .join(deal_persons, on="person_id")
        .join(starts.drop("account_id"), left_on=["deal_id", "event"], right_on=["_deal_id", "event"])
        .rename({"deal_id": "_deal_id"})
    )
    columns = ["event_id", "_deal_id", "_deal_at"]
    earliest = (
        pl.concat([by_account.select(columns), by_person.select(columns)])
        .sort("_deal_at", "_deal_id")
        .unique("event_id", keep="first", maintain_order=True)
    )
    return told.join(earliest, on="event_id", how="left", maintain_order="left")


def _adopt(rows: pl.DataFrame, lifecycle: pl.DataFrame) -> pl.DataFrame:
    """Link lifecycle changes to their deal's milestone; an adopted one, being earlier, gives it its id and time."""
    mine = lifecycle.filter(pl.col("_outcome").is_in(["echo", "adopted"]))
    later = lifecycle.filter(pl.col("_outcome") == "linked").select("_group", "event_id", "observed_at")
    adopted = mine.filter(pl.col("_outcome") == "adopted").select(
        "_group",
        deal_id="_deal_id",
        _event="event_id",
        _observed="observed_at",
        _occurred="occurred_at",
        _imported="imported",
    )
    extra = pl.concat(
        [
            mine.select("event_id", "observed_at", deal_id="_deal_id"),
            later.join(adopted.select("_group", "deal_id"), on="_group").select("event_id", "observed_at", "deal_id"),
        ]
    )
    linked = extra.sort(_ORDER).group_by("deal_id", maintain_order=True).agg(_echoes=pl.col("event_id"))
    one = adopted.sort("_observed", "_event").unique("deal_id", keep="first", maintain_order=True)
    rows = rows.join(linked, on="deal_id", how="left").join(one.drop("_group"), on="deal_id", how="left")
    takes = pl.col("_event").is_not_null() & (pl.col("_observed") <= pl.col("observed_at"))
    rows = rows.with_columns(_adopted=takes.fill_null(False))
    return rows.with_columns(
        linked_event_ids=pl.concat_list(
            "linked_event_ids", pl.col("_echoes").fill_null(pl.lit([], pl.List(pl.String)))
        ),
        event_id=pl.when("_adopted").then("_event").otherwise("event_id"),
        observed_at=pl.when("_adopted").then("_observed").otherwise("observed_at"),
        occurred_at=pl.when("_adopted").then("_occurred").otherwise("occurred_at"),
        imported=pl.when("_adopted").then("_imported").otherwise("imported"),
    ).drop("_echoes", "_event", "_observed", "_occurred", "_imported")


def _own(lifecycle: pl.DataFrame, mapping: Mapping) -> pl.DataFrame:
    """Lifecycle changes that no deal explains: once per account, or per person without one."""
    own = lifecycle.filter(pl.col("_outcome") == "own")
    linked = (
        lifecycle.filter(pl.col("_outcome") == "linked")
        .sort(_ORDER)
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


def _finish(rows: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    now = facts.deals.select("deal_id", _currency="currency", **{f"{name}_current": name for name in MEASURES})
    rows = rows.drop([f"{name}_current" for name in MEASURES if f"{name}_current" in rows.columns])
    rows = rows.join(now, on="deal_id", how="left")
    won = pl.col("milestone").is_in(["customer_won", "customer_expanded"])
    close = pl.when(won & pl.col("deal_id").is_not_null()).then("closedate")
    return rows.select(
        "milestone",
        "milestone_id",
        "subtype",
        "subject",
        "group_key",
        "event_id",
        pl.concat_list(pl.concat_list("milestone_id"), "linked_event_ids")
        .list.unique(maintain_order=True)
        .alias("linked_event_ids"),
        "rule",
        "occurred_at",
        "observed_at",
        "ready_from",
        pl.coalesce(close, "occurred_at").dt.convert_time_zone(facts.time_zone).dt.date().alias("booked_on"),
        "imported",
        "person_id",
        "account_id",
        "deal_id",
        pl.coalesce("_currency", "currency").alias("currency"),
        *(pl.col(name).alias(f"{name}_at_event") for name in MEASURES),
        *(f"{name}_current" for name in MEASURES),
        "state",
        "reason",
        "suppressed_by",
    ).sort("milestone", "milestone_id")
