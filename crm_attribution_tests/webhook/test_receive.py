"""`crm-attribution receive` as a process: fast enough for HubSpot, and nothing acknowledged is ever lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from crm_attribution.clock import WallClock
from crm_attribution_tests.webhook.requests import ENVIRONMENT, SECRET, TOKEN, signature

pytestmark = pytest.mark.pipeline

ROOT = Path(__file__).parents[2]
HUBSPOT_WAITS = 5.0


@dataclass
class Running:
    """A receiver, where it listens and where it writes."""

    process: subprocess.Popen[str]
    port: int
    folder: Path

    def post(self, body: bytes, path: str = "/webhooks/hubspot") -> int:
        sent = {name.decode(): value.decode() for name, value in signature(body, WallClock().now())}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", path, body, {**sent, "Content-Type": "application/json"})
            return connection.getresponse().status

    def kept(self) -> list[bytes]:
        """Bodies on disk; every file is whole."""
        return [json.loads(path.read_bytes())["body"].encode() for path in self.folder.glob("*.json")]


@contextlib.contextmanager
def receiver(folder: Path, **more: str) -> Iterator[Running]:
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {**ENVIRONMENT, "CRM_ATTRIBUTION_DATA_DIR": str(folder), **more}
    command = [sys.executable, "-m", "crm_attribution.cli", "receive", "--port", "0"]
    with subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            first = process.stderr.readline()
            found = re.search(r"receiving on http://127\.0\.0\.1:(\d+)", first)
            assert found is not None, first + process.stderr.read()
            yield Running(process, int(found[1]), folder / "inbox" / "webhooks")
        finally:
            process.kill()


def delivery(number: int, events: int = 100) -> bytes:
    event = {"subscriptionType": "contact.propertyChange", "portalId": 7, "propertyName": "email", "occurredAt": 1}
    return json.dumps(
        [{**event, "eventId": number, "objectId": n, "propertyValue": "x" * 100} for n in range(events)]
    ).encode()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with receiver(tmp_path_factory.mktemp("receiver")) as found:
        yield found


def test_ten_deliveries_at_a_time_are_answered_long_before_hubspot_gives_up(running: Running):
    before = len(running.kept())
    took = []

    def post(number: int) -> int:
        began = time.monotonic()
        status = running.post(delivery(number))
        took.append(time.monotonic() - began)
        return status

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(post, range(50)))
    assert statuses == [200] * 50
    assert len(running.kept()) == before + 50
    assert max(took) < HUBSPOT_WAITS / 2


def raw(port: int, content: bytes) -> bytes:
    """What comes back for bytes that need not be HTTP; nothing where the connection was cut off before."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()
        except TimeoutError:
            raise
        except OSError:
            return b""


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /webhooks/hubspot HTTP/9.9\r\n\r\n",
        b"POST /webhooks/hubspot HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n[]",
        b"POST /webhooks/hubspot HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n[]",
        b"POST /webhooks/hubspot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /webhooks/hubspot HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"\x00" * 1000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_receiver_goes_on(running: Running, content: bytes):
    before = len(running.kept())
    answer = raw(running.port, content)
    assert answer == b"" or answer.split(b" ")[1][:1] == b"4"
    assert running.post(delivery(0, 1)) == 200
    assert len(running.kept()) == before + 1


@pytest.mark.parametrize("round_", range(3))
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, round_: int):
    acknowledged: list[bytes] = []
    with receiver(tmp_path) as found:
        enough = threading.Event()

        def send(worker: int) -> None:
            for number in range(1_000):
                body = delivery(worker * 1_000 + number, 20)
                try:
                    status = found.post(body)
                except (OSError, http.client.HTTPException):
                    return
                if status == 200:
                    acknowledged.append(body)
                if len(acknowledged) > 15 + 10 * round_:
                    enough.set()

        workers = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for worker in workers:
            worker.start()
        assert enough.wait(30)
        os.kill(found.process.pid, signal.SIGKILL)
        for worker in workers:
            worker.join(30)
        kept = found.kept()
    assert set(acknowledged) <= set(kept)
    assert len(kept) <= len(acknowledged) + 4


def test_it_ends_in_order_and_tells_no_secret_and_no_query(tmp_path: Path):
    with receiver(tmp_path) as found:
        assert found.post(delivery(1)) == 200
        assert found.post(delivery(1), "/webhooks/hubspot?email=ada@lovelace.example") == 200
        assert found.post(delivery(1), "/ada@lovelace.example") == 404
        found.process.terminate()
        assert found.process.wait(10) == 0
        assert found.process.stderr is not None
        said = found.process.stderr.read()
    assert said.count("POST /webhooks/hubspot 200") == 2
    assert "POST another path 404" in said
    assert [text for text in (SECRET, TOKEN, "lovelace", "Traceback") if text in said] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"HUBSPOT_WEBHOOK_SECRET": "", "CRM_ATTRIBUTION_INGEST_TOKEN": ""}, "there is nothing to receive"),
        ({"HUBSPOT_WEBHOOK_URL": "hooks.example.org"}, "HUBSPOT_WEBHOOK_URL: must be the full public address"),
        ({"HUBSPOT_WEBHOOK_SIGNATURES": "v4"}, "HUBSPOT_WEBHOOK_SIGNATURES"),
        ({"CRM_ATTRIBUTION_INGEST_TOKEN": "short"}, "CRM_ATTRIBUTION_INGEST_TOKEN"),
    ],
)
def test_it_does_not_start_where_it_could_not_work(tmp_path: Path, change: dict[str, str], message: str):
    env = {"PATH": os.environ["PATH"], **ENVIRONMENT, "CRM_ATTRIBUTION_DATA_DIR": str(tmp_path), **change}
    command = [sys.executable, "-m", "crm_attribution.cli", "receive", "--port", "0"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.slow
def test_connections_that_send_no_headers_keep_nobody_out_and_are_closed(running: Running):
    """500 that say nothing, and 100 that stop amid a request."""
    before = len(running.kept())
    silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(500)]
    head = b"POST /webhooks/hubspot HTTP/1.1\r\nHost: x\r\n"
    for _ in range(100):
        silent.append(socket.create_connection(("127.0.0.1", running.port)))
        silent[-1].sendall(head)
    try:
        began = time.monotonic()
        assert running.post(delivery(9_001)) == 200
        assert time.monotonic() - began < HUBSPOT_WAITS
        assert len(running.kept()) == before + 1
        for connection in silent:
            connection.settimeout(max(0.1, 15 - (time.monotonic() - began)))
            assert connection.recv(1) == b""  # closed by the receiver
        assert time.monotonic() - began < 15
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.slow
def test_a_second_request_on_a_connection_must_come_with_its_headers_too(running: Running):
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        began = time.monotonic()
        while connection.recv(65_536):
            pass
        assert time.monotonic() - began < 12
