"""A queue of named SELECTs: each becomes a temporary table, which those after it read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import polars as pl

from crm_attribution.warehouse.session import Session


@contextmanager
def steps(session: Session, queue: Mapping[str, str], **given: pl.DataFrame) -> Iterator[None]:
    """Run the queue in its order; its tables and the given frames can be read by their names within the block.

    Args:
        session: an open session.
        queue: name of each table -> the SELECT that fills it.
        given: frames the first ones start from.
    """
    for name, frame in given.items():
        session.change(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM _given", _given=frame)
    for name, sql in queue.items():
        session.change(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")
    yield
    for name in [*given, *queue]:  # after an error the rollback removes them
        session.change(f"DROP TABLE temp.{name}")
