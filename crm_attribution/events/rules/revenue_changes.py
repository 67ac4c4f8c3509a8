"""What happened to each deal's revenue: wins that stood, how they ended, changes of value, churn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from crm_attribution.clock import iso
from crm_attribution.events.rules.deal_milestones import CHAPTER
from crm_attribution.events.rules.echoes import ORDER
from crm_attribution.events.rules.revenue import Change, movements
from crm_attribution.events.rules.values import MEASURES
from crm_attribution.identifiers import deal_event_id
from crm_attribution.mapping import Rules

Row = dict[str, Any]
_MONEY = ("currency", *MEASURES)
_DEAL = ("deal_id", "account_id", "archived", "closedate", "valued_at", "churned_at", "churned_on", *_MONEY)
_COMPANY = ("company_id", "company_churned_at", "company_churned_on")


def revenue(
    wins: pl.DataFrame, entries: pl.DataFrame, events: pl.DataFrame, deals: pl.DataFrame, mapping: Rules, time_zone: str
) -> pl.DataFrame:
    """events.revenue rows of the accounts whose deals these are. Archived and suppressed deals have none.

    Args:
        wins: from `deal_milestones.wins`.
        entries: from `deal_milestones.deal_facts`.
        events: events.event rows that are no slips.
        deals: as in `milestones.Facts`.
        mapping: settling time, pipelines and churn.
        time_zone: of finance days.
    """
    counted = wins.filter(pl.col("suppressed_by").is_null() & ~pl.col("archived"))
    by_chapter = _grouped(entries, CHAPTER)
    states = _grouped(events.filter(pl.col("object_type") == "deals"), ["record_id"])
    known = {row["deal_id"]: row for row in deals.select(*_DEAL, *_COMPANY).iter_rows(named=True)}
    about = _Deals(states, known, timedelta(minutes=mapping.milestones.settle_minutes), ZoneInfo(time_zone))
    accounts: dict[str, list[Change]] = {}
    for win in counted.sort("createdate", "deal_id").iter_rows(named=True):
        rows = by_chapter[win["deal_id"], win["_chapter"]]
        accounts.setdefault(win["account_id"], []).extend(about.of_win(win, rows))
    for account, change in (*about.cancellations(events, mapping), *about.companies()):
        accounts.setdefault(account, []).append(change)
    found = [
        {"account_id": account, "group_key": f"account:{account}", **row}
        for account in sorted(accounts)
        for row in movements(_once(accounts[account]))
    ]
    schema = {"account_id": pl.String, "group_key": pl.String, **_SCHEMA}
    return pl.DataFrame(found, schema=schema)


_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("milestone", "milestone_id", "cause", "of_milestone", "of_milestone_id"), pl.String),
    **{"deal_id": pl.Int64, "subtype": pl.String, "occurred_at": pl.Datetime("us", "UTC")},
    **{"booked_on": pl.Date, "rated_on": pl.Date, "currency": pl.String},
    **dict.fromkeys(MEASURES, pl.Int64),
}


def _grouped(rows: pl.DataFrame, by: list[str]) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = {}
    for row in rows.sort(ORDER).iter_rows(named=True):
        key = tuple(row[name] for name in by)
        found.setdefault(key if len(by) > 1 else key[0], []).append(row)
    return found


def _once(changes: list[Change]) -> list[Change]:
    """Changes of a deal's value are counted once, though its revenue may have two parts."""
    seen: set[tuple[str, str, str]] = set()
    kept = []
    for change in changes:
        key = (change.what, change.event_id, change.part)
        if key not in seen:
            seen.add(key)
            kept.append(change)
    return kept


