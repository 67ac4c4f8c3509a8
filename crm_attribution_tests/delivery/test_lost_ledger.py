"""A ledger that is lost, behind or put back sends nothing until it is recovered; one of a warehouse is as good."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from crm_attribution.conversions import mirror
from crm_attribution.conversions.recovery import Recovered, recover
from crm_attribution.ledger.mark import Mark
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.warehouse import snapshots
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution_tests.delivery.outbox import NOW, Outbox, over_kinds
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

Make = Callable[..., Outbox]

BEHIND = ("an older ledger", "no ledger", "an empty ledger", "a damaged mark")


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
