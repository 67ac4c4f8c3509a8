"""kill -9 at every point of a delivery, the first, second and third time it is reached; then somebody goes on."""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections.abc import Callable
from datetime import timedelta

import pytest

from crm_attribution.conversions import ledger
from crm_attribution.warehouse import snapshots
from crm_attribution.warehouse.state import note_restored
from crm_attribution_tests.delivery.bench import NOW, Bench
from crm_attribution_tests.delivery.victim import POINTS, work
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = [pytest.mark.sandbox, pytest.mark.crash]

Make = Callable[..., Bench]

FACTS = ["a", "b", "c", "d", "e"]
HITS = {"selecting": (1,), "selected": (1,)}

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["crm_attribution_tests.delivery.victim"])


def kill(bench: Bench, point: str, hit: int) -> int | None:
    """The exit status of a delivery that was to die at a point."""
    given = (bench.directory, dict(bench.env), bench.destination.name, bench.tag, point, hit)
    victim = CONTEXT.Process(target=work, args=given)
    victim.start()
    victim.join(30)
    return victim.exitcode


def check(bench: Bench, counted: list[str]) -> None:
    """Nothing lost, nothing doubled, nothing claimed that is not so, nothing applied that is not recorded."""
    states = bench.states()
    assert len(counted) == len(set(counted)), "counted twice"
    assert set(states) == set(FACTS)
    assert set(states.values()) <= {"accepted", "unknown"}
    accepted = {name for name, state in states.items() if state == "accepted"}
    assert accepted <= set(counted), "accepted, but the platform does not have it"
    assert set(counted) - accepted <= {name for name, state in states.items() if state == "unknown"}
    if bench.destination.limits.dedupe is not None:
        assert accepted == set(FACTS)
    else:
        assert len(FACTS) - len(accepted) <= bench.destination.limits.batch
    for row in bench.attempts():
        assert row["outcome"] is None or ledger.is_legal("in_flight", None, row["outcome"])


def go_on(bench: Bench, sandbox: Sandbox) -> None:
    """Two more deliveries; the second finds nothing to do."""
    bench.now = NOW + timedelta(hours=1)
    bench.deliver()
    assert bench.deliver().requests == 0
    check(bench, bench.counted(sandbox.received(bench.emulator)["counted"], FACTS))


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point(make: Make, sandbox: Sandbox, platform: str, point: str):
    for hit in HITS.get(point, (1, 2, 3)):
        bench = make(platform, name=f"{platform}{hit}")
        bench.plan(*FACTS)
        assert kill(bench, point, hit) == -signal.SIGKILL
        go_on(bench, sandbox)


def test_killed_again_and_again(make: Make, sandbox: Sandbox, platform: str):
    """Every owner dies, at places drawn from a fixed seed, until one lives."""
    rng = random.Random(20260310)
    bench = make(platform)
    bench.plan(*FACTS)
    for _ in range(6):
        kill(bench, rng.choice(POINTS), rng.choice((1, 2)))
    bench.now = NOW + timedelta(hours=1)
    bench.deliver()
    counted = bench.counted(sandbox.received(bench.emulator)["counted"], FACTS)
    assert len(counted) == len(set(counted))
    states = bench.states()
    assert {name for name, state in states.items() if state == "accepted"} <= set(counted)
    assert set(counted) <= {name for name, state in states.items() if state in ("accepted", "unknown")}
    assert set(states.values()) <= {"accepted", "unknown"}
    if not bench.forgets:
        assert set(counted) == set(FACTS)


def test_the_suite_notices_a_send_before_its_commit(make: Make, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """The order is what protects: undone, the same checks fail."""
    bench = make("linkedin")
    bench.plan(*FACTS)

    class Died(Exception):
        pass

    def die(point: str) -> None:
        if point == "answered":
            raise Died

    def forgotten(*_) -> None:
        return None

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "claim", forgotten)  # as if it were written only after the answer
        with pytest.raises(Died):
            bench.deliver(die)
    with pytest.raises(AssertionError, match="counted twice"):
        go_on(bench, sandbox)


def test_the_suite_notices_a_missing_recovery(make: Make, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    bench = make("meta")
    bench.plan(*FACTS)
    assert kill(bench, "claimed", 1) == -signal.SIGKILL
    monkeypatch.setattr(ledger, "in_flight", lambda session, _: ledger.rows(session, []))
    with pytest.raises(AssertionError):
        go_on(bench, sandbox)


def test_deliveries_side_by_side_count_once(make: Make, sandbox: Sandbox, platform: str):
    """Four processes at a time on one warehouse: the ledger is right without anybody keeping them apart."""
    bench = make(platform)
    bench.plan(*FACTS)
    given = (bench.directory, dict(bench.env), platform, bench.tag, "never", 1)
    racers = [CONTEXT.Process(target=work, args=given) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0] * 4
    bench.now = NOW + timedelta(hours=1)
    bench.deliver()
    counted = bench.counted(sandbox.received(bench.emulator)["counted"], FACTS)
    assert counted == FACTS
    assert set(bench.states().values()) <= {"accepted", "unknown"}


def test_after_a_snapshot_was_put_back_nothing_is_counted_twice(make: Make, sandbox: Sandbox, platform: str):
    """The ledger forgets what was sent since; rows due by then are sent again only where our key is recognised."""
    bench = make(platform)
    bench.plan("a", "b")
    snapshots.take(bench.warehouse, NOW, timedelta(0))
    bench.deliver()
    bench.plan("c")  # planned and sent after the snapshot, and planned once more after it was put back
    bench.deliver()
    before = _counted(bench, sandbox)
    snapshots.put_back(bench.directory, NOW)
    bench.plan("c")
    bench.plan("later", ready_at=NOW + timedelta(hours=1))
    with bench.warehouse.session() as session:
        note_restored(session.state, NOW, NOW)
    bench.deliver()
    assert before == _counted(bench, sandbox) == ["a", "b", "c"]
    states = {name: row["state"] for name, row in bench.rows().items()}
    wanted = "accepted" if bench.destination.limits.dedupe else "unknown"
    assert states == {**dict.fromkeys("abc", wanted), "later": "pending"}


def _counted(bench: Bench, sandbox: Sandbox) -> list[str]:
    return bench.counted(sandbox.received(bench.emulator)["counted"], bench.rows())
