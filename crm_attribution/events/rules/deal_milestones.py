"""Milestones of deals: created, each stage once, won; and which archived deal a new one may be a copy of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl

from crm_attribution.contracts.events import BACKDATED
from crm_attribution.events.rules.echoes import ORDER, adopt
from crm_attribution.events.rules.values import has_choice
from crm_attribution.mapping import Deals, Rules

DEAL_STAGES = [
    "meeting_scheduled",
    "opportunity_qualified",
    "demo_completed",
    "negotiation_started",
    "proposal_sent",
]
WINS = ["customer_won", "customer_expanded"]
RECURRING = ("mrr", "arr")

CHAPTER = ["deal_id", "_chapter"]
"""A deal in the pipelines of one kind: won in another kind it is won a second time."""

NOT_ENTRIES = ["stage_skipped", "deal_amount_changed"]


def deal_facts(events: pl.DataFrame, deals: pl.DataFrame, rules: Deals) -> pl.DataFrame:
    """Stage entries in tracked pipelines, with the live deal's account, kind and whether its win stands.

    The kind is the pipeline's; in a `new` pipeline dealtype marks an expansion. What a deal does in an ignored pipeline
    changes nothing, and what it does in a renewal or expansion pipeline leaves the win before as it was.

    The record decides whether a deal is won. The histories, each by itself, decide which win stands and since when:
    what happened to an absorbed deal happened to that deal. Where the record is in a pipeline that is not tracked, or
    its stage is not known, its own history decides, else those of the absorbed deals.
    """
    kinds = {pipeline: rules.pipelines[pipeline] for pipeline in rules.tracked}
    kind = pl.col("pipeline").replace_strict(kinds, default=None, return_dtype=pl.String)
    existing = has_choice(pl.col("dealtype"), rules.existing_business)
    chapter_now = pl.col("pipeline_now").replace_strict(kinds, default=None, return_dtype=pl.String)
    rows = (
        _entries(events, deals)
        .with_columns(
            subtype=pl.when((kind == "new") & existing).then(pl.lit("expansion")).otherwise(kind),
        )
        .drop_nulls("subtype")
        .with_columns(_chapter=kind)
        .sort("deal_id", *ORDER)
    )
    won = pl.col("event") == "deal_won"
    later_not_won = (~won).cast(pl.Int64).reverse().cum_sum().reverse().over(*CHAPTER, "object_id")
    own = (pl.col("object_id") == pl.col("deal_id")) | ~(pl.col("object_id") == pl.col("deal_id")).any().over(CHAPTER)
    recorded = (chapter_now == pl.col("_chapter")).fill_null(False) & pl.col("stage_now").is_not_null()
    state = pl.when(recorded).then("stage_now").otherwise(pl.col("event").filter(own).last().over(CHAPTER))
    last_won = won & (won.cast(pl.Int64).reverse().cum_sum().reverse().over(CHAPTER) == 1)
    rows = rows.with_columns(_ends=won & (later_not_won == 0), _last=last_won, _state=state)
    # merged before it was first read, HubSpot shows both histories as one: the record knows better
    ends = pl.when(pl.col("_ends").any().over(CHAPTER)).then("_ends").otherwise("_last")
    return rows.with_columns(_standing=ends & (pl.col("_state") == "deal_won") & ~pl.col("archived"))


def passing_entries(events: pl.DataFrame, deals: pl.DataFrame, rules: Deals) -> pl.DataFrame:
    """Stage entries in pipelines that the mapping ignores or does not name: deal_id, account_id, event, occurred_at."""
    elsewhere = ~pl.col("pipeline").is_in(rules.tracked).fill_null(False)
    return _entries(events, deals).filter(elsewhere).select("deal_id", "account_id", "event", "occurred_at")


def _entries(events: pl.DataFrame, deals: pl.DataFrame) -> pl.DataFrame:
    """Deal events that are entries into a stage, with what the live deal is now."""
    facts = ["account_id", "archived", "closedate", "dealtype", "createdate", "stage_now", "pipeline_now"]
    return (
        events.filter((pl.col("object_type") == "deals") & ~pl.col("event").is_in(NOT_ENTRIES))
        .drop("deal_id", "account_id", "person_id")
        .rename({"record_id": "deal_id"})
        .join(deals.select("deal_id", *facts), on="deal_id")
    )


def carried(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """One row per group: its earliest event by (observed_at, event_id), with all event ids linked."""
    return (
        rows.sort(ORDER)
        .group_by(by, maintain_order=True)
        .agg(pl.all().exclude("linked_event_ids").first(), linked_event_ids=pl.col("event_id"))
    )


def opportunities(deals: pl.DataFrame, lifecycle: pl.DataFrame) -> pl.DataFrame:
    """One row per deal: its first tracked entry, dated at its creation where it began with it, and never after a stage
    of its own: a win that lies before dates both."""
    earliest = deals.group_by("deal_id").agg(_earliest=pl.col("occurred_at").min())
    dated = (
        carried(deals, ["deal_id"])
        .join(earliest, on="deal_id")
        .with_columns(
            occurred_at=pl.when("began").then(pl.coalesce("createdate", "occurred_at")).otherwise("occurred_at"),
            time_basis=pl.when(pl.col("began") & pl.col("createdate").is_not_null())
            .then(pl.lit("createdate"))
            .otherwise("time_basis"),
        )
    )
    before = pl.col("_earliest") < pl.col("occurred_at")
    dated = dated.with_columns(
        occurred_at=pl.min_horizontal("occurred_at", "_earliest"),
        time_basis=pl.when(before).then(pl.lit(BACKDATED)).otherwise("time_basis"),
    ).drop("_earliest")
    rows = adopt(dated, lifecycle.filter(pl.col("event") == "opportunity_created"))
    return _unless_archived(_deal_rows(rows, pl.lit("opportunity_created"), pl.lit("first_entry_of_deal")))


def stages(deals: pl.DataFrame) -> pl.DataFrame:
    rows = deals.filter(pl.col("event").is_in(DEAL_STAGES))
    entered = carried(rows, ["deal_id", "event"]).with_columns(_adopted=pl.lit(False), _fact=pl.col("event_id"))
    return _unless_archived(_deal_rows(entered, pl.col("event"), pl.lit("first_entry_of_deal")))


def wins(deals: pl.DataFrame, lifecycle: pl.DataFrame) -> pl.DataFrame:
    """One row per deal ever won, and one more where it was won again in pipelines of another kind: customer_won for the
    account's earliest standing win, whatever pipeline it is in, else customer_expanded.

    Its id is the first win's; its time, its observation and its money are the standing one's.
    """
    won = deals.filter(pl.col("event") == "deal_won")
    linked = (
        won.sort(ORDER)
        .group_by(CHAPTER, maintain_order=True)
        .agg(
            linked_event_ids=pl.col("event_id"), _fact=pl.col("event_id").first(), _heard=pl.col("observed_at").first()
        )
    )
    standing = (
        won.filter("_standing")
        .sort("occurred_at", *ORDER)
        .group_by(CHAPTER, maintain_order=True)
        .agg(event_id=pl.col("event_id").first())
    )
    carrier = standing.join(linked, on=CHAPTER, how="right").select(
        *CHAPTER, "_fact", "_heard", "linked_event_ids", _standing=pl.col("event_id").is_not_null(),
        event_id=pl.coalesce("event_id", "_fact"),
    )  # fmt: skip
    rows = won.drop("_standing").join(carrier, on=[*CHAPTER, "event_id"])
    customer = lifecycle.filter(pl.col("event").is_in(WINS))
    rows = adopt(rows, customer, CHAPTER)
    rows = rows.with_columns(_first=_is_first(rows, customer))
    name = pl.when("_first").then(pl.lit("customer_won")).otherwise(pl.lit("customer_expanded"))
    rule = (
        pl.when("_first")
        .then(pl.lit("earliest_standing_win_of_account"))
        .when(pl.col("subtype") == "renewal")
        .then(pl.lit("renewal_of_account"))
        .otherwise(pl.lit("later_win_of_account"))
    )
    reason = (
        pl.when("archived")
        .then(pl.lit("archived"))
        .when(pl.col("_state") == "deal_lost")
        .then(pl.lit("lost_after_won"))
        .otherwise(pl.lit("reopened"))
    )
    gone = ~pl.col("_standing")
    return _deal_rows(rows, name, rule).with_columns(
        state=pl.when(gone).then(pl.lit("reversed")).otherwise(pl.lit("live")),
        reason=pl.when(gone).then(reason),
    )


def _is_first(rows: pl.DataFrame, customer: pl.DataFrame) -> pl.Series:
    """Whether each win is its account's first: of two at one instant that of new business, then of the deal created
    first, then the smaller id."""
    place = ["occurred_at", "_not_new", "createdate", *CHAPTER]
    rows = rows.with_columns(_not_new=pl.col("subtype") != "new", _lives="_standing")
    earliest = (
        rows.filter("_lives")
        .sort(place)
        .group_by("account_id", maintain_order=True)
        .agg(
            _first_at=pl.col("occurred_at").first(),
            _first_deal=pl.col("deal_id").first(),
            _first_chapter=pl.col("_chapter").first(),
        )
    )
    before = (
        customer.filter((pl.col("_outcome") == "own") & (pl.col("event") == "customer_won"))
        .drop_nulls("account_id")
        .group_by("account_id")
        .agg(_customer_since=pl.col("occurred_at").min())
    )
    rows = rows.join(earliest, on="account_id", how="left", maintain_order="left").join(
        before, on="account_id", how="left", maintain_order="left"
    )
    earliest_itself = (pl.col("_first_deal") == pl.col("deal_id")) & (pl.col("_first_chapter") == pl.col("_chapter"))
    leads = earliest_itself | (
        ~pl.col("_lives") & (pl.col("_first_at").is_null() | (pl.col("occurred_at") < pl.col("_first_at")))
    )
    known_customer = (pl.col("_customer_since") <= pl.col("occurred_at")).fill_null(False)
    return rows.select(leads.fill_null(False) & ~known_customer).to_series()


def _deal_rows(rows: pl.DataFrame, name: pl.Expr, rule: pl.Expr) -> pl.DataFrame:
    return rows.with_columns(
        milestone=name,
        milestone_id="_fact",
        subject=pl.lit("deal"),
        group_key=pl.lit("account:") + pl.col("account_id"),
        rule=pl.when("_adopted").then(pl.lit("lifecycle_adopted_by_deal")).otherwise(rule),
        ready_from="observed_at",
    )


def _unless_archived(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        state=pl.when("archived").then(pl.lit("reversed")).otherwise(pl.lit("live")),
        reason=pl.when("archived").then(pl.lit("archived")),
    )


def possible_duplicates(rows: pl.DataFrame, deals: pl.DataFrame, mapping: Rules) -> pl.DataFrame:
    """Add possible_duplicate_of: the same milestone of an archived deal that this deal looks like the copy of.

    Same account, name and currency, created after it and within `recreated_days` of its archiving.
    """
    near = timedelta(days=mapping.milestones.recreated_days)
    named = deals.drop_nulls("dealname").with_columns(_name=pl.col("dealname").str.strip_chars().str.to_lowercase())
    alike = ["account_id", "_name", "currency"]
    pairs = (
        named.filter(~pl.col("archived"))
        .select("deal_id", "created_at", *alike)
        .join(
            named.filter("archived").select(*alike, "archived_at", _of="deal_id", _born="created_at"),
            on=alike,
            nulls_equal=True,
        )
        .filter(
            (pl.col("created_at") > pl.col("_born")) & ((pl.col("created_at") - pl.col("archived_at")).abs() <= near)
        )
    )
    family = pl.when(pl.col("milestone").is_in(WINS)).then(pl.lit("win")).otherwise("milestone")
    grouped = rows.with_columns(_family=family)
    gone = grouped.filter((pl.col("state") == "reversed") & (pl.col("reason") == "archived"))
    copies = (
        grouped.filter(pl.col("state") == "live")
        .select("deal_id", "milestone", "milestone_id", "_family")
        .join(pairs.select("deal_id", "_of"), on="deal_id")
        .join(gone.select("_family", _of="deal_id", possible_duplicate_of="milestone_id"), on=["_of", "_family"])
        .sort("possible_duplicate_of")
        .unique(["milestone", "milestone_id"], keep="first", maintain_order=True)
    )
    return rows.join(
        copies.select("milestone", "milestone_id", "possible_duplicate_of"),
        on=["milestone", "milestone_id"],
        how="left",
        maintain_order="left",
    )


def new_recurring(rows: pl.DataFrame) -> pl.DataFrame:
    """Add mrr_new and arr_new: what a fact adds to the account's recurring revenue.

    New business and expansions add all of their own, as does the account's first win in a renewal pipeline. Any other
    renewal, won or still open, adds the difference to what the account paid before: its last renewal and the wins
    since, or all wins where there was none. Unknown where any of them has no value, another currency, or there is none.
    """
    won = pl.col("milestone").is_in(WINS)
    renews = pl.col("subtype").eq_missing(pl.lit("renewal")) & (pl.col("milestone") != "customer_won")
    renewing = rows.filter(renews).select("account_id").unique()
    counted = (
        rows.filter(won | renews)
        .join(renewing, on="account_id", how="semi")
        .sort("account_id", "occurred_at", won, "milestone_id")
    )
    changes = [row for _, group in counted.group_by("account_id", maintain_order=True) for row in _changes(group)]
    key = ["milestone", "milestone_id"]
    found = pl.DataFrame(
        changes,
        schema={**dict.fromkeys(key, pl.String), **{f"_{name}": pl.Int64 for name in RECURRING}},
        orient="row",
    )
    return (
        rows.join(found, on=key, how="left", maintain_order="left")
        .with_columns(
            pl.when(renews).then(f"_{name}").otherwise(f"{name}_current").alias(f"{name}_new") for name in RECURRING
        )
        .drop(f"_{name}" for name in RECURRING)
    )


def _changes(group: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    """(milestone, milestone_id, change per recurring measure) of one account's renewals, oldest first."""
    base: list[dict[str, Any]] = []
    for row in group.iter_rows(named=True):
        renews = row["subtype"] == "renewal" and row["milestone"] != "customer_won"
        if renews:
            yield (row["milestone"], row["milestone_id"], *(_difference(row, base, name) for name in RECURRING))
        if row["state"] == "live" and row["milestone"] in WINS:
            base = [row] if renews else [*base, row]


def _difference(row: dict[str, Any], base: list[dict[str, Any]], name: str) -> int | None:
    before = [item[f"{name}_current"] for item in base]
    now = row[f"{name}_current"]
    if now is None or not base or any(item["currency"] != row["currency"] for item in base) or None in before:
        return None
    return int(now - sum(before))
