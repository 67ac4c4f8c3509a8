"""Conversions sent again: under their keys, counted once, and never where the platform would count them twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.delivery.replay import Answer, Wish, queue
from crm_attribution.destinations.base import Answer as HttpAnswer
from crm_attribution.destinations.base import Destination
from crm_attribution.errors import ConfigurationError
from crm_attribution.ledger.tables import REPLAY
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox, resolved, with_limits
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.marts import sample_rows
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

Make = Callable[..., Outbox]
Counted = Callable[[Outbox], list[str]]
Requests = Callable[[str], int]


def facts(outbox: Outbox, *names: str, linked: tuple[str, ...] = ()) -> None:
    """Milestones in the warehouse; the first of them is also told by the linked events."""
    rows = []
    for place, name in enumerate(names):
        told = [outbox.tag + one for one in (name, *(linked if place == 0 else ()))]
        occurred = (NOW - timedelta(hours=5)).isoformat()
        rows.append(sample_rows.milestone("customer_won", told[0], occurred, account="a", linked_event_ids=told))
    with outbox.warehouse.session() as session:
        sample_rows.fill(session, {"events.milestone": rows})


def again(outbox: Outbox, *names: str, **more: Any) -> list[Answer]:
    wish = Wish([outbox.tag + name for name in names], [outbox.destination.name], "asked to", "command", **more)
    with outbox.warehouse.session() as session:
        return queue(session, outbox.ledger, wish, outbox.now)


def test_what_was_accepted_is_sent_again_and_counted_once(
    make: Make, counted: Counted, requests: Requests, platform: str
):
    outbox = make(platform)
    facts(outbox, "a", "b", linked=("told-too",))
    keys = outbox.plan("a", "b")
    outbox.deliver()
    before = requests(platform)
    found = again(outbox, "told-too", "b", "nobody")
    assert [answer.id.removeprefix(outbox.tag) for answer in found] == ["told-too", "b", "nobody"]
    assert found[0].canonical_event == {
        "event_id": f"{outbox.tag}a", "milestone": "customer_won", "milestone_id": f"{outbox.tag}a",
        "occurred_at": "2026-03-10T07:00:00Z"}  # fmt: skip
    assert (found[2].ok, found[2].canonical_event) == (False, None)
    assert found[2].refused == {platform: "no such event, milestone, touch or conversion"}
    if not outbox.replays:
        why = "key_not_recognised" if outbox.forgets else "not_done_twice"
        assert [answer.refused for answer in found[:2]] == [{platform: why}] * 2
        assert [answer.ok for answer in found[:2]] == [False, False]
    else:
        assert [(answer.ok, answer.deduplicated) for answer in found[:2]] == [(True, True)] * 2
        assert [answer.replayed_destinations for answer in found[:2]] == [[platform]] * 2
        assert outbox.reasons() == dict.fromkeys(["a", "b"], ("retry", "replay: asked to"))
    outbox.deliver()
    assert requests(platform) - before == (1 if outbox.replays else 0)
    assert counted(outbox) == ["a", "b"]
    assert set(outbox.states().values()) == {"accepted"}
    with outbox.warehouse.session() as session:
        noted = session.read(REPLAY).sort("asked_id").select("conversion_id", "asked_id", "queued", "why").rows()
    assert noted == [(keys[1], f"{outbox.tag}b", outbox.replays, "asked to"),
                     (keys[0], f"{outbox.tag}told-too", outbox.replays, "asked to")]  # fmt: skip


def test_what_was_refused_is_sent_after_its_cause_is_mended(make: Make, counted: Counted, platform: str):
    outbox = make(platform)
    facts(outbox, "a")
    outbox.plan("a")
    outbox.deliver()
    outbox.change("a", state="rejected", reason="no_such_rule")
    (answer,) = again(outbox, "a")
    assert (answer.ok, answer.deduplicated) == (True, False)
    assert outbox.rows()["a"]["first_sent_at"] is None, "what was refused was not applied"


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"state": "pending"}, "not_sent_yet"),
        ({"state": "held", "reason": "no_value"}, "not_sent_yet"),
        ({"state": "retry"}, "on_its_way"),
        ({"state": "suppressed", "reason": "imported"}, "suppressed: imported"),
        ({"state": "expired", "reason": "too_old"}, "expired: too_old"),
        ({"state": "accepted", "expires_at": NOW}, "too_old"),
        ({"state": "accepted", "first_sent_at": NOW - timedelta(hours=48)}, "not_recognised_any_more"),
    ],
)
def test_what_is_not_sent_again_says_why(make: Make, columns: dict[str, Any], why: str):
    outbox = make("meta")
    facts(outbox, "a")
    outbox.plan("a", **{"first_sent_at": NOW - timedelta(hours=1), **columns})
    before = outbox.rows()
    (answer,) = again(outbox, "a")
    assert (answer.ok, answer.refused, answer.replayed_destinations) == (False, {"meta": why}, [])
    assert outbox.rows() == before


@pytest.mark.parametrize("end", ["denied", "refused", "no_answer", "too_old"])
def test_a_replay_that_ends_badly_leaves_what_the_platform_said_before(make: Make, end: str):
    """The platform has it: no end of a second send hides that."""
    outbox = make("meta")
    facts(outbox, "a")
    outbox.plan("a")
    outbox.deliver()
    assert again(outbox, "a")[0].ok
    refusal = HttpAnswer(400, {}, {"error": {"code": 100, "error_subcode": 1, "message": "no"}})
    if end == "denied":
        outbox.people["a"] = resolved(f"{outbox.tag}a", consent="denied")
        outbox.deliver()
    elif end == "too_old":
        outbox.change("a", expires_at=NOW)
        outbox.deliver()
    else:
        scripted = _Scripted(refusal if end == "refused" else HttpAnswer(503, {}, None))
        for hour in range(12):
            outbox.now = NOW + timedelta(hours=7 * hour)
            outbox.deliver(transport=scripted)
    row = outbox.rows()["a"]
    assert (row["state"], row["replayed_from"]) == ("accepted", None)


class _Scripted:
    def __init__(self, answer: HttpAnswer) -> None:
        self.answer = answer

    def send_once(self, *_, **__) -> HttpAnswer:
        return self.answer


def test_an_hour_is_named_in_place_of_ids(make: Make):
    outbox = make("meta")
    facts(outbox, "a", "b", "c")
    outbox.plan("a", "b", "c")
    outbox.deliver()
    outbox.change("b", ready_at=NOW)
    outbox.change("c", state="unknown")
    hour = NOW - timedelta(hours=4)
    found = again(outbox, hour=hour, milestone="customer_won", state="accepted")
    keys = {name: row["conversion_id"] for name, row in outbox.rows().items()}
    assert [answer.id for answer in found] == [keys["a"]]
    assert again(outbox, hour=hour, milestone="lead_captured") == []
    assert {answer.id for answer in again(outbox, hour=hour)} == {keys["a"], keys["c"]}


def test_of_a_fact_with_two_actions_only_the_conversion_that_is_named(make: Make):
    outbox = make("meta")
    facts(outbox, "a")
    (first,) = outbox.plan("a")
    (second,) = outbox.plan("a", action="Lead", state="suppressed", reason="before_activation")
    outbox.deliver()
    wish = Wish([first], ["meta"], "x", "command")
    with outbox.warehouse.session() as session:
        (answer,) = queue(session, outbox.ledger, wish, outbox.now)
    assert (answer.ok, answer.refused) == (True, {})
    (told,) = again(outbox, "a")
    assert told.refused["meta"] in ("on_its_way", "suppressed: before_activation"), "of the fact both are looked at"
    assert second != first


def test_a_replay_that_cannot_be_sent_now_is_over(make: Make, counted: Counted):
    """Its person cannot be resolved any more: the row says again what the platform had said."""
    outbox = make("meta")
    facts(outbox, "a")
    outbox.plan("a")
    outbox.deliver()
    assert again(outbox, "a")[0].ok
    outbox.people["a"] = None
    outbox.deliver()
    row = outbox.rows()["a"]
    assert (row["state"], row["reason"], row["replayed_from"]) == ("accepted", "unresolved", None)


def test_what_was_planned_for_a_fact_that_is_gone_is_not_sent_again(make: Make):
    outbox = make("meta")
    facts(outbox, "a")
    (key,) = outbox.plan("gone", state="rejected", reason="no_such_rule")
    wish = Wish([key], ["meta"], "x", "command")
    with outbox.warehouse.session() as session:
        (answer,) = queue(session, outbox.ledger, wish, outbox.now)
    assert answer.refused == {"meta": "no such event, milestone, touch or conversion"}


def test_a_destination_that_does_not_exist_is_refused(make: Make):
    outbox = make("meta")
    with outbox.warehouse.session() as session, pytest.raises(ConfigurationError, match="no destination mata"):
        queue(session, outbox.ledger, Wish(["a"], ["meta", "mata"], "x", "command"), NOW)


@pytest.mark.slow
def test_whatever_is_replayed_whenever_it_is_counted_once(tmp_path: Path, platform: str):
    """Random wishes at random positions of the clock, many at a time, over conversions of every age."""
    with Sandbox.start([], NOW.isoformat()) as sandbox:  # one whose clock may go on
        _replay_at_random(sandbox, tmp_path, with_limits(SMALL[platform], batch=50))


def _replay_at_random(sandbox: Sandbox, folder: Path, destination: Destination) -> None:
    rng = random.Random(20260310)
    outbox = Outbox(new_warehouse(folder / "w").directory, sandbox.env, destination)
    names = [f"r{n}" for n in range(60)]
    facts(outbox, *names)
    for name in names:
        occurred = NOW - timedelta(hours=rng.uniform(1, 24 * 6))
        outbox.plan(name, occurred_at=occurred, expires_at=occurred + destination.limits.max_age)
    asked = sent = 0
    refused: Counter[str] = Counter()
    moment = NOW
    for _ in range(40 * TIMES):
        moment += timedelta(hours=rng.choice([0, 0.5, 1, 6, 20]))
        outbox.now = moment
        sandbox.set_clock(moment.isoformat())
        outbox.deliver()
        wished = rng.choices(names, k=85)
        for answer in again(outbox, *wished):
            asked += 1
            sent += answer.ok
            refused.update(answer.refused.values())
    outbox.deliver()
    told = outbox.counted(sandbox.received(outbox.emulator)["counted"], names)
    assert len(told) == len(set(told)), "counted twice"
    assert set(told) == {name for name, state in outbox.states().items() if state in ("accepted", "processed")}
    assert asked > 1_500
    assert (sent > 0) == outbox.replays
    assert sent + sum(refused.values()) == asked
