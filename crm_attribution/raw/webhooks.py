"""Webhooks and workflow posts from the inbox into `raw.webhook_event`, and what follows from them.

A file is archived once what it holds is committed; a crash between the two loads it again, which changes nothing.
Webhooks report at once what extraction would find an hour later (they only name records to be read again) and what it
cannot find: merges and privacy deletions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl

from crm_attribution.clicks.drop_folder import move_away
from crm_attribution.clock import Clock
from crm_attribution.contracts import CONTRACTS
from crm_attribution.hubspot.parsed import Refused
from crm_attribution.hubspot.webhooks import TABLE, Event, Named, events, read_delivery
from crm_attribution.raw.merges import record_merges
from crm_attribution.raw.reading import StreamReport, chunks, quarantine
from crm_attribution.raw.tombstones import tombstones
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session

FOLDER = "webhooks"
_FILES = 100
"""Files of a transaction: up to 10,000 events."""


def waiting(inbox: Path) -> list[Path]:
    """Whole deliveries that wait, the oldest first; those still being written are hidden."""
    return sorted(path for path in (inbox / FOLDER).glob("[!.]*.json") if path.is_file())


def load(warehouse: Warehouse, clock: Clock, inbox: Path) -> StreamReport:
    """Load all waiting deliveries. Until the portal is known they wait, because their owner is unknown.

    Returns:
        files, events, duplicates, quarantined, and events by subscription type.
    """
    files = waiting(inbox)
    report = StreamReport(
        figures={"files": len(files), "events": 0, "duplicates": 0, "quarantined": 0, "to be read again": 0}
    )
    with warehouse.session() as session:
        portal = session.state.portal_id
    if portal is None:
        return report
    for chunk in chunks(files, _FILES):
        heard, refused = _read(chunk, portal)
        with warehouse.session() as session, session.transaction():
            _store(session, heard, refused, clock.now(), report)
        for path in chunk:
            move_away(path, inbox / "archive" / FOLDER)
    return report


def _read(paths: Sequence[Path], portal: str) -> tuple[list[Event], list[Refused]]:
    heard: list[Event] = []
    refused: list[Refused] = []
    for path in paths:
        delivery = read_delivery(path.name, path.read_bytes())
        for one in [delivery] if isinstance(delivery, Refused) else events(delivery, portal):
            refused.append(one) if isinstance(one, Refused) else heard.append(one)
    return heard, refused


def _store(
    session: Session, heard: Sequence[Event], refused: Sequence[Refused], now: datetime, report: StreamReport
) -> None:
    once = {event.row["event_key"]: event for event in reversed(heard)}
    erased = _erased(session, once.values())
    rows = [_without_values(event, erased).row for event in once.values()]
    contract = CONTRACTS[TABLE]
    frame = pl.DataFrame(rows, schema=contract.polars_schema) if rows else contract.empty()
    new = set(session[TABLE].append(frame)["event_key"])
    fresh = [event for key, event in once.items() if key in new]
    _record_merges(session, fresh)
    _record_deletions(session, fresh, erased, now)
    reread = _queue(session, fresh, erased, now)
    quarantine(session, TABLE, refused, now)
    report.rows += len(heard)
    report.changed += len(new)
    counted = {"events": len(heard), "duplicates": len(heard) - len(new), "quarantined": len(refused)}
    for name, count in {**counted, "to be read again": reread, **_by_type(fresh)}.items():
        report.figures[name] = int(report.figures.get(name, 0)) + count


def _by_type(fresh: Iterable[Event]) -> dict[str, int]:
    """New events by subscription type; names that are not HubSpot's may hold any text and are not shown."""
    return dict(
        Counter(
            f"new {event.row['subscription_type']}"
            if event.row["source"] == "hubspot" and event.row["object_type"]
            else f"new of {event.row['source']}, other"
            for event in fresh
        )
    )


def _erased(session: Session, heard: Iterable[Event]) -> set[int]:
    """The contacts among those named whose privacy deletion is known, or in these events."""
    named = {one for event in heard for one in _about(event)}
    contacts = sorted(object_id for object_type, object_id in named if object_type == "contacts")
    return {
        *tombstones(session, "contacts", contacts),
        *(event.record[1] for event in heard if event.gone == "privacy" and event.record),
    }


def _about(event: Event) -> list[Named]:
    return [*event.touched, *([event.record] if event.record else [])]


