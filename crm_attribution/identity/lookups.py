"""Contacts and persons named by e-mails and contact ids: SQL for steps, and the same questions asked alone."""

from __future__ import annotations

import polars as pl

from crm_attribution.identity.rules.edges import RULES
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

CONTACT_ID = "TRY_CAST(identifier AS BIGINT)"
"""Contact id of an `identity.alias` row with identifier_type contact."""


def one_contact(emails: str) -> str:
    """SELECT email, contact_id: those of a table of normalised e-mails (`email`) that name one person, each with the
    contact that has it.

    Archived contacts count only where nobody else has the e-mail: a record deleted and created again does not
    compete with itself. Nor does a former address of one contact compete with another's present one. Of several
    contacts of one person it is the one whose address it is by the strongest rule, then the oldest.
    """
    return f"""
        SELECT email, first(contact_id ORDER BY strength, first_seen, contact_id) AS contact_id FROM (
            SELECT named.*, alias.person_id, list_position({list(RULES)}, named.rule) AS strength,
                2 * coalesce(contact.archived, false)::INTEGER + (named.rule = 'email_history')::INTEGER AS claim
            FROM (
                SELECT edge.identifier AS email, coalesce(merged.survivor_id, edge.contact_id) AS contact_id, edge.rule,
                    edge.first_seen
                FROM identity.edge AS edge SEMI JOIN {emails} ON {emails}.email = edge.identifier
                LEFT JOIN raw.merge AS merged
                    ON merged.object_type = 'contacts' AND merged.absorbed_id = edge.contact_id
                WHERE edge.identifier_type = 'email' AND edge.contact_id IS NOT NULL
            ) AS named
            JOIN identity.alias AS alias
                ON alias.identifier_type = 'contact' AND alias.identifier = named.contact_id::VARCHAR
            LEFT JOIN raw.contact AS contact ON contact.id = named.contact_id
            QUALIFY claim = min(claim) OVER (PARTITION BY named.email)
        ) GROUP BY email HAVING count(DISTINCT person_id) = 1 ORDER BY email
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
    """email, contact_id: the contact of the one person each normalised e-mail names; see `one_contact`."""
    return session.query(one_contact("asked"), asked=emails.drop_nulls().unique().to_frame("email"))


def persons_of(session: Session, contacts: pl.Series) -> pl.DataFrame:
    """contact_id, person_id for every contact id ever seen, absorbed ones included."""
    return session.query(with_person("asked"), asked=records_frame("contact_id", contacts.drop_nulls()))
