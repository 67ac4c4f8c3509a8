"""The state of the account: what a line of the log does to it."""

from __future__ import annotations

import json

import pytest

from crm_attribution.sandbox.instants import iso, to_ms
from crm_attribution.sandbox.portal import ClockError, LogError, Portal, parse_lines
from crm_attribution.sandbox.portal.associations import Node
from crm_attribution.sandbox.portal.records import Record
from crm_attribution_tests.sandbox.lines import COMPANY, Line, create, day, join, merge, submit, update


def play(*lines: Line, until: str = "2027-01-01") -> Portal:
    return Portal(parse_lines(json.dumps(line) for line in lines), to_ms(until))


def contact(portal: Portal, identifier: int) -> Record:
    found = portal.stores["contacts"].find(str(identifier))
    assert found is not None
    return found


def history_of(record: Record, name: str) -> list[tuple[str, str, str]]:
    """The history, newest first, as (value, day, source)."""
    return [(entry.value, iso(entry.at)[8:10], entry.source) for entry in record.entries(name)]


def test_history_is_newest_first_with_its_sources():
    record = contact(play(*COMPANY), 11)
    assert history_of(record, "lifecyclestage") == [
        ("customer", "20", "CRM_UI"),
        ("opportunity", "04", "CRM_UI"),
        ("marketingqualifiedlead", "03", "AUTOMATION_PLATFORM"),
        ("lead", "01", "FORM"),
    ]


def test_an_equal_value_appends_nothing_and_moves_nothing():
    record = contact(play(*COMPANY), 12)
    assert len(record.entries("lifecyclestage")) == 1
    assert iso(record.modified) == day(1)


def test_a_cleared_value_is_an_empty_entry_and_no_value():
    portal = play(create(day(1), "contacts", 1, jobtitle="CEO"), update(day(2), "contacts", 1, jobtitle=None))
    assert contact(portal, 1).value("jobtitle") is None
    assert [entry.value for entry in contact(portal, 1).entries("jobtitle")] == ["", "CEO"]


def test_an_import_brings_its_own_creation_date():
    record = contact(play(*COMPANY), 13)
    assert record.value("createdate") == "2024-05-06T07:08:09.120Z"
    assert iso(record.created) == day(1)


@pytest.mark.parametrize(("kind", "cap"), [("contacts", 45), ("companies", 20), ("deals", 20)])
def test_histories_keep_the_newest_values_up_to_the_cap(kind: str, cap: int):
    changes = [update(f"2026-03-02T00:{n:02d}:00Z", kind, 1, note=str(n)) for n in range(60)]
    record = play(create(day(1), kind, 1), *changes).stores[kind].find("1")
    assert record is not None
    assert [entry.value for entry in record.entries("note")] == [str(n) for n in range(59, 59 - cap, -1)]


def test_a_stage_dates_its_first_entry_only():
    stages = ("lead", "opportunity", "lead", "opportunity")
    lines = [update(day(2 + n), "contacts", 1, lifecyclestage=stage) for n, stage in enumerate(stages)]
    record = contact(play(create(day(1), "contacts", 1), *lines), 1)
    assert record.value("hs_v2_date_entered_lead") == day(2)
    assert record.value("hs_lifecyclestage_opportunity_date") == day(3)


def test_a_given_became_date_is_kept():
    given = {"lifecyclestage": "customer", "hs_lifecyclestage_customer_date": "2020-01-01"}
    assert (
        contact(play(create(day(1), "contacts", 1, **given)), 1).value("hs_lifecyclestage_customer_date")
        == "2020-01-01"
    )


def test_a_deal_stage_brings_what_its_pipeline_says():
    won = play(*COMPANY).stores["deals"].find("21")
    due = play(*COMPANY).stores["deals"].find("22")
    assert won is not None
    assert due is not None
    names = ("pipeline", "hs_is_closed", "hs_is_closed_won", "hs_deal_stage_probability")
    assert [won.value(name) for name in names] == ["default", "true", "true", "1.0"]
    assert [due.value(name) for name in names] == ["880", "false", "false", "0.5"]
    assert won.value("hs_v2_date_entered_closedwon") == day(5)


def test_malformed_business_values_are_kept_as_they_are():
    deal = play(*COMPANY).stores["deals"].find("21")
    assert deal is not None
    assert [entry.value for entry in deal.entries("amount")] == ["12500.00", "12 500,00"]


def test_the_first_company_is_primary_and_a_property():
    portal = play(*COMPANY)
    assert contact(portal, 11).value("associatedcompanyid") == "31"
    links = {end.id: link.primary for end, link in portal.graph.links(Node("contacts", "11"), "companies")}
    assert links == {"31": True, "32": False}


