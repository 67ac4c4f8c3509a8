"""Dagster's storage and the ledger in PostgreSQL: two workers on one data directory, and one that is killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import sqlalchemy as sa
import yaml

from crm_attribution import configuration
from crm_attribution.errors import ConfigurationError
from crm_attribution.orchestration import instance
from crm_attribution.settings import DAGSTER_URL
from crm_attribution_tests import postgres
from crm_attribution_tests.orchestration import commands
from crm_attribution_tests.orchestration.commands import ACCOUNT, FIRST, LATER, READING_THE_PORTAL

pytestmark = [pytest.mark.pipeline, pytest.mark.crash]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres.server() as address:
        yield postgres.new_database(address)


def asked(database: str, question: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(question))]


def test_two_workers_share_runs_and_ledger_and_write_one_after_the_other(database, tmp_path):
    with commands.sandbox() as sandbox:
        urls = {DAGSTER_URL.name: database, "CRM_ATTRIBUTION_LEDGER_URL": database}
        project = commands.project(tmp_path, sandbox, **urls)
        both = [commands.begin(project, "backfill", *FIRST, "--json") for _ in range(2)]
        outputs = [worker.communicate(timeout=500) for worker in both]
        assert [worker.returncode for worker in both] == [0, 0], [err[-2000:] for _, err in outputs]
        runs = asked(database, "SELECT run_id, status FROM runs ORDER BY start_time")
        assert {run for run, _ in runs} == {json.loads(out)["run_id"] for out, _ in outputs}
        assert [status for _, status in runs] == ["SUCCESS", "SUCCESS"]
        ends = asked(database, "SELECT start_time, end_time FROM runs ORDER BY start_time")
        assert not (project.data_dir / "dagster" / "history").exists()
        assert not (project.data_dir / "ledger.sqlite").exists()
        assert len(ends) == 2
        planned = project.warehouse("SELECT count(*) FROM conversions.conversion")
        assert asked(database, "SELECT count(*) FROM conversion") == planned
        assert project.warehouse("SELECT count(*) FROM raw.contact WHERE NOT archived") == [(3,)]

        sandbox.faults([{"route": READING_THE_PORTAL, "kind": "slow", "seconds": 60}])
        killed = commands.begin(project, "backfill", *LATER, *ACCOUNT)
        commands.until(lambda: commands.locked(project))
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        sandbox.faults([])
        project.hours(*LATER[1::2])
        assert [status for (status,) in asked(database, "SELECT status FROM runs ORDER BY id")] == [
            *("SUCCESS", "SUCCESS"),
            *("FAILURE", "SUCCESS"),
        ]


def test_the_driver_that_lacks_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(instance, "find_spec", lambda name: None if name == "dagster_postgres" else find_spec(name))
    given = configuration.load(
        {"CRM_ATTRIBUTION_DATA_DIR": str(tmp_path), DAGSTER_URL.name: "postgresql://u:secret@h/db"}
    )
    with pytest.raises(ConfigurationError, match=r"CRM_ATTRIBUTION_DAGSTER_URL.*pip install") as refused:
        instance.dagster_home(given)
    assert "secret" not in str(refused.value)


def test_an_address_that_is_none_is_refused_without_showing_it():
    with pytest.raises(ConfigurationError, match=r"CRM_ATTRIBUTION_DAGSTER_URL: must be postgresql://") as refused:
        configuration.load({DAGSTER_URL.name: "mysql://u:secret@h/db"})
    assert "secret" not in str(refused.value)


def test_a_database_that_does_not_answer_is_named_in_one_line(tmp_path):
    url = "postgresql://u:secret@127.0.0.1:1/db"
    given = configuration.load({"CRM_ATTRIBUTION_DATA_DIR": str(tmp_path), DAGSTER_URL.name: url})
    with pytest.raises(ConfigurationError, match=r"^CRM_ATTRIBUTION_DAGSTER_URL: .*refused.*start the data") as refused:
        instance.dagster_home(given)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_file_names_the_setting_and_not_its_value(monkeypatch):
    monkeypatch.setattr(instance, "why_no_answer", lambda _: None)
    given = configuration.load({DAGSTER_URL.name: "postgresql+psycopg://u:secret@h/db"})
    text = instance._wanted(given)
    assert yaml.safe_load(text)["storage"] == {"postgres": {"postgres_url": {"env": DAGSTER_URL.name}}}
    assert "event_log_storage" not in text
    assert given[DAGSTER_URL] == "postgresql+psycopg2://u:secret@h/db"
