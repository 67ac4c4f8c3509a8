"""A data directory made by an earlier release is taken forward: nothing is lost, and the next hours end as ever.

`release_953eef7.tar.xz` holds `warehouse.duckdb`, `marts.duckdb` and the portal log that release 953eef7 played: 40
contacts, merges in a chain, an archived contact, re-priced wins, conversions sent to Meta and LinkedIn. The log goes on
for seven hours after the files were written.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.destinations import destinations
from crm_attribution.ledger.store import Ledger
from crm_attribution.ledger.tables import ATTEMPT, CONVERSION
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.migrations import MIGRATIONS
from crm_attribution_tests.pipeline.project import SAMPLE_MAPPING, Project
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = [pytest.mark.pipeline, pytest.mark.sandbox, pytest.mark.slow]

FIXTURE = Path(__file__).with_name("release_953eef7.tar.xz")
LOADED, SENT, END = "2026-03-12T10:00:00Z", "2026-03-13T13:00:00Z", "2026-03-13T20:00:00Z"

LEDGER = (
    "SELECT conversion_id, destination, account, action, milestone, milestone_id, occurred_at, ready_at, value,"
    " currency, person_id, contact_id::VARCHAR, state, reason, attempts, first_sent_at, payload_hash"
    " FROM conversions.conversion"
)
ATTEMPTS = (
    "SELECT batch_id, conversion_id, destination, attempt, payload_hash, started, finished, http_status, outcome, code"
    " FROM delivery.attempt"
)
CREDIT = (
    "SELECT milestone, milestone_id, model, measure, currency, touch_id, credit, recorded_at, superseded_at"
    " FROM attribution.credit WHERE superseded_at IS NOT NULL"
)
REMEMBERED = {"credit_history", "milestone_history", "revenue_history", "restatement"}
"""Marts of what was known when: memory."""
PERSONS = "SELECT identifier_type, identifier, person_id FROM identity.alias"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The files of the earlier release, and its portal log beside them."""
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


def rows(file: Path, sql: str) -> set[str]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return {repr(row) for row in connection.execute(sql).fetchall()}


def test_every_table_fits_its_contract_and_memory_is_kept(old: Path) -> None:
    file = old / "warehouse.duckdb"
    before = {sql: rows(file, sql) for sql in (LEDGER, ATTEMPTS, CREDIT, PERSONS)}
    assert all(before.values()), "the fixture has conversions, attempts, closed credit and persons"
    with Warehouse(old).session() as session:
        for name, contract in CONTRACTS.items():
            if contract.schema != "marts":
                contract.validate(session.read(name))
        steps = [row[0] for row in session.query("SELECT name FROM meta.migration ORDER BY version").rows()]
        described = session.query(
            "SELECT schema_name || '.' || table_name, column_name, comment FROM duckdb_columns()"
            " WHERE database_name = current_database() AND NOT internal"
        ).rows()
    told = {(table, column): comment for table, column, comment in described if table in CONTRACTS}
    assert told == {(n, c.name): c.description for n, contract in CONTRACTS.items() for c in contract.columns}
    assert steps == [step.__name__ for version, step in sorted(MIGRATIONS.items()) if version >= 3]
    assert {sql: rows(file, sql) for sql in before} == before


@contextmanager
def going_on(folder: Path, portal: Path, clock: str) -> Iterator[tuple[Project, Sandbox]]:
    """A project on a data directory, with a sandbox at the clock, and the destinations of the old release: a new one
    uploads no history, so that it matters when it was set up."""
    with Sandbox.start(portal, clock) as sandbox:
        since = ("GOOGLE_", "MICROSOFT_")
        known_then = {name: value for name, value in sandbox.env.items() if not name.startswith(since)}
        env = {
            **known_then,
            "CRM_ATTRIBUTION_START": "2026-03-12T09:00:00Z",
            "CRM_ATTRIBUTION_MAPPING": str(SAMPLE_MAPPING),
            "CRM_ATTRIBUTION_SEND": "on",
        }
        yield Project(folder, env), sandbox


def test_the_next_hours_end_as_if_this_release_had_run_from_the_start(old: Path, tmp_path: Path) -> None:
    portal = old / "portal.jsonl"
    accepted = "SELECT conversion_id FROM conversions.conversion WHERE state IN ('accepted', 'processed')"
    sent_before = rows(old / "warehouse.duckdb", accepted)
    with going_on(old, portal, END) as (upgraded, sandbox):
        upgraded.hours(SENT, END)
        counted = sum(len(sandbox.received(name)["counted"]) for name in destinations())
    sent_now = rows(old / "warehouse.duckdb", accepted)
    assert sent_before <= sent_now
    with Ledger(old).reading() as book:
        assert sent_before <= {repr((key,)) for key in book.read(CONVERSION)["conversion_id"]}, (
            "the ledger of before is taken over"
        )
        assert book.read(ATTEMPT)["left_at"].null_count() == 0
    assert counted == len(sent_now - sent_before) > 0, "what was accepted before is not sent again"

    with going_on(tmp_path / "fresh", portal, LOADED) as (fresh, sandbox):
        fresh.hours("2026-03-12T09:00:00Z", LOADED)
        sandbox.set_clock(SENT)
        fresh.hours(LOADED, SENT)
        sandbox.set_clock(END)
        fresh.hours(SENT, END)
    ours, theirs = upgraded.marts(), fresh.marts()
    assert ours.keys() == theirs.keys()
    told_anew = {"about", "platform_told"}  # of which copy it is; the release before did not ask for qualities
    for name in sorted(ours.keys() - told_anew - REMEMBERED):
        assert ours[name] == theirs[name], name
    (known,) = upgraded.finance("SELECT min(recorded_at) FROM marts.credit_history")
    (credited,) = upgraded.warehouse("SELECT min(recorded_at) AT TIME ZONE 'UTC' FROM attribution.credit")
    assert known[0].replace(tzinfo=None) == credited[0], "older credit has its month and channel"
