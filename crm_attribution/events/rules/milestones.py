"""Milestones: what happened in the business, counted once, however often HubSpot records it.

Three families. Person milestones: the first entry of a person into a lead stage. Deal milestones: a deal's creation,
its stages and its win. Lifecycle changes to opportunity or customer: an echo of a deal that is near in time, else a
milestone of their own, which a later deal adopts.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from crm_attribution.events.rules import deal_milestones
from crm_attribution.events.rules.echoes import lifecycle_changes, own_milestones
from crm_attribution.events.rules.events import IMPORTED_SOURCES, slipped
from crm_attribution.events.rules.revenue_changes import revenue
from crm_attribution.events.rules.values import MEASURES
from crm_attribution.mapping import Rules

KEY = ["milestone", "milestone_id"]
PERSON_MILESTONES = ["lead_captured", "qualified_lead", "sales_qualified_lead"]


@dataclass(frozen=True)
class Facts:
    """What milestones are made of.

    Attributes:
        events: events.event rows with `person_id` and `account_id` (of that moment) added.
        deals: live deals: deal_id, account_id, dealname, dealtype, created_at, createdate, archived, archived_at,
            closedate, stage_now and pipeline_now (of the record's stage), currency and the current measures; UTC times
            valued_at (when one of these was last entered), churned_at and churned_on (when its revenue ended, by a
            property and by a date); company_id, company_churned_at and company_churned_on: the same of the company that
            is its account.
        deal_persons: deal_id, person_id of the deals' contacts, `until` (UTC) when one was taken off, else null.
        time_zone: the HubSpot account's, for finance days.
    """

    events: pl.DataFrame
    deals: pl.DataFrame
    deal_persons: pl.DataFrame
    time_zone: str


@dataclass(frozen=True)
class Made:
    """What `milestones` makes.

    Attributes:
        rows: events.milestone.
        events: events.milestone_event.
        revenue: events.revenue.
    """

    rows: pl.DataFrame
    events: pl.DataFrame
    revenue: pl.DataFrame


def milestones(facts: Facts, mapping: Rules) -> Made:
    """The milestones of everything in `facts`, their events, and the revenue movements of the accounts."""
    events, deals, lifecycle = _parts(facts, mapping)
    wins = deal_milestones.wins(deals, lifecycle)
    rows = pl.concat(
        [
            _person_milestones(events),
            deal_milestones.opportunities(deals, lifecycle),
            deal_milestones.stages(deals),
            wins,
            own_milestones(lifecycle, mapping),
        ],
        how="diagonal",
    )
    rows = deal_milestones.new_recurring(_finish(rows, facts))
    rows = deal_milestones.possible_duplicates(rows, facts.deals, mapping)
    return Made(
        rows.drop("linked_event_ids"),
        _milestone_events(rows, events, lifecycle),
        revenue(wins, deals, events, facts.deals, mapping, facts.time_zone),
    )


def _parts(facts: Facts, mapping: Rules) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Events that are no slips, stage entries of deals, lifecycle changes with what becomes of them."""
    events = facts.events.filter(~slipped("observed_at", mapping)).with_columns(
        imported=pl.col("source").is_in(IMPORTED_SOURCES).fill_null(False)
    )
    deals = deal_milestones.deal_facts(events, facts.deals, mapping.deals)
    passing = deal_milestones.passing_entries(events, facts.deals, mapping.deals)
    return events, deals, lifecycle_changes(events, deals, passing, facts.deal_persons, mapping)


def _person_milestones(events: pl.DataFrame) -> pl.DataFrame:
    rows = events.filter(
        (pl.col("object_type") == "contacts")
        & pl.col("event").is_in(PERSON_MILESTONES)
        & pl.col("person_id").is_not_null()
    )
    return deal_milestones.carried(rows, ["person_id", "event"]).select(
        "person_id",
        "account_id",
        "linked_event_ids",
        "event_id",
        "occurred_at",
        "time_basis",
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


def _milestone_events(rows: pl.DataFrame, events: pl.DataFrame, lifecycle: pl.DataFrame) -> pl.DataFrame:
    """events.milestone_event rows.

    Args:
        rows: events.milestone rows with `linked_event_ids` (List of String).
        events: event_id, object_type.
        lifecycle: event_id, `_outcome` of lifecycle changes.
    """
    kinds = events.select("event_id", _of_deal=pl.col("object_type") == "deals").unique("event_id")
    outcomes = lifecycle.select("event_id", _outcome=pl.col("_outcome").replace({"linked": "repeated"}))
    each = (
        rows.select(*KEY, _carrier="event_id", event_id="linked_event_ids")
        .explode("event_id")
        .join(kinds, on="event_id", how="left", maintain_order="left")
        .join(outcomes.unique("event_id"), on="event_id", how="left", maintain_order="left")
    )
    carries = pl.col("event_id") == pl.col("_carrier")
    entry = pl.col("milestone").is_in(PERSON_MILESTONES) | pl.col("_outcome").is_null()
    reason = (
        pl.when(~entry)
        .then("_outcome")
        .when(entry.cast(pl.Int64).cum_sum().over(KEY) == 1)
        .then(pl.lit("first"))
        .when(pl.col("_of_deal") & pl.col("milestone").is_in(deal_milestones.WINS))
        .then(pl.lit("won_again"))
        .when("_of_deal")
        .then(pl.lit("later_entry_of_deal"))
        .otherwise(pl.lit("later_entry_of_person"))
    )
    role = pl.when(carries).then(pl.lit("carrier")).otherwise(pl.lit("linked"))
    return each.select(*KEY, "event_id", role=role, reason=reason)


def _finish(rows: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    now = facts.deals.select("deal_id", _currency="currency", **{f"{name}_current": name for name in MEASURES})
    rows = rows.drop([f"{name}_current" for name in MEASURES if f"{name}_current" in rows.columns])
    rows = rows.join(now, on="deal_id", how="left")
    won = pl.col("milestone").is_in(deal_milestones.WINS)
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
        "time_basis",
        "observed_at",
        "ready_from",
        pl.coalesce(close, "occurred_at").dt.convert_time_zone(facts.time_zone).dt.date().alias("booked_on"),
        "imported",
        "person_id",
        "account_id",
        "deal_id",
        pl.coalesce("_currency", "currency").alias("currency"),
        pl.col("currency").alias("currency_at_event"),
        *(pl.col(name).alias(f"{name}_at_event") for name in MEASURES),
        *(f"{name}_current" for name in MEASURES),
        "state",
        "reason",
        "suppressed_by",
    ).sort("milestone", "milestone_id")
