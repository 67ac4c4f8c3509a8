"""The sample portal through the whole pipeline over real HTTP, real files and real Dagster runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from crm_attribution.destinations import destinations
from crm_attribution.marts.publish import read_storage_version
from crm_attribution_tests.pipeline.project import ROOT, SAMPLE_MAPPING, SAMPLE_PORTAL, Project
from crm_attribution_tests.questions import answers, questions
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.pipeline

START, FIRST_END, FAILED_END, LATER, END = (
    "2026-03-12T09:00:00Z",
    "2026-03-12T10:00:00Z",
    "2026-03-12T11:00:00Z",
    "2026-03-12T16:00:00Z",
    "2026-03-12T17:00:00Z",
)


SPEND = "date,platform,ad_account,campaign_id,campaign_name,currency,amount,clicks,impressions\n"
DROPPED = {
    "spend/google.csv": SPEND
    + "2026-03-10,Google Ads,1-2,71,Brand DACH,EUR,100.10,40,900\n"
    + "2026-03-11,Google Ads,1-2,71,Brand DACH,EUR,80.00,30,800\n"
    + "2026-03-11,Google Ads,1-2,72,Planted | nobody clicks,EUR,7.77,1,10\n"
    + "2026-03-11,Google Ads,1-2,,,JPY,500,,\n",
    "costs/march.csv": "month,kind,currency,amount\n2026-03,Salaries,EUR,41000.00\n2026-03,Salaries,USD,100.00\n",
    "rates/ecb.csv": "date,from_currency,to_currency,rate\n2026-03-11,USD,EUR,0.8593\n",
}
"""Files in the inbox before the first hour."""
RESTATED = {
    "spend/google.csv": SPEND + "2026-03-10,google_ads,12,71,Brand DACH,EUR,99.95,39,900\n",
    "costs/march.csv": "month,kind,currency,amount\n2026-03,salaries,EUR,42000.50\n",
}
"""Files that tell a day and a month again, before the last hour."""


def drop(data: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = data / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@dataclass
class Played:
    project: Project
    sandbox: Sandbox
    first: Any
    later: Any
    last: Any
    after_first: dict[str, Any]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The first hour with all history, an hour that fails midway, a range after it as one run, one hour more."""
    with Sandbox.start(SAMPLE_PORTAL, FIRST_END, limits="off") as sandbox:
        env = {
            **sandbox.env,
            "CRM_ATTRIBUTION_START": START,
            "CRM_ATTRIBUTION_MAPPING": str(SAMPLE_MAPPING),
        }
        project = Project(tmp_path_factory.mktemp("sample") / "data", env)
        drop(project.data_dir, DROPPED)
        first = project.hours(START, FIRST_END)
        after_first = {name: sandbox.received(name) for name in destinations()}
        sandbox.set_clock(FAILED_END)
        sandbox.faults([{"route": "POST /crm/objects/contacts/search", "kind": "403"}])
        assert project.command("backfill", "--from", FIRST_END, "--to", FAILED_END).returncode == 1
        sandbox.faults([])
        sandbox.set_clock(LATER)
        later = project.hours(FAILED_END, LATER)
        drop(project.data_dir, RESTATED)
        sandbox.set_clock(END)
        last = project.hours(LATER, END)
        yield Played(project, sandbox, first, later, last, after_first)


def test_a_first_load_uploads_no_history(played: Played) -> None:
    for platform, seen in played.after_first.items():
        assert seen["received"] == [], platform
    states = dict(
        played.project.warehouse(
            "SELECT occurred_at < '2026-03-12T09:00:00Z', list(DISTINCT state) FROM conversions.conversion GROUP BY 1"
        )
    )
    assert states[True] == ["suppressed"]


