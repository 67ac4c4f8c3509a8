"""Meta's payloads and answers, field by field."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crm_attribution.destinations.base import Answer
from crm_attribution.destinations.meta import DESTINATION
from crm_attribution.identifiers import sha256
from crm_attribution_tests.destinations.conformance import batch, ready

SETTINGS = {"META_ACCESS_TOKEN": "EAAtoken", "META_DATASET_ID": "987"}


def event(**changes: Any) -> dict[str, Any]:
    request = DESTINATION.build([ready(DESTINATION, **changes)], SETTINGS, {"crm_name": "HubSpot"})
    (found,) = request.json["data"]
    return dict(found)


def test_the_whole_event():
    assert event() == {
        "event_name": "Purchase",
        "event_time": 1773141753,
        "event_id": sha256("conversion 0"),
        "action_source": "system_generated",
        "user_data": {
            "em": [sha256("jane.roe@example.com")],
            "ph": [sha256("16505551212")],
            "fn": [sha256("jane-first")],
            "ln": [sha256("roe-last")],
            "country": [sha256("de")],
            "external_id": [sha256("person_0")],
            "fbc": "fb.1.1772968953456.IwAR0-CaseSensitive",
        },
        "custom_data": {"value": 1234.56, "currency": "EUR"},
    }


def test_the_crm_fields_are_for_leads_of_instant_forms_only():
    """https://developers.facebook.com/documentation/ads-commerce/conversions-api/conversion-leads-integration/payload-specification"""
    lead = event(lead_id="1234567890123456")
    assert lead["user_data"]["lead_id"] == 1234567890123456
    assert lead["custom_data"] == {"event_source": "crm", "lead_event_source": "HubSpot", "value": 1234.56,
                                   "currency": "EUR"}  # fmt: skip
    options = {"action_source": "phone_call"}
    sources = [DESTINATION.build([ready(DESTINATION, lead_id=name)], SETTINGS, options).json["data"][0]["action_source"]
               for name in ("1234567890123456", "12", None)]  # fmt: skip
    assert sources == ["system_generated", "phone_call", "phone_call"], "a lead of an Instant Form is told by the CRM"


def test_a_national_phone_number_is_of_the_person_s_country():
    assert event(phone="0170 1234567", country="Germany")["user_data"]["ph"] == [sha256("491701234567")]
    assert "ph" not in event(phone="0170 1234567", country=None)["user_data"]


def test_the_call():
    request = DESTINATION.build(batch(DESTINATION, 2), SETTINGS, {})
    assert (request.method, request.path, dict(request.headers)) == ("POST", "/v26.0/987/events", {})
    assert request.json["access_token"] == "EAAtoken"
    assert DESTINATION.account(SETTINGS) == "987"


@pytest.mark.parametrize(
    ("minor", "currency", "value"),
    [
        (5, "EUR", 0.05),
        (100, "EUR", 1.0),
        (123, "JPY", 123),
        (1234, "KWD", 1.234),
        (999999999999999, "EUR", 9999999999999.99),
    ],
)
def test_value_in_units_of_the_currency(minor: int, currency: str, value: float):
    assert event(value=minor, currency=currency)["custom_data"]["value"] == value


def test_an_action_without_value_carries_none():
    assert "custom_data" not in event(action="Lead", value=None, currency=None)
    assert DESTINATION.accepts(ready(DESTINATION, action="Lead", value=None, currency=None)) is None


@pytest.mark.parametrize("changes", [{"value": None}, {"currency": None}, {"value": -1}])
def test_a_purchase_waits_for_its_value(changes: dict[str, Any]):
    assert DESTINATION.accepts(ready(DESTINATION, **changes)) == "no_value"


def test_a_purchase_of_nothing_has_a_value():
    assert DESTINATION.accepts(ready(DESTINATION, value=0)) is None
    assert event(value=0)["custom_data"]["value"] == 0


def test_a_click_without_its_time_is_not_made_up():
    assert "fbc" not in event(clicked_at=None)["user_data"]


@pytest.mark.parametrize(("lead", "sent"), [("123456789012345", 123456789012345), ("abc", None), ("1", None)])
def test_lead_ids_are_numbers_or_nothing(lead: str, sent: int | None):
    assert event(lead_id=lead)["user_data"].get("lead_id") == sent


def answer(code: int, subcode: int | None = None, status: int = 400, **extra: Any) -> Answer:
    error = {"message": "x jane@example.com", "code": code, **extra}
    return Answer(status, {}, {"error": error if subcode is None else {**error, "error_subcode": subcode}})


@pytest.mark.parametrize(
    ("given", "several", "single", "code"),
    [
        (answer(100, 2804003), "refused", "rejected", "too_old"),
        (answer(100, 2804050), "refused", "rejected", "100/2804050"),
        (answer(100), "refused", "rejected", "100"),
        (answer(100, 33), "stopped", "stopped", "100/33"),
        (answer(190), "stopped", "stopped", "190"),
        (answer(190, 463, 401), "stopped", "stopped", "190/463"),
        (answer(200, status=403), "stopped", "stopped", "200"),
        (answer(2635), "stopped", "stopped", "2635"),
        (answer(1, status=500), "uncertain", "uncertain", "1"),
        (answer(2), "uncertain", "uncertain", "2"),
        (answer(100, is_transient=True), "uncertain", "uncertain", "100"),
        (answer(4), "throttled", "throttled", "4"),
        (answer(80004, 2446079, 400), "throttled", "throttled", "80004/2446079"),
        (Answer(200, {}, {"events_received": 3}), "accepted", "uncertain", None),
        (Answer(200, {}, {"events_received": 2}), "uncertain", "uncertain", "results_do_not_match"),
        (Answer(200, {}, {"events_received": True}), "uncertain", "uncertain", "results_do_not_match"),
        (Answer(400, {}, "<html>", False), "transient", "transient", "http_400"),
        (Answer(503, {}, None), "uncertain", "uncertain", "http_503"),
        (Answer(302, {}, None), "stopped", "stopped", "http_302"),
        (Answer(413, {}, None), "refused", "rejected", "http_413"),
    ],
)
def test_answers(given: Answer, several: str, single: str, code: str | None):
    outcomes = DESTINATION.read(given, batch(DESTINATION, 3))
    assert {(outcome.verdict, outcome.code) for outcome in outcomes} == {(several, code)}
    assert {outcome.verdict for outcome in DESTINATION.read(given, batch(DESTINATION, 1))} == {single}


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "30"}, timedelta(seconds=30)),
        ({"retry-after": "0"}, timedelta(seconds=1)),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "999999999"}, timedelta(days=1)),
        (
            {"Retry-After": "Tue, 10 Mar 2026 12:01:00 GMT", "Date": "Tue, 10 Mar 2026 12:00:00 GMT"},
            timedelta(minutes=1),
        ),
        ({"Retry-After": "Tue, 10 Mar 2026 12:01:00 GMT"}, None),
        ({}, None),
    ],
)
def test_how_long_a_pause_is(headers: dict[str, str], wait: timedelta | None):
    (outcome,) = DESTINATION.read(Answer(429, headers, None), batch(DESTINATION, 1))
    assert (outcome.verdict, outcome.retry_after) == ("throttled", wait)
