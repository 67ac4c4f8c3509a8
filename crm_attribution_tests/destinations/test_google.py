"""Google's Data Manager API: what leaves, against Google's own types, and what its answers mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google.ads.datamanager_v1 import IngestEventsRequest, RetrieveRequestStatusResponse
from google.auth import jwt

from crm_attribution import configuration
from crm_attribution.destinations.accounts import OWN, accounts, not_configured, values
from crm_attribution.destinations.base import Answer, Ended
from crm_attribution.destinations.google import DESTINATION as GOOGLE
from crm_attribution.destinations.normalise import google_email, google_hash
from crm_attribution.errors import ConfigurationError
from crm_attribution_tests.destinations import conformance
from crm_attribution_tests.destinations.test_normalise import vectors

GIVEN = {**conformance.settings(GOOGLE), "GOOGLE_ADS_CUSTOMER_ID": "481-516-2342"}
ROWS = [("a", "1"), ("b", "1"), ("c", "2")]


def sent(*rows: Any, **options: str) -> dict[str, Any]:
    """What a request holds after Google's own parser, which knows no field of ours that it does not."""
    request = GOOGLE.build(rows, GIVEN, options)
    parsed = IngestEventsRequest.from_json(json.dumps(request.json), ignore_unknown_fields=False)
    found: dict[str, Any] = json.loads(IngestEventsRequest.to_json(parsed, use_integers_for_enums=False, indent=None))
    return found


def test_a_request_is_one_of_googles():
    rows = [conformance.ready(GOOGLE, 1), conformance.ready(GOOGLE, 2, action="2", value=None, click_id=None)]
    found = sent(*rows)
    assert [(one["productDestinationId"], one["operatingAccount"]["accountId"]) for one in found["destinations"]] == [
        (GOOGLE.example_action, "4815162342"), ("2", "4815162342"),
    ]  # fmt: skip
    first, second = found["events"]
    assert first["destinationReferences"] == [GOOGLE.example_action]
    assert (first["conversionValue"], first["currency"]) == (1234.56, "EUR")
    assert first["adIdentifiers"]["gclid"] == "IwAR0-CaseSensitive"
    assert first["eventTimestamp"].startswith("2026-03-10T11:22:33.456")
    assert first["eventSource"] == "OTHER"
    assert first["consent"]["adUserData"] == first["consent"]["adPersonalization"] == "CONSENT_GRANTED"
    assert [next(k for k, v in one.items() if v) for one in first["userData"]["userIdentifiers"]] == [
        "emailAddress", "phoneNumber",
    ]  # fmt: skip
    assert second["destinationReferences"] == ["2"]
    assert not second.get("adIdentifiers")
    assert not second.get("conversionValue")
    assert sent(rows[0], event_source="PHONE")["events"][0]["eventSource"] == "PHONE"
    silent = sent(conformance.ready(GOOGLE, consent="absent"))["events"][0]
    assert not silent.get("consent"), "what was not given is not claimed"


@pytest.mark.parametrize("kind", ["gclid", *GOOGLE.other_click_ids])
def test_a_click_is_named_by_the_one_id_it_has(kind: str):
    (event,) = sent(conformance.ready(GOOGLE, click_kind=kind))["events"]
    assert {name: text for name, text in event["adIdentifiers"].items() if text} == {kind: "IwAR0-CaseSensitive"}
    broken = conformance.ready(GOOGLE, click_kind=kind, click_id="two words")
    assert GOOGLE.left_out(broken) == [kind]


@cache
def key_of_a_service_account() -> tuple[str, rsa.RSAPrivateKey]:
    """As Google gives it, and the key itself."""
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    told = {"type": "service_account", "client_email": "a@b.example", "private_key_id": "7", "private_key": pem}
    return json.dumps(told), private


