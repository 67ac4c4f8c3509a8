from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.marts import sample_rows


@pytest.fixture(scope="session")
def marts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A warehouse of the sample rows with every model made. Tests leave it as it is."""
    with new_warehouse(tmp_path_factory.mktemp("marts")).session() as session:
        sample_rows.fill(session, sample_rows.tables())
        sample_rows.build(session)
        yield session


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Session]:
    """A warehouse with tables and no rows."""
    with new_warehouse(tmp_path).session() as session:
        yield session
