"""What a contact has left in the warehouse: e-mails, click ids, and the rows that are theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from crm_attribution.identifiers import CLICK_ID_PARAMETERS, normalise_email, normalised_emails
from crm_attribution.privacy.rules import Trace
from crm_attribution.raw.merges import absorbed_by, survivors_of
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.session import Session

CLEAN = frozenset(
    {
        "identity.alias",
        "identity.edge",
        "identity.edge_rejected",
        "identity.click",
        "identity.email_click",
        "identity.person_change",
        "attribution.credit",
        "conversions.conversion",
        "delivery.attempt",
        "delivery.quality",
        "delivery.receipt",
        "delivery.replay",
        "finance.milestone_version",
        "finance.restatement",
        "finance.revenue_version",
        "finance.touch_version",
        "meta.change",
        "meta.fact",
    }
)
"""Tables with only our own texts: after an erasure none of them may mention the person."""

_FORM_CLICK_IDS = ("link_click_id", "gclid", "fbclid", "li_fat_id", "msclkid", "ttclid")
_CLICK_ID_PROPERTY = "click_id|gclid|gbraid|wbraid|fbclid|li_fat_id|msclkid|ttclid"


@dataclass(frozen=True)
class Rows:
    """Rows of the contacts other than the record itself, by key and click ids."""

    submissions: pl.DataFrame
    offline: pl.DataFrame
    inputs: pl.DataFrame
    clicks: pl.DataFrame
    email_clicks: pl.DataFrame

    @property
    def submission_keys(self) -> list[str]:
        """form_id:conversion_id, as the journal and the touches have it."""
        return self.submissions.select(k=pl.concat_str("form_id", "conversion_id", separator=":"))["k"].to_list()


def trace(session: Session, requested: Iterable[int]) -> Trace:
    """Everything that identifies the records of these contacts, with all that is merged into them."""
    ids = _family(session, requested)
    emails = _emails(session, ids)
    own = frozenset(emails - _emails_of_others(session, ids, emails))
    rows = rows_of(session, Trace(frozenset(ids), own))
    clicks = {value for column in rows.clicks.columns for value in rows.clicks[column].drop_nulls()}
    return Trace(frozenset(ids), own, frozenset(clicks | _click_ids(session, ids, rows.submissions)))


def rows_of(session: Session, of: Trace) -> Rows:
    """The submissions, clicks and e-mail clicks that are theirs.

    A link click is theirs by its contact id, by what it resolved to, or, where it names no other contact, by a click
    id of theirs.
    """
    ids, emails = records_frame("contact_id", of.contact_ids), ids_frame("email", of.emails)
    submissions = session.query(
        f"SELECT form_id, conversion_id, {', '.join(_FORM_CLICK_IDS)} FROM raw.form_submission"
        " WHERE email_normalised IN (SELECT email FROM emails)",
        emails=emails,
    )
    known = {*of.click_ids, *_click_ids(session, sorted(of.contact_ids), submissions)}
    carried = " OR ".join(f"c.{name} IN (SELECT k FROM known)" for name in ("click_id", *CLICK_ID_PARAMETERS))
    clicks = session.query(
        f"""
        SELECT c.click_id, {", ".join(f"c.{name}" for name in CLICK_ID_PARAMETERS)}
        FROM raw.link_click c LEFT JOIN identity.click i USING (click_id)
        WHERE c.contact_id IN (SELECT contact_id FROM ids) OR i.contact_id IN (SELECT contact_id FROM ids)
            OR (c.contact_id IS NULL AND i.contact_id IS NULL AND ({carried}))
        """,
        ids=ids,
        known=ids_frame("k", known),
    )
    email_clicks = session.query(
        "SELECT created_at, id FROM raw.email_click WHERE recipient_normalised IN (SELECT email FROM emails)",
        emails=emails,
    )
    offline = session.query(
        "SELECT touch_id FROM raw.offline_touch WHERE contact_id IN (SELECT contact_id FROM ids)"
        " OR email_normalised IN (SELECT email FROM emails)",
        ids=ids,
        emails=emails,
    )
    inputs = session.query(
        "SELECT message_id FROM raw.identify WHERE contact_id IN (SELECT contact_id FROM ids)"
        " OR email_normalised IN (SELECT email FROM emails)",
        ids=ids,
        emails=emails,
    )
    return Rows(submissions, offline, inputs, clicks, email_clicks)


def mentions(session: Session, of: Trace) -> dict[str, int]:
    """Rows of each table, in both files, whose texts mention the e-mails, their hashes or the click ids.

    After an erasure, records of others still may: a deal named after an e-mail, an e-mail written into
    another contact.
    """
    if not of.patterns:
        return {}
    tables = session.query(
        "SELECT database_name, schema_name, table_name, list(column_name) AS columns FROM duckdb_columns()"
        " WHERE NOT internal AND database_name IN ('warehouse', 'marts_file')"
        " AND data_type IN ('VARCHAR', 'JSON', 'VARCHAR[]') GROUP BY ALL ORDER BY ALL"
    )
    left = {}
    for database, schema, table, columns in tables.iter_rows():
        counted = f"SELECT count(*) FROM {q(database, schema, table)} WHERE {any_of(of.patterns, *columns)}"
        if count := session.scalar(counted, of.patterns):
            left[f"{schema}.{table}"] = count
    return left


def any_of(patterns: Sequence[str], *columns: str) -> str:
    """SQL: one of the patterns, given as parameters, is in one of the columns."""
    text = f"lower(concat_ws(' ', {', '.join(f'{q(column)}::VARCHAR' for column in columns)}))"
    return " OR ".join(f"regexp_matches({text}, ?)" for _ in patterns) or "false"


def _family(session: Session, ids: Iterable[int]) -> list[int]:
    """The records with everything merged into them; an absorbed id means the record that holds it."""
    asked = set(ids)
    live = survivors_of(session, "contacts", asked)
    heads = {live.get(one, one) for one in asked}
    return sorted(heads | absorbed_by(session, "contacts", heads).keys())


def _emails(session: Session, ids: Sequence[int]) -> set[str]:
    """Every e-mail the records ever had, normalised."""
    found = session.query(
        """
        SELECT email FROM raw.contact SEMI JOIN ids USING (id)
        UNION ALL SELECT unnest(additional_emails) FROM raw.contact SEMI JOIN ids USING (id)
        UNION ALL SELECT value FROM raw.property_history SEMI JOIN ids ON object_id = ids.id
            WHERE object_type = 'contacts' AND property = 'email'
        UNION ALL SELECT unnest(string_split(property_value, ';')) FROM raw.webhook_event
            SEMI JOIN ids ON object_id = ids.id::VARCHAR
            WHERE object_type = 'contacts' AND property_name IN ('email', 'hs_additional_emails')
        UNION ALL SELECT identifier FROM identity.edge SEMI JOIN ids ON contact_id = ids.id
            WHERE identifier_type = 'email'
        """,
        ids=records_frame("id", ids),
    )["email"]
    return {email for email in map(normalise_email, found) if email is not None}


def _emails_of_others(session: Session, ids: Sequence[int], emails: Iterable[str]) -> set[str]:
    """Those of the e-mails that another contact has or had too."""
    given = records_frame("id", ids)
    current = session.query(
        """
        SELECT email_normalised AS email FROM raw.contact ANTI JOIN ids USING (id)
        UNION SELECT unnest(additional_emails_normalised) FROM raw.contact ANTI JOIN ids USING (id)
        """,
        ids=given,
    )["email"]
    former = session.query(
        "SELECT DISTINCT value FROM raw.property_history ANTI JOIN ids ON object_id = ids.id"
        " WHERE object_type = 'contacts' AND property = 'email'",
        ids=given,
    )["value"]
    return set(emails) & {*current, *normalised_emails(former)}


def _click_ids(session: Session, ids: Sequence[int], submissions: pl.DataFrame) -> set[str]:
    """Click ids of the submissions, and those HubSpot keeps on the contact."""
    values = session.query(
        "SELECT value FROM raw.property_history SEMI JOIN ids ON object_id = ids.id"
        " WHERE object_type = 'contacts' AND regexp_matches(property, ?)",
        [_CLICK_ID_PROPERTY],
        ids=records_frame("id", ids),
    )["value"]
    forms = (submissions[name] for name in _FORM_CLICK_IDS)
    return {value for column in (values, *forms) for value in column.drop_nulls() if value}
