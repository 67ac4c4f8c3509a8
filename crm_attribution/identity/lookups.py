"""Contacts and persons named by e-mails and contact ids."""

from __future__ import annotations

import polars as pl

from crm_attribution import identifiers
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session


def contacts_by_email(session: Session, emails: pl.DataFrame) -> pl.DataFrame:
    """The one live contact each e-mail names; an e-mail on several contacts names none.

    Args:
        emails: one column `identifier` of normalised e-mails.
    """
    edges = session.query(
        "SELECT DISTINCT identifier AS email, contact_id FROM identity.edge SEMI JOIN emails USING (identifier)"
        " WHERE identifier_type = 'email' AND contact_id IS NOT NULL",
        emails=emails,
    )
    live = survivors_of(session, "contacts", edges["contact_id"])
    return (
        edges.with_columns(contact_id=pl.col("contact_id").replace(live) if live else pl.col("contact_id"))
        .unique()
        .filter(pl.len().over("email") == 1)
        .sort("email")
    )


def persons_of(session: Session, contacts: pl.Series) -> pl.DataFrame:
    """contact_id, person_id for every contact id ever seen, absorbed ones included."""
    return session.query(
        "SELECT ids.contact_id, a.person_id FROM identity.alias a JOIN ids ON a.identifier = ids.contact_id::VARCHAR"
        " WHERE a.identifier_type = 'contact'",
        ids=records_frame("contact_id", contacts.drop_nulls()),
    )


def normalised(emails: pl.Series) -> pl.Series:
    """Each e-mail normalised; null where it is none."""
    names = {text: identifiers.normalise_email(text) for text in emails.unique().drop_nulls()}
    return emails.replace_strict(names, default=None, return_dtype=pl.String)
