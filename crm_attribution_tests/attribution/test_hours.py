"""Hours in which touches and wins come, change and go: credit ends where computing everything at once ends, and where
the oracle does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_attribution.layers import CREDITS, run
from crm_attribution.warehouse.checks import broken_conservation
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.attribution import everything, oracle
from crm_attribution_tests.flow.chain import LOADED
from crm_attribution_tests.helpers import at, new_warehouse
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.marts import sample_rows

pytestmark = [pytest.mark.warehouse, pytest.mark.slow]

START = at("2026-01-05T09:00:00Z")
RULES = LOADED.model_copy(
    update={
        "attribution": LOADED.attribution.model_copy(
            update={"models": ["last_touch", "linear", "markov"], "scopes": ["account", "deal_contacts"]}
        )
    }
)
TABLES = ["attribution.credit", "attribution.journey", "attribution.channel_effect"]
HOURS = (START + timedelta(days=200, hours=hour) for hour in count())

accounts = st.sampled_from(["company:1", "company:2", None])
persons = st.sampled_from("pq")
days = st.integers(0, 120)
touches = st.tuples(
    st.just("touch"), st.integers(0, 5), accounts, persons, st.sampled_from(["Direct", "E-mail", "Paid Search"]), days
)
wins = st.tuples(
    st.just("win"), st.integers(0, 3), accounts, persons, st.sampled_from(["customer_won", "customer_expanded"]), days,
    st.sampled_from(["live", "live", "reversed"]), st.integers(-3, 1000),
)  # fmt: skip
gone = st.tuples(st.just("gone"), st.integers(0, 5))
hours = st.lists(st.lists(st.one_of(touches, touches, wins, gone), min_size=4, max_size=8), min_size=3, max_size=3)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with new_warehouse(tmp_path_factory.mktemp("hours")).session() as opened:
        yield opened


def act(session: Session, what: str, number: int, *told: Any) -> None:
    if what == "gone":
        session["attribution.touch"].delete(pl.DataFrame({"touch_id": [f"click:{number}"]}))
        return
    account, person, name, day, *more = told
    when = (START + timedelta(days=day)).isoformat()
    if what == "touch":
        row = sample_rows.touch(f"click:{number}", when, person, account, name, None, None, None)
        sample_rows.fill(session, {"attribution.touch": [row]})
        return
    state, amount = more
    win = sample_rows.milestone(name, f"w{number}", when, account=account, deal=f"{number}",
                                money=("EUR", amount, None, None))  # fmt: skip
    ended = {"state": state, "reason": None if state == "live" else "lost", "person_id": None if account else person}
    sample_rows.fill(session, {"events.milestone": [win | ended]})


def held(session: Session) -> dict[str, list[tuple[Any, ...]]]:
    found = {name: session.read(name) for name in TABLES}
    now = found["attribution.credit"].filter(pl.col("superseded_at").is_null()).drop("recorded_at", "superseded_at")
    found["attribution.credit"] = now
    lists = {name: frame.with_columns(pl.col(pl.List(pl.String)).list.join(" ")) for name, frame in found.items()}
    return {name: sorted(frame.rows(), key=repr) for name, frame in lists.items()}


@settings(max_examples=6 * TIMES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hours)
def test_hour_by_hour_ends_where_everything_at_once_does(session: Session, hours: list[list[tuple[Any, ...]]]):
    session.truncate(["attribution.touch", "events.milestone", "events.milestone_event", *TABLES])
    session.journal.forget([CREDITS.name])
    for acts in hours:
        for one in acts:
            act(session, *one)
        run(CREDITS, session, RULES, next(HOURS))
        assert broken_conservation(session) == 0
    found, prints = held(session), session.state.touch_prints.all()
    session.journal.forget([CREDITS.name])
    assert run(CREDITS, session, RULES, next(HOURS)).changed == 0
    assert (held(session), session.state.touch_prints.all()) == (found, prints)
    wanted = oracle.credits(**everything.tables(session), rules=RULES.attribution.model_dump())
    assert everything.stored(session) == wanted