def _without_values(event: Event, erased: Collection[int]) -> Event:
    """A late event of an erased contact must not bring back what was erased."""
    if not any(object_type == "contacts" and object_id in erased for object_type, object_id in _about(event)):
        return event
    details = None if event.row["source"] == "ingest" else event.row["details"]
    return replace(event, row={**event.row, "property_value": None, "details": details})


def _record_merges(session: Session, fresh: Sequence[Event]) -> None:
    """Absorbed ids with their survivors."""
    rows = [
        {
            "object_type": object_type,
            "absorbed_id": absorbed,
            "survivor_id": survivor,
            "merged_at": event.row["occurred_at"],
            "source": "webhook",
        }
        for event in sorted(fresh, key=lambda event: event.row["occurred_at"])
        for object_type, absorbed, survivor in event.absorbed
    ]
    if not rows:
        return
    reported = CONTRACTS["raw.merge"].conform(pl.DataFrame(rows))
    for (object_type,), found in reported.group_by("object_type", maintain_order=True):
        record_merges(session, str(object_type), found)


def _record_deletions(session: Session, fresh: Sequence[Event], erased: Collection[int], now: datetime) -> None:
    """Archived and erased records. HubSpot reports an erasure as a deletion too, in any order: only the erasure counts.

    What the archived list said of a record's absence is left: it knows the exact time.
    """
    reported: dict[tuple[str, int, str], datetime] = {}
    for event in fresh:
        if event.gone is None or event.record is None:
            continue
        if event.gone == "privacy" or event.record[1] not in erased:
            key = (*event.record, event.gone)
            reported[key] = max(reported.get(key, event.row["occurred_at"]), event.row["occurred_at"])
    if not reported:
        return
    columns = ["object_type", "object_id", "kind"]
    contract = CONTRACTS["raw.deletion"]
    rows = contract.conform(
        pl.DataFrame(
            [{**dict(zip(columns, key, strict=True)), "deleted_at": at, "source": "webhook", "noticed_at": now}
             for key, at in reported.items()]
        )
    )  # fmt: skip
    stored = session.read_keys("raw.deletion", rows.select(columns))
    held = rows.select(*columns, reported_at="deleted_at").join(stored, on=columns).filter(
        (pl.col("kind") == "privacy")
        | (pl.col("restored_at").is_null() & (pl.col("source") != "webhook"))
        | (pl.coalesce("restored_at", "deleted_at") >= pl.col("reported_at"))
    )  # fmt: skip
    session["raw.deletion"].upsert(rows.join(held, on=columns, how="anti"))
    gone = _keys([(object_type, one) for object_type, one, kind in reported if kind == "privacy"])
    session["raw.deletion"].replace(contract.empty(), gone.with_columns(kind=pl.lit("archived")))
    session["raw.reread"].replace(CONTRACTS["raw.reread"].empty(), gone)


def _queue(session: Session, fresh: Sequence[Event], erased: Collection[int], now: datetime) -> int:
    """Ask for records to be read again; once each, however often they are named."""
    wanted: dict[Named, str] = {}
    for event in fresh:
        reason = "ingest" if event.row["source"] == "ingest" else "webhook"
        for named in event.touched:
            wanted.setdefault(named, reason)
    for one in _contacts_of(session, {email for event in fresh for email in event.emails}):
        wanted.setdefault(("contacts", one), "ingest")
    rows = [
        {"object_type": object_type, "object_id": object_id, "reason": reason, "requested_at": now}
        for (object_type, object_id), reason in wanted.items()
        if object_type != "contacts" or object_id not in erased
    ]
    return session["raw.reread"].append(pl.DataFrame(rows)).height if rows else 0


def _contacts_of(session: Session, emails: Collection[str]) -> list[int]:
    """Known contacts that have one of the addresses. A new one is found by its creation."""
    if not emails:
        return []
    found = session.query(
        "SELECT id FROM raw.contact SEMI JOIN wanted ON email_normalised = wanted.email"
        " UNION SELECT id FROM (SELECT id, unnest(additional_emails_normalised) AS email FROM raw.contact)"
        " SEMI JOIN wanted USING (email) ORDER BY 1",
        wanted=pl.DataFrame({"email": sorted(emails)}),
    )
    return found["id"].to_list()


def _keys(named: Sequence[Named], **more: str) -> pl.DataFrame:
    frame = pl.DataFrame(named, schema={"object_type": pl.String, "object_id": pl.Int64}, orient="row")
    return frame.with_columns(**{name: pl.lit(value) for name, value in more.items()})
