"""Normalisation against the platforms' own code, and against anything."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution.destinations.normalise import e164, linkedin_email_hash, meta, meta_hash

VECTORS = Path(__file__).parents[3] / "shared" / "reference" / "vectors" / "pii_normalisation.json"
FIELDS = ("em", "ph", "fn", "ln", "country", "external_id")

fields = st.sampled_from(FIELDS)


def vectors(platform: str) -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip("the reference vectors lie beside a development checkout only")
    rows = json.loads(VECTORS.read_text(encoding="utf-8"))["rows"]
    return [row for row in rows if row["platform"] == platform]


OUR_OWN = {
    "meta-em-038": None,  # a space inside the address
    "meta-em-039": None,  # two @
    "meta-ph-051": None,  # no country code
    "meta-ph-052": None,  # no country code
    "meta-ph-053": "49301234567",  # the SDK keeps the trunk zero, which nobody's number has
    "meta-ph-055": None,  # a trunk zero and no country code
    "meta-country-071": "us",  # three letters
    "meta-country-072": "us",  # a name
}
"""Where the SDK hashes what is nobody's address or number."""


def test_meta_as_its_sdk_does():
    rows = [row for row in vectors("meta") if row["field"] in FIELDS]
    assert len(rows) > 30
    for row in rows:
        expected = row["normalised"] if row["expect"] == "ok" else None
        if row["id"] in OUR_OWN:
            expected = OUR_OWN[row["id"]]
            assert expected != row["normalised"], row["id"]
        assert meta(row["field"], row["raw"]) == expected, row["id"]
        if expected is not None and row["id"] not in OUR_OWN:
            assert meta_hash(row["field"], row["raw"]) == row["sha256_hex"], row["id"]


def test_numbers_as_googles_formatter_where_they_are_whole():
    for row in vectors("google"):
        if row["field"] == "phone":
            whole = row["normalised"] if row["id"] not in ("google-phone-109", "google-phone-110") else None
            assert e164(row["raw"]) == ("+49301234567" if row["id"] == "google-phone-110" else whole), row["id"]


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("+49 (0)30 1234567", "+49301234567"),
        ("0049 (0) 30 1234567", "+49301234567"),
        ("\uff0b49 30 1234567", "+49301234567"),
        ("+\u0664\u0669\u0663\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667", "+49301234567"),
        ("+49 30 1234567 ext. 12", None),
        ("+1 650 253 0000 x5", None),
        ("+49 30 1234567;ext=3", None),
        ("+65 9876 5432", "+6598765432"),
        ("6598765432", None),  # a number of Alabama; with a + before it, somebody's in Singapore
        ("030 / 1234567", None),
        ("49 30 1234567", "+49301234567"),  # eleven digits: with its country code
        ("1 650 253 0000", "+16502530000"),
        ("49 30 123456", None),
        ("030 1234567890", None),
        ("\u200e+1 650 253 0000\u202c", "+16502530000"),
        ("abc", None),
        (None, None),
    ],
)
def test_phone_numbers(raw: str | None, number: str | None):
    assert e164(raw) == number


def test_linkedin_addresses():
    for row in vectors("linkedin"):
        assert linkedin_email_hash(row["raw"]) == row["sha256_hex"], row["id"]


@pytest.mark.parametrize(
    ("field", "raw", "plain"),
    [
        ("em", " John.Doe+crm@Gmail.COM ", "john.doe+crm@gmail.com"),
        ("ph", "+1 (650) 555-1212", "16505551212"),
        ("ph", "0016505551212", "16505551212"),
        ("ph", "12345", None),
        ("country", "U.S.", "us"),
        ("country", "USA", "us"),
        ("country", "Germany", "de"),
        ("country", "Nowhere", None),
        ("fn", " Mary-Jane ", "mary-jane"),
        ("fn", "  ", None),
        ("em", None, None),
        ("em", "kim\u200b@zw.example", "kim@zw.example"),
        ("em", "anna@b\u00fccher.example", "anna@xn--bcher-kva.example"),
        ("em", "a b@c.example", None),
        ("em", "AB" * 32, "ab" * 32),
        ("em", "ab" * 16, None),
        ("fn", "Ma\u200bry", "mary"),
    ],
)
def test_meta_examples(field: str, raw: str | None, plain: str | None):
    assert meta(field, raw) == plain


@given(fields, st.text(max_size=60))
def test_meta_is_idempotent_and_never_raises(field: str, raw: str):
    once = meta(field, raw)
    assert meta(field, once) in (once, None) if field == "ph" else meta(field, once) == once
    hashed = meta_hash(field, raw)
    assert hashed is None or re.fullmatch(r"[0-9a-f]{64}", hashed)


@given(st.text(max_size=60))
def test_linkedin_never_raises(raw: str):
    hashed = linkedin_email_hash(raw)
    assert hashed is None or re.fullmatch(r"[0-9a-f]{64}", hashed)


def test_what_is_a_hash_already_passes():
    for field in ("external_id", "em", "ph"):
        assert meta_hash(field, "A" * 64) == "a" * 64
    assert linkedin_email_hash(" " + "A" * 64) == "a" * 64
    assert linkedin_email_hash("kim\u200b@zw.example") == linkedin_email_hash("KIM@zw.example")
