"""What a person asks first: how fresh is it, what waits, what is held, who holds the lock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from rich.table import Table

from crm_attribution.clock import iso, parse_instant
from crm_attribution.contracts import SCHEMAS
from crm_attribution.conversions.mirror import copied
from crm_attribution.conversions.plan import accounts_of, why_not
from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Destination
from crm_attribution.errors import ConfigurationError, WarehouseBusy
from crm_attribution.ledger.safety import why_unsafe
from crm_attribution.ledger.store import LedgerFailed
from crm_attribution.mapping import Rules
from crm_attribution.marts.publish import read_manifest
from crm_attribution.operations.console import wide_console
from crm_attribution.orchestration.resources import Pipeline, open_pipeline, open_warehouse, run_lock
from crm_attribution.orchestration.runs import told
from crm_attribution.raw.webhooks import waiting
from crm_attribution.settings import Settings
from crm_attribution.warehouse.report import CALLS, CHANGED, MINIMUM_CALLS, ROWS
from crm_attribution.warehouse.session import Session

_PATIENCE = 5.0
"""Seconds `status` waits for the writer's file: a question, not a run."""


def run_summary(given: Settings, run_id: str) -> dict[str, Any]:
    """Rows and changes per table of a run, what HubSpot was asked, and which checks do not hold."""
    tables, failed_checks = told(given, run_id)
    return {"tables": tables, **calls(tables), "failed_checks": failed_checks}


def calls(tables: dict[str, dict[str, Any]]) -> dict[str, int]:
    """HTTP calls made and the least the sources' page sizes allow, where an asset counts them."""
    counted = [facts for facts in tables.values() if MINIMUM_CALLS in facts]
    return {
        "calls": sum(int(facts[CALLS]) for facts in counted),
        "minimum_calls": sum(int(facts[MINIMUM_CALLS]) for facts in counted),
    }


def rows_per_layer(session: Session) -> dict[str, int]:
    """Rows of all tables of each schema."""
    counted = dict.fromkeys(SCHEMAS, 0)
    for schema, table in session.connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name IN (SELECT unnest(?))", [list(SCHEMAS)]
    ).fetchall():
        counted[schema] += session.scalar(f"SELECT count(*) FROM {schema}.{table}")
    return counted


def conversions_by_outcome(session: Session) -> list[dict[str, Any]]:
    """Conversions by destination, state and reason."""
    rows: list[dict[str, Any]] = session.query(
        "SELECT destination, state, reason, count(*) AS conversions FROM conversions.conversion"
        " GROUP BY ALL ORDER BY destination, state, reason"
    ).to_dicts()
    return rows


def status(given: Settings) -> dict[str, Any]:
    """The state of a data directory."""
    pipeline = open_pipeline(given)
    warehouse = open_warehouse(given, _PATIENCE)
    holder = run_lock(given).holder()
    manifest = read_manifest(warehouse.finance_path)
    answer: dict[str, Any] = {
        "data_dir": str(given.data_dir),
        "first_hour": iso(given.start),
        "run_lock": str(holder) if holder else "free",
        "webhooks_waiting": len(waiting(given.inbox)),
        "finance_as_of": manifest.as_of if manifest else None,
        "finance_published_at": manifest.published_at if manifest else None,
        "destinations": {
            destination.name: _sends(destination, pipeline.rules, given)
            for destination in sorted(
                destinations().values(), key=lambda one: (one.plans_from != "milestones", one.name)
            )
        },
        "hubspot": _authentication(pipeline),
        "unknown_settings": "; ".join(given.unknown) or "none",
    }
    if not warehouse.path.exists():
        return {**answer, "warehouse": "empty: materialize the first hour"}
    try:
        with warehouse.session() as session:
            watermark = session.state.watermark
            answer |= {
                "portal_id": session.state.portal_id,
                "newest_hour_ends": watermark and iso(watermark),
                "unfinished": None if holder else _unfinished(answer["finance_as_of"], watermark),
                "rows": rows_per_layer(session),
                "quarantined": _quarantined(session),
                "quarantine_reasons": quarantine_reasons(session),
                "ledger": _ledger(pipeline, session),
                "conversions": conversions_by_outcome(session),
            }
    except WarehouseBusy as error:
        answer["warehouse"] = str(error)
    return answer