def test_what_happened_since_is_sent_and_counted_once(played: Played) -> None:
    accepted = Counter(
        dict(
            played.project.warehouse(
                "SELECT destination, count(*) FROM conversions.conversion WHERE state IN ('accepted', 'processed')"
                " GROUP BY 1"
            )
        )
    )
    assert len(accepted) >= 3, "those that the sample's mapping names"
    for platform in accepted:
        seen = played.sandbox.received(platform)
        assert accepted[platform] > 10
        assert len(seen["received"]) == len(seen["counted"]) == accepted[platform]


def test_a_business_fact_reaches_a_platform_once(played: Played) -> None:
    doubles = played.project.warehouse(
        """
        SELECT c.destination, m.milestone, m.milestone_id, count(*) FROM conversions.conversion c
        JOIN events.milestone_event m ON m.event_id = c.milestone_id AND m.milestone = c.milestone
        WHERE c.state IN ('accepted', 'processed') GROUP BY ALL HAVING count(*) > 1
        """
    )
    assert doubles == []


def test_an_hour_that_failed_is_made_up_for_by_the_next(played: Played) -> None:
    """Promise 1: once the newest hour has run, nothing is missing, also when hours before it broke off midway. (Run
    again, below, it changes nothing.)"""
    within = f"occurred_at >= TIMESTAMP '{FIRST_END[:-1]}' AND occurred_at < TIMESTAMP '{FAILED_END[:-1]}'"
    ((found,),) = played.project.finance(f"SELECT count(*) FROM marts.milestone WHERE {within}")
    assert found > 0


def test_calls_are_the_least_possible(played: Played) -> None:
    for run in (played.first, played.later, played.last):
        assert run["calls"] <= run["minimum_calls"] * 1.1


FINANCE = """
import duckdb, select, sys
while not select.select([sys.stdin], [], [], 0.5)[0]:
    with duckdb.connect(sys.argv[1], read_only=True) as connection:
        print(connection.execute("SELECT count(*) FROM marts.milestone").fetchone()[0])
"""
"""Opens the published file anew until its input ends, and prints how many milestones it finds each time."""


def test_running_hours_again_sends_nothing_and_changes_no_mart_and_finance_reads_meanwhile(played: Played) -> None:
    before, sent = played.project.marts(), played.sandbox.received("meta")["requests"]
    command = [sys.executable, "-c", FINANCE, str(played.project.data_dir / "finance.duckdb")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as finance:
        try:
            played.project.hours(FIRST_END, END)
        finally:
            answers, errors = finance.communicate(timeout=60)
    assert (finance.returncode, errors) == (0, "")
    assert len(answers.split()) > 1
    assert min(map(int, answers.split())) > 0
    assert played.sandbox.received("meta")["requests"] == sent
    assert played.project.marts() == before


def test_rebuild_from_raw_ends_in_the_same_marts(played: Played) -> None:
    before, sent = played.project.marts(), played.sandbox.received("linkedin")["requests"]
    changed = played.project.run("rebuild")
    assert changed
    assert set(changed.values()) == {0}, changed
    assert played.project.marts() == before
    assert played.sandbox.received("linkedin")["requests"] == sent


def test_spend_that_was_told_again_is_what_finance_reads(played: Played) -> None:
    assert played.project.finance(
        "SELECT spent_on::VARCHAR, platform, ad_account, campaign_name, campaign, match, currency, amount_minor, clicks"
        " FROM marts.spend ORDER BY spent_on, amount_minor"
    ) == [
        ("2026-03-10", "google_ads", "12", "Brand DACH", "brand-dach", "name", "EUR", 9_995, 39),
        ("2026-03-11", "google_ads", "12", None, None, "none", "JPY", 500, None),
        ("2026-03-11", "google_ads", "12", "Planted | nobody clicks", None, "none", "EUR", 777, 1),
        ("2026-03-11", "google_ads", "12", "Brand DACH", "brand-dach", "name", "EUR", 8_000, 30),
    ]
    assert played.project.warehouse("SELECT month::VARCHAR, kind, currency, amount FROM raw.cost") == [
        ("2026-03-01", "salaries", "EUR", 4_200_050)
    ]
    assert played.project.warehouse("SELECT from_currency, to_currency, rate FROM raw.exchange_rate") == [
        ("USD", "EUR", "0.8593")
    ]


def test_old_clients_can_open_the_finance_file(played: Played) -> None:
    path = played.project.data_dir / "finance.duckdb"
    assert read_storage_version(path) == 64, "the storage version of DuckDB 1.0, which 1.1 and later open"
    with duckdb.connect(str(path), read_only=True) as connection:
        uncommented = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'marts' AND comment IS NULL"
        ).fetchall()
    assert uncommented == []


