"""Clicks, Meta, LinkedIn and Microsoft over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from crm_attribution.sandbox.instants import to_ms
from crm_attribution_tests.sandbox.lines import NOW, day
from crm_attribution_tests.sandbox_process import Sandbox, SandboxRefused

pytestmark = pytest.mark.sandbox

SECONDS = to_ms(NOW) // 1000
HASH = "0f" * 32


@pytest.fixture(scope="module")
def ads() -> Iterator[Sandbox]:
    """For tests that do not look at what was received."""
    with Sandbox.start([], NOW) as sandbox:
        yield sandbox


def event(**more: Any) -> dict[str, Any]:
    head = {"event_name": "qualified_lead", "event_time": SECONDS - 3600, "action_source": "system_generated"}
    return {**head, "event_id": "m1", "user_data": {"em": [HASH]}, **more}


def to_meta(sandbox: Sandbox, *events: Any, dataset: str | None = None, token: str | None = None) -> tuple[int, Any]:
    dataset, token = dataset or sandbox.env["META_DATASET_ID"], token or sandbox.env["META_ACCESS_TOKEN"]
    address = f"{sandbox.env['META_BASE_URL']}/v26.0/{dataset}/events?access_token={token}"
    return sandbox.request("POST", address, {"data": list(events)})[:2]


def test_meta_counts_an_event_once_within_two_days(start: Callable[..., Sandbox]):
    sandbox = start([])
    status, answer = to_meta(sandbox, event(), event(event_id="m2"), event(event_name="deal_won"))
    assert (status, answer["events_received"], answer["messages"]) == (200, 3, [])
    sandbox.set_clock(day(11, "23:59:59"))
    assert to_meta(sandbox, event())[0] == 200
    sandbox.set_clock(day(12, "00:00:00"))
    assert to_meta(sandbox, event())[0] == 200
    inbox = sandbox.received("meta")
    counted = [(item["event_name"], item["event_id"]) for item in inbox["counted"]]
    assert counted == [("qualified_lead", "m1"), ("qualified_lead", "m2"), ("deal_won", "m1"), ("qualified_lead", "m1")]
    assert (inbox["requests"], len(inbox["received"])) == (3, 5)


@pytest.mark.parametrize(
    ("bad", "subcode"),
    [
        ({"event_time": SECONDS - 7 * 86400 - 1}, 2804003),
        ({"event_time": (SECONDS - 3600) * 1000}, 2804004),
        ({"event_time": str(SECONDS)}, 2804000),
        ({"event_name": ""}, 2804000),
        ({"action_source": "crm"}, 2804000),
        ({"user_data": {}}, 2804050),
        ({"user_data": {"em": ["ann@quelle.example"]}}, 2804000),
        ({"user_data": {"lead_id": "l:123"}}, 2804000),
        ({"custom_data": {"value": "12.50", "currency": "EUR"}}, 2804000),
        ({"custom_data": {"value": 12.5}}, 2804000),
        ({"event_name": "Purchase"}, 2804000),
    ],
)
def test_one_bad_event_rejects_a_whole_request_to_meta(
    start: Callable[..., Sandbox], ads: Sandbox, bad: Any, subcode: int
):
    before = ads.received("meta")
    status, answer = to_meta(ads, event(event_id="good"), event(**bad))
    assert (status, answer["error"]["code"], answer["error"]["error_subcode"]) == (400, 100, subcode)
    assert "data[1]" in answer["error"]["error_user_msg"]
    after = ads.received("meta")
    assert (after["received"], after["requests"]) == (before["received"], before["requests"] + 1)


def test_meta_takes_what_its_rules_allow(ads: Sandbox):
    store = event(event_id="s", event_time=SECONDS - 60 * 86400, action_source="physical_store")
    lead = event(event_id="l", user_data={"lead_id": 123456789012345})
    sale = event(event_id="p", event_name="Purchase", custom_data={"value": 12.5, "currency": "eur"})
    assert to_meta(ads, store, lead, sale)[0] == 200
    assert to_meta(ads, *[event()] * 1000)[0] == 200
    assert to_meta(ads, *[event()] * 1001)[0] == 400


def test_meta_says_who_may_not(ads: Sandbox):
    assert to_meta(ads, event(), token="other")[1]["error"]["code"] == 190
    wrong = to_meta(ads, event(), dataset="1")[1]["error"]
    assert (wrong["code"], wrong["error_subcode"]) == (100, 33)


def test_meta_takes_forms_and_tokens_in_the_header(ads: Sandbox):
    address = f"{ads.env['META_BASE_URL']}/v26.0/{ads.env['META_DATASET_ID']}/events"
    token = ads.env["META_ACCESS_TOKEN"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert ads.request("POST", address, {"data": [event()]}, {"Authorization": f"Bearer {token}"})[0] == 200
    assert ads.request("POST", address, {"data": [event()], "access_token": token})[0] == 200
    data = urlencode({"access_token": token, "data": json.dumps([event()])})
    assert ads.request("POST", address, data.encode(), form)[1]["events_received"] == 1
    assert ads.request("POST", address, b"data=%5B", form)[0] == 400


def conversion(**more: Any) -> dict[str, Any]:
    user = {"userIds": [{"idType": "SHA256_EMAIL", "idValue": HASH}]}
    head = {"conversion": "urn:lla:llaPartnerConversion:104", "conversionHappenedAt": SECONDS * 1000 - 5000}
    return {**head, "eventId": "m1", "user": user, "conversionValue": {"currencyCode": "EUR", "amount": "12.5"}, **more}


def to_linkedin(sandbox: Sandbox, body: Any, **headers: str) -> tuple[int, Any]:
    sent = {
        "Authorization": f"Bearer {sandbox.env['LINKEDIN_ACCESS_TOKEN']}",
        "LinkedIn-Version": "202609",
        "X-Restli-Protocol-Version": "2.0.0",
        "X-RestLi-Method": "BATCH_CREATE",
    }
    sent.update((name.replace("_", "-"), value) for name, value in headers.items())
    sent = {name: value for name, value in sent.items() if value}
    return sandbox.request("POST", f"{sandbox.env['LINKEDIN_BASE_URL']}/rest/conversionEvents", body, sent)[:2]


def test_linkedin_counts_every_event(start: Callable[..., Sandbox]):
    sandbox = start([])
    assert to_linkedin(sandbox, {"elements": [conversion(), conversion()]}) == (
        200,
        {"elements": [{"status": 201}, {"status": 201}]},
    )
    assert to_linkedin(sandbox, conversion(), X_RestLi_Method="")[0] == 201
    inbox = sandbox.received("linkedin")
    assert (inbox["requests"], len(inbox["received"]), len(inbox["counted"])) == (2, 3, 3)


def test_one_bad_element_rejects_a_whole_batch_to_linkedin(ads: Sandbox):
    bad = conversion(user={}, conversionValue={"currencyCode": "EUR", "amount": 12.5})
    old = conversion(conversionHappenedAt=to_ms(NOW) - 91 * 86_400_000)
    status, answer = to_linkedin(ads, {"elements": [conversion(), bad, old]})
    assert (status, answer["status"]) == (422, 422)
    assert answer["message"].splitlines() == [
        "Index: 1, ERROR :: /conversionValue/amount :: is not a decimal text",
        "ERROR :: /user/userIds :: field is required but not found and has no default value",
        "Index: 2, ERROR :: /conversionHappenedAt :: is more than 90 days ago",
    ]
    assert not ads.received("linkedin")["counted"]


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        ({"conversion": "104"}, "/conversion"),
        ({"user": {"userIds": [{"idType": "SHA256_PHONE", "idValue": HASH}]}}, "/user/userIds/0/idType"),
        ({"user": {"userIds": [{"idType": "SHA256_EMAIL", "idValue": "ann@x.example"}]}}, "/user/userIds/0/idValue"),
        ({"user": {"userIds": [], "userInfo": {"firstName": "Ann"}}}, "/user/userInfo"),
        ({"conversionHappenedAt": NOW}, "/conversionHappenedAt"),
    ],
)
def test_linkedin_names_the_place(ads: Sandbox, bad: dict[str, Any], path: str):
    status, answer = to_linkedin(ads, {"elements": [conversion(**bad)]})
    assert status == 422
    assert answer["message"].startswith(f"Index: 0, ERROR :: {path} :: ")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"LinkedIn_Version": ""}, 400, "VERSION_MISSING"),
        ({"LinkedIn_Version": "202511"}, 426, "NONEXISTENT_VERSION"),
        ({"X_Restli_Protocol_Version": "1.0.0"}, 400, "ILLEGAL_ARGUMENT"),
        ({"X_RestLi_Method": ""}, 400, "ILLEGAL_ARGUMENT"),
        ({"Authorization": "Bearer other"}, 401, "INVALID_ACCESS_TOKEN"),
    ],
)
def test_linkedin_wants_its_headers(ads: Sandbox, headers: dict[str, str], status: int, code: str):
    answered, body = to_linkedin(ads, {"elements": [conversion()]}, **headers)
    assert (answered, body["code"]) == (status, code)


def test_linkedin_takes_five_thousand(ads: Sandbox):
    assert to_linkedin(ads, {"elements": [conversion()] * 5001})[0] == 400


def clicks(sandbox: Sandbox, query: str, token: str | None = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token or sandbox.env['CLICKS_TOKEN']}"}
    return sandbox.request("GET", f"{sandbox.env['CLICKS_BASE_URL']}/clicks?{query}", None, headers)[:2]


def test_clicks_come_in_the_order_they_were_received(company: Sandbox):
    first = clicks(company, f"since={day(7)}&limit=2")[1]
    rest = clicks(company, f"since={day(7)}&limit=2&after={first['next']}")[1]
    assert [row["click_id"] for page in (first, rest) for row in page["clicks"]] == ["k1", "k2", "k3"]
    assert rest["next"] is None
    one = first["clicks"][0]
    assert (one["clicked_at"], one["received_at"], one["gclid"]) == (day(6), day(7, "10:05:00"), "Cj0K")
    assert first["clicks"][1]["clicked_at"] == day(7, "10:30:00")


def test_clicks_since_is_inclusive(company: Sandbox):
    assert [row["click_id"] for row in clicks(company, f"since={day(8)}")[1]["clicks"]] == ["k3"]
    assert clicks(company, "since=today")[0] == 400
    assert clicks(company, "limit=1001")[0] == 400
    assert clicks(company, "", token="other")[0] == 401


def test_what_an_account_lacks_is_answered_and_refused(start: Callable[..., Sandbox]):
    sandbox = start([])
    headers = {
        "Authorization": f"Bearer {sandbox.env['LINKEDIN_ACCESS_TOKEN']}",
        "LinkedIn-Version": "202609",
        "X-Restli-Protocol-Version": "2.0.0",
    }

    def rule(account: str = "?account=urn%3Ali%3AsponsoredAccount%3A507404993") -> tuple[int, Any]:
        return sandbox.request("GET", f"/linkedin/rest/conversions/104001{account}", None, headers)[:2]

    status, answer = rule()
    assert (status, answer["enabled"], answer["conversionMethod"]) == (200, True, "CONVERSIONS_API")
    assert rule("")[0] == 400
    assert rule("?account=urn%3Ali%3AsponsoredAccount%3A1")[0] == 403
    sandbox.set_up("linkedin", disabled=["104001"], mistyped=["104001"])
    assert (rule()[1]["enabled"], rule()[1]["conversionMethod"]) == (False, "INSIGHT_TAG")
    assert sandbox.set_up("linkedin", missing=["104001"])["disabled"] == ["104001"]
    assert rule()[0] == 404
    sandbox.set_up("meta", missing=[sandbox.env["META_DATASET_ID"]])
    assert to_meta(sandbox, event())[1]["error"]["error_subcode"] == 33
    assert sandbox.received("linkedin")["requests"] == 0
    with pytest.raises(SandboxRefused, match="`missing` is a list of ids"):
        sandbox.set_up("google", missing="7081230001")  # type: ignore[arg-type]
    with pytest.raises(SandboxRefused, match="no such platform"):
        sandbox.set_up("myspace")


def offline(number: int = 0, **more: Any) -> dict[str, Any]:
    time = f"2026-03-09T20:00:{number:02}.000Z"
    head = {"ConversionName": "Customer won", "ConversionTime": time, "MicrosoftClickId": f"click-{number}"}
    return {**head, "HashedEmailAddress": HASH, "ConversionValue": 12.5, "ConversionCurrencyCode": "EUR", **more}


def to_microsoft(
    sandbox: Sandbox, *events: dict[str, Any], of: str = "OfflineConversions", **headers: str
) -> tuple[int, Any]:
    env = sandbox.env
    form = {"grant_type": "refresh_token", "client_id": env["MICROSOFT_ADS_CLIENT_ID"],
            "client_secret": env["MICROSOFT_ADS_CLIENT_SECRET"], "refresh_token": env["MICROSOFT_ADS_REFRESH_TOKEN"],
            "scope": "https://ads.microsoft.com/msads.manage offline_access"}  # fmt: skip
    address = f"{env['MICROSOFT_ADS_TOKEN_URL']}/common/oauth2/v2.0/token"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    status, answer, *_ = sandbox.request("POST", address, urlencode(form).encode(), kind)
    assert (status, answer["expires_in"]) == (200, 3599)
    sent = {
        "Authorization": f"Bearer {answer['access_token']}",
        "DeveloperToken": env["MICROSOFT_ADS_DEVELOPER_TOKEN"],
        "CustomerId": env["MICROSOFT_ADS_CUSTOMER_ID"],
        "CustomerAccountId": env["MICROSOFT_ADS_ACCOUNT_ID"],
        **headers,
    }
    address = f"{env['MICROSOFT_ADS_BASE_URL']}/CampaignManagement/v13/{of}/Apply"
    return sandbox.request("POST", address, {of: list(events)}, sent)[:2]


def adjustment(number: int, kind: str, **more: Any) -> dict[str, Any]:
    named = {name: offline(number)[name] for name in ("ConversionName", "ConversionTime", "MicrosoftClickId")}
    return {**named, "AdjustmentType": kind, "AdjustmentTime": "2026-03-09T21:00:00Z", **more}


def test_microsoft_counts_the_first_of_a_click_time_and_goal(start: Callable[..., Sandbox]):
    sandbox = start([])
    nobody = offline(1, MicrosoftClickId=None)
    events = [offline(), offline(ConversionValue=99), offline(ConversionName="Other"), nobody, nobody]
    assert to_microsoft(sandbox, *events) == (200, {"PartialErrors": []})
    inbox = sandbox.received("microsoft")
    assert (inbox["requests"], len(inbox["received"])) == (1, 5)
    assert [one["ConversionValue"] for one in inbox["counted"]] == [12.5, 12.5, 12.5, 12.5]


def test_microsoft_names_the_rows_it_does_not_take_and_takes_the_others(start: Callable[..., Sandbox]):
    sandbox = start([])
    bad = [
        offline(1, ConversionTime="2025-11-01T00:00:00Z"),
        offline(2, ConversionTime="yesterday"),
        offline(3, HashedEmailAddress="jane@example.com"),
        offline(4, MicrosoftClickId=None, HashedEmailAddress=None),
        offline(5, ConversionName=""),
        offline(6, ConversionValue=-1),
        offline(7, ConversionCurrencyCode="euro"),
        offline(8, conversionId="ours"),
    ]
    status, answer = to_microsoft(sandbox, offline(), *bad, offline(9))
    assert status == 200
    assert [(one["Index"], one["ErrorCode"]) for one in answer["PartialErrors"]] == [
        (1, "OfflineConversionTimeOutOfWindow"), (2, "OfflineConversionTimeInvalid"),
        (3, "ConversionEmailAddressIsNotHashed"), (4, "OfflineConversionMicrosoftClickIdNullOrEmpty"),
        (5, "OfflineConversionNameNullOrEmpty"), (6, "OfflineConversionValueInvalid"),
        (7, "OfflineConversionCurrencyCodeInvalid"), (8, "ApiInputValidationError"),
    ]  # fmt: skip
    assert len(sandbox.received("microsoft")["counted"]) == 2


def test_microsoft_restates_and_retracts_what_it_has(start: Callable[..., Sandbox]):
    sandbox = start([])
    of = "OfflineConversionAdjustments"
    to_microsoft(sandbox, *(offline(number) for number in range(3)))
    changes = [
        adjustment(0, "Restate", AdjustmentValue=5, AdjustmentCurrencyCode="USD"),
        adjustment(1, "Retract"),
        adjustment(2, "Retract", AdjustmentValue=0),
        adjustment(2, "Restate"),
        adjustment(2, "Retract", AdjustmentTime=offline(2)["ConversionTime"]),
        adjustment(9, "Retract"),
    ]
    _, answer = to_microsoft(sandbox, *changes, of=of)
    assert [(one["Index"], one["ErrorCode"]) for one in answer["PartialErrors"]] == [
        (2, "OfflineConversionAdjustmentValueNotExpected"), (3, "OfflineConversionAdjustmentValueRequired"),
        (4, "OfflineConversionAdjustmentTimeEarlierThanConversionTime"),
    ]  # fmt: skip
    counted = sandbox.received("microsoft")["counted"]
    assert [(one["ConversionValue"], one["ConversionCurrencyCode"]) for one in counted] == [(5, "USD"), (12.5, "EUR")]


@pytest.mark.parametrize(
    ("headers", "events", "status", "code"),
    [
        ({"Authorization": "Bearer old"}, 1, 401, "InvalidCredentials"),
        ({"DeveloperToken": "no"}, 1, 401, "InvalidCredentials"),
        ({"CustomerAccountId": "1"}, 1, 403, "UserIsNotAuthorized"),
        ({}, 0, 400, "OfflineConversionsNullOrEmpty"),
        ({}, 1001, 400, "OfflineConversionsLimitExceeded"),
    ],
)
def test_microsoft_refuses_as_a_whole(ads: Sandbox, headers: dict[str, str], events: int, status: int, code: str):
    answered, body = to_microsoft(ads, *([offline()] * events), **headers)
    errors = body.get("Errors") or body["OperationErrors"]
    assert (answered, errors[0]["ErrorCode"]) == (status, code)