def test_a_service_account_proves_itself_as_googles_own_library_checks(tmp_path: Path):
    key, private = key_of_a_service_account()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    grant = GOOGLE.grant({"GOOGLE_SERVICE_ACCOUNT_FILE": key})
    assert grant is not None
    assert "PRIVATE KEY" not in repr(grant)
    now = datetime.now(UTC)
    form = grant.form(now)
    assert (grant.base_url, grant.path) == ("https://oauth2.googleapis.com", "/token")
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = jwt.decode(form["assertion"], certs={"7": public}, audience="https://oauth2.googleapis.com/token")
    assert (claims["iss"], claims["scope"]) == ("a@b.example", "https://www.googleapis.com/auth/datamanager")
    assert (claims["iat"], claims["exp"]) == (int(now.timestamp()), int(now.timestamp()) + 3600)
    file = tmp_path / "key.json"
    file.write_text(key)
    environment = {"GOOGLE_ADS_CUSTOMER_ID": "1", "GOOGLE_SERVICE_ACCOUNT_FILE": str(file)}
    given = configuration.load(environment)
    assert values(GOOGLE, given)["GOOGLE_SERVICE_ACCOUNT_FILE"] == key
    assert not_configured(GOOGLE, given) is None
    assert "GOOGLE_REFRESH_TOKEN" in str(not_configured(GOOGLE, configuration.load({"GOOGLE_ADS_CUSTOMER_ID": "1"})))
    with pytest.raises(ConfigurationError, match=r"GOOGLE_SERVICE_ACCOUNT_FILE: .*nowhere cannot be read"):
        configuration.load({**environment, "GOOGLE_SERVICE_ACCOUNT_FILE": str(tmp_path / "nowhere")})
    (account,) = accounts(GOOGLE, [OWN], given)
    assert account.credential == "GOOGLE_SERVICE_ACCOUNT_FILE"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("{", "is not the JSON file"), ("[]", "is not the JSON file"), ('{"client_email": 1}', "is not the JSON file"),
        (json.dumps({"client_email": "a", "private_key_id": "1", "private_key": "x"}), "no key in PEM form"),
    ],
)  # fmt: skip
def test_what_is_no_key_of_a_service_account_says_so_without_it(key: str, message: str):
    grant = GOOGLE.grant({"GOOGLE_SERVICE_ACCOUNT_FILE": key})
    assert grant is not None
    with pytest.raises(ConfigurationError, match=message):
        grant.form(datetime.now(UTC))


def test_a_manager_account_is_named_where_there_is_one():
    request = GOOGLE.build([conformance.ready(GOOGLE)], {**GIVEN, "GOOGLE_ADS_LOGIN_CUSTOMER_ID": "111-222-3333"}, {})
    assert request.json["destinations"][0]["loginAccount"] == {"accountType": "GOOGLE_ADS", "accountId": "1112223333"}


def test_addresses_as_googles_formatter():
    rows = [row for row in vectors("google") if row["field"] == "email"]
    assert len(rows) > 15
    for row in rows:
        assert google_email(row["raw"]) == row["normalised"], row["id"]
        assert google_hash("email", row["raw"]) == row["sha256_hex"], row["id"]
    assert google_hash("email", "AB" * 32) == "ab" * 32


