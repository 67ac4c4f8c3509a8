"""raw.merge is closed over chains whatever is told when: the relation that resolves ids needs no second look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_attribution.raw.merges import absorbed_by, record_merges, survivors_of
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.laws import TIMES

RECORDS = 9


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder: Path = tmp_path_factory.mktemp("merges")
    with new_warehouse(folder).session() as opened:
        yield opened


@pytest.mark.slow
@settings(max_examples=60 * TIMES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    into=st.lists(st.integers(1, RECORDS), min_size=RECORDS, max_size=RECORDS),
    order=st.randoms(),
    parts=st.integers(1, 4),
)
def test_every_absorbed_id_leads_to_the_record_that_lives(session: Session, into: list[int], order: Random, parts: int):
    """Record n was merged into a newer one, or lives where its place names none."""
    parent = {n: n + into[n - 1] for n in range(1, RECORDS + 1) if n + into[n - 1] <= RECORDS}

    def root(record: int) -> int:
        return root(parent[record]) if record in parent else record

    told = list(parent.items())
    order.shuffle(told)
    with session.transaction():
        session.truncate(["raw.merge"])
        for part in range(parts):
            rows = [
                {"object_type": "contacts", "absorbed_id": a, "survivor_id": s, "merged_at": None, "source": "webhook"}
                for a, s in told[part::parts]
            ]
            if rows:
                types = {"merged_at": pl.Datetime("us", "UTC")}
                record_merges(session, "contacts", pl.DataFrame(rows, schema_overrides=types))
    live = {record: root(record) for record in parent}
    assert survivors_of(session, "contacts", range(RECORDS + 1)) == live
    for record in set(range(1, RECORDS + 1)) - parent.keys():
        assert absorbed_by(session, "contacts", [record]) == {a: s for a, s in live.items() if s == record}
    assert survivors_of(session, "deals", range(RECORDS + 1)) == {}
