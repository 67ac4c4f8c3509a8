"""`crm-attribution query`: one question to the published file, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from crm_attribution.cli import main


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(tmp_path))
    with duckdb.connect(tmp_path / "finance.duckdb") as connection:
        connection.execute("CREATE TABLE one AS SELECT 1 AS n")
    with duckdb.connect(tmp_path / "other.duckdb") as connection:
        connection.execute("CREATE TABLE two AS SELECT 2 AS n")
    return tmp_path


def ask(*words: str) -> Result:
    return CliRunner().invoke(main, ["query", *words])


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("COPY (SELECT 1) TO '{}/leak.csv'", "disabled by configuration"),
        ("ATTACH '{}/other.duckdb' AS w", "disabled by configuration"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("CREATE TABLE x (a INT)", "read-only"),
        ("SELECT 1; SELECT 2", "several statements"),
        ("", "give one SELECT"),
        ("selekt", "syntax error"),
        ("SELECT INTERVAL 1 MONTH", "cast it to VARCHAR"),
        ("SELECT TIMESTAMP 'infinity'", "cast it to VARCHAR"),
    ],
)
def test_nothing_but_one_query_of_the_file(published: Path, sql: str, said: str) -> None:
    done = ask(sql.format(published))
    assert (done.exit_code, said in done.output) == (1, True), done.output
    assert sorted(path.name for path in published.iterdir() if path.is_file()) == ["finance.duckdb", "other.duckdb"]


def test_a_query_has_its_rows_and_may_sort_more_than_one(published: Path) -> None:
    assert json.loads(ask("--json", "SELECT n FROM one ORDER BY n;").stdout) == [{"n": 1}]


def test_texts_are_shown_as_they_are(published: Path) -> None:
    done = ask("SELECT 'a[red]b[/x] :x: \u00fc' AS \"[/h]\"")
    assert done.exit_code == 0, done.output
    assert "a[red]b[/x] :x: \u00fc" in done.output
    assert "[/h]" in done.output
