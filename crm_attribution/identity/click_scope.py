"""Which clicks an hour has to look at: what changed, and the neighbours whose answer may change with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from crm_attribution.identity import nodes as graph
from crm_attribution.identity.rules.clicks import FORM_CLICK_IDS
from crm_attribution.identity.rules.email_clicks import KEY
from crm_attribution.identity.rules.spans import spans
from crm_attribution.mapping import Clicks
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Changes, Session

_MAILBOX = "lower(regexp_replace({}, '\\s', '', 'g'))"
"""As `identifiers.normalise_email` compares addresses."""


@dataclass(frozen=True)
class Scope:
    """Clicks to reason with, and those among them whose answer is to be written.

    Attributes:
        links: raw.link_click rows.
        emails: raw.email_click rows.
        write_links: click_id; gone ones included.
        write_emails: created_at, id; gone ones included.
    """

    links: pl.DataFrame
    emails: pl.DataFrame
    write_links: pl.DataFrame
    write_emails: pl.DataFrame


def scope(session: Session, changes: Changes, rules: Clicks) -> Scope:
    """The clicks that changed, all within reach of them in time, and the pending ones.

    An answer depends on clicks of the same contact or person at most three rules away: an e-mail click is a duplicate
    of a link click that counts, unless its nearest e-mail click belongs to a burst. So answers within three times the
    longest rule of a change are written, and as much again around them is read.
    """
    if changes.everything:
        links, emails = session.read("raw.link_click"), session.read("raw.email_click")
        return Scope(links, emails, links.select("click_id"), emails.select(KEY))
    links, emails = _links_touched(session, changes), _emails_touched(session, changes)
    moments = pl.concat([links["clicked_at"], emails["created_at"]])
    reach = timedelta(seconds=3 * max(rules.burst_seconds, rules.same_click_seconds))
    near_links, near_emails = _within(session, moments, reach)
    far_links, far_emails = _within(session, moments, 2 * reach)
    waiting = session.query("SELECT click_id FROM identity.click WHERE status = 'pending'")
    return Scope(
        session.read_keys("raw.link_click", pl.concat([far_links, waiting]).unique().sort("click_id")),
        session.read_keys("raw.email_click", far_emails),
        pl.concat([links.select("click_id"), near_links, waiting]).unique(),
        pl.concat([emails, near_emails]).unique(),
    )


def _within(session: Session, moments: pl.Series, reach: timedelta) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keys of all link clicks and e-mail clicks within `reach` of any of these moments."""
    around = spans(moments, reach)
    links = session.query(
        "SELECT c.click_id FROM raw.link_click c ASOF JOIN around s ON c.clicked_at >= s.starts"
        " WHERE c.clicked_at <= s.ends",
        around=around,
    )
    emails = session.query(
        "SELECT c.created_at, c.id FROM raw.email_click c ASOF JOIN around s ON c.created_at >= s.starts"
        " WHERE c.created_at <= s.ends",
        around=around,
    )
    return links, emails


def _links_touched(session: Session, changes: Changes) -> pl.DataFrame:
    """click_id, clicked_at of new clicks, and of those a changed person or submission may name."""
    persons = ids_frame("person_id", changes.of("person"))
    contacts, told = _reach(session, persons, graph.emails(session, changes.of("email")))
    submissions = session.query(
        "SELECT link_click_id AS click_id, * EXCLUDE (link_click_id) FROM raw.form_submission SEMI JOIN told"
        " ON form_id || ':' || conversion_id = told.key",
        told=ids_frame("key", [*changes.of("form_submission"), *told]),
    )
    named = " UNION ".join(
        f"SELECT click_id FROM raw.link_click c SEMI JOIN submissions s ON c.{name} = s.{name}"
        for name in ("click_id", *FORM_CLICK_IDS)
    )
    return session.query(
        f"""
        WITH touched AS (
            SELECT click_id FROM new
            UNION SELECT click_id FROM identity.click SEMI JOIN persons USING (person_id)
            UNION SELECT click_id FROM raw.link_click SEMI JOIN contacts USING (contact_id)
            UNION {named}
        )
        SELECT click_id, clicked_at FROM raw.link_click SEMI JOIN touched USING (click_id)
        UNION SELECT click_id, clicked_at FROM identity.click SEMI JOIN touched USING (click_id)
        """,
        new=ids_frame("click_id", changes.of("link_click")),
        persons=persons,
        contacts=contacts,
        submissions=submissions,
    )


def _emails_touched(session: Session, changes: Changes) -> pl.DataFrame:
    """created_at, id of new e-mail clicks, and of those whose recipient is or was a changed person."""
    return session.query(
        f"""
        SELECT created_at, id FROM raw.email_click SEMI JOIN new USING (id)
        UNION SELECT created_at, id FROM identity.email_click SEMI JOIN new USING (id)
        UNION SELECT created_at, id FROM identity.email_click SEMI JOIN persons USING (person_id)
        UNION SELECT created_at, id FROM raw.email_click WHERE {_MAILBOX.format("recipient")} IN
            (SELECT identifier FROM identity.alias SEMI JOIN persons USING (person_id) WHERE identifier_type = 'email')
        """,
        new=ids_frame("id", changes.of("email_click")),
        persons=ids_frame("person_id", changes.of("person")),
    )


def _reach(session: Session, persons: pl.DataFrame, addresses: set[str]) -> tuple[pl.DataFrame, list[str]]:
    """What may name clicks of these persons, whatever became of them before: contact ids, and submissions by key, those
    from other e-mails whose contacts changed included."""
    contacts = session.query(
        "SELECT TRY_CAST(identifier AS BIGINT) AS contact_id FROM identity.alias SEMI JOIN persons USING (person_id)"
        " WHERE identifier_type = 'contact'",
        persons=persons,
    )
    told = session.query(
        f"SELECT form_id || ':' || conversion_id AS key FROM raw.form_submission WHERE {_MAILBOX.format('email')} IN"
        " (SELECT identifier FROM identity.edge SEMI JOIN contacts USING (contact_id) WHERE identifier_type = 'email'"
        " UNION SELECT address FROM addresses)",
        contacts=contacts,
        addresses=ids_frame("address", addresses),
    )
    return contacts, told["key"].to_list()