def _unfinished(published: str | None, watermark: datetime | None) -> str | None:
    """What was begun and is not published: a run broke off, or a check stopped it."""
    if watermark is None or (published is not None and parse_instant(published) >= watermark):
        return None
    since = f"since {published}" if published else "so far"
    return (
        f"hours {since} up to {iso(watermark)} were begun and are not published: a run broke off, or a check refused"
        " the figures. Run the newest hour again"
    )


def _sends(destination: Destination, rules: Rules, given: Settings) -> str:
    """`sends`, and of which of several accounts it does not."""
    if (why := why_not(destination, rules, given)) is not None:
        return why
    mine = accounts_of(destination, rules, given)
    return "; ".join(
        ["sends", *(f"not to {one.name or 'its own account'}: {one.missing}" for one in mine if one.missing)]
    )


def _ledger(pipeline: Pipeline, session: Session) -> str:
    """Whether it may be sent from; also where its database does not answer."""
    try:
        return why_unsafe(pipeline.ledger, copied(session)) or "in order"
    except LedgerFailed as error:
        return str(error)


def _authentication(pipeline: Pipeline) -> dict[str, Any]:
    """How HubSpot is asked, from settings and the token file; HubSpot itself is not asked."""
    try:
        return dict(pipeline.connections.credential.figures())
    except ConfigurationError as error:
        return {"authentication": str(error)}


def _quarantined(session: Session) -> dict[str, int]:
    return {name: sum(reasons.values()) for name, reasons in quarantine_reasons(session).items()}


def quarantine_reasons(session: Session) -> dict[str, dict[str, int]]:
    """Refused rows and fields by table and reason (`column:check; …`), without their values."""
    tables = session.query("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'quarantine' ORDER BY 1")
    found = {
        name: dict(
            session.query(
                f"SELECT reasons, count(*) FROM quarantine.{name} WHERE NOT resolved GROUP BY 1 ORDER BY 2 DESC, 1"
            ).iter_rows()
        )
        for name in tables["table_name"]
    }
    return {name: reasons for name, reasons in found.items() if reasons}


def show_run(result: dict[str, Any]) -> None:
    """A run's summary for people."""
    wide_console().print(f"run {result['run_id']}", highlight=False)
    table = Table("table", "rows", "changed")
    for name, facts in result["tables"].items():
        table.add_row(name, str(facts.get(ROWS, "")), str(facts.get(CHANGED, "")))
    wide_console().print(table)
    wide_console().print(f"calls made {result['calls']}, minimum {result['minimum_calls']}")
    for row in result["failed_checks"]:
        click.echo(f"{row['severity']}: the check {row['check']} of {row['table']} does not hold")


def show_status(result: dict[str, Any]) -> None:
    """The status for people."""
    console = wide_console()
    for name, value in result.items():
        if name == "conversions":
            table = Table("destination", "state", "reason", "conversions", title="conversions")
            for row in value:
                table.add_row(row["destination"], row["state"], row["reason"] or "", str(row["conversions"]))
            console.print(table)
        elif name == "quarantine_reasons":
            for table_name, reasons in value.items():
                for reason, count in reasons.items():
                    console.print(f"  {count} in quarantine.{table_name}: {reason}", highlight=False, soft_wrap=True)
        elif isinstance(value, dict):
            console.print(f"{name}: " + (", ".join(f"{k} {v}" for k, v in value.items()) or "none"), highlight=False)
        else:
            console.print(f"{name}: {'none' if value is None else value}", highlight=False)
