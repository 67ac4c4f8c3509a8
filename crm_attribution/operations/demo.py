"""The demo: the whole pipeline on the embedded sandbox, hour by hour as in production; and the UI on it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crm_attribution import configuration, settings
from crm_attribution.clock import WallClock, iso, parse_instant
from crm_attribution.destinations import destinations
from crm_attribution.errors import ConfigurationError, Terminal
from crm_attribution.http.transport import Transport
from crm_attribution.operations import status
from crm_attribution.orchestration.budget import BUDGET_TAG
from crm_attribution.orchestration.instance import clear_dead_runs, dagster_home
from crm_attribution.orchestration.resources import open_pipeline, progress
from crm_attribution.orchestration.runs import run_hours
from crm_attribution.report.build import PLACE
from crm_attribution.warehouse.lock import RunLock

SAMPLES = Path(__file__).parents[2] / "data"
PORTAL = SAMPLES / "sample_portal.jsonl"
INBOX = SAMPLES / "sample_inbox"
MAPPING = SAMPLES / "sample_mapping.yaml"
WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"

START = parse_instant("2026-03-12T09:00:00Z")
RANGE_END = parse_instant("2026-03-13T12:00:00Z")
END = parse_instant("2026-03-13T13:00:00Z")
LOG_END = parse_instant("2026-03-13T20:00:00Z")
HOUR = timedelta(hours=1)
MARKER = ".demo"

Say = Callable[[str], None]


def play(data_dir: Path, say: Say) -> dict[str, Any]:
    """Load the sample's history through the first partition, a day of hours as one range, then a single hour.

    Returns:
        what happened, in figures.
    """
    began = time.monotonic()
    _clean_slate(data_dir)
    with sandbox(START + HOUR, say, data_dir / "sandbox.env") as (control, env):
        given = _settle_environment(data_dir, env)
        shutil.copytree(INBOX, given.inbox, dirs_exist_ok=True)
        steps = [(START, START + HOUR), (START + HOUR, RANGE_END), (RANGE_END, END)]
        runs = [_step(given, control, start, end, say) for start, end in steps]
        told = [name for name, one in destinations().items() if given.write_back or one.plans_from == "milestones"]
        received = {name: control.request("GET", f"/_sandbox/received/{name}").body for name in told}
    pipeline = open_pipeline(given)
    with pipeline.warehouse.session() as session:
        result = {
            "runs": runs,
            "rows": status.rows_per_layer(session),
            "conversions": status.conversions_by_outcome(session),
            "received": {
                name: {"requests": body["requests"], "events": len(body["received"]), "counted": len(body["counted"])}
                for name, body in received.items()
            },
            "revenue": session.query(
                "SELECT model, currency, channel, sum(credit)::DECIMAL(18, 2)::VARCHAR AS arr FROM"
                " marts.revenue_attribution WHERE measure = 'arr' AND milestone = 'customer_won'"
                " GROUP BY ALL ORDER BY model, currency, sum(credit) DESC, channel"
            ).to_dicts(),
            "won": session.query(
                "SELECT model, channel, sum(credit)::DECIMAL(18, 2)::VARCHAR AS wins FROM marts.revenue_attribution"
                " WHERE measure = 'count' AND milestone = 'customer_won'"
                " GROUP BY ALL ORDER BY model, sum(credit) DESC, channel"
            ).to_dicts(),
        }
    return {
        **result,
        "seconds": round(time.monotonic() - began, 1),
        "finance": str(pipeline.warehouse.finance_path),
        "report": str(pipeline.warehouse.directory / PLACE),
        "data_dir": str(data_dir),
    }


def _step(given: settings.Settings, control: Transport, start: datetime, end: datetime, say: Say) -> dict[str, Any]:
    control.request("PUT", "/_sandbox/clock", json={"now": iso(end)})
    hours = int((end - start) / HOUR)
    what = "the first hour, with all history" if start == given.start else f"{hours} hour{'s' if hours > 1 else ''}"
    say(f"== {iso(start)} to {iso(end)}: {what}")
    began = time.monotonic()
    with progress(lambda message: say(f"   {message}")):
        run_id = run_hours(given, start, end, tags={BUDGET_TAG: "checked"})
    summary = status.run_summary(given, run_id)
    return {
        "from": iso(start),
        "to": iso(end),
        "run_id": run_id,
        "calls": summary["calls"],
        "minimum_calls": summary["minimum_calls"],
        "seconds": round(time.monotonic() - began, 1),
    }


def _clean_slate(data_dir: Path) -> None:
    """Remove an earlier demo; never anything else, and not while a run works on it."""
    if data_dir.exists() and any(data_dir.iterdir()):
        if not (data_dir / MARKER).exists():
            raise ConfigurationError(f"{data_dir} is not empty and no demo's directory: name another with --data-dir")
        holder = {"run_id": "demo", "command": "crm-attribution demo", "since": iso(WallClock().now())}
        with RunLock(data_dir / "run.lock").acquire(0, holder):  # nobody works on what is deleted
            shutil.rmtree(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    (data_dir / MARKER).write_text("made by crm-attribution demo; deleted by the next one\n", encoding="utf-8")


def _settle_environment(data_dir: Path, env: Mapping[str, str], **more: str) -> settings.Settings:
    """Point this process at a sandbox (`env`) and the demo's own directory; settings of the shell are overruled. The
    mapping is that of the sample portal, or `mapping.yaml` of the directory."""
    own = data_dir / "mapping.yaml"
    settings.set_environment(
        {
            **env,
            "CRM_ATTRIBUTION_DATA_DIR": str(data_dir),
            "CRM_ATTRIBUTION_START": iso(START),
            "CRM_ATTRIBUTION_MAPPING": str(own if own.exists() else MAPPING),
            "CRM_ATTRIBUTION_SEND": "on",
            "CRM_ATTRIBUTION_LEDGER_URL": "",  # the demo's conversions never reach another ledger
            "CRM_ATTRIBUTION_DAGSTER_URL": "",
            **more,
        }
    )
    given = configuration.load()
    dagster_home(given)
    return given


@contextmanager
def sandbox(clock: datetime, say: Say, env_file: Path | None = None) -> Iterator[tuple[Transport, dict[str, str]]]:
    """Start a sandbox on the sample portal as a separate process, which ends with this one however that ends; yields
    its control path and the settings of a client, which are also written to `env_file`. Several may run at once."""
    if not PORTAL.exists():
        raise ConfigurationError(f"{PORTAL}: not there; the demo runs in a checkout of the repository")
    command = [sys.executable, "-m", "crm_attribution.sandbox", "--portal", str(PORTAL), "--clock", iso(clock)]
    command += ["--until-stdin-ends", *(["--write-env", str(env_file)] if env_file else [])]
    process = subprocess.Popen(  # noqa: S603  (our own program)
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        ready = process.stdout.readline() if process.stdout else ""
        if not ready:
            raise Terminal("the sandbox did not start; see its message above")
        told = json.loads(ready)
        base = told["base_url"]
        say(f"sandbox on {base}, clock {iso(clock)}")
        yield Transport(base, service="sandbox"), told["env"]
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


def use(data_dir: Path) -> settings.Settings:
    """Point this process at a demo that was played, with its clock at the end of the sample portal.

    Raises:
        ConfigurationError: when the directory holds none.
    """
    if not (data_dir / MARKER).exists():
        raise ConfigurationError(f"{data_dir} holds no demo: run `crm-attribution demo` first")
    env = settings.read_env_file(data_dir / "sandbox.env")
    return _settle_environment(data_dir, env, CRM_ATTRIBUTION_CLOCK=iso(LOG_END))


@contextmanager
def with_sandbox(data_dir: Path, say: Say) -> Iterator[settings.Settings]:
    """Start the sandbox at the end of the sample portal and point this process at it and at the demo.

    Raises:
        ConfigurationError: when the directory holds no demo.
    """
    use(data_dir)
    with sandbox(LOG_END, say) as (_, env):
        yield _settle_environment(data_dir, env)


def open_demo_ui(data_dir: Path, port: int, say: Say) -> int:
    """Dagster on the demo's instance with a sandbox at the end of the sample portal; until interrupted."""
    refuse_taken_port(port)
    with with_sandbox(data_dir, say) as given:
        return open_ui(given, port, say, f"; hours to {iso(LOG_END)} can be materialized")


