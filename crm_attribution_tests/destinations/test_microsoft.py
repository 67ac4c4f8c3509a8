"""Microsoft's offline conversions: what leaves, against Microsoft's own description, and what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from crm_attribution.delivery.rules import batches
from crm_attribution.destinations.base import Answer, Asked, Ready
from crm_attribution.destinations.microsoft import DESTINATION as MICROSOFT
from crm_attribution.destinations.microsoft import SCOPE
from crm_attribution.destinations.normalise import microsoft_hash
from crm_attribution_tests.destinations import conformance

GIVEN = conformance.settings(MICROSOFT)
LATER = conformance.WHEN + timedelta(days=3)
XS = "{http://www.w3.org/2001/XMLSchema}"


@cache
def fields(name: str) -> dict[str, str]:
    """The fields of a data object and their types, as the service describes itself."""
    wsdl = Path(
        str(distribution("bingads").locate_file("bingads/v13/proxies/production/campaignmanagement_service.xml"))
    )
    types = ElementTree.parse(wsdl).getroot().iter(f"{XS}complexType")  # noqa: S314 - of a locked package
    (found,) = [one for one in types if one.get("name") == name]
    return {one.attrib["name"]: one.attrib["type"].split(":")[1] for one in found.iter(f"{XS}element")}


def conforms(name: str, given: dict[str, Any]) -> None:
    known = fields(name)
    assert set(given) <= set(known), set(given) - set(known)
    for field, value in given.items():
        match known[field]:
            case "string":
                assert isinstance(value, str), field
            case "dateTime":
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z", value), field
            case "double" | "int":
                assert isinstance(value, int | float) and not isinstance(value, bool), field  # noqa: PT018
            case other:
                raise AssertionError(f"{field} is of {other}")


def ready(number: int = 0, **changes: Any) -> Ready:
    return conformance.ready(MICROSOFT, number, **changes)


def sent(*rows: Ready) -> list[dict[str, Any]]:
    """The events of a request, each of Microsoft's fields only."""
    ((name, events),) = MICROSOFT.build(rows, GIVEN, {}).json.items()
    for event in events:
        conforms(name.removesuffix("s"), event)
    return list(events)


def test_the_whole_conversion():
    (event,) = sent(ready())
    time = event.pop("ConversionTime")
    assert time.startswith("2026-03-10T11:22:33")
    assert event == {
        "ConversionName": "Customer won",
        "MicrosoftClickId": "IwAR0-CaseSensitive",
        "HashedEmailAddress": microsoft_hash("email", "janeroe@example.com"),
        "HashedPhoneNumber": microsoft_hash("phone", "+16505551212"),
        "ConversionValue": 1234.56,
        "ConversionCurrencyCode": "EUR",
    }
    assert not {"ConversionValue", "ConversionCurrencyCode"} & set(sent(ready(value=None, currency=None))[0])


def test_the_call():
    request = MICROSOFT.build([ready()], GIVEN, {})
    assert (request.method, request.path) == ("POST", "/CampaignManagement/v13/OfflineConversions/Apply")
    assert dict(request.headers) == {
        "DeveloperToken": "secret-microsoft_ads_developer_token",
        "CustomerId": "secret-microsoft_ads_customer_id",
        "CustomerAccountId": "secret-microsoft_ads_account_id",
    }


def test_the_token_of_a_web_app_and_of_a_native_one():
    native = MICROSOFT.grant(GIVEN)
    web = MICROSOFT.grant({**GIVEN, "MICROSOFT_ADS_CLIENT_SECRET": "hush"})
    assert native is not None
    assert web is not None
    assert (native.base_url, native.path) == ("https://login.microsoftonline.com", "/common/oauth2/v2.0/token")
    form = native.form(conformance.WHEN)
    assert form["scope"] == SCOPE
    assert "client_secret" not in form
    assert dict(web.form(conformance.WHEN)) == {**form, "client_secret": "hush"}


def test_conversions_of_one_click_and_second_are_told_apart_by_their_key():
    times = {event["ConversionTime"] for event in sent(*(ready(number) for number in range(20)))}
    assert len(times) > 15
    first, again = sent(ready(1)), sent(ready(1, value=5))
    assert first[0]["ConversionTime"] == again[0]["ConversionTime"]


def adjustment(kind: str, **changes: Any) -> Ready:
    base = ready(1)
    known: dict[str, Any] = {"kind": kind, "adjusts": base.conversion_id, "adjusted_at": LATER}
    return replace(base, conversion_id="adjusting", **{**known, **changes})


