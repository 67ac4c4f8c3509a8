from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow import cases
from crm_attribution_tests.flow.chain import Chain, new_warehouse


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


@pytest.fixture(scope="session")
def empty_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copied for every test: making the tables takes longer than most tests."""
    directory = tmp_path_factory.mktemp("empty")
    with Warehouse(directory).session():
        pass
    return directory
