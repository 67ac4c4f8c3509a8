"""Touches of mailboxes that name no single person, such as a shared inbox: they belong to an account, if one is known.

Such a touch hangs on an e-mail: typed into a form, also one that came with a link click, or a marketing e-mail's
recipient. So what an hour looks at is e-mails.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from crm_attribution.attribution.rules import touches as touch_rules
from crm_attribution.identity import nodes as graph
from crm_attribution.identity.accounts import domains_of
from crm_attribution.identity.lookups import contacts_by_email, normalised, persons_of
from crm_attribution.identity.rules.domains import of_emails
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Changes, Session

_MAILBOX = "lower(regexp_replace({}, '\\s', '', 'g'))"
_MAIL_ID = "'email:' || epoch_ms(created_at) || ':' || id"
_DOMAIN = f"split_part({_MAILBOX}, '@', 2)"


@dataclass(frozen=True)
class Dirty:
    """What an hour looks at.

    Attributes:
        mailboxes: normalised e-mails.
        touches: ids of every touch that may be theirs, those of rows that have gone included.
        persons: who may have lost or gained one of these touches.
    """

    mailboxes: set[str]
    touches: set[str]
    persons: set[str]


def dirty(session: Session, changes: Changes, persons: pl.DataFrame, rules: Rules) -> Dirty:
    """The e-mails whose touches may be others than before.

    Args:
        session: an open session.
        changes: what changed.
        persons: person_id of persons that changed, or have new clicks or submissions.
        rules: free-mail domains.
    """
    if changes.everything:
        written = session.query(
            "SELECT email FROM raw.form_submission UNION SELECT recipient FROM raw.email_click c"
            " JOIN identity.email_click i USING (created_at, id) WHERE i.status = 'unresolved'"
        )["email"]
        return Dirty(set(normalised(written).drop_nulls()), set(), set())
    found = graph.emails(session, changes.of("email")) | _of_persons(session, persons) | _typed(session, changes)
    found |= _of_domains(
        session, {a.removeprefix("domain:") for a in changes.of("account") if a[:7] == "domain:"}, rules
    )
    emails = ids_frame("email", normalised(pl.Series(sorted(found), dtype=pl.String)).drop_nulls())
    touches = {*_touch_ids(session, emails), *(f"click:{key}" for key in changes.of("click", "link_click"))}
    touches |= {f"form:{key}" for key in changes.of("form_submission", "click_form")}
    held = session.read_keys("attribution.touch", ids_frame("touch_id", touches))["person_id"].drop_nulls()
    named = contacts_by_email(session, emails.select(identifier="email"))
    theirs = persons_of(session, named["contact_id"])["person_id"]
    return Dirty(set(emails["email"]), touches, {*held, *theirs})


def touches(session: Session, mailboxes: set[str], rules: Rules) -> pl.DataFrame:
    """attribution.touch rows of those of some e-mails that name no single person."""
    emails = ids_frame("email", mailboxes)
    named = contacts_by_email(session, emails.select(identifier="email"))
    known = named.join(persons_of(session, named["contact_id"]), on="contact_id", how="semi")
    submissions = session.query(
        f"SELECT s.*, e.email AS person_id, NULL::BIGINT AS contact_id FROM raw.form_submission s"
        f" JOIN emails e ON {_MAILBOX.format('s.email')} = e.email ORDER BY s.form_id, s.conversion_id",
        emails=emails.join(known, on="email", how="anti"),
    )
    clicks = session.query(
        "SELECT c.*, s.person_id, NULL::BIGINT AS resolved_contact_id, s.form_id, s.conversion_id"
        " FROM identity.click i JOIN submissions s USING (form_id, conversion_id)"
        " JOIN raw.link_click c ON c.click_id = i.click_id"
        " WHERE i.status IN ('pending', 'unresolved') ORDER BY c.click_id",
        submissions=submissions.select("form_id", "conversion_id", "person_id"),
    )
    mails = session.query(
        "SELECT c.*, e.email AS person_id, NULL::BIGINT AS contact_id FROM raw.email_click c"
        " JOIN identity.email_click i USING (created_at, id)"
        f" JOIN emails e ON {_MAILBOX.format('c.recipient')} = e.email"
        " WHERE i.status = 'unresolved' ORDER BY c.created_at, c.id",
        emails=emails,
    )
    acting = pl.concat([submissions["person_id"], mails["person_id"]]).unique().sort()
    return touch_rules.of_mailboxes(
        clicks, mails, submissions, _spans(session, acting), _by_domain(session, acting, rules), rules.touches
    )


def _spans(session: Session, emails: pl.Series) -> pl.DataFrame:
    """mailbox, account_id, valid_from, valid_to of the persons whose contacts have each e-mail."""
    return session.query(
        "SELECT DISTINCT e.identifier AS mailbox, m.account_id, m.valid_from, m.valid_to FROM identity.edge e"
        " SEMI JOIN emails ON e.identifier = emails.email"
        " JOIN identity.alias a ON a.identifier_type = 'contact' AND a.identifier = e.contact_id::VARCHAR"
        " JOIN identity.membership m ON m.person_id = a.person_id"
        " WHERE e.identifier_type = 'email' AND e.contact_id IS NOT NULL ORDER BY ALL",
        emails=pl.DataFrame({"email": emails}),
    )


def _by_domain(session: Session, emails: pl.Series, rules: Rules) -> pl.DataFrame:
    """mailbox, account_id of each e-mail's business domain, where there is such an account."""
    told = pl.DataFrame({"mailbox": emails, "account_id": domains_of(session, emails, rules).accounts_of(emails)})
    return told.join(session.read_keys("identity.account", told.select("account_id")), on="account_id", how="semi")


