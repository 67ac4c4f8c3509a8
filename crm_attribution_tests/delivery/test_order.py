"""Which rows leave in which order when a platform throttles, fails or refuses. Its answers stand in a list."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.destinations.base import Answer
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox, resolved
from crm_attribution_tests.helpers import new_warehouse

pytestmark = pytest.mark.warehouse

ENV = {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "1", "META_BASE_URL": "http://127.0.0.1:9"}
THROTTLED = Answer(429, {"Retry-After": "7"}, None)
ACCEPTED = Answer(200, {}, {"events_received": 2})
BROKEN = Answer(503, {}, None)
REFUSED = Answer(400, {}, {"error": {"message": "x", "code": 100}})


class Recording:
    """Answers from a list, then accepts everything; keeps what each request carried."""

    def __init__(self, outbox: Outbox, *answers: Answer):
        self.outbox, self.answers, self.sent = outbox, list(answers), list[str]()

    def send_once(self, *_: Any, json: Any = None, **__: Any) -> Answer:
        if json is None:  # how well it finds people, asked once a day
            return Answer(403, {}, {})
        self.sent.append("".join(self.outbox.counted([event], "abcdefghijklmnopqrst")[0] for event in json["data"]))
        return self.answers.pop(0) if self.answers else Answer(200, {}, {"events_received": len(json["data"])})


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    new_warehouse(tmp_path / "w")
    return Outbox(tmp_path / "w", ENV, SMALL["meta"])


def plan(outbox: Outbox, names: str) -> None:
    """The first is the oldest fact."""
    for place, name in enumerate(names):
        outbox.plan(name, occurred_at=NOW - timedelta(hours=20 - place))


@pytest.mark.parametrize(
    ("answers", "sent"),
    [
        ([], ["ab", "cd", "ef"]),
        ([THROTTLED], ["ab", "ab", "cd", "ef"]),
        ([ACCEPTED, THROTTLED, THROTTLED], ["ab", "cd", "cd", "cd", "ef"]),
        ([REFUSED], ["ab", "a", "b", "cd", "ef"]),
        ([REFUSED, REFUSED, THROTTLED], ["ab", "a", "b", "b", "cd", "ef"]),
    ],
)
def test_what_was_throttled_or_refused_goes_first_again(outbox: Outbox, answers: list[Answer], sent: list[str]):
    plan(outbox, "abcdef")
    platform = Recording(outbox, *answers)
    outbox.deliver(transport=platform)
    assert platform.sent == sent


def test_the_oldest_fact_leaves_first_whenever_it_was_planned(outbox: Outbox):
    for name, hours in (("c", 5), ("a", 9), ("d", 4), ("b", 6)):
        outbox.plan(name, occurred_at=NOW - timedelta(hours=hours))
    platform = Recording(outbox)
    outbox.deliver(transport=platform)
    assert platform.sent == ["ab", "cd"]


def test_a_long_pause_is_kept_to_the_second(outbox: Outbox):
    plan(outbox, "ab")
    platform = Recording(outbox, Answer(429, {"Retry-After": "600"}, None))
    assert outbox.deliver(transport=platform).paused_until == NOW + timedelta(seconds=600)
    for seconds, sent in ((599, ["ab"]), (600, ["ab", "ab"])):
        outbox.now = NOW + timedelta(seconds=seconds)
        outbox.deliver(transport=platform)
        assert platform.sent == sent


def test_only_failures_in_a_row_end_a_delivery(outbox: Outbox):
    """Two, an answer, two more: it goes on; a third in a row ends it."""
    plan(outbox, "abcdefghijklmnopqrst")
    platform = Recording(outbox, BROKEN, BROKEN, ACCEPTED, BROKEN, BROKEN, ACCEPTED, BROKEN, BROKEN, BROKEN)
    report = outbox.deliver(transport=platform)
    assert report.stopped == "3 requests in a row failed (http_503)"
    assert platform.sent == ["ab", "cd", "ef", "gh", "ij", "kl", "mn", "op", "qr"]


def test_what_may_have_been_sent_waits_as_retry_for_what_holds_it(outbox: Outbox):
    """It is not called held: that would say it was never sent."""
    outbox.plan("a", occurred_at=NOW - timedelta(hours=9))
    outbox.deliver(transport=Recording(outbox, BROKEN))
    assert outbox.reasons() == {"a": ("retry", "http_503")}
    outbox.now = NOW + timedelta(hours=8)
    outbox.people["a"] = resolved(outbox.tag + "a", consent="absent")
    platform = Recording(outbox)
    outbox.deliver(transport=platform)
    assert (outbox.reasons(), platform.sent) == ({"a": ("retry", "consent_unknown")}, [])
    outbox.people.clear()
    outbox.deliver(transport=platform)
    assert (outbox.reasons(), platform.sent) == ({"a": ("accepted", None)}, ["a"])


def test_an_hour_with_suspiciously_many_is_held_and_one_beside_it_is_sent(outbox: Outbox):
    """What was sent before is the measure; rows to be sent again are never held back for their number."""
    shipped = outbox.rules.conversions
    guard = shipped.volume_guard.model_copy(update={"floor": 2, "factor": 1})
    conversions = shipped.model_copy(update={"volume_guard": guard})
    outbox.rules = outbox.rules.model_copy(update={"conversions": conversions})
    outbox.plan("a", "b", "c", occurred_at=NOW - timedelta(hours=5))
    outbox.plan("d", "e", occurred_at=NOW - timedelta(hours=3))
    outbox.plan("f", "g", "h", occurred_at=NOW - timedelta(hours=2), state="retry", first_sent_at=NOW, attempts=1)
    platform = Recording(outbox)
    outbox.deliver(transport=platform)
    assert sorted("".join(platform.sent)) == list("defgh")
    assert {name: outbox.reasons()[name] for name in "abc"} == dict.fromkeys("abc", ("held", "volume_guard"))
