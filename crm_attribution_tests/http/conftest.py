from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crm_attribution.http.transport import Transport
from crm_attribution_tests.http.scripted import Scripted, serving

TOKEN = "pat-na1-c0ffee00-canary-token"


@pytest.fixture
def server() -> Iterator[Scripted]:
    with serving() as scripted:
        yield scripted


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def transport(server: Scripted, slept: list[float]) -> Iterator[Callable[..., Transport]]:
    made: list[Transport] = []

    def make(**changes: Any) -> Transport:
        settings: dict[str, Any] = {
            "service": "hubspot",
            "headers": {"Authorization": f"Bearer {TOKEN}"},
            "secrets": [TOKEN],
            "sleep": slept.append,
            "rng": random.Random(7),
            "timeout": (1.0, 2.0),
        }
        made.append(Transport(changes.pop("base_url", server.url), **(settings | changes)))
        return made[-1]

    yield make
    for one in made:
        one.close()
