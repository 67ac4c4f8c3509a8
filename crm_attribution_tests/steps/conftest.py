from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crm_attribution.warehouse.session import Session
from crm_attribution_tests.steps import cases, matrix  # noqa: F401 - more stories
from crm_attribution_tests.steps.chain import Chain, new_warehouse


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Every story of `cases`, read and derived at once, after the last of them. Tests leave it as it is."""
    with Chain.start(tmp_path_factory.mktemp("stories"), cases.portal(), cases.LAST_DAY) as chain:
        chain.run()
        yield chain


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """An empty warehouse, open."""
    with new_warehouse(tmp_path).session() as opened:
        yield opened
