"""Models that nothing has changed for do not run, and a run that leaves them out ends as one that leaves out none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import duckdb
import polars as pl
import pytest

from crm_attribution.contracts import CONTRACTS, Contract
from crm_attribution.layers import forget
from crm_attribution.marts import models as engine
from crm_attribution.marts.current import Models
from crm_attribution.marts.models import SqlModel, materialize, run_test
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.versions import versions
from crm_attribution_tests.helpers import at, new_warehouse
from crm_attribution_tests.marts import sample_rows

pytestmark = [pytest.mark.warehouse, pytest.mark.slow]

NOON = at("2026-06-01T12:00:00Z")
HOUR = timedelta(hours=1)


def hour(session: Session, as_of: datetime = NOON, crash: Callable[[SqlModel], None] = lambda _: None) -> list[str]:
    """What the assets of the SQL models do; the models that ran."""
    known, ran = Models(session, as_of), []
    for model in sample_rows.models():
        if known.standing(model) is None:
            ran.append(model.key)
            done, tested = known.build(model)
            crash(model)
            if all(one.passed for one in tested):
                known.holds(model, done.rows)
    return ran


def stale(session: Session) -> list[str]:
    """Models that do not hold what their inputs give."""
    return [m.key for m in sample_rows.models() if materialize(session.connection, m).changed_rows]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    made = new_warehouse(tmp_path_factory.mktemp("current"))
    with made.session() as session:
        sample_rows.fill(session, sample_rows.tables())
        sample_rows.remember(session)
        assert len(hour(session)) == len(sample_rows.models())
    return made


@pytest.fixture
def session(warehouse: Warehouse) -> Iterator[Session]:
    with warehouse.session() as opened:
        hour(opened)
        yield opened


def test_an_hour_in_which_nothing_changed_runs_nothing_and_the_next_day_everything(session: Session) -> None:
    failing = [m.key for m in sample_rows.models() if any(not run_test(session.connection, t).passed for t in m.tests)]
    assert hour(session, NOON + HOUR) == failing == []
    counted = versions(session.connection)
    same = session.read("raw.deal")
    session["raw.deal"].upsert(same)
    session["raw.deal"].replace(same, None)
    with session.transaction():
        session["identity.account"].delete(pl.DataFrame({"account_id": ["company:nobody"]}))
    assert versions(session.connection) == counted  # what was written again as it was has not changed
    assert hour(session) == []
    assert len(hour(session, NOON + 24 * HOUR)) == len(sample_rows.models())
    assert hour(session, NOON + 25 * HOUR) == []
    hour(session)


def test_a_change_runs_what_reads_it_and_no_more(session: Session) -> None:
    readers = [model.key for model in sample_rows.models() if "staging.owner" in model.depends]
    before = session.read("raw.owner")
    session["raw.owner"].upsert(pl.DataFrame({"id": ["99"], "email": [None], "archived": [False]}))
    assert hour(session) == readers, "a view holds no rows that could be old"
    session["raw.owner"].replace(before, None)
    assert hour(session) == readers


def test_what_else_makes_a_model_run(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    spend = next(model for model in sample_rows.models() if model.key == "marts.spend")
    known = Models(session, NOON)
    assert known.standing(spend) is not None
    other_text = replace(spend, sql=f"{spend.sql} -- another text")
    other_test = replace(spend, tests=(*spend.tests[1:], replace(spend.tests[0], sql="SELECT 1 WHERE false")))
    assert known.standing(other_text) is None
    assert known.standing(other_test) is None
    monkeypatch.setattr(duckdb, "__version__", "another")
    assert known.standing(spend) is None
    monkeypatch.undo()
    session.connection.execute("DELETE FROM marts.milestone WHERE milestone = 'customer_won'")  # by a person
    assert "marts.milestone" in hour(session)
    session.connection.execute("DROP TABLE marts.funnel")
    session.connection.execute("DELETE FROM staging.deal")
    assert {"marts.funnel", "staging.deal"} <= set(hour(session))
    assert stale(session) == []
    assert Models(session, NOON).standing(replace(spend, depends=("meta.fact",))) is None  # is not counted
    forget(session)
    assert len(hour(session)) > 15  # a rebuild
    sample_rows.fill(session, sample_rows.tables())
    assert len(hour(session)) > 15
    assert stale(session) == []


def test_a_failing_test_is_asked_again_each_hour(session: Session) -> None:
    milestones = session.read("events.milestone")
    bad = milestones.head(1).with_columns(milestone_id=pl.lit("double"), state=pl.lit("reversed"), reason=None)
    session["events.milestone"].upsert(bad)
    assert "marts.milestone" in hour(session)
    again = hour(session)
    assert "marts.milestone" in again
    assert len(again) < 6
    session["events.milestone"].delete(bad.select("milestone", "milestone_id"))
    hour(session)
    assert hour(session) == []


INPUTS = sorted({name for m in sample_rows.models() for name in m.depends if name in CONTRACTS} - {"raw.account"})


@pytest.mark.parametrize("seed", [1])
def test_after_any_writes_and_crashes_an_hour_ends_as_a_full_run(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    with new_warehouse(tmp_path).session() as session:
        sample_rows.fill(session, sample_rows.tables())
        hour(session)
        ran = 0
        for _ in range(6):
            _write(session, random)
            if random.random() < 0.6:
                _die(session, random)
            ran += len(hour(session))
            assert stale(session) == []
        assert ran < 6 * len(sample_rows.models()) * 0.9


INCREMENTAL = [model for model in sample_rows.models() if model.incremental]


def test_a_few_changed_keys_end_as_a_full_run(session: Session) -> None:
    """Whatever row of whatever table goes that models follow, or takes another's values, in the way of the writers."""
    wrote: dict[str, int] = {}
    followed = {follow.table for model in INCREMENTAL for follow in model.follows} & CONTRACTS.keys()
    for name in sorted(followed):
        before = session.read(name)
        for change in (*_changes_of(before, CONTRACTS[name]), before):
            session[name].replace(change, None)
            known = Models(session, NOON)
            for model in (model for model in INCREMENTAL if known.standing(model) is None):
                done, _ = known.build(model)
                assert done.keys is not None, (name, model.key)
                wrote[model.key] = wrote.get(model.key, 0) + done.changed_rows
                assert change is before or not materialize(session.connection, model).changed_rows, (name, model.key)
                known.holds(model, done.rows)  # also where what was changed breaks a test
    assert stale(session) == []
    assert {model.key for model in INCREMENTAL} == {name for name, rows in wrote.items() if rows}


