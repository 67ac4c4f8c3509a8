"""kill -9 at every point of a delivery, the first, second or third time it is reached; then somebody goes on."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from crm_attribution.delivery.claiming import Claiming
from crm_attribution.ledger import moves
from crm_attribution.ledger.transitions import is_legal
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
