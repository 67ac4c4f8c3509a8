"""Refused rows for a person: field, reason and what to do, without what was in them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from crm_attribution import configuration
from crm_attribution.contracts import CONTRACTS
from crm_attribution.errors import ConfigurationError
from crm_attribution.operations.quarantine import Asked, in_words, listed, show
from crm_attribution.sources import sources
from crm_attribution.sources.fixes import FIXES, fix
from crm_attribution_tests.helpers import at, new_warehouse

pytestmark = pytest.mark.warehouse


def refused(key: str, reasons: str, source: str, stored: bool = False) -> dict[str, object]:
    row = json.dumps({"email": "canary@private.example", "amount": "12,50"})
    return {"key": key, "reasons": reasons, "row": row, "source": source, "stored": stored}


def test_each_field_is_named_with_its_reason_and_fix_and_no_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with new_warehouse(tmp_path).session() as session:
        cost = pl.DataFrame([refused("2026-03 fairs", "amount:not_an_amount; currency:missing", "costs.csv, line 3")])
        session.quarantine.add("raw.cost", cost, observed_at=at("2026-03-10"))
        contacts = pl.DataFrame([
            refused("101", "created_at:not_a_time", "hubspot", stored=True),
            refused("ann@private.example", "lifecyclestage:not_nullable", "hubspot"),
            refused("7", "id:missing", "hubspot"),
        ])  # fmt: skip
        session.quarantine.add("raw.contact", contacts, observed_at=at("2026-03-11"))
        session.quarantine.resolve("raw.contact", pl.Series(["7"]))
    given = configuration.load({"CRM_ATTRIBUTION_DATA_DIR": str(tmp_path)})
    result = listed(given, Asked())
    told = {(row["table"], row["key"], row["field"], row["reason"]): row for row in result["fields"]}
    assert set(told) == {
        ("raw.cost", "2026-03 fairs", "amount", "not_an_amount"), ("raw.cost", "2026-03 fairs", "currency", "missing"),
        ("raw.contact", "101", "created_at", "not_a_time"), ("raw.contact", "***", "lifecyclestage", "not_nullable"),
    }  # fmt: skip
    assert told["raw.cost", "2026-03 fairs", "amount", "not_an_amount"]["fix"] == FIXES["not_an_amount"]
    assert told["raw.contact", "101", "created_at", "not_a_time"]["rest_is_stored"]
    assert told["raw.contact", "***", "lifecyclestage", "not_nullable"]["fix"].startswith("correct it")
    assert [row["refused_at"] for row in result["fields"]] == ["2026-03-11T00:00:00Z"] * 2 + [
        "2026-03-10T00:00:00Z"
    ] * 2
    show(result)
    assert "private.example" not in capsys.readouterr().out + json.dumps(result)
    only = listed(given, Asked("raw.cost", "currency:", 1))
    assert [row["field"] for row in only["fields"]] == ["currency"]
    assert listed(given, Asked(limit=3))["left_out"] == 1
    with pytest.raises(ConfigurationError, match="did you mean contact"):
        listed(given, Asked("raw.contakt"))
    assert fix("more_digits_than_JPY_has") == FIXES["more_digits_than_EUR_has"]


def test_a_reason_may_have_a_semicolon_of_its_own(tmp_path: Path) -> None:
    with new_warehouse(tmp_path).session() as session:
        file = pl.DataFrame([refused("a.csv", "file:compressed; unpack it first", "a.csv")])
        session.quarantine.add("raw.cost", file, observed_at=at("2026-03-10"))
    (row,) = listed(configuration.load({"CRM_ATTRIBUTION_DATA_DIR": str(tmp_path)}), Asked())["fields"]
    assert (row["field"], row["reason"]) == ("file", "compressed; unpack it first")
    assert row["fix"] == "correct the file and drop it into its folder again"


def test_what_a_column_must_hold_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reasons = "kind:isin(['identify', 'group', 'track']); happened_at:odd; contact_id:odd"
    with new_warehouse(tmp_path).session() as session:
        rows = pl.DataFrame([refused("a.csv row 1", reasons, "a.csv")])
        session.quarantine.add("raw.identify", rows, observed_at=at("2026-03-10"))
    result = listed(configuration.load({"CRM_ATTRIBUTION_DATA_DIR": str(tmp_path)}), Asked())
    ends = {row["field"]: row["fix"].rpartition(" (")[2] for row in result["fields"]}
    assert ends == {
        "kind": "text, one of identify, group, track, given)",
        "happened_at": "a time such as 2026-03-31T14:00:00Z, given)",
        "contact_id": "a whole number, 0 or more)",
    }
    show(result)
    assert "kind: must be one of identify, group, track; " in capsys.readouterr().out


def test_no_check_of_a_column_is_shown_as_code() -> None:
    sources()
    checks = {check for contract in CONTRACTS.values() for column in contract.columns for check in column.checks}
    assert [check for check in checks if "(" in in_words(check)] == []
