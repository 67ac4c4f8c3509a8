"""Revenue movements: what each account's revenue gained and lost, on the day it did, as amounts were then.

A ledger per account, in the order of time. It holds what the account pays for; a renewal replaces that, a change
of price changes it, a loss or churn ends it. Each step is a movement, so movements add up to what is held at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Literal

from crm_attribution.events.rules.values import MEASURES

RECURRING = ("mrr", "arr")
NEW, EXPANDED, RENEWED, CONTRACTED, CHURNED = (
    *("revenue_new", "revenue_expanded", "revenue_renewed"),
    *("revenue_contracted", "revenue_churned"),
)
Money = dict[str, int | None]
"""Measure -> minor units of the change's currency; None where it is unknown."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that happened to a deal's revenue.

    Attributes:
        what: won; priced (its values changed); ended (lost, reopened); churned.
        cause: in the movement.
        at: when, UTC.
        booked_on: finance day in the account's time zone.
        event_id: makes the movement's id.
        deal_id: the deal; of `churned` with `whole_account` the deal that cancels it.
        part: with the deal, what is held: a deal won in pipelines of two kinds is held twice.
        subtype: new, expansion or renewal.
        win: (milestone, milestone_id) of the win; of `won` alone.
        currency: of `money`.
        money: the deal's values after it; of `churned` with `whole_account` what ends: all, where nothing is known.
        whole_account: it ends what the account holds, not the deal alone.
    """

    what: Literal["won", "priced", "ended", "churned"]
    cause: str
    at: datetime
    booked_on: date
    event_id: str
    deal_id: int
    part: str = ""
    subtype: str | None = None
    win: tuple[str, str] = ("", "")
    currency: str | None = None
    money: Money = field(default_factory=dict)
    whole_account: bool = False


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What an account pays for: a win with its present values, and what it replaced, which no longer counts."""

    won: Change
    currency: str | None
    money: Money
    replaced: tuple[Key, ...] = ()


Key = tuple[int, str]
"""(deal_id, part)"""
Movement = dict[str, Any]


def movements(changes: Iterable[Change]) -> Iterator[Movement]:
    """The movements of one account's changes, in the order of time: events.revenue columns without account_id and
    group_key. Of two changes at one instant the win comes first, as given."""
    ledger = _Ledger()
    for change in sorted(changes, key=lambda change: (change.at, change.what != "won")):
        yield from ledger.play(change)