class _Deals:
    """The changes of deals, from their events and records."""

    def __init__(self, states: dict[Any, list[Row]], known: dict[int, Row], settle: timedelta, zone: ZoneInfo) -> None:
        self.states, self.known, self.settle, self.zone = states, known, settle, zone

    def day(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()

    def of_win(self, win: Row, entries: list[Row]) -> Iterator[Change]:
        """What happened to what a deal won in pipelines of one kind."""
        deal = self.known[win["deal_id"]]
        spans = _spans(entries, win["deal_id"])
        if not spans:
            return
        key = {"deal_id": win["deal_id"], "part": win["_chapter"], "subtype": win["subtype"]}
        first = min(start["observed_at"] for start, _ in spans)
        changed = self._values(deal, first)
        for number, (start, end) in enumerate(spans):
            last = number == len(spans) - 1
            moment = deal["closedate"] if last and deal["closedate"] else start["occurred_at"]
            yield Change(
                what="won", cause="won", at=start["occurred_at"], booked_on=self.day(moment),
                event_id=start["event_id"], win=(win["milestone"], win["milestone_id"]),
                **key, **self._at_win(start, changed),
            )  # fmt: skip
            if end is not None:
                cause = "lost_after_won" if end["event"] == "deal_lost" else "reopened"
                at = max(end["occurred_at"], start["occurred_at"])
                yield Change(what="ended", cause=cause, at=at, booked_on=self.day(at), event_id=end["event_id"], **key)
        for row in changed:
            if row["observed_at"] > first + self.settle:
                yield Change(
                    what="priced", cause="priced", at=row["observed_at"], booked_on=self.day(row["observed_at"]),
                    event_id=row["event_id"], **key | {"part": ""}, currency=row["currency"],
                    money={name: row[name] for name in MEASURES},
                )  # fmt: skip
        yield from self._churn(deal, key)

    def _values(self, deal: Row, since: datetime) -> list[Row]:
        """The deal's values at each of its events since the first win, and as the record has them now."""
        stated = [row for row in self.states.get(deal["deal_id"], []) if row["observed_at"] >= since]
        same = stated and all(stated[-1][name] == deal[name] for name in _MONEY)
        if same or deal["valued_at"] is None:
            return stated
        moment = max(deal["valued_at"], stated[-1]["observed_at"] if stated else since)
        now = {"observed_at": moment, "event_id": deal_event_id(deal["deal_id"], "valued", moment)}
        return [*stated, {**now, **{name: deal[name] for name in _MONEY}}]

    def _at_win(self, start: Row, changed: list[Row]) -> Row:
        """The values of a win: those it had when settled, else the first entered later."""
        settled = [row for row in changed if row["observed_at"] <= start["observed_at"] + self.settle]
        base = settled[-1] if settled else start
        later = [row for row in changed if row["observed_at"] > base["observed_at"]]
        currency = base["currency"]
        money = {
            name: next(
                (row[name] for row in (base, *later) if row[name] is not None and row["currency"] == currency), None
            )
            for name in MEASURES
        }
        return {"currency": currency, "money": money}

    def _churn(self, deal: Row, key: Row) -> Iterator[Change]:
        """By a property of the deal, or a date."""
        earliest = self._earliest(churn_property=deal["churned_at"], churn_date=deal["churned_on"])
        if earliest is not None:
            name = deal_event_id(deal["deal_id"], "churned", earliest["at"])
            yield Change(what="churned", event_id=name, **earliest, **key | {"part": ""})

    def companies(self) -> Iterator[tuple[str, Change]]:
        """What the company that is an account says of it, by a property or a date: all that it pays for ends."""
        by_account = {deal["account_id"]: deal for deal in self.known.values()}
        for account in sorted(by_account):
            deal = by_account[account]
            at = {
                "churn_company_property": deal["company_churned_at"],
                "churn_company_date": deal["company_churned_on"],
            }
            earliest = self._earliest(**at)
            if earliest is not None:
                name = f"company_{deal['company_id']}_churned_{iso(earliest['at'])}"
                whole = {"deal_id": deal["deal_id"], "whole_account": True}
                yield account, Change(what="churned", event_id=name, **earliest, **whole)

    def _earliest(self, **ends: datetime | None) -> Row | None:
        """cause, at and booked_on of the earliest; a date is a day as it stands, in no time zone."""
        known = [(moment, cause) for cause, moment in ends.items() if moment is not None]
        if not known:
            return None
        moment, cause = min(known)
        day = moment.date() if cause.endswith("_date") else self.day(moment)
        return {"cause": cause, "at": moment, "booked_on": day}

    def cancellations(self, events: pl.DataFrame, mapping: Rules) -> Iterator[tuple[str, Change]]:
        """Deals won in a pipeline of the kind churn: of that deal where it has revenue itself, else of its account."""
        pipelines = [name for name, kind in mapping.deals.pipelines.items() if kind == "churn"]
        rows = events.filter(
            (pl.col("object_type") == "deals")
            & (pl.col("event") == "deal_won")
            & pl.col("pipeline").is_in(pipelines)
            & pl.col("suppressed_by").is_null()
        )
        for row in rows.sort(ORDER).unique("record_id", keep="first", maintain_order=True).iter_rows(named=True):
            deal = self.known.get(row["record_id"])
            if deal is None or deal["archived"]:
                continue
            sold = any(other["event"] == "deal_won" and other["pipeline"] not in pipelines
                       for other in self.states.get(row["record_id"], []))  # fmt: skip
            yield deal["account_id"], Change(
                what="churned", cause="churn_pipeline", at=row["occurred_at"], booked_on=self.day(row["occurred_at"]),
                event_id=row["event_id"], deal_id=row["record_id"], whole_account=not sold, currency=row["currency"],
                money={name: row[name] for name in MEASURES},
            )  # fmt: skip


def _spans(entries: list[Row], deal_id: int) -> list[tuple[Row, Row | None]]:
    """From when to when the deal was won, by its own entries, else by those of deals it absorbed. Whether it is won now
    its record says: what contradicts it is left out."""
    own = [row for row in entries if row["object_id"] == deal_id] or entries
    spans: list[tuple[Row, Row | None]] = []
    start: Row | None = None
    for row in own:
        if row["event"] == "deal_won":
            start = start or row
        elif start is not None:
            spans.append((start, row))
            start = None
    stands = [row for row in entries if row["_standing"]]
    if stands and start is None:
        start = spans.pop()[0] if spans else stands[0]
    if stands and start is not None:
        spans.append((start, None))
    return spans
