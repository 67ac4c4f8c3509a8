"""Every data test returns rows when it should: one way to break each."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb
import pytest

from crm_attribution.marts.models import SqlTest, run_test
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.marts import sample_rows

TESTS: dict[str, SqlTest] = {
    f"{test.model.removeprefix('marts.')}.{test.name}": test for model in sample_rows.models() for test in model.tests
}
DATA_TESTS = {name for name, test in TESTS.items() if test.path.name.endswith(".test.sql")}

BREAKS = {
    "account_progress.everybody": "DELETE FROM marts.account_progress WHERE account_id = 'company:10'",
    "account_value.conserved": "UPDATE marts.account_value SET won_amount_minor = won_amount_minor + 1 WHERE wins > 0",
    "funnel.everybody_once": "DELETE FROM marts.funnel WHERE subject = 'deal' AND step = 'opportunity_created'",
    "funnel.milestones": "UPDATE events.milestone SET milestone = 'trial_started' WHERE milestone_id = 'm2'",
    "funnel.narrowing": "UPDATE marts.funnel SET reached = 5 WHERE subject = 'account' AND step = 'customer_won'",
    "funnel_value.conserved": "UPDATE marts.funnel_value SET amount_minor = amount_minor - 1 WHERE currency = 'USD'",
    "milestone.complete": "UPDATE events.milestone SET amount_current = 1 WHERE milestone_id = 'm4'",
    "milestone.currency": "UPDATE marts.milestone SET amount_current = amount_current + 0.001 WHERE currency = 'EUR'",
    "milestone.reversed_has_reason": "UPDATE marts.milestone SET reason = NULL WHERE state = 'reversed'",
    "milestone.won_once": "UPDATE marts.milestone SET milestone = 'customer_won' WHERE milestone = 'customer_expanded'",
    "pipeline.currency": "UPDATE marts.pipeline SET amount = NULL WHERE deal_id = '502'",
    "pipeline.live_facts": "DELETE FROM marts.pipeline WHERE deal_id = '501'",
    "revenue_attribution.complete": "DELETE FROM attribution.credit WHERE milestone_id = 'm7' AND model = 'linear'",
    "revenue_attribution.conserved": "UPDATE attribution.credit SET credit = credit + 1 WHERE touch_id = 'form:f:1'",
    "revenue_attribution.currency": "UPDATE marts.revenue_attribution SET currency = NULL WHERE measure = 'amount'",
    "revenue_attribution.nothing_lost": "DELETE FROM marts.revenue_attribution WHERE channel = 'Unattributed'",
    "revenue_attribution.only_counted": "UPDATE events.milestone SET state = 'reversed' WHERE milestone_id = 'm4'",
    "revenue_attribution.reasons": "UPDATE marts.revenue_attribution SET unattributed_reason = NULL",
    "stage_duration.one_at_a_time": "UPDATE marts.stage_duration SET left_at = NULL WHERE left_at IS NOT NULL",
    "upload_health.known_attempts": "UPDATE delivery.attempt SET conversion_id = 'nobody'",
    "upload_health.nothing_lost": "DELETE FROM marts.upload_health WHERE state = 'held'",
    "upload_health.once": "UPDATE conversions.conversion SET milestone_id = 'm1' WHERE conversion_id = 'c2'",
}

MORE = [
    ("milestone.currency", "UPDATE marts.milestone SET currency = NULL WHERE milestone_id = 'm10'"),
    ("milestone.complete", "DELETE FROM marts.milestone WHERE milestone_id = 'm11'"),
    ("revenue_attribution.complete", "DELETE FROM attribution.credit WHERE milestone_id = 'm4' AND measure = 'arr'"),
    ("revenue_attribution.conserved", "UPDATE attribution.credit SET currency = 'USD' WHERE currency = 'EUR'"),
    ("revenue_attribution.conserved", "UPDATE attribution.credit SET superseded_at = NULL"),
    (
        "revenue_attribution.only_counted",
        "UPDATE events.milestone SET suppressed_by = 'email_domain' WHERE milestone_id = 'm7'",
    ),
    ("revenue_attribution.only_counted", "DELETE FROM events.milestone WHERE milestone_id = 'm7'"),
    ("revenue_attribution.channel_not_null", "UPDATE marts.revenue_attribution SET channel = NULL"),
    ("pipeline.live_facts", "UPDATE marts.pipeline SET account_id = 'company:30' WHERE deal_id = '501'"),
    ("pipeline.live_facts", "UPDATE marts.pipeline SET status = 'open' WHERE deal_id = '505'"),
    ("funnel.everybody_once", "UPDATE events.milestone SET person_id = 'p4' WHERE milestone_id = 'm2'"),
]


@pytest.fixture
def breakable(marts: Session) -> Iterator[Session]:
    marts.connection.execute("BEGIN")
    yield marts
    marts.connection.execute("ROLLBACK")


def changes_of(session: Session, table: str) -> Iterator[str]:
    """Simple changes of a table: no rows, half of them, every row twice, and another value in a column."""
    yield f"DELETE FROM {table}"
    yield f"DELETE FROM {table} WHERE rowid % 2 = 0"
    yield f"INSERT INTO {table} SELECT * FROM {table}"
    for name, kind in session.connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE {table})").fetchall():
        numeric = re.match(r"(BIG|SMALL|TINY|HUGE)?INT|DECIMAL|DOUBLE|INTEGER", kind)
        values = [f"{name} + 1", f"-{name} - 1"] if numeric else [f"'x' || {name}"] if kind == "VARCHAR" else []
        for value in ("NULL", *values):
            yield f"UPDATE {table} SET {name} = {value}"


def found_break(session: Session, test: SqlTest) -> str | None:
    """A change of the table or of one that the data test reads by which it fails; None where no simple one does."""
    for table in dict.fromkeys((test.model, *test.depends)):
        for change in changes_of(session, table):
            session.connection.execute("BEGIN")
            try:
                session.connection.execute(change)
                if not run_test(session.connection, test).passed:
                    return change
            except duckdb.Error:
                continue
            finally:
                session.connection.execute("ROLLBACK")
    return None


def test_the_breaks_are_of_data_tests_there_are() -> None:
    assert set(BREAKS) <= DATA_TESTS


@pytest.mark.parametrize("name", sorted(DATA_TESTS - set(BREAKS)))
def test_a_data_test_without_a_break_is_broken_by_a_simple_change(marts: Session, name: str) -> None:
    assert found_break(marts, TESTS[name]) is not None, "a data test that cannot fail; or add a way to BREAKS"


def test_simple_changes_break_most_data_tests(marts: Session) -> None:
    """The search finds something: data tests with a break of their own are broken by it too."""
    names = [
        "funnel.everybody_once",
        "milestone.reversed_has_reason",
        "upload_health.nothing_lost",
        "pipeline.currency",
    ]
    assert [name for name in names if found_break(marts, TESTS[name]) is None] == []


@pytest.mark.parametrize(("name", "change"), [*BREAKS.items(), *MORE])
def test_a_broken_rule_shows(breakable: Session, name: str, change: str) -> None:
    test = TESTS[name]
    assert run_test(breakable.connection, test).passed
    breakable.connection.execute(change)
    result = run_test(breakable.connection, test)
    assert result.bad_rows > 0
    assert result.sample


def test_a_touch_that_is_gone_shows_as_a_missing_channel(empty: Session) -> None:
    tables = sample_rows.tables()
    tables["attribution.touch"] = [row for row in tables["attribution.touch"] if row["touch_id"] != sample_rows.SEARCH]
    sample_rows.fill(empty, tables)
    sample_rows.build(empty, "marts.revenue_attribution")
    result = run_test(empty.connection, TESTS["revenue_attribution.channel_not_null"])
    assert {row["model"] for row in result.sample} == {"first_touch", "linear"}


def test_merges_in_a_circle_show(empty: Session) -> None:
    sample_rows.fill(empty, {"raw.merge": [sample_rows.merge("deals", "1", "2"), sample_rows.merge("deals", "2", "1")]})
    sample_rows.build(empty, "staging.merge")
    assert run_test(empty.connection, TESTS["staging.merge.live_id_not_null"]).bad_rows == 2
