"""What a delivery tells: figures by name, and one report of the deliveries to several accounts."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from crm_attribution.delivery.report import DeliveryReport, together
from crm_attribution_tests.delivery.outbox import NOW

HOUR = timedelta(hours=1)
FIRST = DeliveryReport(
    "meta", account="1", requests=3, least=2, sent=5, accepted=Counter(EUR=12345), oldest_waiting=NOW - HOUR, stuck=1,
    stopped="throttled", paused_until=NOW + HOUR, ended={"a": ("accepted", None), "b": ("held", "no_value")},
    resting=Counter({"no_value": 2, None: 1}), left_out=Counter(ph=1),
)  # fmt: skip
SECOND = DeliveryReport(
    "meta", account="2", requests=1, least=1, sent=1, accepted=Counter(EUR=55, USD=7), oldest_waiting=NOW - 2 * HOUR,
    stuck=2, paused_until=NOW + 2 * HOUR, alert="token", ended={"c": ("accepted", None)}, left_out=Counter(ph=1, ct=4),
)  # fmt: skip
THIRD = DeliveryReport("meta", account="3")


def test_figures_of_a_delivery():
    assert FIRST.counts == {"accepted": 1, "held": 4}
    assert FIRST.reasons == {"held: no_value": 3}
    assert FIRST.facts() == {
        "requests": 3, "sent": 5, "conversions per request": "1.7", "requests ÷ least": "1.50",
        "oldest waiting since": "2026-03-10T11:00:00Z", "accepted": 1, "held": 4, "held: no_value": 3,
        "value accepted, EUR": "123.45", "identifiers left out: ph": 1, "stopped": "throttled",
    }  # fmt: skip
    assert DeliveryReport("meta", skipped="off").facts() == {"requests": 0, "skipped": "off"}


def test_one_report_of_several_accounts_adds_up_and_says_whose_the_words_are():
    whole = together([FIRST, SECOND, THIRD])
    assert (whole.requests, whole.least, whole.sent, whole.stuck) == (4, 3, 6, 3)
    assert (whole.accepted, whole.left_out) == (Counter(EUR=12400, USD=7), Counter(ph=2, ct=4))
    assert (whole.counts, whole.reasons) == ({"accepted": 2, "held": 4}, {"held: no_value": 3})
    assert (whole.oldest_waiting, whole.paused_until) == (NOW - 2 * HOUR, NOW + 2 * HOUR)
    assert (whole.stopped, whole.alert, whole.warning) == ("1: throttled", "2: token", None)
    facts = whole.facts()
    assert (facts["1"], facts["2"], facts["3"]) == ("1 accepted, 4 held", "1 accepted", "nothing due")
    assert together([SECOND]) is SECOND
    assert together([THIRD, THIRD]).oldest_waiting is None
