"""What HubSpot was told of a contact that is erased: what of it is kept here goes, and what went there is named."""

from __future__ import annotations

import polars as pl

from crm_attribution.conversions.identify_rules import digest
from crm_attribution.destinations import destinations
from crm_attribution.privacy.rules import Trace
from crm_attribution.privacy.traces import Rows
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session


def told_of(session: Session, of: Trace) -> dict[str, int]:
    """Rows of the ledger by destination and action that HubSpot has, or may have, of the contacts.

    Events, notes and properties of a contact go with it where HubSpot erases it; its API takes no event back.
    Properties of deals and companies stay.
    """
    rows = session.query(
        "SELECT destination || ' ' || action AS what, count(*) AS rows FROM conversions.conversion"
        " WHERE destination IN (SELECT name FROM portal) AND first_sent_at IS NOT NULL"
        " AND state IN ('accepted', 'processed', 'unknown', 'retry', 'in_flight')"
        " AND (contact_id IN (SELECT contact_id FROM ids)"
        " OR regexp_extract(milestone_id, '^(contacts:[0-9a-f]+):', 1) IN (SELECT subject FROM subjects))"
        " GROUP BY ALL ORDER BY ALL",
        portal=ids_frame("name", [name for name, one in destinations().items() if one.is_hubspot]),
        ids=records_frame("contact_id", of.contact_ids),
        subjects=ids_frame("subject", [f"contacts:{digest('contacts', email)}" for email in of.emails]),
    )
    return dict(rows.iter_rows())


def delete_inputs(session: Session, of: Trace, ids: pl.DataFrame, rows: Rows) -> dict[str, int]:
    """What other systems said of the contact, what of it HubSpot was told, and what was reported of it."""
    told = session.query(
        "SELECT subject FROM conversions.told_record WHERE object_type = 'contacts'"
        " AND (record_id IN (SELECT contact_id FROM ids) OR name IN (SELECT email FROM emails))",
        ids=ids,
        emails=ids_frame("email", of.emails),
    )
    reported = session.query(
        "SELECT DISTINCT key FROM quarantine.identify"
        " WHERE regexp_extract(key, '^(.*):told:', 1) IN (SELECT message_id FROM inputs)",
        inputs=rows.inputs,
    )
    session["quarantine.identify"].delete(reported)
    session.connection.execute(
        "DELETE FROM conversions.audience_event WHERE contact_id IN (SELECT unnest(?))", [sorted(of.contact_ids)]
    )
    return {
        "raw.identify": session["raw.identify"].delete(rows.inputs),
        "conversions.told_record": session["conversions.told_record"].delete(told),
    }
