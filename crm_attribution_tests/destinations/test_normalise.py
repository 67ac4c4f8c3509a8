"""Normalisation against the platforms' own code, and against anything."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution.destinations.normalise import linkedin_email_hash, meta, meta_hash

VECTORS = Path(__file__).parents[3] / "shared" / "reference" / "vectors" / "pii_normalisation.json"
FIELDS = ("em", "ph", "fn", "ln", "country", "external_id")

fields = st.sampled_from(FIELDS)


def vectors(platform: str) -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip("the reference vectors lie beside a development checkout only")
    rows = json.loads(VECTORS.read_text(encoding="utf-8"))["rows"]
    return [row for row in rows if row["platform"] == platform]


def test_meta_as_its_sdk_does():
    rows = [row for row in vectors("meta") if row["field"] in FIELDS]
    assert len(rows) > 30
    for row in rows:
        expected = row["sha256_hex"] if row["expect"] == "ok" else None
        assert meta_hash(row["field"], row["raw"]) == expected, row["id"]
        assert meta(row["field"], row["raw"]) == (row["normalised"] if expected else None), row["id"]


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
        ("country", "USA", None),
        ("fn", " Mary-Jane ", "mary-jane"),
        ("fn", "  ", None),
        ("em", None, None),
    ],
)
def test_meta_examples(field: str, raw: str | None, plain: str | None):
    assert meta(field, raw) == plain


@given(fields, st.text(max_size=60))
def test_meta_is_idempotent_and_never_raises(field: str, raw: str):
    once = meta(field, raw)
    assert meta(field, once) in (once, None) if field == "ph" else meta(field, once) == once
    hashed = meta_hash(field, raw)
    assert hashed is None or re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", hashed)


@given(st.text(max_size=60))
def test_linkedin_never_raises(raw: str):
    hashed = linkedin_email_hash(raw)
    assert hashed is None or re.fullmatch(r"[0-9a-f]{64}", hashed)


def test_what_is_a_hash_already_passes():
    assert meta_hash("external_id", "A" * 64) == "a" * 64
