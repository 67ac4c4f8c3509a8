"""One sandbox for the folder; each test has its own warehouse and its own business facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.destinations.base import Destination
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox, emulator
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.sandbox_process import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start([], NOW.isoformat()) as running:
        yield running


@pytest.fixture(autouse=True)
def no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "sandbox" in request.fixturenames:
        request.getfixturevalue("sandbox").faults([])


@pytest.fixture(params=sorted(SMALL))
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Outbox]:
    """An outbox of a platform, in a warehouse of its own."""

    def make(platform: str, destination: Destination | None = None, name: str = "", **changes: Any) -> Outbox:
        directory = tmp_path / (name or platform)
        new_warehouse(directory)
        return Outbox(directory, sandbox.env, destination or SMALL[platform], **changes)

    return make


@pytest.fixture
def counted(sandbox: Sandbox) -> Callable[[Outbox], list[str]]:
    """Business facts of an outbox that its platform counts, one entry per count."""

    def counted(outbox: Outbox) -> list[str]:
        return outbox.counted(sandbox.received(outbox.emulator)["counted"], outbox.rows())

    return counted


@pytest.fixture
def requests(sandbox: Sandbox) -> Callable[[str], int]:
    def requests(platform: str) -> int:
        return int(sandbox.received(emulator(SMALL[platform], sandbox.env))["requests"])

    return requests
