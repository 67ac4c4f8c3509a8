"""Whose touches an hour derives again: SQL steps in their order.

A touch belongs to a person, or to an e-mail that names no single person (a shared inbox): entered in a form,
also one that came with a link click, or a marketing e-mail's recipient. So the steps go from clicks and submissions to
e-mails, and from e-mails to persons. Each is a temporary table built from those above it (see `warehouse.steps`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.identity.lookups import CONTACT_ID, emails_of, one_contact, with_person
from crm_attribution.identity.rules.domains import of_emails
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.steps import steps

TOUCHED = {
    # changed submissions, and those that name a changed click
    "touched_form": """
        SELECT form_id, conversion_id FROM raw.form_submission
            SEMI JOIN changed_form USING (form_id, conversion_id)
        UNION SELECT form_id, conversion_id FROM identity.click SEMI JOIN changed_link USING (click_id)
            WHERE form_id IS NOT NULL
    """,
    # who wrote: the e-mails typed into them, and the recipients of changed e-mail clicks
    "acting_email": """
        SELECT email_normalised AS email FROM raw.form_submission SEMI JOIN touched_form USING (form_id, conversion_id)
        UNION SELECT recipient_normalised FROM raw.email_click SEMI JOIN changed_mail USING (id)
        UNION SELECT email_normalised FROM raw.offline_touch SEMI JOIN changed_offline USING (touch_id)
    """,
    "acting_contact": one_contact("acting_email"),
    "acting_person": with_person("acting_contact"),
    # whose properties changed, whom files name, and whose properties hold the click id of a changed link click
    "telling_contact": """
        SELECT contact_id FROM changed_contact
        UNION SELECT contact_id FROM raw.offline_touch SEMI JOIN changed_offline USING (touch_id)
            WHERE contact_id IS NOT NULL
        UNION SELECT unnest(contact_ids) FROM raw.activity SEMI JOIN changed_activity USING (kind, id)
        UNION SELECT edge.contact_id FROM (
            SELECT unnest([gclid, fbclid, li_fat_id, msclkid, ttclid]) AS identifier
            FROM raw.link_click SEMI JOIN changed_link USING (click_id)
        ) AS carried JOIN identity.edge AS edge USING (identifier)
        WHERE edge.contact_id IS NOT NULL AND edge.identifier_type NOT IN ('contact', 'email')
    """,
    "telling_person": with_person("telling_contact"),
    "touched_person": """
        SELECT person_id FROM changed_person
        UNION SELECT person_id FROM acting_person
        UNION SELECT person_id FROM telling_person
        UNION SELECT person_id FROM identity.click SEMI JOIN changed_link USING (click_id)
            WHERE person_id IS NOT NULL
        UNION SELECT person_id FROM identity.email_click SEMI JOIN changed_mail USING (id)
            WHERE person_id IS NOT NULL
    """,
    # their other e-mails, e-mails that changed hands, and those of a domain whose account is another
    "person_email": emails_of("touched_person"),
    "touched_email": """
        SELECT email FROM (
            SELECT email FROM acting_email
            UNION SELECT email FROM person_email
            UNION SELECT identifier FROM identity.node SEMI JOIN changed_node USING (node_id) WHERE node_type = 'email'
            UNION SELECT form.email_normalised FROM raw.form_submission AS form
                SEMI JOIN changed_host ON split_part(form.email_normalised, '@', 2) = host
            UNION SELECT mail.recipient_normalised FROM raw.email_click AS mail
                SEMI JOIN changed_host ON split_part(mail.recipient_normalised, '@', 2) = host
            UNION SELECT told.email_normalised FROM raw.offline_touch AS told
                SEMI JOIN changed_host ON split_part(told.email_normalised, '@', 2) = host
        ) WHERE email IS NOT NULL
    """,
    "email_form": """
        SELECT form_id, conversion_id FROM raw.form_submission AS form
            SEMI JOIN touched_email ON form.email_normalised = touched_email.email
    """,
    # every touch that rows of these e-mails may be, those of rows that have gone included
    "touched_touch": """
        SELECT 'form:' || form_id || ':' || conversion_id AS touch_id FROM email_form
        UNION SELECT 'form:' || form_id || ':' || conversion_id FROM changed_form
        UNION SELECT 'click:' || click_id FROM identity.click SEMI JOIN email_form USING (form_id, conversion_id)
        UNION SELECT 'click:' || click_id FROM changed_link
        UNION SELECT 'email:' || epoch_ms(created_at) || ':' || id FROM raw.email_click AS mail
            SEMI JOIN touched_email ON mail.recipient_normalised = touched_email.email
        UNION SELECT 'offline:' || touch_id FROM raw.offline_touch AS told
            SEMI JOIN touched_email ON told.email_normalised = touched_email.email
        UNION SELECT 'offline:' || touch_id FROM changed_offline
        UNION SELECT touch_id FROM attribution.touch
            SEMI JOIN (SELECT 'raw.activity:' || kind || ':' || id AS origin FROM changed_activity) USING (origin)
    """,
}
"""E-mails, persons and touches with a change, from the frames `changed_*`: link, mail, form, offline, activity,
contact, person, node, host."""

EVERYTHING = {
    "touched_person": "SELECT person_id FROM identity.person",
    "touched_email": """
        SELECT email FROM (
            SELECT form.email_normalised AS email FROM raw.form_submission AS form
            UNION SELECT mail.recipient_normalised FROM raw.email_click AS mail
                JOIN identity.email_click AS answer USING (created_at, id) WHERE answer.status = 'unresolved'
            UNION SELECT email_normalised FROM raw.offline_touch
        ) WHERE email IS NOT NULL
    """,
    "touched_touch": "SELECT NULL::VARCHAR AS touch_id WHERE false",
}

DERIVED = {
    "touched_contact": one_contact("touched_email"),
    "named_person": with_person("touched_contact"),
    # who lost or gained one of these touches
    "scope_person": """
        SELECT person_id FROM touched_person
        UNION SELECT person_id FROM named_person
        UNION SELECT person_id FROM attribution.touch SEMI JOIN touched_touch USING (touch_id)
            WHERE person_id IS NOT NULL
    """,
    "shared_email": "SELECT email FROM touched_email ANTI JOIN named_person USING (email)",
    # e-mails by which submissions are theirs
    "scope_email": emails_of("scope_person"),
    "scope_contact": one_contact("scope_email"),
    # whose properties tell of their acts, absorbed contacts included
    "person_contact": f"""
        SELECT {CONTACT_ID} AS contact_id, person_id FROM identity.alias SEMI JOIN scope_person USING (person_id)
        WHERE identifier_type = 'contact'
    """,
    "scope_mailbox": f"FROM ({with_person('scope_contact')}) SEMI JOIN scope_person USING (person_id)",
}
"""Persons whose touches are derived again, their mailboxes, and mailboxes that name no single person."""


@contextmanager
def scope(session: Session, changes: Changes, rules: Rules) -> Iterator[None]:
    """The tables of every step, for the changes of an hour or for everything."""
    nodes = [int(key) for key in changes.of(topics.EMAIL)]
    given = {
        "changed_link": ids_frame("click_id", changes.of(topics.CLICK, topics.LINK_CLICK)),
        "changed_mail": ids_frame("id", changes.of(topics.EMAIL_CLICK)),
        "changed_form": changes.frame(topics.FORM_SUBMISSION, topics.CLICK_FORM),
        "changed_offline": ids_frame("touch_id", changes.of(topics.OFFLINE_TOUCH)),
        "changed_activity": changes.frame(topics.ACTIVITY),
        "changed_contact": records_frame("contact_id", changes.ids(topics.CONTACTS)),
        "changed_person": ids_frame("person_id", changes.of(topics.PERSON, topics.CLICK_PERSON)),
        "changed_node": pl.DataFrame({"node_id": nodes}, schema={"node_id": pl.Int64}),
        "changed_host": _hosts(session, changes, rules),
    }
    first = EVERYTHING if changes.everything else TOUCHED
    with steps(session, first | DERIVED, **given):
        yield


def _hosts(session: Session, changes: Changes, rules: Rules) -> pl.DataFrame:
    """host: of e-mails that acted, those of the business domains whose account changed."""
    domains = [
        account.removeprefix("domain:") for account in changes.of(topics.ACCOUNT) if account.startswith("domain:")
    ]
    if not domains:
        return pl.DataFrame(schema={"host": pl.String})
    hosts = session.query(
        """
        WITH acted AS (
            SELECT split_part(email_normalised, '@', 2) AS host FROM raw.form_submission
            UNION SELECT split_part(recipient_normalised, '@', 2) FROM raw.email_click
            UNION SELECT split_part(email_normalised, '@', 2) FROM raw.offline_touch WHERE email_normalised IS NOT NULL)
        SELECT host FROM acted SEMI JOIN changed ON host = domain OR ends_with(host, '.' || domain)
        """,
        changed=ids_frame("domain", domains),
    )["host"]
    return hosts.to_frame().filter(of_emails("@" + hosts, rules.accounts).is_in(domains))
