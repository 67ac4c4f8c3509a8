"""Privacy deletion: a contact that HubSpot has erased is erased here, with everything that names it.

What goes: the contact's record with everything merged into it, its history, associations, form submissions, e-mail
clicks, link clicks and offline touches (their rows, not only the names in them), webhooks and refused rows about it,
and what identity knows of it. Its stage changes go with its history, so its lifecycle events, the milestones only they
carried, and its touches go too: by the steps that derive them, so that a rebuild gives the same. The credit its
touches had goes to the other touches or to `unattributed`; no outcome changes its amount, since money comes from
deals.

What stays: a tombstone per id in `raw.deletion`; the person's id, without identifiers (another live contact of the
person keeps it); the delivery ledger with its amounts; closed credit rows. Where these name a touch they name
`erased:…` from then on. A conversion that was planned for a stage change of the contact is tied to another event of
the same fact, where there is one: else the deal that carries the fact now would be sent a second time.

An e-mail that another contact also has or had names both: rows known by that e-mail alone stay, they are the other's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.contracts.topics import CONTACTS, LINK_CLICK, PERSON
from crm_attribution.conversions import mirror
from crm_attribution.conversions.identify_rules import digest
from crm_attribution.conversions.rules import UNSENT, family
from crm_attribution.errors import ConfigurationError
from crm_attribution.identifiers import record_id
from crm_attribution.ledger import moves
from crm_attribution.ledger.store import Book, Ledger
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.ledger.transitions import Move
from crm_attribution.privacy import told
from crm_attribution.privacy.rules import Trace, names
from crm_attribution.privacy.traces import Rows, any_of, rows_of
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.session import Session

_CONTACTS, _PRIVACY = pl.lit("contacts"), pl.lit("privacy")


# --- requests


def waiting(session: Session) -> list[int]:
    """Contacts that HubSpot has erased and this warehouse has not yet."""
    rows = session.read("raw.deletion", "object_type = 'contacts' AND kind = 'privacy' AND erased_at IS NULL")
    return sorted(rows["object_id"])


def confirm(session: Session, ids: Sequence[int], now: datetime) -> None:
    """Record that a person confirmed the privacy deletion of these contacts; one erased before is erased once more.

    Raises:
        ConfigurationError: for an id nothing is known of here (a typing mistake would shut out a future contact), or
            one that is merged into another.
    """
    live = survivors_of(session, "contacts", ids)
    for contact in ids:
        if contact in live:
            raise ConfigurationError(f"contact {contact} is merged into {live[contact]}: name {live[contact]}")
    asked = records_frame("object_id", ids)
    known = session.query(
        "SELECT id AS object_id FROM raw.contact SEMI JOIN asked ON id = asked.object_id"
        " UNION SELECT object_id FROM raw.missing SEMI JOIN asked USING (object_id) WHERE object_type = 'contacts'"
        " UNION SELECT object_id FROM raw.deletion SEMI JOIN asked USING (object_id) WHERE object_type = 'contacts'"
        " UNION SELECT object_id FROM raw.property_history SEMI JOIN asked USING (object_id)"
        " WHERE object_type = 'contacts'",
        asked=asked,
    )
    unknown = asked.join(known, on="object_id", how="anti")["object_id"]
    if len(unknown):
        raise ConfigurationError(f"no contact {unknown[0]} is known here; name HubSpot's contact ids")
    before = session.read_keys("raw.deletion", asked.with_columns(object_type=_CONTACTS, kind=_PRIVACY))
    new = asked.join(before, on="object_id", how="anti").with_columns(
        object_type=_CONTACTS, kind=_PRIVACY, deleted_at=pl.lit(now), source=pl.lit("person"), noticed_at=pl.lit(now)
    )
    again = before.with_columns(erased_at=pl.lit(None, pl.Datetime("us", "UTC")))
    with session.transaction():
        session["raw.deletion"].upsert(new)
        session["raw.deletion"].upsert(again)


def finish(session: Session, erased: Iterable[int], now: datetime) -> None:
    """Say in the tombstones that the erasure is done."""
    session.connection.execute(
        "UPDATE raw.deletion SET erased_at = ? WHERE object_type = 'contacts' AND kind = 'privacy'"
        " AND object_id IN (SELECT unnest(?))",
        [now, sorted(erased)],
    )


# --- erasing


def erase(session: Session, ledger: Ledger, of: Trace, now: datetime) -> dict[str, int]:
    """Delete the rows of a trace in one transaction and journal them for the steps that derive from them; before it
    commits, the ledger forgets which touches they were.

    Everything derived must be up to date before, and be derived again afterwards.

    Returns:
        rows deleted per table.
    """
    ids = records_frame("contact_id", of.contact_ids)
    if not ledger.exists():
        ledger.create()
    with session.transaction(), ledger.writing() as book:
        mirror.follow(session, book)
        rows = rows_of(session, of)
        _journal(session, ids, rows)
        _retie_conversions(session, book, ids, now)
        _bury_absorbed(session, of)
        counts = {
            **_nameless_touches(session, book, of, rows, now),
            **_delete_records(session, ids),
            "raw.form_submission": session["raw.form_submission"].delete(
                rows.submissions.select("form_id", "conversion_id")
            ),
            "raw.offline_touch": session["raw.offline_touch"].delete(rows.offline),
            **told.delete_inputs(session, of, ids, rows),
            "raw.activity": _leave_activities(session, ids),
            "raw.link_click": session["raw.link_click"].delete(rows.clicks.select("click_id")),
            "identity.click": session["identity.click"].delete(rows.clicks.select("click_id")),
            "raw.email_click": session["raw.email_click"].delete(rows.email_clicks),
            "identity.email_click": session["identity.email_click"].delete(rows.email_clicks),
            "raw.webhook_event": _delete_webhooks(session, of),
            "identity.person_change": _nameless_causes(session, of),
            **_delete_refused(session, of),
        }
        # journal keys that are ids of rows that are gone; every step has seen them
        forms = rows.submissions.select("form_id", "conversion_id").rows()
        numbers = (
            *rows.clicks["click_id"],
            *rows.email_clicks["id"],
            *rows.offline["touch_id"],
            *rows.inputs["message_id"],
        )
        gone = [*([key] for key in numbers), *map(list, forms)]
        session["meta.change"].delete(pl.DataFrame({"key": gone}, schema={"key": pl.List(pl.String)}))
        mirror.follow(session, book)
    ledger.leave_no_trace()
    return {name: count for name, count in counts.items() if count}


def _journal(session: Session, ids: pl.DataFrame, rows: Rows) -> None:
    """What must be looked at again though no row of it goes: contacts that share an e-mail with them, the persons of
    all, and clicks of others that one of the submissions had resolved."""
    sharing = session.query(
        "SELECT DISTINCT e.contact_id FROM identity.edge e SEMI JOIN"
        " (SELECT identifier_type, identifier FROM identity.edge SEMI JOIN ids USING (contact_id)) s"
        " USING (identifier_type, identifier)",
        ids=ids,
    )
    contacts = pl.concat([ids, sharing]).unique()
    persons = session.query(
        "SELECT person_id FROM identity.alias SEMI JOIN contacts ON identifier = contacts.contact_id::VARCHAR"
        " WHERE identifier_type = 'contact'"
        " UNION SELECT person_id FROM attribution.touch SEMI JOIN ids USING (contact_id)",
        contacts=contacts,
        ids=ids,
    )["person_id"]
    clicks = session.query(
        "SELECT click_id FROM identity.click SEMI JOIN erased USING (form_id, conversion_id)", erased=rows.submissions
    )["click_id"]
    session.journal.add(CONTACTS, contacts["contact_id"])
    session.journal.add(PERSON, persons)
    session.journal.add(LINK_CLICK, set(clicks) - set(rows.clicks["click_id"]))


def _retie_conversions(session: Session, book: Book, ids: pl.DataFrame, now: datetime) -> None:
    """Tie conversions of erased stage changes to another event of the same fact; suppress unsent ones of a fact that
    has no other event."""
    gone = session.query(
        "SELECT event_id FROM events.event SEMI JOIN ids ON object_id = ids.contact_id WHERE object_type = 'contacts'",
        ids=ids,
    )
    planned = session.query(
        "SELECT conversion_id, milestone, milestone_id, event_id, state FROM conversions.conversion"
        " WHERE milestone_id IN (SELECT event_id FROM gone) OR event_id IN (SELECT event_id FROM gone)",
        gone=gone,
    ).with_columns(_family=family(pl.col("milestone")))
    facts = session.query(
        "SELECT DISTINCT e.milestone, e.event_id AS _event, other.event_id AS _left FROM events.milestone_event e"
        " SEMI JOIN gone USING (event_id) JOIN events.milestone_event other USING (milestone, milestone_id)"
        " ANTI JOIN gone ON other.event_id = gone.event_id",
        gone=gone,
    ).select("_event", "_left", _family=family(pl.col("milestone")))
    planned_events = planned.with_columns(_event=pl.concat_list("milestone_id", "event_id")).explode("_event")
    left = planned_events.join(facts, on=["_family", "_event"])
    found = dict(left.select("conversion_id", pl.col("_left").min().over("conversion_id")).iter_rows())
    moves.relink(book, found)
    moves.forget_browser_events(book, ids["contact_id"])
    alone = planned.filter(pl.col("state").is_in(UNSENT) & ~pl.col("conversion_id").is_in(list(found)))
    moves.move(book, [Move(name, "suppressed", "erased") for name in alone["conversion_id"]], now)


def _nameless_touches(session: Session, book: Book, of: Trace, rows: Rows, now: datetime) -> dict[str, int]:
    """Credit history and ledger keep that there was a touch, not which."""
    ids = records_frame("contact_id", of.contact_ids)
    current = session.query("SELECT touch_id FROM attribution.touch SEMI JOIN ids USING (contact_id)", ids=ids)
    touches = [*current["touch_id"], *(f"click:{click}" for click in rows.clicks["click_id"])]
    mails = rows.email_clicks.select(pl.format("email:{}:{}", pl.col("created_at").dt.epoch("ms"), "id")).to_series()
    touches += [*mails, *(f"form:{key}" for key in rows.submission_keys)]
    touches += [f"offline:{name}" for name in rows.offline["touch_id"]]
    touches += [f"track:{name}" for name in rows.inputs["message_id"]]
    touches += [f"said:{contact}" for contact in ids["contact_id"]]
    named = ids_frame("touch_id", touches)
    of_accounts = session.read_keys("attribution.touch", named).filter(pl.col("person_id").is_null())
    session["attribution.touch"].delete(of_accounts.select("touch_id"))
    renamed = _nameless(session, "touch_id", touches)
    return {
        "attribution.credit": session["attribution.credit"].rename("touch_id", renamed),
        "finance.touch_version": session["finance.touch_version"].rename("touch_id", renamed),
        "finance.restatement": session["finance.restatement"].rename(
            "cause_key", renamed.rename({"touch_id": "cause_key"})
        ),
        CONVERSION: _nameless_conversions(session, book, renamed, of, now),
    }


def _nameless_conversions(session: Session, book: Book, renamed: pl.DataFrame, of: Trace, now: datetime) -> int:
    """The ledger keeps that something was sent, not by which touch; what HubSpot was not told yet, it is not told."""
    subjects = _nameless(session, "touch_id", [digest("contacts", email) for email in of.emails])
    names = dict(pl.concat([renamed, subjects]).select("touch_id", "name").iter_rows())
    held = moves.rename(book, names)
    unsent = held.filter(pl.col("told") & pl.col("state").is_in(UNSENT))
    moves.move(book, [Move(name, "suppressed", "erased") for name in unsent["conversion_id"]], now)
    return held.height


def _nameless_causes(session: Session, of: Trace) -> int:
    """The reason of a person merge may hold the hash of an e-mail: mask it."""
    causes = session.query("SELECT DISTINCT cause FROM identity.person_change")["cause"]
    renamed = _nameless(session, "cause", [cause for cause in causes if of.mentioned_in(cause)])
    return session["identity.person_change"].rename("cause", renamed)


def _nameless(session: Session, column: str, values: Iterable[str]) -> pl.DataFrame:
    """A new name for each value that reveals nothing of the old one."""
    mark = session.scalar("SELECT nextval('meta.change_seq')")
    rows = [{column: value, "name": f"erased:{mark}:{n}"} for n, value in enumerate(sorted(set(values)))]
    return pl.DataFrame(rows, schema={column: pl.String, "name": pl.String})


def _bury_absorbed(session: Session, of: Trace) -> None:
    """A tombstone also for each id that was merged into an erased record."""
    ids = records_frame("object_id", of.contact_ids)
    rows = session.read_keys("raw.deletion", ids.with_columns(object_type=_CONTACTS, kind=_PRIVACY))
    if rows.height:
        session["raw.deletion"].append(ids.join(rows.sort("deleted_at").head(1).drop("object_id"), how="cross"))


def _delete_records(session: Session, ids: pl.DataFrame) -> dict[str, int]:
    """The record, its history, associations and merges."""
    record = ids.select(object_type=_CONTACTS, object_id="contact_id")
    keys = {
        "raw.contact": [ids.select(id="contact_id")],
        "raw.property_history": [record],
        "raw.association": [
            ids.select(from_type=_CONTACTS, from_id="contact_id"),
            ids.select(to_type=_CONTACTS, to_id="contact_id"),
        ],
        "raw.merge": [
            ids.select(object_type=_CONTACTS, absorbed_id="contact_id"),
            ids.select(object_type=_CONTACTS, survivor_id="contact_id"),
        ],
        "raw.reread": [record],
        "raw.missing": [record],
    }
    return {name: sum(session[name].delete(frame) for frame in frames) for name, frames in keys.items()}


def _leave_activities(session: Session, ids: pl.DataFrame) -> int:
    """Take the contact out of meetings, calls and events; one that had nobody else goes."""
    theirs = session.query(
        "SELECT * FROM raw.activity WHERE list_has_any(contact_ids, (SELECT list(contact_id) FROM ids))", ids=ids
    )
    others = pl.element().filter(~pl.element().is_in(ids["contact_id"].to_list()))
    left = theirs.with_columns(pl.col("contact_ids").list.eval(others)).filter(pl.col("contact_ids").list.len() > 0)
    gone = session["raw.activity"].delete(theirs.select("kind", "id"))
    session["raw.activity"].upsert(left)
    return gone


def _delete_webhooks(session: Session, of: Trace) -> int:
    """Webhooks about the contact or that mention it; notices of its deletion stay, they hold no more than the id."""
    numbers = "|".join(map(str, sorted(of.contact_ids)))
    rows = session.query(
        "SELECT event_key, subscription_type, object_type, object_id, property_value, details FROM raw.webhook_event"
        " WHERE object_id IN (SELECT contact_id::VARCHAR FROM ids)"
        f" OR {any_of(of.patterns, 'property_value', 'details')}"
        " OR regexp_matches(details::VARCHAR, ?)",
        [*of.patterns, rf"(^|[^0-9])({numbers})([^0-9]|$)"],
        ids=records_frame("contact_id", of.contact_ids),
    )
    doomed = [row["event_key"] for row in rows.iter_rows(named=True) if _names_webhook(row, of)]
    return session["raw.webhook_event"].delete(ids_frame("event_key", doomed))


def _names_webhook(row: dict[str, Any], of: Trace) -> bool:
    if row["subscription_type"].endswith((".privacyDeletion", ".deletion")) and row["property_value"] is None:
        return of.mentioned_in(row["details"] or "")
    details = json.loads(row["details"]) if row["details"] else {}
    return names({**details, **row, "details": None} if isinstance(details, dict) else row, of)


def _delete_refused(session: Session, of: Trace) -> dict[str, int]:
    """Refused rows that name the contact, in every table of quarantine."""
    tables = session.query(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'quarantine' AND database_name = 'warehouse'"
    )["table_name"]
    counts = {}
    for table in tables:
        rows = session.query(f"SELECT DISTINCT key, row, source FROM quarantine.{q(table)}")
        doomed = [row["key"] for row in rows.iter_rows(named=True) if _names_refused(table, row, of)]
        counts[f"quarantine.{table}"] = session[f"quarantine.{table}"].delete(ids_frame("key", doomed))
    return counts


def _names_refused(table: str, row: dict[str, Any], of: Trace) -> bool:
    content = json.loads(row["row"]) if row["row"] else None
    if table == "contact" and isinstance(content, dict):
        content = {**content, "object_type": "contacts", "object_id": content.get("id")}
    keyed = table == "contact" and record_id(row["key"]) in of.contact_ids
    return keyed or names(content, of) or of.mentioned_in(f"{row['key']} {row['source']}")