def refusal(*violations: tuple[str, str], reason: str = "INVALID_ARGUMENT", status: int = 400) -> Answer:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]
    fields = [{"field": field, "reason": why, "description": "quotes jane@example.com"} for field, why in violations]
    body = {
        "code": status,
        "status": "INVALID_ARGUMENT",
        "message": "…",
        "details": [*details, {"fieldViolations": fields}],
    }
    return Answer(status, {}, {"error": body})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(("events.events[1].event_source", "REQUIRED_FIELD_MISSING")),
         [("refused", "INVALID_ARGUMENT"), ("rejected", "REQUIRED_FIELD_MISSING"), ("refused", "INVALID_ARGUMENT")]),
        (refusal(("events[0]", "NO_IDENTIFIERS_PROVIDED"), ("events[2].currency", "odd words")),
         [("rejected", "NO_IDENTIFIERS_PROVIDED"), ("refused", "INVALID_ARGUMENT"), ("rejected", "invalid")]),
        (refusal(), [("refused", "INVALID_ARGUMENT")] * 3),
        (refusal(("events.events[7].currency", "INVALID_CURRENCY_CODE")), [("refused", "INVALID_ARGUMENT")] * 3),
        (refusal(("destinations[0].product_destination_id", "INVALID_PRODUCT_DESTINATION_ID")),
         [("stopped", "INVALID_PRODUCT_DESTINATION_ID")] * 3),
        (refusal(reason="DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED"),
         [("stopped", "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED")] * 3),
        (Answer(403, {}, {"error": {"status": "PERMISSION_DENIED"}}), [("stopped", "PERMISSION_DENIED")] * 3),
        (Answer(429, {}, {"error": {"status": "RESOURCE_EXHAUSTED"}}), [("throttled", "RESOURCE_EXHAUSTED")] * 3),
        (Answer(503, {}, {"error": {"status": "UNAVAILABLE"}}), [("uncertain", "UNAVAILABLE")] * 3),
        (Answer(200, {}, {"fieldWarnings": []}), [("uncertain", "no_request_id")] * 3),
        (Answer(200, {}, {"requestId": "r-1"}), [("accepted", None)] * 3),
    ],
)  # fmt: skip
def test_answers(answer: Answer, expected: list[tuple[str, str | None]]):
    found = conformance.check_read(GOOGLE, answer, conformance.batch(GOOGLE, 3))
    assert [(outcome.verdict, outcome.code) for outcome in found] == expected
    assert {outcome.receipt for outcome in found} == ({"r-1"} if expected[0][0] == "accepted" else {None})


def status(**ends: tuple[str, dict[str, int]]) -> Answer:
    told = [
        {
            "destination": {"productDestinationId": action.removeprefix("a")},
            "requestStatus": end,
            "errorInfo": {"errorCounts": [
                {"reason": f"PROCESSING_ERROR_REASON_{name}", "recordCount": str(n)} for name, n in errors.items()]},
        }
        for action, (end, errors) in ends.items()
    ]  # fmt: skip
    body = {"requestStatusPerDestination": told}
    RetrieveRequestStatusResponse.from_json(json.dumps(body), ignore_unknown_fields=False)
    return Answer(200, {}, body)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (status(a1=("SUCCESS", {}), a2=("SUCCESS", {})), [("processed", None)] * 3),
        (status(a1=("SUCCESS", {}), a2=("PROCESSING", {})), None),
        (status(a1=("SUCCESS", {})), None),
        (Answer(404, {}, {"error": {"status": "NOT_FOUND"}}), None),
        (status(a1=("FAILED", {"EVENT_TOO_OLD": 2}), a2=("FAILED", {"TOO_RECENT_CLICK": 1})),
         [("rejected", "EVENT_TOO_OLD")] * 2 + [("retry", "TOO_RECENT_CLICK")]),
        (status(a1=("PARTIAL_SUCCESS", {"CLICK_NOT_FOUND": 1}), a2=("FAILED", {"DUPLICATE_TRANSACTION_ID": 1})),
         [("partly", "partly_processed")] * 2 + [("processed", "DUPLICATE_TRANSACTION_ID")]),
        (status(a1=("FAILED", {"NO_CONSENT": 1, "CLICK_NOT_FOUND": 1}), a2=("FAILED", {})),
         [("partly", "partly_processed")] * 2 + [("rejected", "FAILED")]),
    ],
)  # fmt: skip
def test_what_became_of_a_request(answer: Answer, expected: list[tuple[str, str | None]] | None):
    said = GOOGLE.read_processed(answer, ROWS)
    if expected is None:
        assert said.rows is None
    else:
        assert said.rows == [Ended(key, *end) for (key, _), end in zip(ROWS, expected, strict=True)]  # type: ignore[arg-type]


def test_names_that_cannot_be_sent_are_left_out():
    row = conformance.ready(GOOGLE, email="nobody", phone="12", click_id="a b")
    assert GOOGLE.left_out(row) == ["emailAddress", "phoneNumber", "gclid"]
    assert GOOGLE.accepts(row) == "no_identifier"
    assert GOOGLE.accepts(conformance.ready(GOOGLE, action="Purchase")) == "action_is_no_conversion_action"
    assert GOOGLE.accepts(conformance.ready(GOOGLE, value=-1)) == "no_value"
