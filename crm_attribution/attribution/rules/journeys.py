"""Journeys: which touches led to an outcome, in their order. Made once; every model reads them.

The touches of the asked accounts are put in the order of (account, time, touch id) once. The window of an outcome,
[T - look-back, T] with both ends included, for an expansion after the previous decision of the account, is then one
slice, found by two searches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from crm_attribution.attribution.rules import slices
from crm_attribution.attribution.rules.split import Groups, Ints
from crm_attribution.events.rules.deal_milestones import WINS
from crm_attribution.events.rules.milestones import PERSON_MILESTONES
from crm_attribution.identifiers import DEAL_ACCOUNT
from crm_attribution.mapping import Attribution

OUTCOME = ["milestone", "milestone_id"]
DEAL = "opportunity_created"

_US = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Journeys:
    """Outcomes and the touches that led to them.

    Attributes:
        outcomes: as given to `journeys`, one row for each outcome and scope; a journey's number is its row here.
        touches: the columns that `models.base.Model` lists, without `effect`.
    """

    outcomes: pl.DataFrame
    touches: pl.DataFrame

    @cached_property
    def groups(self) -> Groups:
        """The rows of each journey that has touches."""
        return Groups(np.flatnonzero(self.touches["i"].to_numpy() == 1), self.touches.height)

    @cached_property
    def numbers(self) -> Ints:
        """The numbers of these journeys."""
        return self.touches["journey"].to_numpy()[self.groups.starts]


def scoped(outcomes: pl.DataFrame, facts: pl.DataFrame, rules: Attribution) -> pl.DataFrame:
    """Outcomes once for each scope, with the bounds of their windows: columns scope String and UTC times `opens`
    (the look-back), `previous_win`, `since` (the later of the two), `lead_at`, `deal_at`; and `learned_as`, the
    milestone whose effects a model that learns applies.

    Args:
        outcomes: events.milestone rows; read are milestone, milestone_id, account_id, person_id, deal_id, occurred_at.
        facts: milestone, account_id, person_id, deal_id, occurred_at of live milestones of the same accounts and, of
            outcomes without one, persons: wins, leads, opportunities.
        rules: scopes, and look-backs in days.
    """
    days = pl.col("milestone").replace_strict(
        rules.lookback_days, default=rules.lookback_days["default"], return_dtype=pl.Int64
    )
    at = pl.col("occurred_at")
    leads = facts.filter(pl.col("milestone").is_in(PERSON_MILESTONES))
    dated = (
        outcomes.join(
            _previous_wins(outcomes, facts, rules.same_decision_days), on=OUTCOME, how="left", maintain_order="left"
        )
        .join(_earliest(leads, "account_id", "_account_lead"), on="account_id", how="left", maintain_order="left")
        .join(_earliest(leads, "person_id", "_person_lead"), on="person_id", how="left", maintain_order="left")
        .join(
            _earliest(facts.filter(pl.col("milestone") == DEAL), "deal_id", "deal_at"),
            on="deal_id",
            how="left",
            maintain_order="left",
        )
        .with_columns(opens=at - pl.duration(days=days))
        .with_columns(
            since=pl.max_horizontal("opens", pl.col("previous_win") + pl.duration(microseconds=1)),
            lead_at=pl.when(pl.col("account_id").is_not_null()).then("_account_lead").otherwise("_person_lead"),
        )
        .drop("_account_lead", "_person_lead")
        .with_columns(learned_as="milestone")
    )
    return pl.concat([dated.with_columns(scope=pl.lit(name)) for name in rules.scopes])


def _earliest(facts: pl.DataFrame, key: str, name: str) -> pl.DataFrame:
    return facts.drop_nulls(key).group_by(key).agg(pl.col("occurred_at").min().alias(name))


def _previous_wins(outcomes: pl.DataFrame, facts: pl.DataFrame, same_decision_days: int) -> pl.DataFrame:
    """The account's last win before each expansion that was a decision of its own."""
    wins = facts.filter(pl.col("milestone").is_in(WINS)).select("account_id", _won="occurred_at")
    return (
        outcomes.filter(pl.col("milestone") == "customer_expanded")
        .select(*OUTCOME, "account_id", "occurred_at")
        .join(wins, on="account_id")
        .filter(pl.col("_won") < pl.col("occurred_at") - pl.duration(days=same_decision_days))
        .group_by(OUTCOME)
        .agg(previous_win=pl.col("_won").max())
    )


