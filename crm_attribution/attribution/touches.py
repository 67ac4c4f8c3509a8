"""attribution.touch, attribution.telling, attribution.self_reported: of the persons and mailboxes that changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from crm_attribution.attribution.rules import self_reported
from crm_attribution.attribution.rules import tellings as telling_rules
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
_HISTORY = """
    SELECT asked.*, h.property, h."timestamp", h.ordinal, h.value, h.source_type FROM asked
    JOIN raw.property_history h USING (object_id)
    SEMI JOIN told ON h.property = told.property WHERE h.object_type = 'contacts'
"""
_CONTACTS = """
    SELECT c.*, person_id FROM raw.contact c JOIN person_contact ON c.id = person_contact.contact_id
    ANTI JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = c.id
"""
_FAMILY = """
    SELECT contact_id AS object_id, person_id, coalesce(m.merged_at, to_timestamp(0)) AS merged_at FROM person_contact
    JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = contact_id
    UNION ALL SELECT contact_id, person_id, NULL FROM person_contact
    ANTI JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = contact_id
"""
_ONLY_BOTS = """
    SELECT {kind} AS click_id FROM raw.link_click JOIN identity.click USING (click_id)
    SEMI JOIN asked ON asked.click_id = {kind} GROUP BY 1 HAVING bool_and(status = 'suspect')
"""
_KNOWN_CONTACT = """
    SELECT 1 FROM identity.alias WHERE identifier_type = 'contact' AND identifier = told.contact_id::VARCHAR
"""
_OFFLINE = f"""
    SELECT told.*, coalesce(told.contact_id, m.contact_id) AS resolved_contact_id, m.person_id
    FROM raw.offline_touch AS told JOIN person_contact m ON m.contact_id = told.contact_id
    UNION ALL BY NAME
    SELECT told.*, m.contact_id AS resolved_contact_id, m.person_id
    FROM raw.offline_touch AS told JOIN scope_mailbox m ON told.email_normalised = m.email
    WHERE NOT EXISTS ({_KNOWN_CONTACT}) ORDER BY touch_id
"""
_SHARED_OFFLINE = f"""
    SELECT told.*, NULL::BIGINT AS resolved_contact_id, m.email AS person_id
    FROM raw.offline_touch AS told JOIN shared_email m ON told.email_normalised = m.email
    WHERE NOT EXISTS ({_KNOWN_CONTACT}) ORDER BY touch_id
"""
_ACTIVITIES = """
    SELECT a.* EXCLUDE (contact_id), min(contact_id) AS contact_id, person_id FROM (
        SELECT kind, id, occurred_at, outcome, name, gone, unnest(contact_ids) AS contact_id FROM raw.activity
    ) AS a JOIN person_contact USING (contact_id) GROUP BY ALL ORDER BY kind, id, person_id
"""
_OWNERS = """
    SELECT DISTINCT e.identifier AS mailbox, m.account_id, m.valid_from, m.valid_to FROM identity.edge e
    SEMI JOIN acting ON e.identifier = acting.email
    JOIN identity.membership m ON m.contact_id = e.contact_id
    WHERE e.identifier_type = 'email' AND e.contact_id IS NOT NULL ORDER BY ALL
"""
_TOLD = """
    SELECT telling_id FROM derived
    UNION SELECT telling_id FROM attribution.telling SEMI JOIN scope_person USING (person_id)
"""
_SAID = """
    SELECT touch_id FROM derived
    UNION SELECT touch_id FROM attribution.self_reported SEMI JOIN scope_person USING (person_id)
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
        session.connection.execute(
            "SELECT channel, count(*) FROM attribution.touch GROUP BY 1"
            " UNION ALL SELECT 'not a touch of its own: ' || rule, count(*) FROM attribution.telling GROUP BY 1"
            " ORDER BY 1"
        ).fetchall()
    )
    return report


def _derive(session: Session, changes: Changes, rules: Rules) -> int:
    """Write the touches in scope. Returns how many rows came."""
    with scope(session, changes, rules):
        records = _records(session, rules)
        persons, tellings = _of_persons(session, records, rules)
        frame = pl.concat([persons, _of_mailboxes(session, rules)], how="diagonal")
        written = session.query(_WRITTEN, derived=frame.select("touch_id"))
        changed = session["attribution.touch"].replace(frame, None if changes.everything else written)
        theirs = session.query(_TOLD, derived=tellings.select("telling_id"))
        moved = [session["attribution.telling"].replace(tellings, None if changes.everything else theirs)]
        said = self_reported.answers(records.contacts, records.history, records.membership, rules.touches)
        ids = said.select("touch_id") if said.width else pl.DataFrame(schema={"touch_id": pl.String})
        theirs = session.query(_SAID, derived=ids)
        moved.append(session["attribution.self_reported"].replace(said, None if changes.everything else theirs))
    return sum(rows.filter("_came").height for rows in (changed, *moved))


