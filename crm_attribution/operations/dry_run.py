"""What another mapping would change, found by deriving with it and rolling everything back."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from crm_attribution.contracts import CONTRACTS
from crm_attribution.conversions import plan as conversions
from crm_attribution.layers import PLANNING, derive, needed_by
from crm_attribution.ledger.store import Ledger
from crm_attribution.mapping import Rules
from crm_attribution.settings import Settings
from crm_attribution.warehouse.identifiers import quote_identifier as q
from crm_attribution.warehouse.session import Session

EXAMPLES = 5
"""Ids shown per kind of change."""

_NOT_COMPARED = {"mapping_version"}
"""Columns whose change alone is no change."""

Difference = dict[str, Any]


def difference(
    session: Session,
    ledger: Ledger,
    current: Rules,
    proposed: Rules,
    settings: Settings,
    as_of: datetime,
    now: datetime,
) -> Difference:
    """What `proposed` would change against what `current` gives. Nothing is written; no client of the finance copy and
    no later run sees any of it.

    Args:
        session: open, with the run lock held.
        ledger: of conversions.
        current: the mapping in force; what it has not yet derived is derived first.
        proposed: the mapping to try.
        settings: destinations that are configured are planned for.
        as_of: end of the newest hour.
        now: log time.

    Returns:
        events, milestones and conversions: counts by kind of change with example ids, no personal data.
    """
    if not ledger.exists():
        ledger.create()
    with session.dry_run(), ledger.dry_run():
        _plan(session, ledger, current, settings, as_of, now)
        tables = ("events.event", "events.milestone", "conversions.conversion")
        for name in tables:
            session.connection.execute(f"CREATE OR REPLACE TEMP TABLE {_before(name)} AS SELECT * FROM {name}")
        planned = _plan(session, ledger, proposed, settings, as_of, now)
        return {
            "mapping_version": {"current": current.version, "proposed": proposed.version},
            "events": _compared(session, "events.event", "event"),
            "milestones": _compared(session, "events.milestone", "milestone"),
            "conversions": {
                "planned": _planned(session),
                "changed": _columns(session, "conversions.conversion"),
                "not planned": {**planned.skipped, **planned.wrong},
            },
        }


def _plan(
    session: Session, ledger: Ledger, rules: Rules, settings: Settings, as_of: datetime, now: datetime
) -> conversions.Planning:
    derive(session, rules, as_of, needed_by(PLANNING))
    return conversions.update(session, ledger, rules, settings, now)


def _before(name: str) -> str:
    return "_before_" + name.split(".")[1]


def _compared(session: Session, table: str, name: str) -> Difference:
    """Rows by id that came, went, or have another name; and of those that stay, which columns differ."""
    key = f"{name}_id"
    rows = session.connection.execute(
        f"""
        WITH pairs AS (
            SELECT b.{name} AS was, a.{name} AS becomes, coalesce(a.{key}, b.{key}) AS id
            FROM {_before(table)} b FULL JOIN {table} a
            ON a.{key} = b.{key} AND {_family("a", name)} = {_family("b", name)}
            WHERE a.{name} IS DISTINCT FROM b.{name})
        SELECT was, becomes, count(*), list(id ORDER BY id)[1:{EXAMPLES}] FROM pairs GROUP BY ALL ORDER BY ALL
        """
    ).fetchall()
    found: dict[str, dict[str, Any]] = {"gained": {}, "lost": {}, "renamed": {}}
    for was, becomes, count, examples in rows:
        counted = {"count": count, "examples": examples}
        if was is None:
            found["gained"][becomes] = counted
        elif becomes is None:
            found["lost"][was] = counted
        else:
            found["renamed"][f"{was} -> {becomes}"] = counted
    return {**found, "changed": _columns(session, table)}


def _family(alias: str, name: str) -> str:
    """Names under which a row stays the same fact: any for an event, both names of a win for a milestone."""
    if name == "event":
        return "true"
    return f"CASE WHEN {alias}.{name} IN ('customer_won', 'customer_expanded') THEN 'win' ELSE {alias}.{name} END"


def _columns(session: Session, table: str) -> dict[str, dict[str, int]]:
    """Of the rows that keep their key: how many differ in which column, by their name."""
    contract = CONTRACTS[table]
    name = {"events.event": "event", "events.milestone": "milestone", "conversions.conversion": "action"}[table]
    compared = [column for column in contract.compared if column not in contract.key and column not in _NOT_COMPARED]
    differs = {column: f"a.{q(column)} IS DISTINCT FROM b.{q(column)}" for column in compared}
    counts = ", ".join(f"count(*) FILTER ({test})" for test in differs.values())
    using = ", ".join(q(column) for column in contract.key)
    rows = session.connection.execute(
        f"SELECT a.{name}, {counts} FROM {table} a JOIN {_before(table)} b USING ({using})"
        f" WHERE {' OR '.join(differs.values())} GROUP BY 1 ORDER BY 1"
    ).fetchall()
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for label, *numbers in rows:
        found[label] |= {column: count for column, count in zip(compared, numbers, strict=True) if count}
    return dict(found)


def _planned(session: Session) -> list[dict[str, Any]]:
    """Conversions that would be planned, by what they are and whether they would be sent."""
    return session.query(
        "SELECT destination, account, action, milestone, state, reason, count(*) AS conversions"
        " FROM conversions.conversion ANTI JOIN _before_conversion USING (conversion_id) GROUP BY ALL ORDER BY ALL"
    ).rows(named=True)