NAMED = re.compile(r"\b(company|domain|deal):")
COMMENTS = (
    "SELECT schema_name || '.' || table_name, column_name, comment FROM duckdb_columns()"
    " WHERE column_name IN ('account_id', 'alias_id', 'parent_account_id') AND NOT internal ORDER BY ALL"
)


def test_comments_of_account_ids_name_every_form_there_is(played: Played) -> None:
    """And every form that a comment names can be there: those of the sample portal are all three."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for ask, places in ((played.project.warehouse, "AND schema_name <> 'staging'"), (played.project.finance, "")):
        for table, column, comment in ask(COMMENTS.replace("ORDER", f"{places} ORDER")):
            forms = ask(f"SELECT DISTINCT split_part({column}, ':', 1) FROM {table} WHERE {column} IS NOT NULL")
            found[f"{table}.{column}"] = {form for (form,) in forms}, set(NAMED.findall(comment))
    assert len(found) > 10
    assert {place: forms - named for place, (forms, named) in found.items() if forms - named} == {}
    seen = set().union(*(forms for forms, _ in found.values()))
    assert seen == {"company", "domain", "deal"}


def test_the_queries_of_the_readme_run(played: Played) -> None:
    blocks = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 2
    for sql in blocks:
        assert played.project.finance(sql), sql


def test_the_questions_of_finance_are_answered_in_ten_lines(played: Played) -> None:
    """`make old-clients` asks them in DuckDB 1.1."""
    asked = questions()
    assert len(asked) >= 15
    assert {question: sql for question, sql in asked.items() if len(sql.strip().splitlines()) > 10} == {}
    found = answers(str(played.project.data_dir / "finance.duckdb"))
    assert {question: count for question, count in found.items() if not count} == {}
    for sql in re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "finance.md").read_text(), re.DOTALL):
        played.project.finance(sql)


def test_no_column_needs_a_package_beside_duckdb(played: Played) -> None:
    types = "SELECT DISTINCT data_type FROM duckdb_columns() WHERE schema_name = 'marts'"
    kinds = {kind for (kind,) in played.project.finance(types)}
    plain = {"VARCHAR", "BIGINT", "INTEGER", "BOOLEAN", "DATE", "TIMESTAMP"}
    assert {kind for kind in kinds if not kind.startswith("DECIMAL")} <= plain


def test_bad_rows_wait_in_quarantine_with_their_reason(played: Played) -> None:
    played.sandbox.set_clock("2026-03-13T20:00:00Z")
    played.project.hours("2026-03-12T17:00:00Z", "2026-03-13T20:00:00Z", "--select", 'group:"raw/*"')
    refused = dict(
        played.project.warehouse(
            "SELECT key, reasons FROM quarantine.contact UNION ALL SELECT key, reasons FROM quarantine.deal"
        )
    )
    assert "email:" in refused["196001"]
    assert refused["596001"] == "amount:not_a_number"
    stored = played.project.warehouse("SELECT email FROM raw.contact WHERE id = 196001")
    assert stored == [(None,)], "a field that cannot be read is null, its record is stored"


def test_no_personal_data_in_what_finance_reads(played: Played) -> None:
    text = str(played.project.marts())
    emails = [email for (email,) in played.project.warehouse("SELECT email FROM raw.contact WHERE email IS NOT NULL")]
    assert emails
    assert not [email for email in emails if email in text]