def journeys(
    outcomes: pl.DataFrame, contacts: pl.DataFrame, touches: pl.DataFrame, births: pl.DataFrame, rules: Attribution
) -> Journeys:
    """The touches of each outcome.

    Args:
        outcomes: as `scoped` returns them.
        contacts: deal_id Int64, person_id String of the deals' contacts, for the scope deal_contacts and for deals
            without a company.
        touches: attribution.touch rows of their accounts and persons; read are touch_id, touched_at, account_id,
            person_id, contact_id, channel, campaign.
        births: contact_id Int64, created_at UTC: touches of contacts created after the outcome are left out.
        rules: which repeats are one, and which channels are direct.
    """
    numbered = outcomes.with_columns(journey=pl.int_range(pl.len(), dtype=pl.Int64))
    born = slices.moments(
        touches.select("contact_id").join(births, on="contact_id", how="left", maintain_order="left")["created_at"]
    )
    by_account, by_person = moments_by_key(numbered, contacts)
    number, places = _inside(by_account, touches, "account_id", born, rules)
    if by_person.height:
        theirs, rows = _inside(by_person, touches, "person_id", born, rules)
        order = slices.in_order(theirs, slices.moments(touches["touched_at"])[rows], touches["touch_id"][rows])
        number, places = np.append(number, theirs[order]), np.append(places, rows[order])
    return Journeys(outcomes, _placed(outcomes, touches, number, places, rules))


