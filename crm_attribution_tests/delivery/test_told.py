"""What platforms say beside their answers: warnings about fields, and how well they find people."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from crm_attribution.destinations import destinations
from crm_attribution.destinations.base import Answer, ProcessesLater, Quality
from crm_attribution.ledger.tables import QUALITY, RECEIPT
from crm_attribution_tests.delivery.outbox import Outbox
from crm_attribution_tests.sandbox_process import Sandbox

Make = Callable[..., Outbox]
META, GOOGLE = destinations()["meta"], destinations()["google"]


def figures(outbox: Outbox) -> list[tuple[str, str, str, int | None]]:
    with outbox.ledger.reading() as book:
        rows = book.read(QUALITY).sort("read_on", "action", "measure")
    return rows.select("read_on", "action", "measure", "hundredths").rows()


def asked(sandbox: Sandbox) -> int:
    return sum(count for route, count in sandbox.calls()["routes"].items() if "dataset_quality" in route)


@pytest.mark.sandbox
def test_meta_is_asked_once_a_day_and_not_again_where_the_token_may_not(make: Make, sandbox: Sandbox):
    outbox = make("meta")
    outbox.plan("a", action="Told")
    outbox.deliver()
    today, tomorrow = outbox.now.date().isoformat(), (outbox.now + timedelta(days=1)).date().isoformat()
    found = [one[2:] for one in figures(outbox) if one[:2] == (today, "Told")]
    assert dict(found)["coverage_percent_email"] == 100_00
    assert 0 < (dict(found)["match_quality"] or 0) <= 10_00
    before = asked(sandbox)
    outbox.deliver()
    assert asked(sandbox) == before
    sandbox.set_up("meta", missing=["dataset_quality"])
    try:
        outbox.now += timedelta(days=1)
        for _ in range(2):
            report = outbox.deliver()
            assert (report.alert, report.stopped) == (None, None), "conversions do not wait for it"
        assert asked(sandbox) == before + 1
        assert [one for one in figures(outbox) if one[0] == tomorrow] == [(tomorrow, "", "not_told", None)]
    finally:
        sandbox.set_up("meta", missing=[])


@pytest.mark.sandbox
def test_what_google_warns_about_stays_beside_what_became_of_it(make: Make, sandbox: Sandbox):
    outbox = make("google")
    outbox.plan("a", value=0)
    outbox.plan("b")
    outbox.deliver()

    def warnings() -> dict[str, int]:
        with outbox.ledger.reading() as book:
            (row,) = book.read(RECEIPT).rows(named=True)
        found: dict[str, int] = json.loads(row["warnings"])
        return found

    assert warnings() == {"WARNING_REASON_INVALID_VALUE (conversion_value)": 1}
    outbox.now += timedelta(minutes=31)
    sandbox.set_clock(outbox.now.isoformat())
    outbox.deliver()
    assert set(outbox.states().values()) == {"processed"}
    assert warnings() == {"WARNING_REASON_INVALID_VALUE (conversion_value)": 1}


@pytest.mark.parametrize(
    "body",
    [None, [], {}, {"web": None}, {"web": [None, 1, {}, {"event_name": 5}]}, {"fieldWarnings": [None, {"field": 1}]},
     {"fieldWarnings": [{"field": "events.events[0].x", "reason": "ann@buyer.example"}]},
     {"web": [{"event_name": "a", "event_match_quality": {"composite_score": "x", "match_key_feedback": [1, {}]}}]}],
)  # fmt: skip
def test_whatever_is_answered_says_nothing_or_a_figure(body: object):
    for status in (200, 403, 500):
        answer = Answer(status, {}, body)
        assert META.read_quality(answer) in (None, [])
        assert isinstance(GOOGLE, ProcessesLater)
        assert GOOGLE.warned(answer) == {}


def test_figures_are_hundredths_of_known_names_only():
    key = [
        {"identifier": "email", "coverage": {"percentage": 99.5}},
        {"identifier": "X Y", "coverage": {"percentage": 1}},
        {"identifier": "phone", "coverage": {"percentage": 0}},
        {"identifier": "city", "coverage": {"percentage": -1}},
    ]
    told = [{"event_name": "Lead", "event_match_quality": {"composite_score": 6.2, "match_key_feedback": key}}]
    assert META.read_quality(Answer(200, {}, {"web": told})) == [
        Quality("Lead", "match_quality", 620), Quality("Lead", "coverage_percent_email", 9950),
        Quality("Lead", "coverage_percent_phone", 0),
    ]  # fmt: skip
    warned = [{"field": f"events.events[{place}].currency", "reason": "W"} for place in (0, 0, 3)]
    assert isinstance(GOOGLE, ProcessesLater)
    assert GOOGLE.warned(Answer(200, {}, {"fieldWarnings": warned})) == {"W (currency)": 2}