def test_an_adjustment_names_the_conversion_as_it_was_sent():
    (conversion,) = sent(ready(1))
    restated, retracted = sent(adjustment("restatement", value=5000, currency="JPY"), adjustment("retraction"))
    name = {
        field: value
        for field, value in conversion.items()
        if field not in ("ConversionValue", "ConversionCurrencyCode")
    }
    time = {"AdjustmentTime": "2026-03-13T11:22:33.456Z"}
    assert retracted == {**name, **time, "AdjustmentType": "Retract"}
    assert restated == {
        **name, **time, "AdjustmentType": "Restate", "AdjustmentValue": 5000, "AdjustmentCurrencyCode": "JPY",
    }  # fmt: skip
    path = MICROSOFT.build([adjustment("retraction")], GIVEN, {}).path
    assert path == "/CampaignManagement/v13/OfflineConversionAdjustments/Apply"


def test_a_request_holds_conversions_or_adjustments():
    kinds = {"a": "conversion", "b": "conversion", "c": "retraction", "d": "conversion"}
    assert list(batches("abcd", dict.fromkeys("abcd", ""), kinds, MICROSOFT.limits)) == [["a", "b"], ["c"], ["d"]]
    with pytest.raises(ValueError, match="cannot hold a conversion"):
        MICROSOFT.build([ready(), adjustment("retraction")], GIVEN, {})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ready(action=" Customer won"), "action_is_no_goal_name"),
        (ready(action="x" * 101), "action_is_no_goal_name"),
        (ready(value=-1), "no_value"),
        (ready(value=1, currency=None), "no_value"),
        (ready(value=None, currency=None), None),
        (ready(email=None, phone=None), None),
        (ready(click_id=None, phone=None), None),
        (adjustment("restatement"), None),
        (adjustment("restatement", value=0), None),
        (adjustment("restatement", value=None), "no_value"),
        (adjustment("retraction", value=None, currency=None), None),
        (adjustment("retraction", adjusted_at=None), "no_adjustment_time"),
        (adjustment("retraction", adjusted_at=conformance.WHEN - timedelta(seconds=1)), "no_adjustment_time"),
    ],
)
def test_what_it_takes(row: Ready, reason: str | None):
    assert MICROSOFT.accepts(row) == reason


def test_hashes_of_microsofts_documentation():
    """https://learn.microsoft.com/en-us/advertising/guides/uet-conversion-api-integration"""
    john = "ec81f3ac7b2b19675bab9d54cf416f9f18cff87c97da5cca82c0f0891bc40602"
    for raw in ("john@contoso.com", " J.o.h.n+ads@Contoso.com ", john.upper()):
        assert microsoft_hash("email", raw) == john
    phone = "c59475d96e9f01d7d18d06cfad84dd02333207f02c0c2c5663ef2782cda0390e"
    assert microsoft_hash("phone", "+1 (425) 555-1234") == phone
    assert microsoft_hash("email", "+ads@contoso.com") is None
    assert MICROSOFT.left_out(ready(email="nobody", phone="12", click_id="a b")) == [
        "MicrosoftClickId", "HashedEmailAddress", "HashedPhoneNumber",
    ]  # fmt: skip


def error(code: str, **more: Any) -> dict[str, Any]:
    found = {"Code": 5600, "ErrorCode": code, "Message": "quotes jane@example.com", "Details": "", **more}
    conforms("BatchError", found)
    return found


def of(place: int, code: str) -> dict[str, Any]:
    return error(code, Index=place, Type="BatchError", FieldPath="")


def partial(*errors: Any) -> Answer:
    return Answer(200, {}, {"PartialErrors": list(errors)})


def fault(status: int, *errors: dict[str, Any], name: str = "Errors") -> Answer:
    return Answer(status, {"Retry-After": "7"}, {name: list(errors), "TrackingId": "t", "Type": "AdApiFaultDetail"})


