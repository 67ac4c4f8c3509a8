"""LinkedIn's payloads and answers, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from crm_attribution.destinations.base import Answer
from crm_attribution.destinations.linkedin import DESTINATION
from crm_attribution.identifiers import sha256
from crm_attribution_tests.destinations.conformance import batch, ready

SETTINGS = {"LINKEDIN_ACCESS_TOKEN": "AQVtoken"}


def event(**changes: Any) -> dict[str, Any]:
    (found,) = DESTINATION.build([ready(DESTINATION, **changes)], SETTINGS, {}).json["elements"]
    return dict(found)


def test_the_whole_event():
    assert event() == {
        "conversion": "urn:lla:llaPartnerConversion:104012",
        "conversionHappenedAt": 1773141753456,
        "eventId": sha256("conversion 0"),
        "user": {
            "userIds": [
                {"idType": "SHA256_EMAIL", "idValue": sha256("jane.roe@example.com")},
                {"idType": "LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID", "idValue": "IwAR0-CaseSensitive"},
            ]
        },
        "conversionValue": {"currencyCode": "EUR", "amount": "1234.56"},
    }


def test_the_call():
    request = DESTINATION.build(batch(DESTINATION, 2), SETTINGS, {})
    assert (request.method, request.path) == ("POST", "/rest/conversionEvents")
    assert dict(request.headers) == {
        "Authorization": "Bearer AQVtoken",
        "LinkedIn-Version": "202609",
        "X-Restli-Protocol-Version": "2.0.0",
        "X-RestLi-Method": "BATCH_CREATE",
    }


def test_the_account():
    assert DESTINATION.account(SETTINGS) == "linkedin"
    assert DESTINATION.account({**SETTINGS, "LINKEDIN_ACCOUNT_ID": "5099"}) == "5099"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action": "Purchase"}, "action_is_no_rule_id"),
        ({"email": None, "click_id": None}, "no_identifier"),
        ({"value": -5}, "no_value"),
        ({"value": 5, "currency": None}, "no_value"),
        ({"value": None, "currency": None}, None),
        ({"email": None}, None),
        ({"click_id": None}, None),
    ],
)
def test_what_it_takes(changes: dict[str, Any], reason: str | None):
    assert DESTINATION.accepts(ready(DESTINATION, **changes)) == reason


def test_without_value_there_is_no_value():
    assert "conversionValue" not in event(value=None, currency=None)


def verdicts(answer: Answer, size: int) -> list[tuple[str, str | None]]:
    return [(outcome.verdict, outcome.code) for outcome in DESTINATION.read(answer, batch(DESTINATION, size))]


def refusal(message: str) -> Answer:
    return Answer(422, {}, {"status": 422, "code": "INVALID_DATA", "message": message})


def test_named_rows_are_rejected_and_the_others_go_again():
    message = (
        "Index: 1, ERROR :: /user/userIds/0/idValue :: jane@example.com is no hash\n"
        "ERROR :: /conversionHappenedAt :: is more than 90 days ago\n"
        "Index: 3, ERROR :: /conversionHappenedAt :: is more than 90 days ago"
    )
    assert verdicts(refusal(message), 4) == [
        ("refused", "http_422"),
        ("rejected", "user/userIds/0/idValue"),
        ("refused", "http_422"),
        ("rejected", "too_old"),
    ]


@pytest.mark.parametrize(
    "message", ["", "something is wrong", "Index: 7, ERROR :: /x :: y", "Index: x, ERROR :: /a :: b"]
)
def test_a_refusal_that_names_nobody_parts_the_batch(message: str):
    assert verdicts(refusal(message), 3) == [("refused", "http_422")] * 3
    assert verdicts(refusal(message), 1) == [("rejected", "http_422")]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(426, {}, {"code": "NONEXISTENT_VERSION"}), ("stopped", "http_426")),
        (Answer(401, {}, {"code": "EXPIRED_ACCESS_TOKEN"}), ("stopped", "http_401")),
        (Answer(403, {}, {"code": "ACCESS_DENIED"}), ("stopped", "http_403")),
        (Answer(400, {}, {"code": "ILLEGAL_ARGUMENT"}), ("refused", "ILLEGAL_ARGUMENT")),
        (Answer(400, {}, "<html>", False), ("transient", "http_400")),
        (Answer(500, {}, {"code": "SERVICE_INTERNAL_ERROR"}), ("uncertain", "http_500")),
        (Answer(200, {}, {"elements": [{"status": 201}]}), ("uncertain", "results_do_not_match")),
        (Answer(200, {}, {"elements": [{}, {}]}), ("uncertain", "no_status")),
        (Answer(201, {}, None), ("uncertain", "results_do_not_match")),
    ],
)
def test_answers(answer: Answer, verdict: tuple[str, str]):
    assert verdicts(answer, 2) == [verdict] * 2