def test_a_new_primary_company_takes_the_flag_and_moves_the_record():
    portal = play(*COMPANY, join(day(21), ("companies", 32), ("contacts", 11), primary=True))
    assert history_of(contact(portal, 11), "associatedcompanyid") == [("32", "21", "CRM_UI"), ("31", "02", "CRM_UI")]
    assert iso(contact(portal, 11).modified) == day(21)
    assert portal.graph.primary_company(Node("contacts", "11")) == "32"


def test_an_association_that_is_not_primary_moves_nothing():
    portal = play(*COMPANY, join(day(21), ("contacts", 11), ("companies", 32), label="Payer"))
    assert iso(contact(portal, 11).modified) == day(20)
    deal = portal.stores["deals"].find("21")
    assert deal is not None
    assert iso(deal.modified) == day(5)


def test_dissociating_the_primary_company_clears_the_property():
    away = {**join(day(21), ("contacts", 11), ("companies", 31)), "op": "dissociate"}
    record = contact(play(*COMPANY, away), 11)
    assert record.value("associatedcompanyid") is None
    assert history_of(record, "associatedcompanyid")[0] == ("", "21", "CRM_UI")


def test_archived_records_come_back_with_restore():
    back = {"at": day(22), "op": "restore", "object": "contacts", "id": "14"}
    portal = play(*COMPANY, back)
    assert contact(portal, 14).archived_at is None
    assert [row[1] for row in portal.stores["contacts"].by_id.rows()] == [11, 12, 13, 14]
    assert not portal.stores["contacts"].archived_by_id.rows()


def test_a_privacy_deletion_leaves_no_trace():
    gone = {"at": day(21), "op": "privacy_delete", "object": "contacts", "id": "11"}
    portal = play(*COMPANY, submit(day(20), "second", email="ANN@quelle.example"), gone)
    assert portal.stores["contacts"].find("11") is None
    assert not portal.activity.submissions["second"]
    assert "ann@" not in repr(portal.activity.email_events)
    assert not list(portal.graph.links(Node("deals", "21"), "contacts"))


MERGED = [
    create(day(1), "contacts", 1, email="a@x.example", lifecyclestage="lead", city="Bonn"),
    create(day(2), "contacts", 2, email="b@x.example", lifecyclestage="customer", phone="1"),
    create(day(2), "companies", 5, name="X"),
    create(day(2), "companies", 6, name="Y"),
    join(day(2), ("contacts", 1), ("companies", 5)),
    join(day(2), ("contacts", 2), ("companies", 6)),
]


def test_a_merge_into_a_third_id_keeps_the_primary_values():
    portal = play(*MERGED, merge(day(3), "contacts", 1, 2, into=9))
    record = contact(portal, 1)
    assert record is contact(portal, 2) is contact(portal, 9)
    assert record.id == "9"
    assert history_of(record, "lifecyclestage") == [
        ("lead", "03", "MERGE_OBJECTS"),
        ("customer", "02", "CRM_UI"),
        ("lead", "01", "CRM_UI"),
    ]
    assert record.value("phone") == "1"
    assert history_of(record, "phone") == [("1", "02", "CRM_UI")]
    assert record.value("hs_additional_emails") == "b@x.example"
    assert record.value("hs_merged_object_ids") == "1;2"
    assert record.value("hs_calculated_merged_vids") == f"1:{to_ms(day(3))};2:{to_ms(day(3))}"
    assert record.value("createdate") == day(1)
    assert iso(record.created) == iso(record.modified) == day(3)
    assert record.value("associatedcompanyid") == "5"
    assert {end.id: link.primary for end, link in portal.graph.links(Node("contacts", "9"), "companies")} == {
        "5": True,
        "6": False,
    }


def test_an_old_merge_keeps_the_primary_id_and_the_newest_values():
    record = contact(play(*MERGED, merge(day(3), "contacts", 1, 2)), 2)
    assert record.id == "1"
    assert record.value("lifecyclestage") == "customer"
    assert record.value("email") == "a@x.example"
    assert record.value("hs_merged_object_ids") == "2"
    assert iso(record.created) == day(1)


def test_chains_are_named_in_full_by_one_property_and_not_by_the_other():
    third = create(day(3), "contacts", 3, email="c@x.example")
    portal = play(*MERGED, third, merge(day(4), "contacts", 1, 2, into=9), merge(day(5), "contacts", 3, 9, into=10))
    record = contact(portal, 2)
    assert record.id == "10"
    assert record.value("hs_merged_object_ids") == "1;2;3;9"
    assert record.value("hs_calculated_merged_vids") == f"3:{to_ms(day(5))};9:{to_ms(day(5))}"
    assert record.value("hs_additional_emails") == "a@x.example;b@x.example"


