"""One writer at a time, by four means each of which leaks alone; and a killed run that stops nobody.

The in-process executor, the first of them, is asserted in definitions/test_definitions.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from crm_attribution import configuration
from crm_attribution.clock import FixedClock
from crm_attribution.errors import WarehouseBusy
from crm_attribution.orchestration.automation import dead_runs
from crm_attribution.orchestration.graph import definitions
from crm_attribution.orchestration.instance import dagster_home, fail_dead_runs, note_process
from crm_attribution.orchestration.run_setup import pipeline_resource
from crm_attribution.warehouse.lock import RunLock, process_start_token
from crm_attribution_tests.orchestration import commands
from crm_attribution_tests.orchestration.commands import ACCOUNT, FIRST, READING_THE_PORTAL

pytestmark = [pytest.mark.pipeline, pytest.mark.crash]

PACKAGE = Path(configuration.__file__).parent
HOLD = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)"


@pytest.fixture(scope="module")
def sandbox():
    with commands.sandbox() as running:
        yield running


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Settings of this process for a directory of the test's own."""
    for name in ("DAGSTER_HOME", "CRM_ATTRIBUTION_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))  # so that what the code sets is taken back
    monkeypatch.setenv("CRM_ATTRIBUTION_LOCK_WAIT", "1")
    return configuration.load()


def dead_process() -> tuple[int, str]:
    """The number and start of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = process_start_token(process.pid)
        assert started is not None
    return process.pid, started


# --- the queue


def test_set_up_writes_a_queue_of_one(given):
    home = dagster_home(given)
    config = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8"))
    assert config["concurrency"]["runs"]["max_concurrent_runs"] == 1
    with dg.DagsterInstance.get() as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 1
        assert instance.root_directory == str(home)


def test_a_file_of_an_earlier_version_is_replaced_and_one_a_person_changed_is_kept(given):
    home = dagster_home(given)
    config, mark = home / "dagster.yaml", home / ".initialised"
    wanted = config.read_text(encoding="utf-8")
    other = wanted.replace("purge_after_days: 30", "purge_after_days: 90")
    config.write_text(other, encoding="utf-8")
    assert config.read_text(encoding="utf-8") == other != wanted
    dagster_home(given)
    assert config.read_text(encoding="utf-8") == other
    mark.write_text(hashlib.sha256(other.encode()).hexdigest(), encoding="utf-8")  # an earlier release wrote it
    dagster_home(given)
    assert config.read_text(encoding="utf-8") == wanted
    config.write_text(other, encoding="utf-8")
    mark.write_text("", encoding="utf-8")  # so did releases that kept no record
    dagster_home(given)
    assert config.read_text(encoding="utf-8") == wanted


# --- the run lock


def test_two_commands_at_once_on_a_fresh_directory_run_one_after_the_other(sandbox, tmp_path):
    """Also their set-up: two processes that initialise one empty Dagster home destroy it for good."""
    project = commands.project(tmp_path, sandbox)
    both = [commands.begin(project, "backfill", *FIRST, *ACCOUNT, "--json") for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], [err[-2000:] for _, err in outputs]
    ids = {json.loads(out)["run_id"] for out, _ in outputs}
    assert commands.runs(project) == dict.fromkeys(commands.runs(project), "SUCCESS")
    assert set(commands.runs(project)) == ids
    assert len(ids) == 2


def test_whoever_comes_second_waits_until_the_home_is_complete(given):
    """The file is there before the databases are: its presence must not count as set up."""
    home = given.data_dir / "dagster"
    home.mkdir()
    shutil.copy(PACKAGE / "dagster.yaml", home / "dagster.yaml")
    second = threading.Thread(target=dagster_home, args=[given])
    with RunLock(home / "init.lock").acquire(0, _somebody()):
        second.start()
        second.join(0.5)
        assert second.is_alive()
        assert not (home / "history").exists()
    second.join(60)
    assert (home / "history" / "runs.db").exists()


def test_a_command_that_may_not_wait_names_the_run_it_waits_for(sandbox, tmp_path):
    project = commands.project(tmp_path, sandbox)
    sandbox.faults([{"route": READING_THE_PORTAL, "kind": "slow", "seconds": 60}])
    first = commands.begin(project, "backfill", *FIRST, *ACCOUNT)
    try:
        commands.until(lambda: commands.locked(project))
        holder = json.loads(commands.locked(project))
        second = project.command("backfill", *FIRST, *ACCOUNT, CRM_ATTRIBUTION_LOCK_WAIT="0")
        asked = project.run("status")
    finally:
        first.kill()
        first.communicate()
        sandbox.faults([])
    assert second.returncode == 1
    assert f"process {first.pid}, run {holder['run_id']}" in second.stderr
    assert "Traceback" not in second.stderr
    # `status` answers meanwhile, and names the holder too
    assert f"process {first.pid}, run {holder['run_id']}" in asked["run_lock"]
    assert project.run("status")["run_lock"] == "free"


def test_a_queued_run_holds_the_lock_from_its_resources_on_until_they_end(given):
    """Whatever starts a run, the resource takes the lock: here without our command line."""
    lock = RunLock(given.data_dir / "run.lock")
    with dg.build_resources({"pipeline": pipeline_resource}):
        with pytest.raises(WarehouseBusy, match=f"process {os.getpid()}"), lock.acquire(0, _somebody()):
            pass
        assert lock.holder() is not None
    with lock.acquire(0, _somebody()):
        pass


def test_a_queued_run_that_cannot_have_the_lock_fails_and_names_the_holder(given):
    dagster_home(given)
    job = definitions().resolve_job_def("hourly")
    with RunLock(given.data_dir / "run.lock").acquire(0, _somebody()), dg.DagsterInstance.ephemeral() as instance:
        outcome = job.execute_in_process(
            instance=instance,
            partition_key="2026-01-01-00:00",
            asset_selection=[dg.AssetKey(["raw", "account"])],
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    assert not outcome.success
    assert any(f"process {os.getpid()}, run somebody" in str(event.event_specific_data) for event in outcome.all_events)


def _somebody() -> dict[str, str]:
    return {"run_id": "somebody", "command": "test", "since": "now"}


# --- the file


def test_a_warehouse_open_elsewhere_is_waited_for_and_its_holder_named(sandbox, tmp_path):
    project = commands.project(tmp_path, sandbox)
    path = tmp_path / "warehouse.duckdb"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        run = project.command("backfill", *FIRST, *ACCOUNT, CRM_ATTRIBUTION_LOCK_WAIT="1")
        status = project.run("status", CRM_ATTRIBUTION_LOCK_WAIT="1")
    finally:
        holder.kill()
        holder.communicate()
    assert run.returncode == 1
    for text in (run.stderr, status["warehouse"]):
        assert f"warehouse.duckdb is held by process {holder.pid}" in text
        assert "waited 1 s" in text
        assert "finance.duckdb" in text
    assert "Traceback" not in run.stderr


# --- a killed run


@pytest.fixture(scope="module")
def killed(sandbox, tmp_path_factory):
    """A project whose first load was killed after the contacts, while it waited for the deals; and its id."""
    project = commands.project(tmp_path_factory.mktemp("killed"), sandbox)
    sandbox.faults([{"route": "GET /crm/objects/deals*", "kind": "slow", "seconds": 60}])
    sandbox.reset_calls()
    process = commands.begin(project, "backfill", *FIRST, "--select", 'group:"raw/*"', "--json")
    commands.until(lambda: any(route.startswith("GET /crm/objects/deals") for route in sandbox.calls()["routes"]))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    sandbox.faults([])
    (run_id,) = commands.runs(project)
    return project, run_id


def test_the_lock_of_a_killed_run_is_free_though_its_name_still_stands_there(killed):
    project, run_id = killed
    assert json.loads(commands.locked(project))["run_id"] == run_id
    with RunLock(project.data_dir / "run.lock").acquire(0, _somebody()):
        pass


def test_the_next_run_marks_it_failed_and_completes_what_it_left_half_done(killed):
    project, run_id = killed
    assert commands.runs(project)[run_id] == "STARTED"
    project.hours(*FIRST[1::2], "--select", 'group:"raw/*"')
    assert list(commands.runs(project).values()) == ["FAILURE", "SUCCESS"]
    assert project.warehouse("SELECT id FROM raw.contact WHERE NOT archived ORDER BY 1") == [(11,), (12,), (13,)]
    assert project.warehouse("SELECT id FROM raw.deal ORDER BY 1") == [(21,), (22,)]
    doubles = "SELECT count(*) - count(DISTINCT (object_type, object_id, property, timestamp, value, ordinal))"
    assert project.warehouse(f"{doubles} FROM raw.property_history") == [(0,)]


@pytest.fixture(scope="module")
def fresh_home(tmp_path_factory):
    """An initialised Dagster home, to be copied: making one takes two seconds."""
    folder = tmp_path_factory.mktemp("fresh")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", "CRM_ATTRIBUTION_DATA_DIR"):
            patch.setenv(name, str(folder))
        return dagster_home(configuration.load())


@pytest.fixture
def started(given, fresh_home):
    """An instance of the test's directory with a run that started, and its id."""
    shutil.copytree(fresh_home, given.data_dir / "dagster")
    dagster_home(given)
    with dg.DagsterInstance.get() as instance:
        run = instance.create_run_for_job(definitions().resolve_job_def("hourly"), status=dg.DagsterRunStatus.STARTED)
        yield instance, run.run_id


def _note(given, run_id, pid, started):
    note_process(given, run_id, "now")
    note = {"pid": pid, "started": started, "since": "now"}
    (given.data_dir / "runs" / f"{run_id}.json").write_text(json.dumps(note), encoding="utf-8")


def _status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_the_sensor_marks_a_dead_run_failed(given, started):
    instance, run_id = started
    _note(given, run_id, *dead_process())
    with dg.build_sensor_context(instance=instance) as context:
        skipped = dead_runs(context)
    assert isinstance(skipped, dg.SkipReason)
    assert run_id in str(skipped.skip_message)
    assert _status(instance, run_id) is dg.DagsterRunStatus.FAILURE


def test_a_living_run_is_left_alone(given, started):
    instance, run_id = started
    note_process(given, run_id, "now")
    later = FixedClock(datetime.now(UTC) + timedelta(days=9))
    assert fail_dead_runs(instance, given, later) == []


def test_nobody_is_declared_dead_while_the_lock_is_held(given, started):
    """The holder may be a process of another container on the same directory: not visible, and very much alive."""
    instance, run_id = started
    _note(given, run_id, *dead_process())
    with RunLock(given.data_dir / "run.lock").acquire(0, _somebody()):
        assert fail_dead_runs(instance, given) == []
    assert fail_dead_runs(instance, given) == [run_id]


@pytest.mark.parametrize("note", [None, "", '{"pid": 1', "[]", '{"pid": "x", "started": ""}'])
def test_a_run_without_a_readable_note_is_given_up_after_a_while(given, started, note):
    """A note is torn where the machine lost power: it must not stop every later run."""
    instance, run_id = started
    if note is not None:
        (given.data_dir / "runs").mkdir()
        (given.data_dir / "runs" / f"{run_id}.json").write_text(note, encoding="utf-8")
    assert fail_dead_runs(instance, given) == []
    assert fail_dead_runs(instance, given, FixedClock(datetime.now(UTC) + timedelta(minutes=11))) == [run_id]


def test_a_run_that_waits_for_the_lock_has_noted_its_process(given):
    """Killed while it waits, it would block the queue as well."""
    held = RunLock(given.data_dir / "run.lock").acquire(0, _somebody())
    failing = pytest.raises(dg.DagsterResourceFunctionError)
    with held, failing, dg.build_resources({"pipeline": pipeline_resource}):
        pass
    (note,) = (given.data_dir / "runs").glob("*.json")
    assert json.loads(note.read_text(encoding="utf-8"))["pid"] == os.getpid()
