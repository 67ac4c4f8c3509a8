"""A delivery in a process of its own that kills itself, without warning, at a named point."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from crm_attribution.configuration import load
from crm_attribution.delivery.answering import Sender
from crm_attribution.delivery.deliver import transport_for
from crm_attribution.destinations.base import Answer
from crm_attribution.errors import WarehouseBusy
from crm_attribution_tests.delivery.outbox import SMALL, Outbox

BUSY = 75
"""Exit status of a delivery that another one kept from the warehouse for too long."""

POINTS = (
    *(
        "selecting",
        "selected",
        "claiming",
        "claimed",
        "leaving",
        "left",
        "half_of_the_body_sent",
        "body_sent_answer_not_read",
    ),
    *("answered", "settling", "settled"),
)


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


@dataclass
class Countdown:
    """Kills the process when `point` is reached for the `hit`-th time."""

    point: str
    hit: int
    seen: int = field(default=0)

    def __call__(self, point: str) -> None:
        if self.due(point):
            die()

    def due(self, point: str) -> bool:
        self.seen += point == self.point
        return point == self.point and self.seen == self.hit


@dataclass
class Cut:
    """Sends like the transport, and dies in the middle of the body or with the answer at the door."""

    sender: Sender
    base_url: str
    countdown: Countdown

    def send_once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        if method == "GET":
            return self.sender.send_once(method, path, params=params, headers=headers)
        for point, whole in (("half_of_the_body_sent", False), ("body_sent_answer_not_read", True)):
            if self.countdown.due(point):
                self._cut(method, path, json, headers or {}, whole)
        return self.sender.send_once(method, path, json=json, headers=headers)

    def _cut(self, method: str, path: str, content: object, headers: Mapping[str, str], whole: bool) -> NoReturn:
        url = urlsplit(self.base_url)
        body = json.dumps(content).encode()
        lines = {"Host": url.netloc, "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with socket.create_connection((url.hostname or "", url.port or 80)) as connection:
            connection.sendall(f"{method} {url.path}{path} HTTP/1.1\r\n{head}\r\n".encode())
            connection.sendall(body if whole else body[: len(body) // 2])
            if whole:
                connection.recv(1)  # the platform has applied it
            die()


def work(directory: Path, env: dict[str, str], platform: str, tag: str, point: str, hit: int, url: str = "") -> None:
    """One delivery up to the kill point; it ends by itself where the point is not reached so often."""
    outbox = Outbox(directory, env, SMALL[platform], url=url, tag=tag)
    countdown = Countdown(point, hit)
    transport = transport_for(outbox.destination, load(env))
    cut: Any = Cut(transport, transport.base_url, countdown)
    try:
        outbox.deliver(countdown, transport=cut)
    except WarehouseBusy:
        sys.exit(BUSY)
