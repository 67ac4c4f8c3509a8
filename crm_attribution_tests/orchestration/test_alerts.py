"""A failed run is reported, with what, and reporting never makes it worse."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest

from crm_attribution.orchestration.automation import tell_of_failures
from crm_attribution.orchestration.graph import definitions

pytestmark = pytest.mark.pipeline

TOKEN = "pat-na1-0canary0-0000-4000-8000-00000canary0"
HOOK = "hooks/T0CANARYTEAM/veryprivatehookpassword"


class Listener(HTTPServer):
    """Takes alerts and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[tuple[str, str]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{HOOK}"


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.taken.append((self.path, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def serving() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def listener(serving) -> Listener:
    serving.taken.clear()
    serving.status = 200
    assert isinstance(serving, Listener)
    return serving


def fail(tmp_path_factory, **env: str):
    """A run of the real definitions that fails: (instance, run, the failure's event)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        for name in ("HUBSPOT_ACCESS_TOKEN", "CLICKS_TOKEN", "HUBSPOT_BASE_URL"):
            patch.delenv(name, raising=False)
        for name, value in env.items():
            patch.setenv(name, value)
        instance = dg.DagsterInstance.ephemeral()
        outcome = (
            definitions()
            .resolve_job_def("hourly")
            .execute_in_process(
                instance=instance,
                partition_key="2026-01-01-00:00",
                asset_selection=[dg.AssetKey(["raw", "account"])],
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        )
    assert not outcome.success
    (event,) = (e for e in outcome.all_events if e.event_type is dg.DagsterEventType.RUN_FAILURE)
    return instance, outcome.dagster_run, event


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    return fail(tmp_path_factory)


def tell(failed, caplog) -> str:
    """Let the sensor handle the failure; what it logged."""
    instance, run, event = failed
    caplog.clear()
    context = dg.build_run_status_sensor_context(
        sensor_name="tell_of_failures", dagster_event=event, dagster_instance=instance, dagster_run=run
    )
    with caplog.at_level(logging.INFO):
        context.log.addHandler(caplog.handler)
        try:
            tell_of_failures(context.for_run_failure())
        finally:
            context.log.removeHandler(caplog.handler)
    return str(caplog.text)


@pytest.fixture
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", TOKEN)
    monkeypatch.delenv("CRM_ATTRIBUTION_ALERT_URL", raising=False)
    return monkeypatch


def test_a_failure_is_logged_and_posted_with_its_reason(failed, listener, environment, caplog):
    environment.setenv("CRM_ATTRIBUTION_ALERT_URL", listener.url)
    logged = tell(failed, caplog)
    ((path, body),) = listener.taken
    message = json.loads(body)
    assert path == f"/{HOOK}"
    assert message["run_id"] == failed[1].run_id
    assert message["job"] == "hourly"
    assert message["partition"] == "2026-01-01-00:00"
    for text in (message["error"], logged):
        assert "raw.account" in text
        assert "HUBSPOT_ACCESS_TOKEN: HubSpot: Development > Keys > Service keys" in text
        assert "Traceback" not in text
    assert message["run_id"] in message["text"]


def test_nothing_is_posted_without_an_address(failed, listener, environment, caplog):
    assert "raw.account" in tell(failed, caplog)
    assert listener.taken == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:9/{HOOK}",
        f"https://nowhere.invalid/{HOOK}",
        f"http://hooks.example/{HOOK}",
        f"not an address/{HOOK}",
        "https://",
    ],
)
def test_an_address_that_does_not_work_is_said_and_stops_nothing(failed, environment, caplog, url):
    environment.setenv("CRM_ATTRIBUTION_ALERT_URL", url)
    logged = tell(failed, caplog)
    assert "the alert was not sent" in logged
    assert "veryprivatehookpassword" not in logged


def test_an_address_that_refuses_is_said(failed, listener, environment, caplog):
    environment.setenv("CRM_ATTRIBUTION_ALERT_URL", listener.url)
    listener.status = 410
    assert "the alert was not taken: HTTP 410" in tell(failed, caplog)


def test_no_secret_leaves_whatever_the_error_quotes(failed, listener, environment, caplog):
    """A library's message may quote anything: here a token, a person and the hook's own address."""
    instance, run, _ = failed
    environment.setenv("CRM_ATTRIBUTION_ALERT_URL", listener.url)
    quoted = f"boom with Bearer {TOKEN} for canary@person.example at {listener.url}"
    instance.report_run_failed(run, quoted)
    records = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    event = records[-1].dagster_event
    assert quoted in event.message
    logged = tell((instance, run, event), caplog)
    ((_, body),) = listener.taken
    for text in (logged, body):
        assert "boom with" in text
        for secret in (TOKEN, "canary@person.example", "veryprivatehookpassword"):
            assert secret not in text
