"""kill -9 at every point of a delivery, the first, second or third time it is reached; then somebody goes on."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from crm_attribution.conversions import mirror
from crm_attribution.conversions.recovery import Recovered, recover
from crm_attribution.delivery.claiming import Claiming
from crm_attribution.ledger import moves
from crm_attribution.ledger.mark import Mark
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.ledger.transitions import is_legal
from crm_attribution.warehouse import snapshots
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution_tests import postgres
from crm_attribution_tests.delivery.killed import POINTS, work
from crm_attribution_tests.delivery.outbox import KINDS, NOW, Outbox, over_kinds
from crm_attribution_tests.forked import CONTEXT
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = [pytest.mark.sandbox, pytest.mark.crash]

Make = Callable[..., Outbox]

FACTS = ["a", "b", "c", "d", "e"]
HITS = {"selecting": (1,), "selected": (1,)}
DECISIVE = ("claimed", "body_sent_answer_not_read", "settling")
"""Points of which each leaves another doubt: nothing sent, sent and not known, known and not recorded."""
BEHIND = ("an older ledger", "no ledger", "an empty ledger", "a damaged mark")


def kill(outbox: Outbox, point: str, hit: int) -> int | None:
    """The exit status of a delivery that was to die at a point."""
    given = (outbox.directory, dict(outbox.env), outbox.destination.name, outbox.tag, point, hit, outbox.url)
    process = CONTEXT.Process(target=work, args=given)
    process.start()
    process.join(30)
    return process.exitcode


def check(outbox: Outbox, counted: list[str]) -> None:
    """Nothing lost, nothing doubled, nothing claimed that is not so, nothing applied that is not recorded."""
    states = outbox.states()
    assert len(counted) == len(set(counted)), "counted twice"
    assert set(states) == set(FACTS)
    assert set(states.values()) <= {"accepted", "unknown"}
    accepted = {name for name, state in states.items() if state == "accepted"}
    assert accepted <= set(counted), "accepted, but the platform does not have it"
    assert set(counted) - accepted <= {name for name, state in states.items() if state == "unknown"}
    if outbox.destination.limits.dedupe is not None:
        assert accepted == set(FACTS)
    else:
        assert len(FACTS) - len(accepted) <= outbox.destination.limits.batch
    for row in outbox.attempts():
        assert row["outcome"] is None or is_legal("in_flight", None, row["outcome"])


def go_on(outbox: Outbox, sandbox: Sandbox) -> None:
    """Two more deliveries; the second finds nothing to do."""
    outbox.now = NOW + timedelta(hours=1)
    outbox.deliver()
    assert outbox.deliver().requests == 0
    check(outbox, outbox.counted(sandbox.received(outbox.emulator)["counted"], FACTS))


@pytest.mark.parametrize(("platform", "point"), over_kinds(POINTS, DECISIVE))
def test_killed_at_a_point(make: Make, sandbox: Sandbox, platform: str, point: str):
    for hit in HITS.get(point, (1, 3) if platform in KINDS.values() else (2,)):
        outbox = make(platform, name=f"{platform}{hit}")
        outbox.plan(*FACTS)
        assert kill(outbox, point, hit) == -signal.SIGKILL
        go_on(outbox, sandbox)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgres.server() as address:
        yield address


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_with_the_ledger_in_postgresql(make: Make, sandbox: Sandbox, postgresql: str, point: str):
    outbox = make("linkedin", url=postgres.new_database(postgresql))
    outbox.plan(*FACTS)
    assert kill(outbox, point, 1) == -signal.SIGKILL
    go_on(outbox, sandbox)


@pytest.mark.parametrize("platform", sorted(KINDS.values()))
def test_killed_again_and_again(make: Make, sandbox: Sandbox, platform: str):
    """Every owner dies, at places drawn from a fixed seed, until one lives."""
    rng = random.Random(20260310)
    outbox = make(platform)
    outbox.plan(*FACTS)
    for _ in range(6):
        kill(outbox, rng.choice(POINTS), rng.choice((1, 2)))
    outbox.now = NOW + timedelta(hours=1)
    outbox.deliver()
    counted = outbox.counted(sandbox.received(outbox.emulator)["counted"], FACTS)
    assert len(counted) == len(set(counted))
    states = outbox.states()
    assert {name for name, state in states.items() if state == "accepted"} <= set(counted)
    assert set(counted) <= {name for name, state in states.items() if state in ("accepted", "unknown")}
    assert set(states.values()) <= {"accepted", "unknown"}
    if not outbox.forgets:
        assert set(counted) == set(FACTS)


def test_the_suite_notices_a_send_before_its_commit(make: Make, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """The order is what protects: undone, the same checks fail."""
    outbox = make("linkedin")
    outbox.plan(*FACTS)

    class Died(Exception):
        pass

    def die(point: str) -> None:
        if point == "answered":
            raise Died

    def forgotten(*_) -> None:
        return None

    with monkeypatch.context() as patched:
        patched.setattr(Claiming, "leave", lambda *_: True)
        patched.setattr(moves, "claim", forgotten)  # as if it were written only after the answer
        with pytest.raises(Died):
            outbox.deliver(die)
    with pytest.raises(AssertionError, match="counted twice"):
        go_on(outbox, sandbox)


def test_the_suite_notices_a_missing_recovery(make: Make, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    outbox = make("meta")
    outbox.plan(*FACTS)
    assert kill(outbox, "claimed", 1) == -signal.SIGKILL
    monkeypatch.setattr(Claiming, "_take_over", lambda *_: None)
    with pytest.raises(AssertionError):
        go_on(outbox, sandbox)


@pytest.mark.parametrize("platform", sorted(KINDS.values()))
def test_deliveries_side_by_side_count_once(make: Make, sandbox: Sandbox, platform: str):
    """Four processes at a time on one warehouse: the ledger is right without anybody keeping them apart."""
    outbox = make(platform)
    outbox.plan(*FACTS)
    given = (outbox.directory, dict(outbox.env), platform, outbox.tag, "never", 1, outbox.url)
    racers = [CONTEXT.Process(target=work, args=given) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0] * 4
    outbox.now = NOW + timedelta(hours=1)
    outbox.deliver()
    counted = outbox.counted(sandbox.received(outbox.emulator)["counted"], FACTS)
    assert counted == FACTS
    assert set(outbox.states().values()) <= {"accepted", "unknown"}


def _kept(outbox: Outbox) -> dict[Path, bytes]:
    """The files of the ledger as they are now."""
    return {path: path.read_bytes() for path in outbox.directory.glob("ledger.sqlite*")}


def _put_back(outbox: Outbox, files: dict[Path, bytes]) -> None:
    for path in outbox.directory.glob("ledger.sqlite*"):
        path.unlink()
    for path, content in files.items():
        path.write_bytes(content)


def _recover(outbox: Outbox) -> Recovered:
    with outbox.warehouse.session() as session:
        done = recover(session, outbox.ledger, outbox.now)
    assert done is not None
    return done


@pytest.mark.parametrize(("platform", "what"), over_kinds(BEHIND))
def test_a_ledger_that_is_behind_sends_nothing_until_it_is_recovered(
    make: Make, sandbox: Sandbox, platform: str, what: str
):
    """The copy in the warehouse is as good: nothing is in doubt, and what was planned meanwhile is sent."""
    outbox = make(platform)
    outbox.plan("a", "b")
    files = _kept(outbox)
    outbox.deliver()
    before = _counted(outbox, sandbox)
    if what == "a damaged mark":
        outbox.ledger.mark.path.write_bytes(b"x" * 256)
    else:
        _put_back(outbox, files if what == "an older ledger" else {})
        if what == "an empty ledger":
            outbox.ledger.create()
    for _ in range(2):
        report = outbox.deliver()
        assert (report.requests, report.counts) == (0, {})
        assert "safe mode" in (report.alert or "")
    done = _recover(outbox)
    assert (done.source, done.conversions) == ("ledger" if what == "a damaged mark" else "copy", 2)
    assert (done.lost is None) == (what != "a damaged mark")
    outbox.plan("c")
    assert outbox.deliver().alert is None
    assert before == ["a", "b"]
    assert outbox.states()["a"] == outbox.states()["b"] == "accepted"
    if done.lost is None:
        assert _counted(outbox, sandbox) == ["a", "b", "c"]


def _take_snapshot(outbox: Outbox) -> None:
    """Of the warehouse, with a copy of the ledger in it."""
    with outbox.warehouse.session() as session:
        session.state.watermark = NOW
        assert mirror.ready(session, outbox.ledger) is None
    snapshots.take(outbox.warehouse, NOW, timedelta(0))


@pytest.mark.parametrize("at", ["the copy's commit", "the mark"])
def test_a_recovery_that_is_cut_off_goes_on_and_doubts_nothing_more(
    make: Make, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, at: str
):
    outbox = make("linkedin")
    outbox.plan("a", "b")
    outbox.deliver()
    outbox.plan("c", ready_at=NOW)
    with outbox.warehouse.session() as session:
        assert mirror.ready(session, outbox.ledger) is None
    _put_back(outbox, {})

    class Died(Exception):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(*((mirror, "follow", die) if at == "the copy's commit" else (Mark, "begin", die)))
        with pytest.raises(Died):
            _recover(outbox)
    assert outbox.deliver().requests == 0
    done = _recover(outbox)
    assert done.lost is None
    outbox.now = NOW + timedelta(hours=1)
    outbox.deliver()
    assert set(outbox.states().values()) == {"accepted"}
    assert _counted(outbox, sandbox) == ["a", "b", "c"]


def test_after_the_newest_copy_is_lost_too_nothing_is_counted_twice(make: Make, sandbox: Sandbox, platform: str):
    """The ledger forgets what was sent since; rows due by then are sent again only where our key is recognised."""
    outbox = make(platform)
    outbox.plan("a", "b")
    _take_snapshot(outbox)
    files = _kept(outbox)
    outbox.deliver()
    outbox.plan("c")  # planned and sent after the copies, and planned once more after they were put back
    outbox.deliver()
    before = _counted(outbox, sandbox)
    snapshots.put_back(outbox.directory, NOW)
    _put_back(outbox, files)
    assert outbox.deliver().requests == 0
    done = _recover(outbox)
    assert (done.source, done.lost) == ("ledger", (NOW, NOW))
    outbox.plan("c")
    outbox.plan("later", ready_at=NOW + timedelta(hours=1))
    outbox.deliver()
    assert before == _counted(outbox, sandbox) == ["a", "b", "c"]
    states = {name: row["state"] for name, row in outbox.rows().items()}
    wanted = "accepted" if outbox.destination.limits.dedupe else "unknown"
    assert states == {**dict.fromkeys("abc", wanted), "later": "pending"}


@pytest.mark.parametrize(("platform", "lost"), over_kinds(["put back", "gone"], ["put back"]))
def test_a_warehouse_that_is_put_back_or_gone_changes_nothing(make: Make, sandbox: Sandbox, platform: str, lost: str):
    outbox = make(platform)
    outbox.plan("a", "b")
    _take_snapshot(outbox)
    outbox.deliver()
    if lost == "put back":
        snapshots.put_back(outbox.directory, NOW)
    else:
        outbox.warehouse.path.unlink()
        outbox.warehouse = Warehouse(outbox.directory)
    outbox.plan("a", "b", "c")
    assert outbox.deliver().alert is None
    assert _counted(outbox, sandbox) == ["a", "b", "c"]
    assert outbox.deliver().requests == 0
    with outbox.warehouse.session() as session:
        assert set(session.read(CONVERSION)["state"]) == {"accepted"}


def _counted(outbox: Outbox, sandbox: Sandbox) -> list[str]:
    return outbox.counted(sandbox.received(outbox.emulator)["counted"], outbox.rows())