def open_ui(given: settings.Settings, port: int, say: Say, more: str = "") -> int:
    """Dagster on a data directory, its schedules and sensors included; until interrupted."""
    refuse_taken_port(port)
    clear_dead_runs(given)
    say(f"Dagster on http://127.0.0.1:{port} (Ctrl-C ends it){more}")
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(WORKSPACE), "-p", str(port), "-h", "127.0.0.1"]
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603
    return _until_interrupted(process)


def refuse_taken_port(port: int) -> None:
    """Before anything is started or written.

    Raises:
        ConfigurationError: when something else listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be used ({error.strerror}): end what listens there, or choose another with --port"
            ) from None


def _until_interrupted(process: subprocess.Popen[bytes]) -> int:
    """Wait; on Ctrl-C or SIGTERM end the whole process group, by force where it does not listen."""

    try:
        return process.wait()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of them behind
        return 0
    finally:
        for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            _wait_for_group(process, patience)


def _wait_for_group(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Until the last process of the group is gone, at most so long: the leader may go before those it started."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)


def show(result: dict[str, Any]) -> None:
    """The demo's result as short tables, and what to do next."""
    console = Console()
    layers = Table("layer", "rows", title="Rows per layer")
    for name, count in result["rows"].items():
        layers.add_row(name, f"{count:,}")
    console.print(layers)
    runs = Table("hours", "calls", "minimum", "seconds", title="Runs")
    for run in result["runs"]:
        runs.add_row(f"{run['from']} to {run['to']}", str(run["calls"]), str(run["minimum_calls"]), str(run["seconds"]))
    console.print(runs)
    sent = Table("destination", "state", "reason", "conversions", title="Conversions")
    for row in result["conversions"]:
        sent.add_row(row["destination"], row["state"], row["reason"] or "", str(row["conversions"]))
    console.print(sent)
    for name, seen in result["received"].items():
        console.print(
            f"{name} received {seen['events']} events in {seen['requests']} requests and counted {seen['counted']}"
        )
    console.print(_pivot("Customers won by channel and model", result["won"], "wins"))
    console.print(_pivot("Annual recurring revenue won by channel and model", result["revenue"], "arr"))
    console.print(f"\nDone in {result['seconds']} s. Next:")
    console.print("  make ui                                 the runs, assets and checks in Dagster")
    console.print(f"  {result['report']}  (open it in a browser)", highlight=False, soft_wrap=True)
    console.print(f"  duckdb -readonly {result['finance']}  (or any DuckDB client from 1.1 on)", highlight=False)
    console.print(
        "    SELECT channel, currency, sum(credit) AS arr FROM marts.revenue_attribution\n"
        "    WHERE model = 'linear' AND measure = 'arr' AND milestone = 'customer_won' GROUP BY ALL ORDER BY arr DESC;",
        highlight=False,
    )


def _pivot(title: str, rows: list[dict[str, Any]], value: str) -> Table:
    models = sorted({row["model"] for row in rows})
    labels = sorted({(row.get("currency") or "", row["channel"]) for row in rows})
    table = Table("channel", *models, title=title)
    found = {(row.get("currency") or "", row["channel"], row["model"]): row[value] for row in rows}
    for currency, channel in labels:
        table.add_row(
            f"{channel} {currency}".strip(), *(found.get((currency, channel, model), "0.00") for model in models)
        )
    return table
