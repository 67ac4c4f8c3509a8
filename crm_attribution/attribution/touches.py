"""attribution.touch: touches of the persons and mailboxes that changed."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.attribution.rules import touches as touch_rules
from crm_attribution.attribution.scope import scope
from crm_attribution.identity.accounts import domains_of
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session

_CLICKS = """
    SELECT c.*, i.person_id, i.contact_id AS resolved_contact_id, i.form_id, i.conversion_id
    FROM raw.link_click c JOIN identity.click i USING (click_id)
    SEMI JOIN scope_person ON scope_person.person_id = i.person_id
    WHERE i.status = 'resolved' ORDER BY c.click_id
"""
_EMAIL_CLICKS = """
    SELECT c.*, i.person_id, i.contact_id FROM raw.email_click c JOIN identity.email_click i USING (created_at, id)
    SEMI JOIN scope_person ON scope_person.person_id = i.person_id
    WHERE i.status = 'resolved' ORDER BY c.created_at, c.id
"""
_SUBMISSIONS = """
    SELECT form.*, m.contact_id, m.person_id FROM raw.form_submission AS form
    JOIN scope_mailbox m ON form.email_normalised = m.email ORDER BY form_id, conversion_id
"""
_SHARED_SUBMISSIONS = """
    SELECT form.*, m.email AS person_id, NULL::BIGINT AS contact_id FROM raw.form_submission AS form
    JOIN shared_email m ON form.email_normalised = m.email ORDER BY form_id, conversion_id
"""
_SHARED_CLICKS = """
    SELECT c.*, m.email AS person_id, NULL::BIGINT AS resolved_contact_id, i.form_id, i.conversion_id
    FROM raw.form_submission AS form JOIN shared_email m ON form.email_normalised = m.email
    JOIN identity.click i USING (form_id, conversion_id) JOIN raw.link_click c ON c.click_id = i.click_id
    WHERE i.status IN ('pending', 'unresolved') ORDER BY c.click_id
"""
_SHARED_EMAIL_CLICKS = """
    SELECT mail.*, m.email AS person_id, NULL::BIGINT AS contact_id FROM raw.email_click AS mail
    JOIN identity.email_click i USING (created_at, id) JOIN touched_email m ON mail.recipient_normalised = m.email
    WHERE i.status = 'unresolved' ORDER BY mail.created_at, mail.id
"""
_OWNERS = """
    SELECT DISTINCT e.identifier AS mailbox, m.account_id, m.valid_from, m.valid_to FROM identity.edge e
    SEMI JOIN acting ON e.identifier = acting.email
    JOIN identity.membership m ON m.contact_id = e.contact_id
    WHERE e.identifier_type = 'email' AND e.contact_id IS NOT NULL ORDER BY ALL
"""
_WRITTEN = """
    SELECT touch_id FROM touched_touch UNION SELECT touch_id FROM derived
    UNION SELECT touch_id FROM attribution.touch SEMI JOIN scope_person USING (person_id)
"""


def update(session: Session, changes: Changes, rules: Rules, _: datetime) -> Report:
    """Derive again the touches of every person and mailbox with a new click, submission or identity."""
    report = Report(changed=0 if changes.idle else _derive(session, changes, rules))
    report.rows = session.scalar("SELECT count(*) FROM attribution.touch")
    report.figures = dict(
        session.connection.execute("SELECT channel, count(*) FROM attribution.touch GROUP BY 1 ORDER BY 1").fetchall()
    )
    return report


def _derive(session: Session, changes: Changes, rules: Rules) -> int:
    """Write the touches in scope. Returns how many rows came."""
    with scope(session, changes, rules):
        frame = pl.concat([_of_persons(session, rules), _of_mailboxes(session, rules)], how="diagonal")
        written = session.query(_WRITTEN, derived=frame.select("touch_id"))
        changed = session["attribution.touch"].replace(frame, None if changes.everything else written)
    return changed.filter("_came").height


def _of_persons(session: Session, rules: Rules) -> pl.DataFrame:
    """attribution.touch rows of the persons in scope."""
    return touch_rules.touches(
        session.query(_CLICKS),
        session.query(_EMAIL_CLICKS),
        session.query(_SUBMISSIONS),
        session.query("FROM identity.membership SEMI JOIN scope_person USING (person_id)"),
        rules.touches,
    )


def _of_mailboxes(session: Session, rules: Rules) -> pl.DataFrame:
    """attribution.touch rows of the e-mails in scope that name no single person; they belong to an account at most."""
    submissions, mails = session.query(_SHARED_SUBMISSIONS), session.query(_SHARED_EMAIL_CLICKS)
    acting = pl.concat([submissions["person_id"], mails["person_id"]]).unique().sort()
    owners = session.query(_OWNERS, acting=acting.to_frame("email"))
    named = pl.DataFrame({"mailbox": acting, "account_id": domains_of(session, acting, rules).accounts_of(acting)})
    by_domain = named.join(
        session.read_keys("identity.account", named.select("account_id")), on="account_id", how="semi"
    )
    return touch_rules.of_mailboxes(session.query(_SHARED_CLICKS), mails, submissions, owners, by_domain, rules.touches)
