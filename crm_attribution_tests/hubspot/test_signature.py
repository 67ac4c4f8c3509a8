"""Signatures: HubSpot's published vectors, a few of our own made with openssl, and what must be refused."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.clock import to_millis
from crm_attribution.hubspot.signature import Claim, SignatureRefused, claim, matches, sign, signed_uri

VECTORS = Path(__file__).parents[3] / "shared" / "reference" / "vectors" / "hubspot_signatures.json"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRET = "0f7d4c52-91be-4a7e-8a55-2d1c6b3e9f10"
URI = "https://hooks.example.org/crm/hubspot?tenant=a%2Fb&x=1%20%26"
BODY = '[{"eventId":7,"subscriptionType":"deal.merge","note":"Zürich"}]'.encode()

OPENSSL = {
    # printf %s "$secret$body" | openssl dgst -sha256
    "v1": "0c8cc74532dce7e1e99355ec661698892c164e130e345db98ce96cfb70a67df5",
    # printf %s "${secret}POST$uri$body" | openssl dgst -sha256
    "v2": "fe998a9edd84ac1b0ee26dca3df3f5b66bd62cd8a7cf0518ca8de871e551b1e6",
    # printf %s "POST$uri_with_%2F_decoded$body$stamp" | openssl dgst -sha256 -hmac "$secret" -binary | base64
    "v3": "cTvCwWUi7L3k76wVDsbdwzaUe9PyYrNFnSAIvJl8Zls=",
}


@pytest.mark.parametrize("version", OPENSSL)
def test_signatures_are_those_another_program_makes(version: str):
    assert sign(version, SECRET, method="POST", uri=URI, body=BODY, timestamp="1777777777123") == OPENSSL[version]


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    found = json.loads(VECTORS.read_text(encoding="utf-8"))
    return [*found["official_vectors"], *found["derived_vectors"]]


@pytest.mark.skipif(not VECTORS.exists(), reason="the reference data (../shared) is not beside this checkout")
def test_every_known_signature_is_matched_and_every_known_mistake_is_not():
    assert len(vectors()) >= 10
    for vector in vectors():
        body = bytes.fromhex(vector["body_utf8_hex"]) if "body_utf8_hex" in vector else vector["body"].encode()
        uri = vector.get("uri_as_received") or vector.get("uri", "")
        request = {"method": vector.get("method", "POST"), "uri": uri, "body": body}
        given = Claim(vector["version"], vector["expected_signature"], vector.get("timestamp", ""))
        assert matches(given, [vector["client_secret"]], **request), vector["id"]
        assert not matches(given, ["another"], **request), vector["id"]
        assert not matches(given, [vector["client_secret"]], **{**request, "body": body + b" "}), vector["id"]
        if "uri_signed" in vector:
            assert signed_uri(uri) == vector["uri_signed"]
        for wrong in (value for name, value in vector.items() if name.startswith("wrong_signature")):
            assert not matches(Claim(given.version, wrong, given.timestamp), [vector["client_secret"]], **request)


def test_exactly_twelve_escapes_are_decoded_and_once():
    escapes = [f"%{number:02X}" for number in range(256)]
    decoded = {escape for escape in escapes if signed_uri(escape) != escape}
    assert {signed_uri(escape) for escape in decoded} == set(":/?@!$'()*,;")
    assert signed_uri("%253A%3a%20") == "%253A%3a%20"


def headers(version: str, at: datetime = NOW, *changed: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    stamp = str(to_millis(at))
    value = sign(version, SECRET, method="POST", uri=URI, body=BODY, timestamp=stamp)
    sent = {"X-HubSpot-Signature-v3": value, "X-HubSpot-Request-Timestamp": stamp}
    if version != "v3":
        sent = {"X-HubSpot-Signature": value, "X-HubSpot-Signature-Version": version}
    return [(name.lower().encode(), text.encode("latin-1")) for name, text in {**sent, **dict(changed)}.items()]


def accepted(sent: list[tuple[bytes, bytes]], versions: str = "v3", secrets: tuple[str, ...] = (SECRET,)) -> bool:
    try:
        given = claim(sent, versions.split(","), NOW)
    except SignatureRefused:
        return False
    return matches(given, secrets, method="POST", uri=URI, body=BODY)


@pytest.mark.parametrize(
    ("age", "taken"),
    [(0, True), (299_999, True), (300_000, True), (300_001, False), (-60_000, True), (-60_001, False)],
)
def test_a_request_counts_for_five_minutes_and_not_from_the_future(age: int, taken: bool):
    assert accepted(headers("v3", NOW - timedelta(milliseconds=age))) == taken


@pytest.mark.parametrize("stamp", ["", "now", "-1", "1e12", "²", "1" * 16, "1772442000000.0", "0x19"])
def test_a_stamp_is_digits(stamp: str):
    assert not accepted(headers("v3", NOW, ("X-HubSpot-Request-Timestamp", stamp)))


def test_versions_1_and_2_count_only_where_they_are_configured():
    for version in ("v1", "v2"):
        assert not accepted(headers(version))
        assert accepted(headers(version), f"v3,{version}")
    assert not accepted(headers("v1"), "v3,v2")
    assert not accepted(headers("v1", NOW, ("X-HubSpot-Signature-Version", "v9")), "v3,v2,v1")


def test_version_3_decides_where_it_is_sent():
    """HubSpot sends version 1 beside it; whoever breaks the better one must not get by with the other."""
    both = [*headers("v1"), *headers("v3")]
    assert accepted(both, "v3,v1")
    broken = [*headers("v1"), *headers("v3", NOW, ("X-HubSpot-Signature-v3", "AAAA"))]
    assert not accepted(broken, "v3,v1")


def test_a_header_sent_twice_is_refused():
    assert not accepted([*headers("v3"), *headers("v3")[:1]])
    assert not accepted([*headers("v3"), *headers("v3")[1:]])


def test_either_of_two_secrets_counts_while_one_is_replaced():
    assert accepted(headers("v3"), secrets=("new", SECRET))
    assert not accepted(headers("v3"), secrets=("new", "newer"))
    assert not accepted(headers("v3"), secrets=())


def test_no_forged_signature_is_accepted():
    """Bits flipped, cut, doubled, of another length, of another alphabet: printed seed, thousands of them."""
    chance = random.Random(20260302)
    right = headers("v3")[0][1]
    for _ in range(3_000):
        wrong = bytearray(right)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(wrong))
            wrong[place : place + chance.randint(0, 1)] = bytes([chance.randrange(33, 255)])
        if bytes(wrong) != right:
            assert not accepted([(b"x-hubspot-signature-v3", bytes(wrong)), headers("v3")[1]]), bytes(wrong)
