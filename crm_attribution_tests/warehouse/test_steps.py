"""A queue of named SQL steps."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest

from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.steps import steps

pytestmark = pytest.mark.warehouse

QUEUE = {"doubled": "SELECT 2 * n AS n FROM asked", "large": "SELECT n FROM doubled WHERE n > 2"}


def temporary(session: Session) -> list[str]:
    return session.query("SELECT table_name FROM duckdb_tables() WHERE temporary")["table_name"].to_list()


def test_each_step_reads_those_before_it_and_none_stays(tmp_path: Path):
    with Warehouse(tmp_path).session() as session:
        for asked in ([1, 2, 3], [5]):
            with steps(session, QUEUE, asked=pl.DataFrame({"n": asked})):
                assert session.query("FROM large ORDER BY n")["n"].to_list() == [2 * n for n in asked if n > 1]
            assert temporary(session) == []


def test_an_error_keeps_its_own_message_and_leaves_nothing(tmp_path: Path):
    with Warehouse(tmp_path).session() as session:
        with (
            pytest.raises(duckdb.ConversionException),
            session.transaction(),
            steps(session, QUEUE | {"wrong": "SELECT 'x'::INTEGER AS n FROM large"}, asked=pl.DataFrame({"n": [2]})),
        ):
            raise AssertionError("never reached")
        assert temporary(session) == []
