"""The event log with open connections tells what Dagster's own tells, from the same files."""

import threading
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from sqlalchemy import event
from sqlalchemy.engine import Engine

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


def commits(home, storage) -> int:
    """Transactions that one run writes."""
    found: list[str] = []

    def count(connection: Any) -> None:
        found.append("commit")

    event.listen(Engine, "commit", count)
    try:
        run(instance(home, storage), "a")
    finally:
        event.remove(Engine, "commit", count)
    return len(found)


def test_what_a_step_says_is_one_commit_and_a_reader_sees_all_of_it(home, monkeypatch):
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    run(instance(home, EventLog), "a")  # makes the files
    stored: list[int] = []
    together = EventLog._stored_together

    def counted(log: EventLog, events: list[dg.EventLogEntry]) -> bool:
        stored.append(len(events))
        return together(log, events)

    monkeypatch.setattr(EventLog, "_stored_together", counted)
    one_by_one, now = commits(home, SqliteEventLogStorage), commits(home, EventLog)
    assert now < one_by_one * 0.8
    assert max(stored) > 3
    with instance(home, EventLog) as looking:
        log = looking.event_log_storage
        assert isinstance(log, EventLog)
        known = looking.get_runs()[0].run_id
        waiting = [entry for entry in looking.all_logs(known) if entry.dagster_event_type == "STEP_OUTPUT"]
        before = len(looking.all_logs(known))
        for number, entry in enumerate(waiting, start=1):
            log.store_event(entry)
            assert log._waiting
            assert len(looking.all_logs(known)) == before + number


def test_a_run_alone_reads_an_asset_once_until_it_tells_of_it(home, monkeypatch):
    """The same answers as Dagster's own, with a read for each only after something was told."""
    run(instance(home, EventLog), "a")
    with instance(home, EventLog) as looking:
        log = looking.event_log_storage
        assert isinstance(log, EventLog)
        asked: list[Any] = []
        fetch = log._fetch_asset_rows

        def counted(**given: Any) -> Any:
            asked.append(given)
            return fetch(**given)

        monkeypatch.setattr(log, "_fetch_asset_rows", counted)

        def seen() -> tuple[Any, ...]:
            (record,) = log.get_asset_records([numbers.key, dg.AssetKey("nothing")])
            tags = log.get_latest_tags_by_partition(
                numbers.key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"], ["a"]
            )
            newest = record.asset_entry.last_materialization_record
            return newest.storage_id if newest else None, tags

        before = seen()
        assert (seen(), len(asked)) == (before, 2)
        with log.alone():
            assert [seen(), seen()] == [before, before]
            assert len(asked) == 3
            told = [
                entry for entry in looking.all_logs(looking.get_runs()[0].run_id) if entry.dagster_event is not None
            ]
            log.store_event(next(entry for entry in told if entry.dagster_event_type == "ASSET_MATERIALIZATION"))
            newer = seen()
            assert newer[0] > before[0]
            assert len(asked) == 4
        assert seen() == newer


def test_an_event_that_cannot_be_stored_takes_no_other_along(home, monkeypatch):
    run(instance(home, EventLog), "a")
    with instance(home, EventLog) as looking:
        log = looking.event_log_storage
        assert isinstance(log, EventLog)
        (known,) = looking.get_runs()
        before = looking.all_logs(known.run_id)
        outputs = [entry for entry in before if entry.dagster_event_type == "STEP_OUTPUT"]
        insert, bad = log.prepare_insert_event, outputs[0]

        def refuse(entry: Any) -> Any:
            if entry is bad:
                raise OSError("refused")
            return insert(entry)

        monkeypatch.setattr(log, "prepare_insert_event", refuse)
        log.store_event(outputs[1])
        log.store_event(bad)
        with pytest.raises(OSError, match="refused"):
            looking.all_logs(known.run_id)
        assert len(looking.all_logs(known.run_id)) == len(before) + 1

        def stop(entry: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(log, "prepare_insert_event", stop)
        log.store_event(outputs[1])
        with pytest.raises(KeyboardInterrupt):
            looking.all_logs(known.run_id)
        monkeypatch.setattr(log, "prepare_insert_event", insert)
        assert len(looking.all_logs(known.run_id)) == len(before) + 2  # what a stop cut off is stored later