def moments_by_key(outcomes: pl.DataFrame, contacts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The window of each journey, with the key of its touches: once those by account, once those by person.

    Columns: journey, occurred_at, since (UTC), key (an account id or a person id).
    """
    alone = pl.col("account_id").str.starts_with(DEAL_ACCOUNT).fill_null(value=False)
    by_deal = (pl.col("scope") == "deal_contacts") | alone
    whole, of_deals = outcomes.filter(~by_deal), outcomes.filter(by_deal)
    has_account = pl.col("account_id").is_not_null()
    moments = ["journey", "occurred_at", "since"]
    people = [
        whole.filter(~has_account & pl.col("person_id").is_not_null()).select(*moments, key="person_id"),
        of_deals.filter(pl.col("deal_id").is_null() & pl.col("person_id").is_not_null()).select(
            *moments, key="person_id"
        ),
        of_deals.join(contacts.select("deal_id", _member="person_id").unique(maintain_order=True), on="deal_id").select(
            *moments, key="_member"
        ),
    ]
    return whole.filter(has_account).select(*moments, key="account_id"), pl.concat(people)


def _inside(
    asked: pl.DataFrame, touches: pl.DataFrame, column: str, born: Ints, rules: Attribution
) -> tuple[Ints, Ints]:
    """The journeys' numbers and the rows of the touches that count for them."""
    line = slices.line(touches, column, asked["key"])
    since, until = slices.moments(asked["since"]), slices.moments(asked["occurred_at"])
    which, at = line.slices(asked["key"], since, until)
    rows = line.places[at]
    counts = born[rows] <= until[which]
    if rules.collapse_minutes:  # the touch it repeats is of the same person: where that lies inside, it counts
        counts &= slices.repeated(line, touches, rules.collapse_minutes)[at] < since[which]
    return asked["journey"].to_numpy()[which[counts]], rows[counts]


def _placed(
    outcomes: pl.DataFrame, touches: pl.DataFrame, journey: Ints, rows: Ints, rules: Attribution
) -> pl.DataFrame:
    """The touches of the journeys with their positions, the time before the outcome, and the positions of the turns."""
    starts = np.flatnonzero(np.diff(journey, prepend=-1))
    lengths = np.diff(np.append(starts, len(journey)))
    numbers = journey[starts]
    occurred = np.repeat(slices.moments(outcomes["occurred_at"])[numbers], lengths)
    at = slices.moments(touches["touched_at"])[rows]
    n = np.repeat(lengths, lengths)
    theirs = outcomes.select("milestone", "lead_at", "deal_at")[numbers]
    won = np.repeat(theirs["milestone"].is_in(WINS).to_numpy(), lengths)
    turns = {name: _last_at(at, theirs[f"{name}_at"], starts, lengths) for name in ("lead", "deal")}
    return touches.select("touch_id", "channel", "campaign", "person_id")[rows].select(
        journey=pl.Series(journey, dtype=pl.Int64),
        occurred_at=pl.Series(occurred, dtype=pl.Int64).cast(_US),
        touch_id="touch_id",
        touched_at=pl.Series(at, dtype=pl.Int64).cast(_US),
        channel="channel",
        campaign="campaign",
        person_id="person_id",
        is_direct=pl.col("channel").is_in(rules.direct_channels).fill_null(value=False),
        i=pl.Series(np.arange(len(journey)) - np.repeat(starts, lengths) + 1, dtype=pl.Int64),
        n=pl.Series(n, dtype=pl.Int64),
        ago=pl.Series(occurred - at, dtype=pl.Int64),
        last_ago=pl.Series(np.repeat((occurred - at)[starts + lengths - 1], lengths), dtype=pl.Int64),
        **turns,
        close=pl.Series(n, dtype=pl.Int64).set(pl.Series(~won), None),
    )


def _last_at(touched: Ints, moment: pl.Series, starts: Ints, lengths: Ints) -> pl.Series:
    """The position of the last touch at or before each journey's moment; null where there is none."""
    before = (touched <= np.repeat(slices.moments(moment), lengths)).astype(np.int64)
    count = np.add.reduceat(before, starts) if len(starts) else before
    places = pl.Series(np.repeat(count, lengths), dtype=pl.Int64)
    return places.set(places == 0, None)


def of_movements(
    found: Journeys, reasons: pl.DataFrame, movements: pl.DataFrame, kept: pl.DataFrame
) -> tuple[Journeys, pl.DataFrame]:
    """Add movements of revenue: each has the journey of the win it changes, so its credit goes to the same touches.

    Args:
        found: the journeys of the wins too.
        reasons: as `unattributed.reasons` returns them.
        movements: the key, of_milestone, of_milestone_id, and the columns of an outcome that are theirs, not the win's.
        kept: the keys of the outcomes that were asked for; other wins are left out of the result.
    """
    numbered = found.outcomes.with_row_index("_journey").with_columns(pl.col("_journey").cast(pl.Int64))
    asked = numbered.join(kept, on=OUTCOME, how="semi", maintain_order="left")
    win = {"milestone": "of_milestone", "milestone_id": "of_milestone_id"}
    theirs = [name for name in movements.columns if name in numbered.columns and name not in OUTCOME]
    mirrored = movements.join(numbered.drop(theirs).rename(win), on=list(win.values()), maintain_order="left")
    outcomes = pl.concat([asked, mirrored.select(asked.columns)]).with_row_index("_new")
    places = outcomes.select(pl.col("_new").cast(pl.Int64), journey="_journey")
    touches = places.join(found.touches, on="journey", maintain_order="left_right")
    touches = touches.with_columns(journey="_new").select(found.touches.columns)
    known = numbered.select(*OUTCOME, "scope", "_journey").join(reasons, on=[*OUTCOME, "scope"])
    why = outcomes.select(*OUTCOME, "scope", "_journey").join(
        known.select("_journey", "unattributed_reason"), on="_journey", maintain_order="left"
    )
    return Journeys(outcomes.drop("_journey", "_new"), touches), why.select(reasons.columns)
