"""Laws of tables, as queries that count or show the bad rows."""

from __future__ import annotations

import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.schema import table_name
from crm_attribution.warehouse.session import Session


def duplicate_keys(session: Session, name: str) -> int:
    """Count the keys that occur more than once."""
    keys = ", ".join(q(column) for column in CONTRACTS[name].key)
    count = session.scalar(
        f"SELECT count(*) FROM (SELECT 1 FROM {table_name(name)} GROUP BY {keys} HAVING count(*) > 1)"
    )
    return int(count)


def open_quarantine(session: Session, name: str, limit: int = 10) -> list[tuple[str, int, str]]:
    """(reason, rows, a key) of refused rows that have not come in good order since; the most frequent first."""
    rows = session.connection.execute(
        f"SELECT reasons, count(*), min(key) FROM quarantine.{q(CONTRACTS[name].table)} WHERE NOT resolved"
        " GROUP BY reasons ORDER BY count(*) DESC, reasons LIMIT ?",
        [limit],
    ).fetchall()
    return [(str(reason), int(count), str(key)) for reason, count, key in rows]


def unmapped_pipelines(session: Session, mapped: list[str]) -> list[str]:
    """Pipelines that have deals but no kind in the mapping."""
    return session.query(
        "SELECT DISTINCT pipeline FROM events.event WHERE object_type = 'deals' AND pipeline IS NOT NULL"
        " AND pipeline NOT IN (SELECT unnest(?)) ORDER BY pipeline",
        [mapped],
    )["pipeline"].to_list()


def suspicious_domains(session: Session, least: int, trusted: list[str]) -> pl.DataFrame:
    """Accounts that are a domain no company has, with many people who do not all name one company.

    Args:
        least: people from which on an account is looked at.
        trusted: domains that are organisations.

    Returns:
        domain String, people Int64, named Int64 (people who say where they work), companies Int64 (different ones they
        name, capitals and punctuation apart); the most people first.
    """
    return session.query(
        r"""
        WITH crowded AS (  -- few or none: the records of contacts are read for these only
            SELECT account_id FROM identity.membership
            WHERE starts_with(account_id, 'domain:') AND valid_to IS NULL AND account_id[8:] NOT IN (SELECT unnest(?))
            GROUP BY account_id HAVING count(DISTINCT person_id) >= ?
        ),
        member AS (
            SELECT account_id[8:] AS domain, person_id, contact_id
            FROM identity.membership SEMI JOIN crowded USING (account_id) WHERE valid_to IS NULL
        ),
        said AS (
            SELECT id,
                nullif(lower(regexp_replace(properties->>'company', '[^\p{L}\p{N}]+', '', 'g')), '') AS company
            FROM raw.contact SEMI JOIN member ON contact_id = id
        )
        SELECT domain, count(DISTINCT person_id) AS people,
            count(DISTINCT person_id) FILTER (company IS NOT NULL) AS named, count(DISTINCT company) AS companies
        FROM member LEFT JOIN said ON id = contact_id GROUP BY domain
        HAVING NOT (companies = 1 AND 2 * named >= people)
        ORDER BY people DESC, domain
        """,
        [trusted, least],
    )


def open_gaps(session: Session, gap: str) -> list[str]:
    """Subjects of the rows of `events.gap` of one kind."""
    return session.query("SELECT subject FROM events.gap WHERE gap = ? ORDER BY subject", [gap])["subject"].to_list()


def broken_conservation(session: Session) -> int:
    """Outcome x model x scope x measure whose credits do not add up to the outcome exactly, in its own currency or in
    the home currency."""
    count = session.scalar(
        """
        SELECT count(*) FROM (
            SELECT c.milestone, c.milestone_id, c.model, c.scope, c.measure
            FROM attribution.credit c
            LEFT JOIN events.milestone m USING (milestone, milestone_id)
            LEFT JOIN events.revenue r USING (milestone, milestone_id)
            LEFT JOIN events.home_value h USING (milestone, milestone_id)
            WHERE c.superseded_at IS NULL
            GROUP BY ALL
            HAVING sum(c.credit) IS DISTINCT FROM any_value(CASE c.measure
                WHEN 'count' THEN 1000000
                WHEN 'amount' THEN coalesce(m.amount_current, r.amount)
                WHEN 'mrr' THEN coalesce(m.mrr_new, r.mrr)
                WHEN 'arr' THEN coalesce(m.arr_new, r.arr)
                WHEN 'tcv' THEN coalesce(m.tcv_current, r.tcv) END)
            OR sum(c.credit_home) IS DISTINCT FROM any_value(CASE c.measure
                WHEN 'amount' THEN h.amount_home
                WHEN 'mrr' THEN h.mrr_home
                WHEN 'arr' THEN h.arr_home
                WHEN 'tcv' THEN h.tcv_home END))
        """
    )
    return int(count)
