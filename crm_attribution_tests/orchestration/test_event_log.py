"""The event log with open connections tells what Dagster's own tells, from the same files."""

import threading
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from crm_attribution.orchestration.event_log import KEPT, EventLog

pytestmark = pytest.mark.pipeline

PARTITIONS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset(partitions_def=PARTITIONS, check_specs=[dg.AssetCheckSpec("whole", asset="numbers")])
def numbers(context: dg.AssetExecutionContext):
    yield dg.MaterializeResult(metadata={"partition": context.partition_key})
    yield dg.AssetCheckResult(check_name="whole", passed=context.partition_key == "a")


def instance(folder, storage) -> dg.DagsterInstance:
    """An instance in a folder with this event log; everything else is Dagster's default."""
    settings = {
        "event_log_storage": {
            "module": storage.__module__,
            "class": storage.__name__,
            "config": {"home": {"env": "DAGSTER_HOME"}},
        }
    }
    if storage is SqliteEventLogStorage:
        settings["event_log_storage"]["config"] = {"base_dir": str(folder / "history" / "runs")}
    return dg.DagsterInstance.from_config(str(_write(folder, settings)))


def _write(folder, settings):
    (folder / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def told(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What a person sees: partitions made, checks, and every run's events."""
    with instance:
        storage = instance.event_log_storage
        check = dg.AssetCheckKey(numbers.key, "whole")
        return {
            "partitions": instance.get_materialized_partitions(numbers.key),
            "checks": [(one.run_id, one.status.value) for one in storage.get_asset_check_execution_history(check, 50)],
            "events": {
                run.run_id: [entry.dagster_event_type for entry in instance.all_logs(run.run_id)]
                for run in instance.get_runs()
            },
        }


def run(instance: dg.DagsterInstance, partition: str) -> None:
    with instance:
        assert dg.materialize([numbers], instance=instance, partition_key=partition).success


def test_a_home_of_an_earlier_release_goes_on_and_can_go_back(home):
    run(instance(home, SqliteEventLogStorage), "a")
    before = told(instance(home, SqliteEventLogStorage))
    assert told(instance(home, EventLog)) == before
    run(instance(home, EventLog), "b")
    after = told(instance(home, EventLog))
    assert after == told(instance(home, SqliteEventLogStorage))
    assert after["partitions"] == {"a", "b"}
    assert [status for _, status in after["checks"]] == ["FAILED", "SUCCEEDED"]
    first, second = (after["events"][run_id] for run_id, _ in after["checks"])
    assert first == second  # no event is lost, none is told twice


def test_few_files_are_open_however_many_runs_are_read(home):
    for _ in range(KEPT + 2):
        run(instance(home, EventLog), "a")
    with instance(home, EventLog) as looking:
        counts = {len(looking.all_logs(one.run_id)) for one in looking.get_runs()}
        storage = looking.event_log_storage
        assert isinstance(storage, EventLog)
        assert len(storage._engines) == KEPT
        assert len(counts) == 1
    assert not storage._engines


def test_threads_share_a_file_and_a_wiped_log_begins_anew(home):
    run(instance(home, EventLog), "a")
    with instance(home, EventLog) as looking:
        (known,) = looking.get_runs()
        found: list[int] = []
        threads = [threading.Thread(target=lambda: found.append(len(looking.all_logs(known.run_id)))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [found[0]] * 8
        assert found[0] > 5
        looking.event_log_storage.wipe()
        assert looking.all_logs(known.run_id) == []
        assert looking.get_materialized_partitions(numbers.key) == set()
