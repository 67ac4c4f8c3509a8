"""Restatements and retractions, planned from what changed: facts in the warehouse, conversions in the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from crm_attribution import mapping
from crm_attribution.conversions.restating import Adjustments, Amount, Fact, Platform, adjust
from crm_attribution.conversions.rules import rule_value
from crm_attribution.destinations.accounts import Account
from crm_attribution.destinations.base import Destination, ProcessesLater
from crm_attribution.events.rules.deal_milestones import WINS
from crm_attribution.ledger import entries, moves
from crm_attribution.ledger.store import Book
from crm_attribution.ledger.tables import CONVERSION, TABLES
from crm_attribution.ledger.transitions import Move
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Session

_C = TABLES[CONVERSION].c


def platform_of(destination: Destination) -> Platform:
    """What a destination takes; one that tells later what became of a request has a conversion when it has said so."""
    later = isinstance(destination, ProcessesLater)
    limits = destination.limits
    return Platform(
        destination.kinds,
        frozenset({"processed"} if later else {"accepted", "processed"}),
        limits.adjust_age or limits.max_age,
        limits.max_age,
    )


def restate(
    session: Session,
    book: Book,
    account: Account,
    scope: entries.Scope,
    rules: mapping.Destination,
    milestones: pl.DataFrame | None,
    ready_at: datetime,
    now: datetime,
) -> list[str]:
    """Plan what a platform must be told of conversions it has, for facts that changed and conversions that were settled
    since it was done last; the ids of rows written.

    Args:
        scope: the account's conversions.
        rules: the account's part of the mapping.
        milestones: milestone, milestone_id of what changed; None for everything.
        ready_at: when what is planned may be sent.
        now: log time.
    """
    since = 0 if milestones is None else session.state.restated[account.key] or 0
    settled = book.read(CONVERSION, *scope.where, TABLES[CONVERSION].c.changed > since, _C.milestone.in_(WINS))
    names = set(settled["milestone_id"])
    if milestones is not None:
        names |= set(milestones.filter(pl.col("milestone").is_in(WINS))["milestone_id"])
    facts = _facts(session, names, rules)
    linked = {*names, *facts}
    rows = entries.of_milestones(book, scope, linked).filter(pl.col("milestone").is_in(WINS))
    changed = set() if milestones is None else set(milestones["milestone_id"])
    rows = rows.filter(
        ~pl.col("milestone_id").is_in(list(_unknown(session, set(rows["milestone_id"]) - set(facts) - changed)))
    )
    done = adjust(platform_of(account.destination), rows.iter_rows(named=True), facts, ready_at, now)
    written = _write(book, done, now)
    session.state.restated[account.key] = book.stand.serial
    return written


def _unknown(session: Session, names: Iterable[str]) -> set[str]:
    """Of events without a fact those that the warehouse does not have: after it was put back or begun anew they are not
    derived yet, which does not mean that their fact is gone."""
    found = session.query(
        "SELECT named.id FROM named ANTI JOIN events.event e ON e.event_id = named.id", named=ids_frame("id", names)
    )
    return set(found["id"])


def _write(book: Book, done: Adjustments, now: datetime) -> list[str]:
    if done.new:
        book.insert(CONVERSION, pl.DataFrame(done.new, infer_schema_length=None))
    book.update(CONVERSION, [{**row, "updated_at": now} for row in done.changed])
    moves.move(book, (Move(*row) for row in done.moved), now)
    return [
        *(row["conversion_id"] for row in (*done.new, *done.changed)),
        *(conversion_id for conversion_id, _, _ in done.moved),
    ]


def _facts(session: Session, names: Iterable[str], rules: mapping.Destination) -> dict[str, Fact]:
    """Event -> the won or expanded fact it belongs to, for every event of a fact that one of `names` is of."""
    found = session.query(
        "SELECT o.event_id AS _event, m.* FROM events.milestone m"
        " JOIN events.milestone_event o USING (milestone, milestone_id)"
        " WHERE m.milestone IN (SELECT unnest(?)) AND (m.milestone, m.milestone_id) IN"
        " (SELECT (e.milestone, e.milestone_id) FROM events.milestone_event e SEMI JOIN named ON e.event_id = named.id)"
        " ORDER BY m.state DESC, o.event_id",  # reversed before live: of an event of both, the live one stays
        [list(WINS)],
        named=ids_frame("id", names),
    )
    values = {
        f"_{number}": (rule.milestone, rule.action, rule_value(rule)) for number, rule in enumerate(rules.conversions)
    }
    found = found.with_columns(**{name: value for name, (_, _, value) in values.items()})
    facts: dict[str, Fact] = {}
    for row in found.iter_rows(named=True):
        sent: dict[str, Amount] = {
            action: (row[name], row["currency"] if row[name] is not None else None)
            for name, (milestone, action, _) in values.items()
            if milestone == row["milestone"]
        }
        live = row["state"] == "live"
        facts[row["_event"]] = Fact(
            row["milestone_id"], live, None if live else row["reason"], row["occurred_at"], sent
        )
    return facts
