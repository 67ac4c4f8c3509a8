"""A portal log played in three ways: hour by hour, in one range, and read in a shuffled order with every step run in
between. Each must end in the same rows.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from crm_attribution.clock import iso
from crm_attribution.mapping import Rules
from crm_attribution.sources.link_clicks import SOURCE as LINK_CLICKS
from crm_attribution_tests.flow.chain import Chain
from crm_attribution_tests.helpers import at
from crm_attribution_tests.marts import sample_rows
from crm_attribution_tests.sandbox_process import Line

WAYS = ("hour by hour", "one range", "shuffled")
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Log:
    """What is played.

    Attributes:
        lines: the portal log.
        clock: where it ends.
        clicks: files for inbox/clicks, laid there before the first hour.
    """

    lines: Sequence[Line]
    clock: str
    clicks: Sequence[Path] = ()


@contextmanager
def played(folder: Path, log: Log, rules: Rules, way: str) -> Iterator[Chain]:
    """The chain after the log was read in one of `WAYS` and derived."""
    first = at(str(log.lines[0]["at"]))
    with Chain.start(folder, log.lines, iso(first) if way == WAYS[0] else log.clock, rules) as chain:
        for file in log.clicks:
            inbox = chain.folder / "inbox" / "clicks"
            inbox.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, inbox / file.name.split(".", 1)[-1])
        if way == WAYS[0]:
            _hour_by_hour(chain, log)
        elif way == WAYS[1]:
            chain.run()
        else:
            _shuffled(chain, random.Random(log.clock))
        yield chain


def _hour_by_hour(chain: Chain, log: Log) -> None:
    """Every hour in which something happens or falls due, and the last."""
    moments = {at(str(line["at"])) for line in log.lines}
    waits = [timedelta(0), HOUR, timedelta(hours=24), timedelta(hours=73)]
    ends = sorted({_end_of_hour(moment + wait) for moment in moments for wait in waits})
    last = at(log.clock)
    since = None
    for end in [end for end in ends if end < last] + [last]:
        chain.advance(iso(end), since)
        since = end - HOUR


def _end_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0) + HOUR


def _shuffled(chain: Chain, chance: random.Random) -> None:
    """One kind of source after the other, in a random order, with every step run after each."""
    found = chain.readers()
    found.reference.account()
    steps: list[Callable[[], object]] = [
        found.reference.stages,
        found.reference.forms,
        *(partial(found.records.read, kind, None) for kind in ("companies", "contacts", "deals")),
        partial(found.streams.submissions, None),
        partial(found.streams.email_clicks, None),
        partial(found.sources.read, LINK_CLICKS, chain.transport("clicks", "CLICKS"), None),
    ]
    chance.shuffle(steps)
    for step in steps:
        step()
        chain.derive()
    chain.run()


def answers(chain: Chain, asked: Sequence[Mapping[str, Any]]) -> list[list[list[Any]]]:
    """The rows of each question's `sql`; `marts_milestone` is marts.milestone."""
    marts = {f"marts.{name}" for question in asked for name in re.findall(r"\bmarts[._](\w+)", question["sql"])}
    with chain.warehouse.session() as session:
        sample_rows.build(session, "marts.milestone", *marts)
        session.connection.execute("CREATE OR REPLACE TEMP VIEW marts_milestone AS SELECT * FROM marts.milestone")
        return [[list(row) for row in session.query(question["sql"]).rows()] for question in asked]
