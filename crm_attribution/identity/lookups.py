"""Contacts and persons named by e-mails and contact ids: SQL for steps, and the same questions asked alone."""

from __future__ import annotations

import polars as pl

from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

CONTACT_ID = "TRY_CAST(identifier AS BIGINT)"
"""Contact id of an `identity.alias` row with identifier_type contact."""


def one_contact(emails: str) -> str:
    """SELECT email, contact_id: those of a table of normalised e-mails (`email`) that name exactly one live contact."""
    return f"""
        SELECT email, any_value(live_id) AS contact_id FROM (
            SELECT DISTINCT edge.identifier AS email, coalesce(merged.survivor_id, edge.contact_id) AS live_id
            FROM identity.edge AS edge SEMI JOIN {emails} ON {emails}.email = edge.identifier
            LEFT JOIN raw.merge AS merged
                ON merged.object_type = 'contacts' AND merged.absorbed_id = edge.contact_id
            WHERE edge.identifier_type = 'email' AND edge.contact_id IS NOT NULL
        ) GROUP BY email HAVING count(*) = 1 ORDER BY email
    """


def with_person(contacts: str) -> str:
    """SELECT *, person_id: the rows of a table with contact_id, absorbed ones included, whose contact has a person."""
    return f"""
        SELECT {contacts}.*, person_id FROM {contacts} JOIN identity.alias ON identifier = contact_id::VARCHAR
        WHERE identifier_type = 'contact'
    """


def emails_of(persons: str) -> str:
    """SELECT email: the normalised e-mails of all contacts of a table of persons (`person_id`)."""
    return f"""
        SELECT DISTINCT edge.identifier AS email FROM identity.edge AS edge
        JOIN identity.alias AS alias ON alias.identifier = edge.contact_id::VARCHAR
        SEMI JOIN {persons} ON {persons}.person_id = alias.person_id
        WHERE edge.identifier_type = 'email' AND alias.identifier_type = 'contact'
    """


def contacts_by_email(session: Session, emails: pl.Series) -> pl.DataFrame:
    """email, contact_id: the one live contact each normalised e-mail names; one on several contacts names none."""
    return session.query(one_contact("asked"), asked=emails.drop_nulls().unique().to_frame("email"))


def persons_of(session: Session, contacts: pl.Series) -> pl.DataFrame:
    """contact_id, person_id for every contact id ever seen, absorbed ones included."""
    return session.query(with_person("asked"), asked=records_frame("contact_id", contacts.drop_nulls()))
