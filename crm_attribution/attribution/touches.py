"""attribution.touch: touches of the persons and mailboxes that changed."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.attribution import mailboxes
from crm_attribution.attribution.rules import touches as touch_rules
from crm_attribution.identity.lookups import contacts_by_email, normalised, persons_of
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Changes, Session


def update(session: Session, changes: Changes, rules: Rules, _: datetime) -> Report:
    """Recompute the touches of every person and mailbox with a new click, submission or identity."""
    report = Report()
    persons = _persons(session, changes)
    dirty = mailboxes.dirty(session, changes, persons, rules)
    persons = ids_frame("person_id", {*persons["person_id"], *dirty.persons})
    if persons.height or dirty.mailboxes or dirty.touches:
        theirs = touch_rules.touches(
            _clicks(session, persons),
            _email_clicks(session, persons),
            _submissions(session, persons),
            session.read_keys("identity.membership", persons),
            rules.touches,
        )
        frame = pl.concat([theirs, mailboxes.touches(session, dirty.mailboxes, rules)], how="diagonal")
        held = session.read_keys("attribution.touch", persons)["touch_id"]
        scope = ids_frame("touch_id", {*held, *frame["touch_id"], *dirty.touches})
        changed = session.replace("attribution.touch", frame, None if changes.everything else scope)
        session.journal("touch_account", changed["account_id"])
        session.journal("touch_person", changed["person_id"])
        report.changed = changed.filter("_came").height
    report.rows = session.scalar("SELECT count(*) FROM attribution.touch")
    report.figures = dict(
        session.connection.execute("SELECT channel, count(*) FROM attribution.touch GROUP BY 1 ORDER BY 1").fetchall()
    )
    return report


def _persons(session: Session, changes: Changes) -> pl.DataFrame:
    if changes.everything:
        return session.query("SELECT person_id FROM identity.person")
    by_click = session.query(
        "SELECT person_id FROM identity.click SEMI JOIN links USING (click_id)"
        " UNION SELECT person_id FROM identity.email_click SEMI JOIN emails USING (id)",
        links=ids_frame("click_id", changes.of("click", "link_click")),
        emails=ids_frame("id", changes.of("email_click")),
    )["person_id"]
    keys = ids_frame("key", changes.of("form_submission"))
    emails = session.query(
        "SELECT DISTINCT email FROM raw.form_submission SEMI JOIN keys ON form_id || ':' || conversion_id = keys.key",
        keys=keys,
    )["email"]
    named = contacts_by_email(session, ids_frame("identifier", normalised(emails).drop_nulls()))
    by_form = persons_of(session, named["contact_id"])["person_id"]
    return ids_frame(
        "person_id", [*by_click.drop_nulls(), *by_form, *changes.of("person"), *changes.of("click_person")]
    )


def _clicks(session: Session, persons: pl.DataFrame) -> pl.DataFrame:
    return session.query(
        "SELECT c.*, i.person_id, i.contact_id AS resolved_contact_id, i.form_id, i.conversion_id"
        " FROM raw.link_click c JOIN identity.click i USING (click_id) SEMI JOIN persons"
        " ON i.person_id = persons.person_id WHERE i.status = 'resolved' ORDER BY c.click_id",
        persons=persons,
    )


def _email_clicks(session: Session, persons: pl.DataFrame) -> pl.DataFrame:
    return session.query(
        "SELECT c.*, i.person_id, i.contact_id FROM raw.email_click c"
        " JOIN identity.email_click i USING (created_at, id) SEMI JOIN persons ON i.person_id = persons.person_id"
        " WHERE i.status = 'resolved' ORDER BY c.created_at, c.id",
        persons=persons,
    )


def _submissions(session: Session, persons: pl.DataFrame) -> pl.DataFrame:
    """Submissions whose e-mail names a contact of these persons."""
    emails = session.query(
        "SELECT DISTINCT e.identifier FROM identity.edge e JOIN identity.alias a"
        " ON a.identifier_type = 'contact' AND a.identifier = e.contact_id::VARCHAR SEMI JOIN persons"
        " ON a.person_id = persons.person_id WHERE e.identifier_type = 'email'",
        persons=persons,
    )
    named = contacts_by_email(session, emails)
    known = named.join(persons_of(session, named["contact_id"]), on="contact_id").join(
        persons, on="person_id", how="semi"
    )
    rows = session.query(
        "SELECT s.*, emails.identifier AS _email FROM raw.form_submission s"
        " JOIN emails ON lower(regexp_replace(s.email, '\\s', '', 'g')) = emails.identifier"
        " ORDER BY s.form_id, s.conversion_id",
        emails=named.select(identifier="email"),
    )
    return rows.join(known.rename({"email": "_email"}), on="_email").drop("_email")
