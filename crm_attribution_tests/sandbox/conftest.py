"""One sandbox for the tests that only read, and the pieces to start others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from crm_attribution_tests.sandbox.lines import COMPANY, NOW, Line
from crm_attribution_tests.sandbox_process import Sandbox


@pytest.fixture(scope="session")
def company() -> Iterator[Sandbox]:
    """The small company on 10 March; for tests that change nothing."""
    with Sandbox.start(COMPANY, NOW) as sandbox:
        yield sandbox


@pytest.fixture
def start() -> Iterator[Callable[..., Sandbox]]:
    """Starts sandboxes of a test's own and stops them."""
    running: list[Sandbox] = []

    def run(lines: list[Line], clock: str = NOW, limits: str = "off") -> Sandbox:
        running.append(Sandbox.start(lines, clock, limits))
        return running[-1]

    yield run
    for sandbox in running:
        sandbox.stop()