def _changes_of(rows: pl.DataFrame, contract: Contract) -> Iterator[pl.DataFrame]:
    """The table without one of its rows, and with one row that has what another has besides its key."""
    random = Random(contract.name)
    place = pl.int_range(pl.len())
    if rows.height < 2:
        return
    yield rows.filter(place != random.randrange(rows.height))
    at, other = random.sample(range(rows.height), 2)
    order = place.replace({at: other})
    yield rows.select(pl.col(name) if name in contract.key else pl.col(name).gather(order) for name in rows.columns)


def test_what_the_journal_does_not_tell_is_run_in_full(session: Session) -> None:
    journey = next(model for model in INCREMENTAL if model.name == "account_journey")
    touches = session.read("attribution.touch")
    erased = pl.DataFrame({"touch_id": touches["touch_id"].head(1), "name": ["erased:1"]})
    for change in ("UPDATE attribution.touch SET source = 'by hand'", None):
        if change is None:
            session["attribution.touch"].rename("touch_id", erased)
        else:
            session.connection.execute(change)
        known = Models(session, NOON)
        done, _ = known.build(journey)
        assert done.keys is None
        assert done.changed_rows
        known.holds(journey, done.rows)
    session["attribution.touch"].replace(touches, None)
    hour(session)


class _Killed(BaseException):
    pass


def _die(session: Session, random: Random) -> None:
    """An hour that ends somewhere: when a model has been written, or run, and is not yet known to hold."""
    left = random.randrange(len(sample_rows.models()))

    def fall(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _Killed

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(_Killed):
        if random.random() < 0.5:
            patch.setattr(engine, "_prove", fall)  # right behind the commit
            hour(session)
        else:
            hour(session, crash=fall)


def test_what_reads_a_mart_runs_though_the_hour_that_wrote_it_died(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    deals = session.read("raw.deal")
    session["raw.deal"].upsert(deals.with_columns(amount=pl.col("amount") * 3))
    prove = engine._prove

    def fall(connection: duckdb.DuckDBPyConnection, table: str, *more: str) -> None:
        if "pipeline" in table and "marts" in table:
            raise _Killed
        prove(connection, table, *more)

    monkeypatch.setattr(engine, "_prove", fall)
    with pytest.raises(_Killed):
        hour(session)
    monkeypatch.undo()
    again = hour(session)
    assert {"marts.pipeline", "marts.account_value"} <= set(again)  # the first has nothing left to write
    assert stale(session) == []
    session["raw.deal"].upsert(deals)
    hour(session)


def _write(session: Session, random: Random) -> None:
    """Some tables lose a row, get one back, or have one changed, by the writers there are."""
    for name in random.sample(INPUTS, random.randrange(0, 4)):
        rows = session.read(name)
        if rows.is_empty():
            continue
        one = rows.sample(1, seed=random.randrange(1000))
        key = one.select(CONTRACTS[name].key)
        match random.randrange(3):
            case 0:
                session[name].delete(key)
            case 1:
                session[name].replace(rows.join(key, on=key.columns, how="anti"), None)
            case 2:
                with session.transaction():
                    session.truncate([name])
                    session[name].append_new(rows)
