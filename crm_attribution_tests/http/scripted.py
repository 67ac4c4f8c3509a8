"""A local HTTP server that plays a list of answers, misbehaviour included."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Step = Callable[["Handler"], None]


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Scripted:
    """Answers in order; the last one repeats."""

    steps: list[Step] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""

    def play(self, *steps: Step) -> None:
        self.steps[:] = steps


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    scripted: Scripted

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.scripted.seen.append(Seen(self.command, self.path, dict(self.headers), body, self.client_address))
        steps = self.scripted.steps
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        with contextlib.suppress(OSError):
            step(self)

    do_POST = do_PATCH = do_GET

    def log_message(self, *_: object) -> None:
        return


def reply(status: int = 200, body: object = None, headers: Mapping[str, str] | None = None, raw: bytes | None = None):
    def step(handler: Handler) -> None:
        payload = raw if raw is not None else json.dumps(body if body is not None else {}).encode()
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        handler.wfile.write(payload)

    return step


def drop(handler: Handler) -> None:
    """Close without a byte of answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def cut(handler: Handler) -> None:
    """Half of what Content-Length promised."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"a": 1')
    handler.close_connection = True


def drip(handler: Handler, stop: threading.Event | None = None) -> None:
    """A byte now and then, never done."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        if (stop or threading.Event()).wait(0.02):
            break
    handler.close_connection = True


def silent(seconds: float) -> Step:
    def step(handler: Handler) -> None:
        threading.Event().wait(seconds)
        handler.close_connection = True

    return step


@contextlib.contextmanager
def serving(scripted: Scripted | None = None) -> Iterator[Scripted]:
    scripted = scripted or Scripted()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"scripted": scripted}))
    server.daemon_threads = True
    scripted.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
