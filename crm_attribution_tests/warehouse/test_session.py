"""Sessions: what is written, what later steps are given, and what an older or newer warehouse does."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_attribution.contracts import CONTRACTS
from crm_attribution.contracts.topics import (
    CONTACTS,
    DEALS,
    FORM_SUBMISSION,
    MILESTONE,
    TOUCH_ACCOUNT,
    TOUCH_PERSON,
    Topic,
)
from crm_attribution.errors import ConfigurationError, ContractViolation, SessionOpen
from crm_attribution.warehouse import connection, schema
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.migrations import MIGRATIONS, journal_keys_as_lists
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.versions import versions
from crm_attribution_tests.laws import TIMES

pytestmark = pytest.mark.warehouse

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD_JOURNAL = """
CREATE OR REPLACE TABLE meta.change (seq BIGINT NOT NULL, topic VARCHAR NOT NULL, key VARCHAR NOT NULL)
"""
MERGE = "raw.merge"


def owners(*rows: tuple[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"id": key, "email": email, "archived": False} for key, email in rows],
        schema={"id": pl.String, "email": pl.String, "archived": pl.Boolean},
    )


def merges(**survivors: str) -> pl.DataFrame:
    rows = [
        {"object_type": "contacts", "absorbed_id": int(key[1:]), "survivor_id": int(value), "source": "webhook"}
        for key, value in survivors.items()
    ]
    schema = {"object_type": pl.String, "absorbed_id": pl.Int64, "survivor_id": pl.Int64, "source": pl.String}
    return pl.DataFrame(rows, schema=schema)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def test_upsert_writes_only_what_differs(warehouse: Warehouse) -> None:
    with warehouse.session() as session:
        assert session["raw.owner"].upsert(owners(("1", "a@x.example"), ("2", None)))["id"].to_list() == ["1", "2"]
        assert session["raw.owner"].upsert(owners(("1", "a@x.example"), ("2", "b@x.example")))["id"].to_list() == ["2"]
        assert session["raw.owner"].upsert(owners(("1", "a@x.example"))).is_empty()


def test_what_is_read_together_is_stored_together(warehouse: Warehouse) -> None:
    """Touches of one account, whoever writes them and in whatever order."""
    rows = [{"touch_id": f"{n}", "touched_at": NOON - timedelta(hours=n), "kind": "link_click", "channel": "E-mail",
             "account_id": f"company:{n % 3}", "click_id_kinds": [], "origin": "x"} for n in range(9)]  # fmt: skip
    some, others, last = (pl.DataFrame(rows[n : n + 3]) for n in (0, 3, 6))
    with warehouse.session() as session:
        table = session["attribution.touch"]
        for write in (table.upsert, table.append, table.append_new):
            session.truncate(["attribution.touch"])
            write(pl.concat([some, others, last]))
            stored = session.query("SELECT account_id, touched_at FROM attribution.touch ORDER BY rowid")
            assert stored.equals(stored.sort("account_id", "touched_at"))
        table.replace(pl.concat([last, some]), None)
        assert session.scalar("SELECT count(*) FROM attribution.touch") == 6


def test_upsert_never_goes_back_in_time(warehouse: Warehouse) -> None:
    def company(name: str, modified: datetime) -> pl.DataFrame:
        row = {"id": "7", "name": name, "created_at": NOON, "modified_at": modified, "archived": False}
        return pl.DataFrame([{**row, "merged_ids": [], "extracted_at": NOON}])

    with warehouse.session() as session:
        session["raw.company"].upsert(company("new", NOON), newer="modified_at")
        assert session["raw.company"].upsert(company("old", NOON - timedelta(hours=1)), newer="modified_at").is_empty()
        assert session.read("raw.company")["name"].to_list() == ["new"]


@settings(max_examples=25 * TIMES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.dictionaries(st.sampled_from("123456"), st.sampled_from("78"), max_size=6), max_size=5))
def test_replace_ends_in_what_was_given_and_writes_the_least(warehouse: Warehouse, steps: list[dict[str, str]]) -> None:
    with warehouse.session() as session:
        session.truncate([MERGE])
        before: dict[str, str] = {}
        for wanted in steps:
            frame = merges(**{f"_{key}": value for key, value in wanted.items()})
            changed = session[MERGE].replace(frame, pl.DataFrame({"object_type": ["contacts"]}))
            now = dict(session.read(MERGE).select(pl.col("absorbed_id", "survivor_id").cast(pl.String)).iter_rows())
            assert now == wanted
            differing = {key for key in {*before, *wanted} if before.get(key) != wanted.get(key)}
            assert set(changed["absorbed_id"].cast(pl.String)) == differing
            before = wanted


def test_a_frame_is_a_table_of_its_own_query_only(warehouse: Warehouse) -> None:
    with warehouse.session() as session:
        assert session.query("SELECT * FROM given_here", given_here=owners(("1", None))).height == 1
        with pytest.raises(duckdb.CatalogException):
            session.query("SELECT * FROM given_here")


def test_a_failed_transaction_leaves_nothing(warehouse: Warehouse) -> None:
    def half_done(session: Session) -> None:
        with session.transaction():
            session["raw.owner"].upsert(owners(("1", None)))
            session.journal.add("contacts", ["1"])
            raise ZeroDivisionError

    with warehouse.session() as session:
        with pytest.raises(ZeroDivisionError):
            half_done(session)
        assert session.read("raw.owner").is_empty()
        assert session.scalar("SELECT count(*) FROM meta.change") == 0


def test_a_dry_run_shows_what_would_be_and_leaves_nothing(warehouse: Warehouse) -> None:
    """Its transactions are no commits, and after it, or after an error in it, transactions are again."""

    def fails(session: Session) -> None:
        with session.dry_run(), session.transaction():
            session["raw.owner"].upsert(owners(("1", None)))
            raise ZeroDivisionError

    with warehouse.session() as session:
        with session.dry_run():
            with session.transaction():
                session["raw.owner"].upsert(owners(("1", None)))
            assert session.read("raw.owner").height == 1
        assert session.read("raw.owner").is_empty()
        with pytest.raises(ZeroDivisionError):
            fails(session)
        assert session.read("raw.owner").is_empty()
        with session.transaction():
            session["raw.owner"].upsert(owners(("2", None)))
    with warehouse.session() as session:
        assert session.read("raw.owner")["id"].to_list() == ["2"]


def test_a_consumer_sees_each_change_once_and_everything_at_first(warehouse: Warehouse) -> None:
    with warehouse.session() as session:
        session.journal.add("contacts", ["1", "2"])
        first = session.journal.unseen("events", ["contacts"])
        assert first.everything
        session.journal.advance("events", first)
        assert session.journal.unseen("events", ["contacts"]).idle
        session.journal.add("contacts", ["2", "3", "3"])
        session.journal.add("contacts", ["3"])
        session.journal.add("deals", ["9"])
        second = session.journal.unseen("events", ["contacts"])
        assert not second.everything
        assert second.of("contacts") == ["2", "3"]
        session.journal.advance("events", second)
        session.journal.compact()
        assert session.scalar("SELECT count(DISTINCT seq) FROM meta.change") == 1, "all have seen it"
        assert session.journal.unseen("events", ["contacts", "deals"]).idle
        session.journal.add("contacts", ["4"])
        assert session.journal.unseen("events", ["contacts"]).of("contacts") == ["4"]


def test_changed_rules_make_a_consumer_start_over(warehouse: Warehouse) -> None:
    with warehouse.session() as session:
        session.journal.advance("events", session.journal.unseen("events", ["contacts"], "rules 1"))
        assert session.journal.unseen("events", ["contacts"], "rules 1").idle
        assert session.journal.unseen("events", ["contacts"], "rules 2").everything


def test_derived_rows_that_break_their_contract_are_a_defect(warehouse: Warehouse) -> None:
    secret = "someone@private.example"
    with warehouse.session() as session, pytest.raises(ContractViolation) as caught:
        session["raw.owner"].upsert(owners((secret, secret)))
    assert secret not in str(caught.value)
    assert "raw.owner" in str(caught.value)


def test_superseded_rows_are_closed_or_never_were(warehouse: Warehouse) -> None:
    def credit(value: int) -> pl.DataFrame:
        names = ("milestone", "milestone_id", "model", "currency", "touch_id")
        row = dict.fromkeys(names, "x") | {"scope": "account", "measure": "count", "credit": value}
        return pl.DataFrame([row])

    def current(session: Session) -> list[tuple[int, datetime, datetime | None]]:
        rows = session.read("attribution.credit").sort("recorded_at", "credit")
        return rows.select("credit", "recorded_at", "superseded_at").rows()

    later = NOON + timedelta(hours=1)
    with warehouse.session() as session:
        session["attribution.credit"].supersede(credit(0).clear(), credit(1).with_columns(recorded_at=NOON), NOON)
        held = session.read("attribution.credit")
        session["attribution.credit"].supersede(held, credit(2).with_columns(recorded_at=later), later)
        assert current(session) == [(1, NOON, later), (2, later, None)]
        held = session.read("attribution.credit", "superseded_at IS NULL")
        session["attribution.credit"].supersede(held, credit(3).with_columns(recorded_at=later), later)
        assert current(session) == [(1, NOON, later), (3, later, None)]


def test_a_newer_warehouse_is_refused_and_an_older_one_migrated(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warehouse.session() as session:
        session["raw.owner"].upsert(owners(("1", None)))
    done: list[int] = []

    def add_note(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("ALTER TABLE raw.owner ADD COLUMN note VARCHAR DEFAULT 'migrated'")
        done.append(current)

    current = schema.SCHEMA_VERSION
    monkeypatch.setattr(schema, "SCHEMA_VERSION", current + 1)
    monkeypatch.setitem(MIGRATIONS, current, add_note)
    for _ in range(2):
        with Warehouse(warehouse.directory).session() as session:
            assert session.scalar("SELECT note FROM raw.owner") == "migrated"
            assert session.scalar("SELECT list((version, name)) FROM meta.migration") == [(current + 1, "add_note")]
    assert done == [current]
    monkeypatch.setattr(schema, "SCHEMA_VERSION", current)
    with (
        pytest.raises(ConfigurationError, match=f"schema version {current + 1}, this program knows up to {current}"),
        Warehouse(warehouse.directory).session(),
    ):
        pass


def test_comments_of_an_earlier_release_are_replaced(warehouse: Warehouse) -> None:
    with warehouse.session() as session:
        session.connection.execute("COMMENT ON TABLE raw.owner IS 'as it was'")
        session.connection.execute("COMMENT ON COLUMN raw.owner.id IS 'as it was'")
        session.connection.execute("COMMENT ON COLUMN raw.owner.email IS NULL")
    with Warehouse(warehouse.directory).session() as session:
        found = session.query(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'owner' AND schema_name = 'raw'"
            " UNION ALL SELECT NULL, comment FROM duckdb_tables() WHERE table_name = 'owner' AND schema_name = 'raw'"
        ).rows()
    contract = CONTRACTS["raw.owner"]
    wanted = {(column.name, column.description) for column in contract.columns}
    assert set(found) == wanted | {(None, contract.description)}


def test_keys_of_an_older_journal_are_lists(warehouse: Warehouse) -> None:
    with warehouse.session() as session:
        session.change(OLD_JOURNAL)
        session.change(
            "INSERT INTO meta.change VALUES (1, 'contacts', '7'), (2, 'milestone', 'customer_won|deal:1|x'),"
            " (3, 'form_submission', 'f:c:1'), (4, 'conversion', 'gone')"
        )
        journal_keys_as_lists(session.connection)
        session.change("INSERT INTO meta.cursor VALUES ('reader', 0, '')")
        seen = session.journal.unseen("reader", [CONTACTS, MILESTONE, FORM_SUBMISSION])
        assert seen.of(CONTACTS) == ["7"]
        assert seen.frame(MILESTONE).rows() == [("customer_won", "deal:1|x")]
        assert seen.frame(FORM_SUBMISSION).rows() == [("f", "c:1")]
        assert session.scalar("SELECT count(*) FROM meta.change") == 3


def test_writers_journal_what_the_contract_says(warehouse: Warehouse) -> None:
    """Rows before and after a change, keys of several values, several keys of a row; nothing for what stays."""
    touch = {
        "touch_id": "a",
        "touched_at": NOON,
        "kind": "link_click",
        "channel": "x",
        "click_id_kinds": [],
        "origin": "o",
    }
    merge = {"object_type": "deals", "absorbed_id": 1, "survivor_id": 2, "source": "s"}
    with warehouse.session() as session:
        session.journal.advance("reader", session.journal.unseen("reader", []))

        def journalled(*topics: Topic) -> list[list[tuple[str, ...]]]:
            with session.following("reader", topics) as changes:
                return [changes.frame(topic).rows() for topic in topics]

        first = pl.DataFrame(
            [{**touch, "person_id": "p", "account_id": None}], schema_overrides={"account_id": pl.String}
        )
        session["attribution.touch"].replace(first, None)
        assert journalled(TOUCH_PERSON, TOUCH_ACCOUNT) == [[("p",)], []]
        session["attribution.touch"].replace(pl.DataFrame([{**touch, "person_id": "q", "account_id": "c"}]), None)
        assert journalled(TOUCH_PERSON, TOUCH_ACCOUNT) == [[("p",), ("q",)], [("c",)]]
        session["attribution.touch"].upsert(pl.DataFrame([{**touch, "person_id": "r", "account_id": "c"}]))
        assert journalled(TOUCH_PERSON, TOUCH_ACCOUNT) == [[("q",), ("r",)], [("c",)]]
        session["attribution.touch"].upsert(pl.DataFrame([{**touch, "person_id": "r", "account_id": "c"}]))
        assert journalled(TOUCH_PERSON, TOUCH_ACCOUNT) == [[], []]
        session["attribution.touch"].delete(pl.DataFrame({"touch_id": ["a"]}))
        assert journalled(TOUCH_PERSON, TOUCH_ACCOUNT) == [[("r",)], [("c",)]]
        session["raw.merge"].append(pl.DataFrame([merge]))
        assert journalled(CONTACTS, DEALS) == [[], [("1",), ("2",)]]
        session["raw.merge"].upsert(pl.DataFrame([{**merge, "survivor_id": 3}]))
        assert journalled(CONTACTS, DEALS) == [[], [("1",), ("2",), ("3",)]]


def test_a_session_is_not_opened_inside_another(warehouse: Warehouse) -> None:
    with warehouse.session(), pytest.raises(SessionOpen), warehouse.session():
        pass
    with warehouse.session() as session:
        assert session.scalar("SELECT 1") == 1


def open_elsewhere(warehouse: Warehouse) -> bool:
    """Whether another process gets the file now."""
    code = "import duckdb, sys; duckdb.connect(sys.argv[1]).close()"
    return (
        subprocess.run([sys.executable, "-c", code, str(warehouse.path)], capture_output=True, check=False).returncode
        == 0
    )


def test_a_run_keeps_the_files_open_for_a_moment_and_lets_them_go(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    attached: list[str] = []
    attach = Warehouse._attach

    def counted(self: Warehouse, engine: duckdb.DuckDBPyConnection) -> None:
        attached.append("once")
        attach(self, engine)

    monkeypatch.setattr(Warehouse, "_attach", counted)
    monkeypatch.setattr(connection, "IDLE", 30.0)
    monkeypatch.setattr(connection, "LONGEST", 60.0)
    with warehouse.kept_open():
        for number in range(3):
            with warehouse.session() as session:
                session.state.extracted[str(number)] = NOON
        assert len(attached) == 1
        assert not open_elsewhere(warehouse)
        with warehouse.exclusive() as engine:  # for work on the files: opened for itself, and closed behind it
            assert engine.execute("SELECT count(*) FROM warehouse.meta.fact").fetchall() == [(3,)]
        assert len(attached) == 2
        assert open_elsewhere(warehouse)
        with pytest.raises(ValueError, match="a step fails"), warehouse.session():
            raise ValueError("a step fails")
        assert open_elsewhere(warehouse)
        monkeypatch.setattr(connection, "IDLE", 0.01)
        with warehouse.session():
            pass
        time.sleep(0.5)  # nobody asks for them: they are let go
        assert open_elsewhere(warehouse)
        monkeypatch.setattr(connection, "LONGEST", 0.0)
        monkeypatch.setattr(connection, "IDLE", 30.0)
        with warehouse.session():
            pass
        assert open_elsewhere(warehouse)  # however fast sessions follow, others have their turn
    with warehouse.session() as session:
        assert set(session.state.extracted.all()) == {"0", "1", "2"}
    assert open_elsewhere(warehouse)


def test_what_is_refused_again_just_as_it_is_waits_since_before(warehouse: Warehouse) -> None:
    def told(*rows: tuple[str, str, str]) -> pl.DataFrame:
        return pl.DataFrame(
            [{"key": key, "reasons": why, "row": f'{{"a": {row}}}', "source": "search"} for key, why, row in rows]
        )

    def waits(session: Session) -> list[tuple[str, str, int]]:
        return session.connection.execute(
            "SELECT key, reasons, hour(observed_at) FROM quarantine.contact WHERE NOT resolved ORDER BY ALL"
        ).fetchall()

    with warehouse.session() as session:
        first = told(("1", "A", "1"), ("1", "B", "1"), ("2", "A", "1"))
        session.quarantine.add("raw.contact", first, observed_at=NOON)
        counted = versions(session.connection)
        session.quarantine.add("raw.contact", first, observed_at=NOON + timedelta(hours=1))
        assert waits(session) == [("1", "A", 12), ("1", "B", 12), ("2", "A", 12)]
        assert versions(session.connection) == counted
        later = told(("1", "A", "1"), ("2", "A", "2"))  # a reason is gone, another value is refused
        session.quarantine.add("raw.contact", later, observed_at=NOON + timedelta(hours=2))
        assert waits(session) == [("1", "A", 14), ("2", "A", 14)]
        session.quarantine.resolve("raw.contact", pl.Series(["2"]))
        session.quarantine.add("raw.contact", told(("2", "A", "2")), observed_at=NOON + timedelta(hours=3))
        assert waits(session) == [("1", "A", 14), ("2", "A", 15)]