def test_of_equal_timestamps_only_the_primary_entry_is_kept():
    twins = [create(day(1), "contacts", n, city=city) for n, city in ((1, "Bonn"), (2, "Köln"))]
    record = contact(play(*twins, merge(day(3), "contacts", 1, 2, into=9)), 9)
    assert history_of(record, "city") == [("Bonn", "01", "CRM_UI")]


def test_contacts_follow_a_merged_company():
    portal = play(*MERGED, merge(day(3), "companies", 5, 6, into=7))
    assert [contact(portal, n).value("associatedcompanyid") for n in (1, 2)] == ["7", "7"]
    assert history_of(contact(portal, 1), "associatedcompanyid")[0] == ("7", "03", "MERGE_OBJECTS")


def test_the_clock_plays_lines_up_to_and_with_its_instant():
    portal = play(*COMPANY, until="2026-03-10")
    assert contact(portal, 11).value("lifecyclestage") == "opportunity"
    portal.advance(to_ms(day(20)))
    assert contact(portal, 11).value("lifecyclestage") == "customer"
    with pytest.raises(ClockError, match="does not go back"):
        portal.advance(to_ms(day(19)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: is not JSON"),
        ("[]", "line 2: must be a JSON object"),
        ('{"op": "create"}', "misses the field `at`"),
        ('{"at": "yesterday", "op": "create"}', "`at` is not an ISO 8601 timestamp"),
        ('{"at": "2026-03-02", "op": "creat"}', "`op` is unknown: 'creat'"),
        ('{"at": "2026-03-02", "op": "create", "object": "contacts", "id": "1"}', "misses the field `properties`"),
        ('{"at": "2026-03-02", "op": "archive", "object": "leads", "id": "1"}', "`object` must be one of"),
        ('{"at": "2026-03-02", "op": "archive", "object": "deals", "id": 1}', "`id` must be a text of digits"),
        ('{"at": "2026-03-02", "op": "associate", "from": ["deals"], "to": ["deals", "1"]}', "`from` must be a pair"),
        ('{"at": "2026-03-02", "op": "submit", "submission": {}}', "`submission` misses form_id"),
        ('{"at": "2026-03-02", "op": "pipeline", "pipeline": {"id": "1", "stages": [{}]}}', "`pipeline` has stages"),
        ('{"at": "2026-03-02", "op": "account", "account": {"timeZone": "Bonn"}}', "unknown timeZone: Bonn"),
        ('{"at": "2026-02-01", "op": "spend", "spend": {}}', "`at` 2026-02-01 is earlier than line 1's"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_played_is_named(line: str, words: str):
    with pytest.raises(LogError) as caught:
        parse_lines(['{"at": "2026-03-01", "op": "spend", "spend": {}}', line])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (update(day(2), "contacts", 99, a="b"), "update of contacts 99, which does not exist then"),
        (create(day(2), "contacts", 1), "which exists already"),
        (merge(day(2), "contacts", 1, 1), "merge of 1 and 1"),
        ({"at": day(2), "op": "restore", "object": "contacts", "id": "1"}, "which is not archived then"),
    ],
)
def test_a_line_against_the_state_is_named(line: Line, words: str):
    with pytest.raises(LogError, match=words):
        play(create(day(1), "contacts", 1), line)


def test_a_change_dated_before_the_last_one_is_refused():
    portal = play(create(day(1), "contacts", 1), update(day(3), "contacts", 1, a="b"))
    with pytest.raises(LogError, match="which was changed later"):
        portal.append(parse_lines([json.dumps(update(day(2), "contacts", 1, a="c"))]))


def shown(portal: Portal) -> list[object]:
    """Everything the portal could tell."""
    records = [
        (store.kind.name, record.id, record.created, record.stamps, record.archived_at, record.history, store.aliases)
        for store in portal.stores.values()
        for record in sorted(store.records.values(), key=lambda record: record.number)
    ]
    orders = [[row[:2] for row in store.by_modified.rows()] for store in portal.stores.values()]
    return [records, orders, portal.activity.submissions, portal.activity.clicks, portal.activity.email_events]


def test_small_steps_of_the_clock_end_where_one_step_ends():
    lines = [
        *COMPANY[:-1],
        {"at": day(9), "op": "restore", "object": "contacts", "id": "14"},
        merge(day(10), "contacts", 11, 14, into=15),
        merge(day(11), "companies", 31, 32),
        {"at": day(12), "op": "privacy_delete", "object": "contacts", "id": "12"},
        update(day(13), "contacts", 11, lifecyclestage="customer"),
    ]
    stepping = play(*lines, until=day(1, "00:00:00"))
    for number in range(1, 20):
        stepping.advance(to_ms(day(number, "09:00:00")))
        stepping.stores["contacts"].by_modified.rows()
    assert shown(stepping) == shown(play(*lines))