@dataclass(frozen=True)
class _Records:
    """The records of the persons in scope: raw.contact and raw.property_history rows with `person_id`, and
    identity.membership. Absorbed contacts have only a history."""

    contacts: pl.DataFrame
    history: pl.DataFrame
    membership: pl.DataFrame


def _records(session: Session, rules: Rules) -> _Records:
    said = rules.touches.self_reported.property
    named = [*rules.identity.click_id_properties, *telling_rules.LATEST, telling_rules.ORIGINAL]
    properties = pl.DataFrame({"property": [*named, said] if said else named}, schema={"property": pl.String})
    return _Records(
        session.query(_CONTACTS),
        session.query(_HISTORY, asked=session.query(_FAMILY), told=properties),
        session.query("FROM identity.membership SEMI JOIN scope_person USING (person_id)"),
    )


def _of_persons(session: Session, records: _Records, rules: Rules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """attribution.touch and attribution.telling rows of the persons in scope."""
    tellings, refused = _tellings(records, rules)
    found = touch_rules.of_persons(
        session.query(_CLICKS),
        session.query(_EMAIL_CLICKS),
        session.query(_SUBMISSIONS),
        session.query(_OFFLINE),
        session.query(_ACTIVITIES),
        tellings,
        _only_bots(session, tellings),
        rules.touches,
    )
    others = pl.concat([found.folded, refused], how="diagonal").select(
        "person_id",
        "contact_id",
        "kind",
        "rule",
        "origin",
        telling_id="touch_id",
        told_at="touched_at",
        touch_id="into",
    )
    return touch_rules.placed(found.touches, records.membership, rules.touches), others.sort("telling_id")


def _tellings(records: _Records, rules: Rules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Touches from the contact properties of the persons in scope, and the values that are none."""
    found = {
        "ad_click": telling_rules.ad_clicks(records.history, rules.identity.click_id_properties),
        "latest_source": telling_rules.latest_sources(records.history),
        "original_source": telling_rules.original_sources(records.contacts, records.history),
    }
    parts = [part for kind, part in found.items() if kind in rules.touches.told_by]
    nothing = telling_rules.NOTHING
    return (
        pl.concat([nothing, *(tellings for tellings, _ in parts)]),
        pl.concat([nothing.with_columns(rule=pl.lit("")), *(refused for _, refused in parts)]).with_columns(
            into=pl.lit(None, pl.String)
        ),
    )


def _only_bots(session: Session, tellings: pl.DataFrame) -> list[str]:
    """Those of the ad clicks' ids that only bot clicks of the link service carry."""
    parts = tellings.select(pl.col("click_id").str.split_exact(":", 1).struct.rename_fields(["kind", "click_id"]))
    asked = parts.unnest("click_id").drop_nulls().unique()
    return [
        f"{kind}:{name}"
        for (kind,), mine in asked.group_by("kind")
        for name in session.query(_ONLY_BOTS.format(kind=kind), asked=mine.select("click_id"))["click_id"]
    ]


def _of_mailboxes(session: Session, rules: Rules) -> pl.DataFrame:
    """attribution.touch rows of the e-mails in scope that name no single person; they belong to an account at most."""
    submissions, mails = session.query(_SHARED_SUBMISSIONS), session.query(_SHARED_EMAIL_CLICKS)
    offline = session.query(_SHARED_OFFLINE)
    acting = pl.concat([rows["person_id"] for rows in (submissions, mails, offline)]).unique().sort()
    owners = session.query(_OWNERS, acting=acting.to_frame("email"))
    named = pl.DataFrame({"mailbox": acting, "account_id": domains_of(session, acting, rules).accounts_of(acting)})
    by_domain = named.join(
        session.read_keys("identity.account", named.select("account_id")), on="account_id", how="semi"
    )
    clicks = session.query(_SHARED_CLICKS)
    return touch_rules.of_mailboxes(clicks, mails, submissions, offline, owners, by_domain, rules.touches)
