"""The program: reads the log, serves on the loopback address, says so in one line, stops on SIGTERM and SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from crm_attribution.sandbox.app import build
from crm_attribution.sandbox.instants import to_ms
from crm_attribution.sandbox.limits import Limits
from crm_attribution.sandbox.portal import Portal, parse_lines
from crm_attribution.sandbox.world import World

HOST = "127.0.0.1"


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Puts the connection into the scope, so that a fault can cut it."""

    app_state: dict[str, object]

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """Announces itself once it serves, and treats a signal as an ordinary end."""

    def __init__(self, config: uvicorn.Config, ready: str, *, with_stdin: bool) -> None:
        super().__init__(config)
        self._ready, self._with_stdin = ready, with_stdin

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._ready, flush=True)

    @staticmethod
    def _read(ended: Callable[[], None]) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            ended()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        def stop() -> None:
            self.should_exit = True

        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop)
        if self._with_stdin:
            loop.add_reader(sys.stdin.fileno(), self._read, stop)
        yield


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="crm_attribution.sandbox", description=__doc__)
    parser.add_argument("--portal", type=Path, required=True, help="the portal log, one JSON object per line")
    parser.add_argument("--clock", required=True, help="the sandbox's clock at the start, ISO 8601")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--write-env", type=Path, help="write the environment of a client here before serving")
    parser.add_argument("--until-stdin-ends", action="store_true", help="stop when the process that started it is gone")
    parser.add_argument("--limits", choices=("real", "off"), default="real", help="rate limits; page sizes always hold")
    return parser.parse_args(argv)


def write_env(path: Path, env: dict[str, str]) -> None:
    """NAME=value lines, complete or not at all, readable by the owner only."""
    handle, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(f"{key}={value}\n" for key, value in env.items())
    Path(name).replace(path)


def _load(portal: Path, clock: str) -> Portal:
    """Raises ValueError or OSError with a message for the user."""
    try:
        now = to_ms(clock)
    except ValueError:
        raise ValueError(f"--clock is not an ISO 8601 timestamp: {clock!r}") from None
    gc.disable()  # hundreds of thousands of objects that all stay: collecting while they are made doubles the time
    try:
        with portal.open(encoding="utf-8") as lines:
            return Portal(parse_lines(lines), now)
    finally:
        gc.freeze()
        gc.enable()


def _serve(app: Starlette, listener: socket.socket, ready: str, *, with_stdin: bool) -> None:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    asyncio.run(_Server(config, ready, with_stdin=with_stdin).serve(sockets=[listener]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal stops it. 0 after a signal, 2 when an argument is wrong: log, clock, port, file to write."""
    asked = _arguments(argv)
    os.umask(0o077)
    try:
        world = World(_load(asked.portal, asked.clock), Limits(on=asked.limits == "real"))
        listener = socket.create_server((HOST, asked.port), backlog=256)
        # Without it a small answer waits some 40 ms for the client to acknowledge the part before.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        base_url = f"http://{HOST}:{listener.getsockname()[1]}"
        app, apis = build(world)
        env = {name: value for api in apis for name, value in api.env(base_url).items()}
        env["CRM_ATTRIBUTION_CLOCK"] = f"{base_url}/_sandbox/clock"
        if asked.write_env:
            write_env(asked.write_env, env)
    except (ValueError, OSError) as problem:
        print(f"sandbox: {problem}", file=sys.stderr)
        return 2
    ready = {"ready": True, "base_url": base_url, "env": env, "oauth": world.grants.shown()}
    _serve(app, listener, json.dumps(ready), with_stdin=asked.until_stdin_ends)
    return 0
