"""A transport stand-in at HTTP level: a function answers each call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution_tests.http.scripted import Handler, Scripted, reply, serving

Answering = Callable[[str, dict[str, str], Any], object]


@contextmanager
def client_of(answering: Answering, **changes: Any) -> Iterator[tuple[HubSpotClient, Scripted]]:
    """A client of a server that answers `answering(path, query, body)`: a body, or (status, body)."""

    def step(handler: Handler) -> None:
        request = handler.scripted.seen[-1]
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        answer = answering(parts.path, query, json.loads(request.body) if request.body else None)
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        reply(status, body)(handler)

    with serving() as scripted:
        scripted.play(step)
        transport = Transport(scripted.url, service="hubspot", sleep=lambda _: None, attempts=2)
        yield HubSpotClient(transport, **changes), scripted
        transport.close()