def _of_persons(session: Session, persons: pl.DataFrame) -> set[str]:
    """E-mails of all contacts of some persons."""
    return set(
        session.query(
            "SELECT DISTINCT e.identifier FROM identity.edge e JOIN identity.alias a"
            " ON a.identifier_type = 'contact' AND a.identifier = e.contact_id::VARCHAR SEMI JOIN persons"
            " ON a.person_id = persons.person_id WHERE e.identifier_type = 'email'",
            persons=persons,
        )["identifier"]
    )


def _typed(session: Session, changes: Changes) -> set[str]:
    """E-mails of changed submissions, of those with changed clicks, and recipients of changed e-mail clicks."""
    return set(
        session.query(
            "SELECT email FROM raw.form_submission SEMI JOIN forms ON form_id || ':' || conversion_id = forms.key"
            " UNION SELECT email FROM raw.form_submission JOIN identity.click USING (form_id, conversion_id)"
            " SEMI JOIN links USING (click_id)"
            " UNION SELECT recipient FROM raw.email_click SEMI JOIN mails USING (id)",
            forms=ids_frame("key", changes.of("form_submission", "click_form")),
            links=ids_frame("click_id", changes.of("click", "link_click")),
            mails=ids_frame("id", changes.of("email_click")),
        )["email"].drop_nulls()
    )


def _of_domains(session: Session, domains: set[str], rules: Rules) -> set[str]:
    """E-mails that may act, of some business domains: by their hosts, of which there are fewer."""
    if not domains:
        return set()
    hosts = session.query(
        f"SELECT DISTINCT {_DOMAIN.format('email')} AS host FROM raw.form_submission"
        f" UNION SELECT DISTINCT {_DOMAIN.format('recipient')} FROM raw.email_click"
    )["host"].drop_nulls()
    told = hosts.to_frame().with_columns(domain=of_emails("@" + hosts, rules.accounts))
    return set(
        session.query(
            f"SELECT email FROM raw.form_submission SEMI JOIN hosts ON {_DOMAIN.format('email')} = hosts.host"
            " UNION SELECT recipient FROM raw.email_click SEMI JOIN hosts"
            f" ON {_DOMAIN.format('recipient')} = hosts.host",
            hosts=told.filter(pl.col("domain").is_in(list(domains))).select("host"),
        )["email"]
    )


def _touch_ids(session: Session, emails: pl.DataFrame) -> list[str]:
    """Every touch that rows of these e-mails may be."""
    return session.query(
        f"""
        WITH told AS (SELECT form_id, conversion_id FROM raw.form_submission WHERE {_MAILBOX.format("email")} IN
            (SELECT email FROM emails))
        SELECT 'form:' || form_id || ':' || conversion_id AS touch_id FROM told
        UNION SELECT 'click:' || click_id FROM identity.click SEMI JOIN told USING (form_id, conversion_id)
        UNION SELECT {_MAIL_ID} FROM raw.email_click WHERE {_MAILBOX.format("recipient")} IN (SELECT email FROM emails)
        """,
        emails=emails,
    )["touch_id"].to_list()
