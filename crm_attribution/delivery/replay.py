"""Conversions sent again on a person's wish: which they are, whether they may be, and what is answered.

They are queued with the ids and keys they have; the next delivery of the destination sends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crm_attribution.clock import iso
from crm_attribution.conversions import mirror
from crm_attribution.conversions.rules import family
from crm_attribution.delivery.context import rows_of
from crm_attribution.delivery.replaying import is_deduplicated, why_not_again
from crm_attribution.destinations import destinations
from crm_attribution.errors import ConfigurationError
from crm_attribution.ledger import entries, moves
from crm_attribution.ledger.store import Book, Ledger, micros
from crm_attribution.ledger.tables import CONVERSION, REPLAY, TABLES
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Session

_C = TABLES[CONVERSION].c


@dataclass(frozen=True)
class Wish:
    """What a person wants to be sent again.

    Attributes:
        ids: of events, milestones, touches or conversions; an event means the milestone it is linked to.
        to: destinations.
        why: the reason, kept with each conversion.
        source: `command`, `job` or `api`.
        hour: all conversions that were ready in this hour, in place of ids.
        milestone: of the hour only those of this milestone.
        state: of the hour only those in this state.
    """

    ids: Sequence[str]
    to: Sequence[str]
    why: str
    source: str
    hour: datetime | None = None
    milestone: str | None = None
    state: str | None = None


@dataclass
class Answer:
    """What became of one id.

    Attributes:
        ok: every destination sends it again.
        deduplicated: some platform has it already and counts it once all the same.
        canonical_event: event_id, milestone, milestone_id and occurred_at of the business fact; None where the id is
            not known.
        replayed_destinations: which send it again.
        refused: destination -> why it does not.
    """

    id: str
    ok: bool = False
    deduplicated: bool = False
    canonical_event: dict[str, str] | None = None
    replayed_destinations: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return dict(self.__dict__)


def replay(session: Session, book: Book, wish: Wish, now: datetime) -> list[Answer]:
    """Queue what may be sent again, and say of every id what became of it; in the order of the ids."""
    meant = _meant(book, wish)
    facts = _facts(session, meant, wish.to)
    rows = _rows_of(session, book, facts, wish.to)
    answers = {asked: Answer(asked) for asked in dict.fromkeys([*wish.ids, *meant["asked"]])}
    for fact in facts.iter_rows(named=True):
        answers[fact["asked"]].canonical_event = {
            "event_id": fact["milestone_id"],
            "milestone": fact["milestone"],
            "milestone_id": fact["milestone_id"],
            "occurred_at": iso(fact["occurred_at"]),
        }
    restated = set(
        book.read_keys(CONVERSION, "adjusts", rows["conversion_id"], _C.state.in_([*entries.SENT]))["adjusts"]
    )
    queued: dict[str, str] = {}
    noted: list[dict[str, Any]] = []
    for asked, answer in answers.items():
        mine = rows.filter(pl.col("asked") == asked)
        for name in wish.to:
            _answer(answer, name, mine.filter(pl.col("destination") == name), queued, noted, restated, now)
        answer.ok = bool(answer.replayed_destinations) and not answer.refused
    chosen = rows.unique("conversion_id").filter(pl.col("conversion_id").is_in(list(queued)))
    moves.replay(book, chosen, wish.why, now)
    told = [{**one, "asked_at": now, "source": wish.source, "why": wish.why} for one in noted]
    if told:
        book.insert(REPLAY, pl.DataFrame(told, schema_overrides={"refused": pl.String}).unique("conversion_id"))
    return list(answers.values())


def _answer(
    answer: Answer,
    name: str,
    rows: pl.DataFrame,
    queued: dict[str, str],
    noted: list[dict[str, Any]],
    restated: set[str],
    now: datetime,
) -> None:
    """What becomes of one fact at one destination, which may have several actions for it."""
    if answer.canonical_event is None:
        answer.refused[name] = "no such event, milestone, touch or conversion"
        return
    if rows.is_empty():
        answer.refused[name] = "nothing is planned there for it"
        return
    limits = destinations()[name].limits
    for row in rows_of(rows):
        refused = None if row.conversion_id in queued else why_not_again(row, limits, now)
        if row.conversion_id in restated:  # it would bring the old value back
            refused = "restated"
        noted.append(
            {
                "conversion_id": row.conversion_id,
                "destination": name,
                "asked_id": answer.id,
                "queued": refused is None,
                "refused": refused,
            }
        )
        if refused is not None:
            answer.refused.setdefault(name, refused)
            continue
        queued[row.conversion_id] = name
        answer.deduplicated |= is_deduplicated(row)
        if name not in answer.replayed_destinations:
            answer.replayed_destinations.append(name)


def _meant(book: Book, wish: Wish) -> pl.DataFrame:
    """asked, event_id: what each id may be an event of; of a conversion the event it was planned for."""
    ours = book.read_keys(CONVERSION, "conversion_id", wish.ids)
    return pl.concat(
        [
            pl.DataFrame({"asked": list(wish.ids), "event_id": list(wish.ids)}, schema=_ASKED),
            ours.select(asked="conversion_id", event_id="milestone_id"),
            _of_the_hour(book, wish),
        ]
    ).unique(maintain_order=True)


def _facts(session: Session, meant: pl.DataFrame, to: Sequence[str]) -> pl.DataFrame:
    """asked, milestone, milestone_id, occurred_at: the business fact of every id that is known; else the touch, else
    what the destinations are told of that is neither: the state of a record, a move, news. A milestone that is gone is
    no fact, whatever was planned for it."""
    told = [name for name in to if destinations()[name].plans_from != "milestones"]
    return session.query(
        "SELECT DISTINCT ON (asked) asked, milestone, milestone_id, occurred_at FROM ("
        "SELECT w.asked, m.milestone, m.milestone_id, m.occurred_at, m.state, 1 AS place FROM wanted w"
        " JOIN events.milestone_event e ON e.event_id = w.event_id"
        " JOIN events.milestone m ON m.milestone = e.milestone AND m.milestone_id = e.milestone_id"
        " UNION ALL BY NAME"
        " SELECT w.asked, t.kind AS milestone, t.touch_id AS milestone_id, t.touched_at AS occurred_at,"
        " 2 AS place FROM wanted w JOIN attribution.touch t ON t.touch_id = w.event_id"
        " UNION ALL BY NAME SELECT w.asked, c.milestone, c.milestone_id, c.occurred_at, 3 AS place FROM wanted w"
        " JOIN conversions.conversion c ON c.milestone_id = w.event_id AND c.destination IN (SELECT unnest(?))"
        ") ORDER BY asked, place, state, milestone",
        [told],
        wanted=meant,
    )


_ASKED = {"asked": pl.String, "event_id": pl.String}


def _of_the_hour(book: Book, wish: Wish) -> pl.DataFrame:
    if wish.hour is None:
        return pl.DataFrame(schema=_ASKED)
    only = {"milestone": wish.milestone, "state": wish.state}
    rows = book.read(
        CONVERSION,
        _C.destination.in_(list(wish.to)),
        _C.ready_at >= micros(wish.hour),
        _C.ready_at < micros(wish.hour + timedelta(hours=1)),
        *(_C[name] == value for name, value in only.items() if value is not None),
    )
    return rows.select(asked="conversion_id", event_id="milestone_id")


def _rows_of(session: Session, book: Book, facts: pl.DataFrame, to: Sequence[str]) -> pl.DataFrame:
    """Rows of the ledger that are about some facts, planned under any event of them, with `asked`."""
    linked = session.query(
        "SELECT f.asked, f.milestone AS _milestone, coalesce(e.event_id, f.milestone_id) AS milestone_id FROM facts f"
        " LEFT JOIN events.milestone_event e USING (milestone, milestone_id)",
        facts=facts,
    ).with_columns(_family=family(pl.col("_milestone")))
    frames = [
        entries.of_milestones(book, entries.Scope(name), ids_frame("id", linked["milestone_id"])["id"]) for name in to
    ]
    rows = pl.concat(frames).with_columns(_family=family(pl.col("milestone")))
    rows = rows.filter(pl.col("adjusts").is_null())
    newest = pl.col("revision") == pl.col("revision").max().over("destination", "account", "action", "milestone_id")
    asked = linked.select("asked", "milestone_id", "_family").unique()
    found = rows.filter(newest).join(asked, on=["milestone_id", "_family"], maintain_order="left")
    itself = pl.col("asked").is_in(rows["conversion_id"].implode())  # a conversion is meant, not all of its fact
    return found.filter(~itself | (pl.col("asked") == pl.col("conversion_id")))


def queue(session: Session, ledger: Ledger, wish: Wish, now: datetime) -> list[Answer]:
    """Queue a wish, and bring the warehouse's copy of the ledger up to it.

    Raises:
        ConfigurationError: for a destination that does not exist, and in safe mode.
    """
    unknown = sorted(set(wish.to) - set(destinations()))
    if unknown:
        raise ConfigurationError(f"no destination {unknown[0]}; there are: {', '.join(destinations())}")
    with mirror.writing(session, ledger) as book:
        return replay(session, book, wish, now)
