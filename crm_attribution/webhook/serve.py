"""`crm-attribution receive`: one process that serves until a signal stops it, and finishes its requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import resource
import signal
import socket
from collections.abc import Callable, Iterator

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from crm_attribution.errors import ConfigurationError
from crm_attribution.http.clock import make_clock
from crm_attribution.redaction import RedactingFilter
from crm_attribution.settings import Settings
from crm_attribution.webhook.app import build
from crm_attribution.webhook.inbox import Inbox
from crm_attribution.webhook.settings import ReceiverSettings
from crm_attribution.webhook.settings import receiver as receiver_settings

_GRACE_SECONDS = 10
_HEADER_SECONDS = 10.0
"""For all headers of a request, from the connection or from its first byte on."""
_OPEN_FILES = 4096
"""One a connection: those that wait for headers are many and cost nothing else."""


class _Protocol(H11Protocol):
    """Closes a connection whose headers do not come; uvicorn itself waits for them as long as they take."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        if self._patience is None and self.conn.their_state is h11.IDLE:
            self._expect()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._content()

    def connection_lost(self, exc: Exception | None) -> None:
        self._content()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._patience = self.loop.call_later(_HEADER_SECONDS, self.transport.close)

    def _content(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class _Server(uvicorn.Server):
    """Says when it serves, and takes a signal as an ordinary end."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        def stop() -> None:
            self.should_exit = True

        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop)
        yield


def receive(given: Settings, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        given: settings of this process.
        host: address to listen on.
        port: port to listen on; 0 takes any free one.
        say: receives the address, once it listens.

    Raises:
        ConfigurationError: when there is nothing to receive, the inbox cannot be written, or the port is taken.
    """
    receiver = receiver_settings(given)
    _check(receiver)
    _log_to_standard_error(given)
    given.make_data_dir()
    inbox, wishes = Inbox(given.webhooks), Inbox(given.replays)
    inbox.prepare()
    wishes.prepare()
    _allow_connections()
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {error.strerror}") from error
    where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    on = {
        "hubspot": receiver.takes_hubspot,
        "ingest": bool(receiver.tokens),
        "replay": bool(receiver.replay_tokens),
    }
    off = [name for name, has_secret in on.items() if not has_secret]
    config = uvicorn.Config(
        build(receiver, inbox, wishes, make_clock(given)),
        http=_Protocol,  # h11 limits the size of headers
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )

    def ready() -> None:
        say(f"receiving on {where}" + "".join(f"; {name} is off: its secret is not set" for name in off))

    asyncio.run(_Server(config, ready).serve(sockets=[listener]))


def _allow_connections() -> None:
    """As many open files as connections may wait, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _check(receiver: ReceiverSettings) -> None:
    if not receiver.takes_hubspot and not receiver.tokens and not receiver.replay_tokens:
        raise ConfigurationError(
            "there is nothing to receive: set HUBSPOT_WEBHOOK_SECRET (the app's client secret) with"
            " HUBSPOT_WEBHOOK_URL, CRM_ATTRIBUTION_INGEST_TOKEN, or CRM_ATTRIBUTION_REPLAY_TOKEN"
        )
    if receiver.takes_hubspot and not re.fullmatch(r"https?://[^/\s]+/\S*", receiver.url):
        raise ConfigurationError(
            "HUBSPOT_WEBHOOK_URL: must be the full public address that HubSpot posts to, with https:// and its path,"
            " exactly as in HubSpot's settings: its signatures cover it"
        )


def _log_to_standard_error(given: Settings) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(RedactingFilter(given.secrets()))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
