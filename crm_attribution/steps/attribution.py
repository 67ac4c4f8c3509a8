"""attribution.*: touches of the persons and mailboxes that changed, and the credit of the outcomes they or their
accounts have."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.mapping import Mapping
from crm_attribution.steps import mailboxes
from crm_attribution.steps.clicks import contacts_by_email, normalised, persons_of
from crm_attribution.steps.identity import ids_frame, merged
from crm_attribution.steps.report import Report
from crm_attribution.transforms import attribution as credit_rules
from crm_attribution.transforms import touches as touch_rules
from crm_attribution.transforms.events import hubspot_time
from crm_attribution.warehouse.session import Changes, Session

TOUCH_TOPICS = ["click", "click_person", "link_click", "email_click", "form_submission", "person", *mailboxes.TOPICS]
TOUCH_CONSUMER = "touches"
CREDIT_TOPICS = ["milestone", "milestone_account", "touch_account", "touch_person", "person"]
CREDIT_CONSUMER = "credits"


def update_touches(session: Session, rules: Mapping) -> Report:
    """Recompute the touches of every person and mailbox with a new click, submission or identity."""
    changes = session.changes(TOUCH_CONSUMER, TOUCH_TOPICS, rules.signature("touches", "accounts"))
    report = Report()
    with session.transaction():
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
        session.advance(TOUCH_CONSUMER, changes)
    report.rows = session.scalar("SELECT count(*) FROM attribution.touch")
    report.facts = dict(
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
        " ON a.identifier_type = 'contact' AND a.identifier = e.contact_id SEMI JOIN persons"
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


# --- credit


def update_credits(session: Session, rules: Mapping, as_of: datetime) -> Report:
    """Recompute the credit of every outcome whose milestone or touches changed.

    Rows that no longer hold are closed, new ones opened, both at the later of `as_of` and the last recorded
    watermark; rows that still hold are not touched.
    """
    signature = rules.signature("attribution")
    changes = session.changes(CREDIT_CONSUMER, CREDIT_TOPICS, signature)
    report = Report()
    with session.transaction():
        keys = _outcome_keys(session, changes)
        if keys.height:
            report.changed = _store(session, keys, _credits(session, keys, rules), as_of)
        session.advance(CREDIT_CONSUMER, changes)
    report.rows = session.scalar("SELECT count(*) FROM attribution.credit WHERE superseded_at IS NULL")
    report.facts = dict(
        session.connection.execute(
            "SELECT model, count(DISTINCT milestone || milestone_id) FROM attribution.credit"
            " WHERE superseded_at IS NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
    )
    return report


def _outcome_keys(session: Session, changes: Changes) -> pl.DataFrame:
    """milestone, milestone_id of the outcomes to look at, those that are none any more included."""
    key = pl.concat_str("milestone", "milestone_id", separator="|")
    if changes.everything:
        current = session.query("SELECT milestone, milestone_id FROM events.milestone")
        former = session.query("SELECT DISTINCT milestone, milestone_id FROM attribution.credit")
        found = pl.concat([current, former]).unique()
    else:
        named = pl.DataFrame({"key": changes.of("milestone")}, schema={"key": pl.String}).select(
            milestone=pl.col("key").str.split("|").list.first(),
            milestone_id=pl.col("key").str.split("|").list.slice(1).list.join("|"),
        )
        # a win opens the window of the account's next expansion; a merge may show that a contact is older
        theirs = session.read_keys("attribution.touch", ids_frame("person_id", changes.of("person")))
        near = [*changes.of("milestone_account", "touch_account"), *theirs["account_id"].drop_nulls()]
        accounts = session.read_keys("events.milestone", ids_frame("account_id", near))
        who = ids_frame("person_id", [*changes.of("touch_person"), *theirs["person_id"]])
        persons = session.read_keys("events.milestone", who)
        found = pl.concat([named, accounts.select(named.columns), persons.select(named.columns)]).unique()
    return found.sort(key)


def _credits(session: Session, keys: pl.DataFrame, rules: Mapping) -> pl.DataFrame:
    outcomes = session.read_keys("events.milestone", keys).filter(
        pl.col("milestone").is_in(rules.attribution.outcomes)
        & (pl.col("state") == "live")
        & pl.col("suppressed_by").is_null()
    )
    accounts = outcomes.select("account_id").drop_nulls().unique()
    persons = outcomes.filter(pl.col("account_id").is_null()).select("person_id").drop_nulls().unique()
    touches = pl.concat(
        [session.read_keys("attribution.touch", accounts), session.read_keys("attribution.touch", persons)]
    ).unique("touch_id")
    wins = (
        session.read_keys("events.milestone", accounts)
        .filter(pl.col("milestone").is_in(["customer_won", "customer_expanded"]) & (pl.col("state") == "live"))
        .select("account_id", "occurred_at")
    )
    contacts = _births(session, touches["contact_id"].drop_nulls())
    return credit_rules.credits(outcomes, touches, wins, contacts, rules.attribution)


def _births(session: Session, contacts: pl.Series) -> pl.DataFrame:
    """contact_id, created_at: when HubSpot first knew the contact; merged into a new record it is no younger."""
    live = merged(session, "contacts")
    heads = {contact: live.get(contact, contact) for contact in contacts}
    wanted = set(heads.values())
    family = {head: head for head in wanted} | {old: new for old, new in live.items() if new in wanted}
    records = session.read_keys("raw.contact", ids_frame("id", family)).select(
        _head=pl.col("id").replace(family),
        created_at=pl.min_horizontal(
            "created_at", hubspot_time(pl.col("properties").str.json_path_match("$.createdate"))
        ),
    )
    asked = pl.DataFrame(list(heads.items()), schema={"contact_id": pl.String, "_head": pl.String}, orient="row")
    born = records.group_by("_head").agg(pl.col("created_at").min())
    return asked.join(born, on="_head").select("contact_id", "created_at")


def _store(session: Session, keys: pl.DataFrame, wanted: pl.DataFrame, as_of: datetime) -> int:
    last = session.scalar("SELECT max(greatest(recorded_at, superseded_at)) FROM attribution.credit")
    now = as_of if last is None else max(as_of, last)
    held = session.read_keys("attribution.credit", keys).filter(pl.col("superseded_at").is_null())
    identity = wanted.columns
    stale = held.join(wanted, on=identity, how="anti")
    new = wanted.join(held, on=identity, how="anti").with_columns(
        recorded_at=pl.lit(now), superseded_at=pl.lit(None, pl.Datetime("us", "UTC"))
    )
    session.supersede("attribution.credit", stale, new, now)
    return stale.height + new.height
