"""HubSpot's JSON as rows: a bad field is left out with its reason, a record that cannot be told is refused, and the
good ones beside it are kept, whatever comes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crm_attribution.clock import iso
from crm_attribution.hubspot import parse, parse_forms, parse_setup
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.hubspot.parsed import Parsed
from crm_attribution.identifiers import record_id
from crm_attribution_tests.helpers import at
from crm_attribution_tests.laws import TIMES

NOW = at("07-01T00:00:00")
STAMP = "2026-03-01T09:00:00Z"


def record(number: str = "1", /, **properties: Any) -> dict[str, Any]:
    return {"id": number, "createdAt": STAMP, "updatedAt": STAMP, "archived": False, "properties": properties}


def parsed(object_type: str, *results: Mapping[str, Any], home: str | None = "EUR") -> Parsed:
    return parse.records(object_type, list(results), home_currency=home, extracted_at=NOW)


EMAIL = r"email:str_matches('^[^@\s]+\s*@\s*[^@\s]+\.[^@\s]+$')"


@pytest.mark.parametrize(
    ("object_type", "bad", "column", "reason"),
    [
        ("deals", record("2", amount="12 500,00"), "amount", "amount:not_a_number"),
        ("deals", record("2", amount="1e40"), "amount", "amount:not_a_number"),
        ("deals", record("2", closedate="next summer"), "closedate", "closedate:not_a_time"),
        ("deals", record("2", closedate="99999999999999999999"), "closedate", "closedate:not_a_time"),
        ("deals", record("2", closedate="0001-01-01T00:00:00+14:00"), "closedate", "closedate:not_a_time"),
        ("deals", record("2", deal_currency_code="euro", amount="5"), "amount", "deal_currency_code:not_a_currency"),
        ("contacts", record("2", email="ann at home"), "email", EMAIL),
        ("contacts", record("2", associatedcompanyid="x"), "associatedcompanyid",
         "associatedcompanyid:not_a_record_id"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_read_is_null_and_the_record_is_stored(
    object_type: str, bad: Mapping[str, Any], column: str, reason: str
):
    found = parsed(object_type, record("1"), bad, record("3"))
    assert found.rows["id"].to_list() == [1, 2, 3]
    assert found.rows[column].to_list()[1] is None
    (refused,) = found.refused
    assert (refused.key, refused.reasons, refused.stored) == ("2", reason, True)
    assert json.loads(refused.row) == bad, "kept as it came"


def test_ids_of_absorbed_records_that_can_be_read_are_kept():
    bad = record("2", hs_merged_object_ids="1;x", hs_calculated_merged_vids="1:1772355600000;y:1")
    found = parsed("contacts", bad)
    assert found.rows["merged_ids"].to_list() == [[1]]
    assert [row.reasons for row in found.refused] == [
        "hs_calculated_merged_vids:not_a_record_id; hs_merged_object_ids:not_a_record_id"
    ]
    assert parse.merges("contacts", [bad])["absorbed_id"].to_list() == [1]


def test_several_fields_of_one_record_are_one_refusal():
    bad = record("2", amount="much", closedate="soon", dealstage="closedlost")
    found = parsed("deals", bad)
    assert found.rows["dealstage"].to_list() == ["closedlost"]
    assert [(row.reasons, row.stored) for row in found.refused] == [("amount:not_a_number; closedate:not_a_time", True)]


@pytest.mark.parametrize("stamp", ["yesterday", "0001-01-01T00:00:00+14:00"])
def test_a_date_of_the_record_that_cannot_be_read_is_taken_from_the_next_one(stamp: str):
    found = parsed("contacts", {**record("2", createdate="2026-02-01"), "createdAt": stamp})
    assert iso(found.rows["created_at"].item()) == "2026-02-01T00:00:00Z"
    assert [(row.reasons, row.stored) for row in found.refused] == [("createdAt:not_a_time", True)]


@pytest.mark.parametrize(
    ("object_type", "bad", "reason"),
    [
        ("contacts", {**record("2"), "createdAt": "yesterday", "updatedAt": "x"},
         "createdAt:not_a_time; updatedAt:not_a_time"),
        ("companies", {"id": "2", "createdAt": STAMP}, "properties:missing"),
        ("companies", {"id": "2", "properties": {}}, "createdAt:missing"),
        ("companies", record("2x"), "id:not_a_record_id"),
        ("companies", record("007"), "id:not_a_record_id"),
        ("companies", record("9" * 19), "id:not_a_record_id"),
    ],
)  # fmt: skip
def test_a_bad_record_is_refused_alone(object_type: str, bad: Mapping[str, Any], reason: str):
    found = parsed(object_type, record("1"), bad, record("3"))
    assert found.rows["id"].to_list() == [1, 3]
    (refused,) = found.refused
    assert (refused.key, refused.reasons, refused.stored) == (bad["id"], reason, False)
    assert json.loads(refused.row) == bad, "kept as it came"


def test_a_record_without_id_is_refused():
    (refused,) = parsed("contacts", {"createdAt": STAMP, "properties": {}}).refused
    assert refused.reasons == "id:missing"


def test_a_deals_money_and_times():
    rows = parsed(
        "deals",
        record("1", amount="1234.565", closedate="1772355600000", deal_currency_code="JPY"),
        record("2", amount="", closedate="2026-03-01", dealname="  "),
    ).rows.rows(named=True)
    assert [(row["amount"], row["currency"]) for row in rows] == [(1235, "JPY"), (None, "EUR")]
    assert [iso(row["closedate"]) for row in rows] == ["2026-03-01T09:00:00Z", "2026-03-01T00:00:00Z"]
    assert rows[1]["dealname"] is None


def test_properties_are_kept_as_given_without_the_empty_ones():
    row = parsed("contacts", record("1", lastmodifieddate="2026-04-01T00:00:00.120Z", b="ü", a="1", c="", d=None)).rows
    assert json.loads(row["properties"].item()) == {"a": "1", "b": "ü", "lastmodifieddate": "2026-04-01T00:00:00.120Z"}
    assert iso(row["modified_at"].item()) == "2026-04-01T00:00:00.120Z"


def past(*values: tuple[Any, Any], number: str = "1", name: str = "lifecyclestage") -> dict[str, Any]:
    """Newest first, as HubSpot gives them."""
    return {"id": number, "propertiesWithHistory": {name: [{"timestamp": t, "value": v} for t, v in values]}}


def test_histories_are_sorted_oldest_first_and_equal_times_keep_their_order():
    later = "2026-03-02T09:00:00Z"
    rows = parse.history(
        "contacts", [past((later, "c"), (STAMP, "b"), (STAMP, None), (STAMP, "a"))], extracted_at=NOW
    ).rows
    assert rows.select("value", "ordinal").rows() == [("a", 0), (None, 1), ("b", 2), ("c", 0)]


@pytest.mark.parametrize("stamp", ["soon", None, "0001-01-01T00:00:00+14:00"])
def test_a_bad_time_in_a_history_is_refused_alone(stamp: Any):
    found = parse.history("contacts", [past((STAMP, "a"), (stamp, "b"))], extracted_at=NOW)
    assert found.rows["value"].to_list() == ["a"]
    assert [refused.key for refused in found.refused] == ["contacts:1"]


def test_the_cap_flags_a_history_as_cut_off():
    values = [(iso(at(STAMP) + timedelta(minutes=n)), str(n)) for n in range(20)]
    for kind, cut in (("deals", True), ("contacts", False)):
        rows = parse.history(kind, [past(*values)], extracted_at=NOW).rows
        assert set(rows["history_truncated"]) == {cut}


def test_merges_name_every_absorbed_id_with_its_time_where_there_is_one():
    merged = record("9", hs_merged_object_ids="1;2;9", hs_calculated_merged_vids="1:1772355600000;3:soon;4:" + "9" * 30)
    rows = parse.merges("contacts", [merged, record("5")]).rows(named=True)
    told = {row["absorbed_id"]: row["merged_at"] and iso(row["merged_at"]) for row in rows}
    assert told == {1: "2026-03-01T09:00:00Z", 2: None, 3: None, 4: None}
    assert {row["survivor_id"] for row in rows} == {9}


def test_associations_keep_order_labels_and_the_primary_type():
    kinds = [{"typeId": 279, "label": None}, {"typeId": 1, "label": "Primary"}, {"typeId": 17, "label": "Advisor"}]
    found = {1: [{"toObjectId": 20, "associationTypes": kinds[:1]}, {"toObjectId": 10, "associationTypes": kinds}]}
    rows = parse.associations("contacts", "companies", found)
    assert rows.select("to_id", "position", "is_primary", "labels").rows() == [
        (20, 0, False, []), (10, 1, True, ["Advisor", "Primary"]),
    ]  # fmt: skip


def test_stages_read_text_for_numbers_and_truth_values():
    told = [
        {"isClosed": "true", "probability": "1.0"},
        {"probability": "0.0"},
        {"isClosed": "false", "probability": "?"},
        {},
    ]
    stages = [{"id": n, "metadata": metadata} for n, metadata in enumerate(told)]
    rows = parse_setup.stages("deals", [{"id": "p", "stages": stages}])
    assert rows.select("is_closed", "probability").rows() == [(True, 1.0), (True, 0.0), (False, None), (False, None)]


def submission(number: str = "s", *pairs: tuple[str, Any], **more: Any) -> dict[str, Any]:
    values = [{"name": name, "value": value} for name, value in pairs]
    return {"conversionId": number, "submittedAt": 1772355600000, "values": values, **more}


def test_click_ids_come_from_hidden_fields_else_from_the_page():
    page = "https://v.example/demo?gclid=page&utm_source=google&fbclid=f"
    (row,) = parse_forms.submissions(
        "form", [submission("s", ("Email", "ann@a.example"), ("GCLID", "hidden"), ("fbclid", " "), pageUrl=page)],
        extracted_at=NOW,
    ).rows.rows(named=True)  # fmt: skip
    assert (row["gclid"], row["fbclid"], row["utm_source"], row["email"]) == ("hidden", "f", "google", "ann@a.example")


def test_a_bad_submission_is_refused_alone():
    bad = [submission("b", ("email", "nobody")), submission("c", submittedAt="soon"), {"submittedAt": 1}]
    found = parse_forms.submissions("form", [submission("a"), *bad], extracted_at=NOW)
    assert found.rows.select("conversion_id", "email").rows() == [("a", None), ("b", None)]
    told = sorted((refused.key, refused.stored) for refused in found.refused)
    assert told == [("form:None", False), ("form:b", True), ("form:c", False)]


# --- whatever comes

plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
anything = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
NAMES = sorted({name for kind in OBJECT_TYPES.values() for name in (*kind.typed, *kind.needed)}
               | {"lastmodifieddate", "hs_lastmodifieddate"})  # fmt: skip
properties = st.dictionaries(
    st.sampled_from(NAMES), anything | st.from_regex(r"-?[0-9]{1,30}(\.[0-9]+)?", fullmatch=True)
)


def _whole(found: Parsed) -> int:
    """Rows that were refused altogether."""
    return sum(not refused.stored for refused in found.refused)


@pytest.mark.slow
@settings(max_examples=120 * TIMES)
@given(kind=st.sampled_from(sorted(OBJECT_TYPES)), given_=properties, top=st.dictionaries(
    st.sampled_from(["id", "createdAt", "updatedAt", "archived"]), anything, max_size=2))  # fmt: skip
@example(kind="deals", given_={"dealname": "\ud800"}, top={})
@example(kind="contacts", given_={"hs_additional_emails": "\udfff"}, top={})
def test_no_record_stops_the_others(kind: str, given_: dict[str, Any], top: dict[str, Any]):
    strange = {**record("2", **given_), **top}
    found = parsed(kind, record("1"), strange)
    assert 1 in found.rows["id"].to_list()
    assert found.rows.height + _whole(found) == 2
    accepted = [result for result in (record("1"), strange) if record_id(result["id"]) in set(found.rows["id"])]
    parse.merges(kind, accepted)


@settings(max_examples=80 * TIMES)
@given(entry=st.dictionaries(st.sampled_from(["timestamp", "value", "sourceType", "sourceId"]), anything) | anything)
@example(entry={"timestamp": STAMP, "value": "\ud800"})
@example(entry={"timestamp": STAMP, "value": "a", "sourceType": 7})
def test_no_history_entry_stops_the_others(entry: Any):
    good = {"timestamp": STAMP, "value": "lead"}
    given_ = [{"id": "1", "propertiesWithHistory": {"lifecyclestage": [entry, good]}}]
    found = parse.history("contacts", given_, extracted_at=NOW)
    assert "lead" in found.rows["value"].to_list()
    assert found.rows.height + len(found.refused) == 2


@settings(max_examples=80 * TIMES)
@given(strange=st.dictionaries(st.sampled_from(["conversionId", "submittedAt", "pageUrl", "values"]), anything),
       value=anything)  # fmt: skip
@example(strange={"pageUrl": 7}, value="\ud800")
def test_no_submission_stops_the_others(strange: dict[str, Any], value: Any):
    given_ = [submission("a"), {**submission("b", ("email", value), ("gclid", value)), **strange}]
    found = parse_forms.submissions("form", given_, extracted_at=NOW)
    assert "a" in found.rows["conversion_id"].to_list()
    assert found.rows.height + _whole(found) == 2