class _Ledger:
    def __init__(self) -> None:
        self.held: dict[Key, _Held] = {}
        self.past: dict[Key, _Held] = {}
        """Replaced or churned: its bookings may still change, its recurring revenue does not."""

    def play(self, change: Change) -> Iterator[Movement]:
        if change.what == "won":
            yield from self._won(change)
        elif change.what == "priced":
            yield from self._priced(change)
        elif change.what == "ended":
            yield from self._ended(change)
        else:
            yield from self._churned(change)

    def _won(self, change: Change) -> Iterator[Movement]:
        key = (change.deal_id, change.part)
        self._forget(key)
        before = tuple(self.held.values())
        item = _Held(won=change, currency=change.currency, money=change.money)
        if change.subtype != "renewal" or not before:
            self.held[key] = item
            yield _movement(EXPANDED if before else NEW, change, item, change.money)
            return
        self.past |= self.held
        item = replace(item, replaced=tuple(self.held))
        if {one.currency for one in before} != {change.currency}:
            for number, one in enumerate(before):
                gone = {name: _minus(one.money.get(name)) for name in RECURRING}
                yield _movement(CHURNED, change, one, gone, cause="renewed_in_another_currency", mark=f":{number}")
            self.held = {key: item}
            yield _movement(NEW, change, item, change.money)
            return
        paid = {name: _sum(one.money.get(name) for one in before) for name in RECURRING}
        kept = {name: paid[name] if change.money.get(name) is None else change.money[name] for name in RECURRING}
        item = replace(item, money={**change.money, **kept})
        self.held = {key: item}
        more = {**change.money, **{name: _difference(kept[name], paid[name]) for name in RECURRING}}
        yield _movement(_renewal(more), change, item, more)

    def _priced(self, change: Change) -> Iterator[Movement]:
        """The deal's values changed: those of its last win; of what has ended only bookings move."""
        for place in (self.held, self.past):
            mine = [key for key in place if key[0] == change.deal_id]
            if mine:
                key = max(mine, key=lambda key: place[key].won.at)
                break
        else:
            return
        item = place[key]
        other = change.currency != item.currency
        kept = {} if other else item.money  # a value that is not known any more stays as it was
        money = {name: kept.get(name) if change.money.get(name) is None else change.money[name] for name in MEASURES}
        place[key] = replace(item, currency=change.currency, money=money)
        counted = MEASURES if place is self.held else [name for name in MEASURES if name not in RECURRING]
        if other:
            old = {name: _minus(item.money.get(name)) for name in counted}
            if any(old.values()):
                yield _movement(CONTRACTED, change, item, old, mark=":before")
            new = {name: money[name] for name in counted}
            if any(new.values()):
                yield _movement(EXPANDED, change, place[key], new)
            return
        more = {name: _difference(money[name], item.money.get(name)) for name in counted}
        sign = next((value for name in ("arr", "mrr", "amount", "tcv") if (value := more.get(name))), 0)
        if sign:
            yield _movement(EXPANDED if sign > 0 else CONTRACTED, change, item, more)

    def _ended(self, change: Change) -> Iterator[Movement]:
        """Lost or reopened: what it replaced is held again."""
        key = (change.deal_id, change.part)
        item = self.held.pop(key, None)
        if item is None:
            if (item := self._forget(key)) is not None:
                bookings = {name: _minus(item.money.get(name)) for name in MEASURES if name not in RECURRING}
                yield _movement(CHURNED, change, item, bookings)
            return
        gone = {name: _minus(item.money.get(name)) for name in MEASURES}
        again = [self.past.pop(place) for place in item.replaced]
        self.held |= dict(zip(item.replaced, again, strict=True))
        same = {one.currency for one in again} <= {item.currency}
        if again and same:
            back = {name: _sum(one.money.get(name) for one in again) for name in RECURRING}
            gone |= {name: _sum((gone[name], back[name])) for name in RECURRING}
        yield _movement(_lost(gone) if again and same else CHURNED, change, item, gone)
        for number, one in enumerate([] if same else again):
            recurring = {name: one.money.get(name) for name in RECURRING}
            yield _movement(EXPANDED, change, one, recurring, mark=f":{number}")

    def _churned(self, change: Change) -> Iterator[Movement]:
        """Recurring revenue ends; what was booked stays booked."""
        if not change.whole_account:
            mine = [key for key in self.held if key[0] == change.deal_id]
            for key in mine:
                yield self._end(change, key)
            return
        left = dict(change.money) if any(change.money.get(name) for name in RECURRING) else None
        for key in sorted(self.held, key=lambda key: self.held[key].won.at, reverse=True):
            item = self.held[key]
            if left is None:
                yield self._end(change, key)
            elif item.currency == change.currency:
                part = {name: min(item.money.get(name) or 0, left.get(name) or 0) for name in RECURRING}
                left = {name: (left.get(name) or 0) - part[name] for name in RECURRING}
                if any(part.values()):
                    rest = {name: _difference(item.money.get(name), part[name]) for name in RECURRING}
                    self.held[key] = replace(item, money={**item.money, **rest})
                    gone: Money = {name: -value for name, value in part.items() if item.money.get(name) is not None}
                    yield _movement(CHURNED, change, item, gone, mark=f":{item.won.deal_id}{item.won.part}")

    def _forget(self, key: Key) -> _Held | None:
        """Remove it from what has ended; what replaced it now replaces what it had replaced."""
        item = self.past.pop(key, None)
        if item is not None:
            for place in (self.held, self.past):
                for other, one in place.items():
                    if key in one.replaced:
                        more = (at for old in one.replaced for at in (item.replaced if old == key else (old,)))
                        place[other] = replace(one, replaced=tuple(more))
        return item

    def _end(self, change: Change, key: Key) -> Movement:
        item = self.past[key] = self.held.pop(key)
        gone = {name: _minus(item.money.get(name)) for name in RECURRING}
        return _movement(CHURNED, change, item, gone, mark=f":{item.won.deal_id}{item.won.part}")


def _movement(
    name: str, change: Change, item: _Held, money: Money, cause: str | None = None, mark: str = ""
) -> Movement:
    milestone, milestone_id = item.won.win
    return {
        "milestone": name,
        "milestone_id": f"{change.event_id}{mark}",
        "cause": cause or change.cause,
        "of_milestone": milestone,
        "of_milestone_id": milestone_id,
        "deal_id": item.won.deal_id,
        "subtype": item.won.subtype,
        "occurred_at": change.at,
        "booked_on": max(change.booked_on, item.won.booked_on),
        "rated_on": item.won.booked_on,
        "currency": item.currency,
        **{measure: money.get(measure) for measure in MEASURES},
    }


def _minus(value: int | None) -> int | None:
    return None if value is None else -value


def _difference(one: int | None, other: int | None) -> int | None:
    """None where nothing is known of it now; what was not known before counts as nothing."""
    return None if one is None else one - (other or 0)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _renewal(more: Money) -> str:
    change = more.get("arr") or more.get("mrr") or 0
    return EXPANDED if change > 0 else CONTRACTED if change < 0 else RENEWED


def _lost(gone: Money) -> str:
    change = gone.get("arr") or gone.get("mrr") or 0
    return EXPANDED if change > 0 else CONTRACTED