OK, NO_MATCH = ("accepted", None), ("uncertain", "results_do_not_match")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (partial(), [OK] * 3),
        (partial(None, None), [OK] * 3),
        (Answer(200, {}, {"PartialErrors": None}), [OK] * 3),
        (partial(of(1, "OfflineConversionMicrosoftClickIdInvalid")),
         [OK, ("rejected", "OfflineConversionMicrosoftClickIdInvalid"), OK]),
        (partial(of(2, "OfflineConversionTimeOutOfWindow"), of(0, "InternalError")),
         [("uncertain", "InternalError"), OK, ("rejected", "too_old")]),
        (partial(of(0, "OfflineConversionNameInvalid"), of(1, "OfflineConversionNotAcceptedForGoal")),
         [("stopped", "OfflineConversionNameInvalid"), ("transient", "OfflineConversionNotAcceptedForGoal"), OK]),
        (partial(of(0, "FutureConversionTimeCannotBeSet"), of(0, "OfflineConversionValueInvalid")),
         [("rejected", "OfflineConversionValueInvalid"), OK, OK]),
        (partial(of(0, "no words: jane@example.com")), [("rejected", "code_5600"), OK, OK]),
        (partial(of(3, "OfflineConversionValueInvalid")), [NO_MATCH] * 3),
        (partial(error("OfflineConversionValueInvalid")), [NO_MATCH] * 3),
        (partial("odd"), [NO_MATCH] * 3),
        (Answer(200, {}, {"PartialErrors": {}}), [NO_MATCH] * 3),
        (Answer(200, {}, {"PartialErrors": 0}), [NO_MATCH] * 3),
        (Answer(200, {}, {"PartialErrors": [], "Errors": [error("InternalError")]}), [NO_MATCH] * 3),
        (fault(401, error("AuthenticationTokenExpired")), [("stopped", "AuthenticationTokenExpired")] * 3),
        (fault(400, error("InvalidCredentials")), [("stopped", "InvalidCredentials")] * 3),
        (fault(400, error("CallRateExceeded")), [("throttled", "CallRateExceeded")] * 3),
        (fault(429, error("Busy")), [("throttled", "Busy")] * 3),
        (fault(400, error("InternalError")), [("uncertain", "InternalError")] * 3),
        (fault(500, error("InternalError")), [("uncertain", "InternalError")] * 3),
        (fault(400, error("SomethingNew")), [("stopped", "SomethingNew")] * 3),
        (fault(400, error("OfflineConversionsLimitExceeded"), name="OperationErrors"),
         [("refused", "OfflineConversionsLimitExceeded")] * 3),
        (fault(400, of(1, "OfflineConversionValueInvalid"), name="BatchErrors"),
         [("refused", "OfflineConversionValueInvalid"), ("rejected", "OfflineConversionValueInvalid"),
          ("refused", "OfflineConversionValueInvalid")]),
        (fault(400, of(9, "OfflineConversionValueInvalid"), name="BatchErrors"),
         [("refused", "OfflineConversionValueInvalid")] * 3),
        (Answer(400, {}, {"statusCode": 400}), [("transient", "http_400")] * 3),
    ],
)  # fmt: skip
def test_answers(answer: Answer, expected: Sequence[tuple[str, str | None]]):
    found = conformance.check_read(MICROSOFT, answer, conformance.batch(MICROSOFT, 3))
    assert [(outcome.verdict, outcome.code) for outcome in found] == list(expected)
    waits = {outcome.retry_after for outcome in found}
    assert waits == {timedelta(seconds=7) if expected[0][0] == "throttled" else None}


def test_whose_refusal_it_is():
    assert MICROSOFT.is_own_refusal(fault(400, error("InvalidCredentials")))
    assert not MICROSOFT.is_own_refusal(Answer(400, {}, {"error": {"code": "BadRequest"}}))
    assert not MICROSOFT.is_own_refusal(Answer(400, {}, "<html>", False))


@pytest.mark.parametrize(
    ("goal", "state"),
    [
        ({"Name": "Customer won", "Status": "Active", "IsEnhancedConversionsEnabled": True}, "ok"),
        ({"Name": "Customer won", "Status": "Active", "IsEnhancedConversionsEnabled": None}, "ok"),
        ({"Name": "Customer won", "Status": "Active", "IsEnhancedConversionsEnabled": False}, "failed"),
        ({"Name": "Customer won", "Status": "Paused"}, "failed"),
        ({"Name": "Customer Won", "Status": "Active"}, "failed"),
    ],
)
def test_what_a_goal_must_be(goal: dict[str, Any], state: str):
    assert set(goal) <= set(fields("ConversionGoal"))
    (question,) = MICROSOFT.questions(Asked(["Customer won"], GIVEN, {}, conformance.WHEN))
    assert question.read(Answer(200, {}, {"ConversionGoals": [goal], "PartialErrors": []})).state == state
    assert question.read(Answer(200, {}, {})).state == "cannot be checked"
    assert question.read(fault(403, error("UserIsNotAuthorized"))).state == "failed"
