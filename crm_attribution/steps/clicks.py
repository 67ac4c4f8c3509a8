"""identity.click: whose click it was. Each hour looks at new clicks, at those a new submission may name, and at the
pending ones, which wait 72 hours at most."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution import identifiers
from crm_attribution.mapping import Mapping
from crm_attribution.steps.identity import ids_frame, merged
from crm_attribution.steps.report import Report
from crm_attribution.transforms import clicks as rules_of_clicks
from crm_attribution.warehouse.session import Changes, Session

TOPICS = ["link_click", "form_submission", "person"]
CONSUMER = "clicks"

_SHARED_IDS = ("gclid", "fbclid", "li_fat_id", "msclkid")


def update(session: Session, rules: Mapping, as_of: datetime) -> Report:
    """Resolve what can be resolved by `as_of`, the end of the run's window."""
    changes = session.changes(CONSUMER, TOPICS, rules.signature("identity"))
    with session.transaction():
        clicks = _clicks_to_look_at(session, changes)
        written = _resolve(session, clicks, rules, as_of) if clicks.height else 0
        session.advance(CONSUMER, changes)
    facts = dict(
        session.connection.execute(
            "SELECT status || ': ' || reason, count(*) FROM identity.click GROUP BY 1 ORDER BY 1"
        ).fetchall()
    )
    return Report(rows=sum(facts.values()), changed=written, facts=facts)


def contacts_by_email(session: Session, emails: pl.DataFrame) -> pl.DataFrame:
    """The one live contact each e-mail names; an e-mail on several contacts names none.

    Args:
        emails: one column `identifier` of normalised e-mails.
    """
    edges = session.query(
        "SELECT DISTINCT identifier AS email, contact_id FROM identity.edge SEMI JOIN emails USING (identifier)"
        " WHERE identifier_type = 'email'",
        emails=emails,
    )
    live = merged(session, "contacts")
    return (
        edges.with_columns(contact_id=pl.col("contact_id").replace(live) if live else pl.col("contact_id"))
        .unique()
        .filter(pl.len().over("email") == 1)
        .sort("email")
    )


def persons_of(session: Session, contacts: pl.Series) -> pl.DataFrame:
    """contact_id, person_id for every contact id ever seen, absorbed ones included."""
    return session.query(
        "SELECT identifier AS contact_id, person_id FROM identity.alias SEMI JOIN ids"
        " ON identity.alias.identifier = ids.contact_id WHERE identifier_type = 'contact'",
        ids=ids_frame("contact_id", contacts.drop_nulls()),
    )


def normalised(emails: pl.Series) -> pl.Series:
    """Each e-mail normalised; null where it is none."""
    names = {text: identifiers.normalise_email(text) for text in emails.unique().drop_nulls()}
    return emails.replace_strict(names, default=None, return_dtype=pl.String)


def _clicks_to_look_at(session: Session, changes: Changes) -> pl.DataFrame:
    if changes.everything:
        return session.read("raw.link_click")
    new = ids_frame("click_id", changes.of("link_click"))
    persons = ids_frame("person_id", changes.of("person"))
    contacts, told = _reach(session, persons)
    submissions = ids_frame("key", [*changes.of("form_submission"), *told])
    shared = " OR ".join(f"c.{name} = s.{name}" for name in _SHARED_IDS)
    ids = session.query(
        f"""
        SELECT click_id FROM new
        UNION SELECT click_id FROM identity.click WHERE status = 'pending'
        UNION SELECT click_id FROM identity.click SEMI JOIN persons USING (person_id)
        UNION SELECT click_id FROM raw.link_click SEMI JOIN contacts USING (contact_id)
        UNION
        SELECT c.click_id FROM raw.link_click c
        JOIN (SELECT * FROM raw.form_submission SEMI JOIN submissions ON form_id || ':' || conversion_id = key) s
        ON c.click_id = s.link_click_id OR {shared}
        """,
        new=new,
        submissions=submissions,
        persons=persons,
        contacts=contacts,
    )
    near = session.query(
        "SELECT DISTINCT r.click_id FROM raw.link_click r JOIN raw.link_click n ON r.contact_id = n.contact_id"
        " SEMI JOIN new ON n.click_id = new.click_id"
        " WHERE abs(epoch(r.clicked_at) - epoch(n.clicked_at)) <= 10",
        new=new,
    )
    return session.read_keys("raw.link_click", ids_frame("click_id", [*ids["click_id"], *near["click_id"]]))


def _reach(session: Session, persons: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """What may name clicks of these persons, whatever became of them before: contact ids, and submissions by key."""
    contacts = session.query(
        "SELECT identifier AS contact_id FROM identity.alias SEMI JOIN persons USING (person_id)"
        " WHERE identifier_type = 'contact'",
        persons=persons,
    )
    told = session.query(
        "SELECT form_id || ':' || conversion_id AS key FROM raw.form_submission"
        " WHERE lower(regexp_replace(email, '\\s', '', 'g')) IN"
        " (SELECT identifier FROM identity.edge SEMI JOIN contacts USING (contact_id) WHERE identifier_type = 'email')",
        contacts=contacts,
    )
    return contacts, told["key"].to_list()


def _resolve(session: Session, clicks: pl.DataFrame, rules: Mapping, as_of: datetime) -> int:
    named = session.query(
        "SELECT click_id, clicked_at, contact_id, destination_url FROM raw.link_click SEMI JOIN ids USING (contact_id)",
        ids=ids_frame("contact_id", clicks["contact_id"].drop_nulls()),
    )
    burst = rules_of_clicks.bursts(named)["click_id"]
    clicks = clicks.with_columns(
        is_bot=pl.col("is_bot") | pl.col("click_id").is_in(burst.implode()),
        bot_reason=pl.coalesce("bot_reason", pl.when(pl.col("click_id").is_in(burst.implode())).then(pl.lit("burst"))),
    )
    ids = [clicks.select(k="click_id"), *(clicks.select(k=name) for name in _SHARED_IDS)]
    submissions = session.query(
        "SELECT * FROM raw.form_submission WHERE link_click_id IN (SELECT k FROM ids) OR "
        + " OR ".join(f"{name} IN (SELECT k FROM ids)" for name in _SHARED_IDS),
        ids=pl.concat(ids).drop_nulls().unique(),
    )
    submissions = submissions.with_columns(email_normalised=normalised(submissions["email"]))
    by_email = contacts_by_email(session, ids_frame("identifier", submissions["email_normalised"].drop_nulls()))
    persons = persons_of(session, pl.concat([clicks["contact_id"], by_email["contact_id"]]))
    frame = rules_of_clicks.resolve(clicks, submissions, by_email, persons, rules.identity, as_of)
    changed = session.replace("identity.click", frame, frame.select("click_id"))
    session.journal("click", changed["click_id"])
    session.journal("click_person", changed["person_id"])
    return changed.filter("_came").height
