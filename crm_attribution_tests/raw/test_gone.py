"""What is archived, restored, erased or merged away without a word, and what changed without a stamp."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_attribution_tests.raw.portal import Portal, Reading, minute
from crm_attribution_tests.raw.test_scenarios import company

pytestmark = pytest.mark.sandbox


def missing(reading: Reading) -> list[int]:
    return [row[0] for row in reading.rows("SELECT object_id FROM raw.missing WHERE found_at IS NULL ORDER BY 1")]


def totals(reading: Reading, stream: str = "contacts") -> tuple[int, int]:
    sql = f"SELECT source_total, known_total FROM raw.extraction WHERE stream = '{stream}' ORDER BY window_end DESC"
    return reading.rows(sql)[0]


def test_archived_in_an_hour_restored_in_another(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        deal = reading.rows("SELECT * EXCLUDE (extracted_at, archived) FROM raw.deal WHERE id = 503")
        portal.archive(minute(410), "deals", "503")
        portal.create(minute(411), "deals", 600, dealname="New", dealstage="contractsent")  # the counts agree again
        reading.play(portal, minute(460))
        calls = reading.read(minute(400))
        assert reading.rows("SELECT object_id, deleted_at, source FROM raw.deletion") == [
            (503, minute(410), "archived_list")
        ]
        assert reading.rows("SELECT * EXCLUDE (extracted_at, archived) FROM raw.deal WHERE id = 503") == deal
        assert calls["deals"]["GET /crm/objects/deals"] == 1
        assert totals(reading, "deals") == (8, 8)
        kept = reading.rows("SELECT to_id FROM raw.association WHERE from_id = 503 AND valid_to IS NULL")
        assert len(kept) == 2, "an archived deal keeps the contact and company it had"
        portal.restore(minute(470), "deals", "503")
        reading.play(portal, minute(520))
        reading.read(minute(460))
        assert reading.rows("SELECT object_id, restored_at FROM raw.deletion") == [(503, minute(520))]
        assert [p for p in reading.problems(portal) if not p.startswith("association")] == []
        portal.archive(minute(530), "deals", "503")
        reading.play(portal, minute(580))
        reading.read(minute(520))
        assert reading.rows("SELECT object_id, deleted_at, restored_at FROM raw.deletion") == [(503, minute(530), None)]


def test_an_erased_contact_is_reported_and_nothing_more(tmp_path: Path):
    """Without a webhook nobody tells of it: the count does, and halving the ids finds it."""
    portal = company(Portal(), contacts=500)
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        portal.erase(minute(410), "321")
        reading.play(portal, minute(460))
        calls = reading.read(minute(400))
        assert missing(reading) == [321]
        assert reading.rows("SELECT email FROM raw.contact WHERE id = 321") == [("p321@c.example",)]
        assert totals(reading) == (499, 499)
        assert calls["contacts"]["GET /crm/objects/contacts/{id}"] == 1
        assert calls["contacts"]["POST /crm/objects/contacts/search"] <= 8
        reading.play(portal, minute(520))
        calls = reading.read(minute(460))
        assert calls["contacts"]["POST /crm/objects/contacts/search"] == 1, "what is explained is not looked for again"


def test_a_record_nobody_told_us_of_is_found_by_counting(tmp_path: Path):
    """An index that lags longer than the overlap."""
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        portal.create(minute(401), "contacts", 31, email="late@c.example", lifecyclestage="lead")
        reading.play(portal, minute(460))
        reading.sandbox.faults([{"route": "POST /crm/objects/*/search", "kind": "index_lag", "seconds": 3600}])
        reading.read(minute(400), "contacts")
        assert reading.rows("SELECT id FROM raw.contact WHERE id = 31") == []
        reading.sandbox.faults([])
        reading.play(portal, minute(580))
        reading.read(minute(520), "contacts")
        assert reading.problems(portal) == []
        with reading.warehouse.session() as session:
            session.state.extracted["contacts"] = minute(580)  # as if it had been read without that one
            session.connection.execute("DELETE FROM raw.contact WHERE id = 31")
            session.connection.execute("DELETE FROM raw.property_history WHERE object_id = 31")
        reading.play(portal, minute(640))
        reading.read(minute(620), "contacts")
        assert reading.problems(portal) == []
        with reading.warehouse.session() as session:  # erased here by a person, and alive at HubSpot
            session.connection.execute("DELETE FROM raw.contact WHERE id = 31")
            session.connection.execute(
                "INSERT INTO raw.deletion (object_type, object_id, kind, deleted_at, source, noticed_at, erased_at)"
                " VALUES ('contacts', 31, 'privacy', now(), 'person', now(), now())"
            )
        reading.play(portal, minute(700))
        reading.read(minute(680), "contacts")
        theirs, ours = totals(reading)
        assert theirs == ours, "what is erased here is not counted as lacking"
        assert reading.rows("SELECT id FROM raw.contact WHERE id = 31") == []


def test_a_row_left_out_of_a_batch_is_asked_for_again(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        for n in range(1, 31):
            portal.update(minute(420), "contacts", n, lifecyclestage="customer")
        reading.play(portal, minute(460))
        reading.sandbox.faults([{"route": "POST /crm/objects/contacts/batch/read", "kind": "missing_row", "count": 1}])
        reading.read(minute(400))
        assert reading.sandbox.faults()[0]["hits"] == 1
        assert reading.problems(portal) == []
        assert missing(reading) == []


def test_an_id_absorbed_while_it_is_read_leads_to_its_survivor(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        portal.merge(minute(410), "contacts", "1", "2", "900")
        reading.play(portal, minute(460))
        with reading.warehouse.session() as session:
            for number in ("2", "77777"):
                session.connection.execute("INSERT INTO raw.reread VALUES ('contacts', ?, 'webhook', now())", [number])
        reading.read(minute(459), "contacts")  # only what was asked for: the survivor is no change of this window
        assert (2, 900) in reading.rows("SELECT absorbed_id, survivor_id FROM raw.merge")
        assert reading.rows("SELECT email FROM raw.contact WHERE id = 900") == [("p1@c.example",)]
        assert reading.rows("SELECT * FROM raw.reread") == []
        assert missing(reading) == [], "an id we never had is nobody's record"


def test_reconciliation_finds_what_moved_no_stamp_and_what_counts_hid(tmp_path: Path):
    portal = company(Portal(), contacts=250)
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        portal.erase(minute(401), "200")
        reading.play(portal, minute(460))
        with reading.warehouse.session() as session:
            session.connection.execute(
                """UPDATE raw.contact SET properties = '{"email": "old@c.example"}' WHERE id = 33"""
            )
            session.connection.execute("DELETE FROM raw.contact WHERE id = 44")  # 249 here, 249 there
        reading.read(minute(400), "contacts")
        assert missing(reading) == []
        first = reading.readers().reconciliation.run()
        assert first.figures["records changed silently"] == 1
        assert first.figures["records added"] == 1
        assert missing(reading) == [200]
        assert "old@c.example" not in str(reading.rows("SELECT properties FROM raw.contact WHERE id = 33"))
        again = reading.readers().reconciliation.run()
        assert again.changed == 0
        assert "records changed silently" not in again.figures


def test_reconciliation_goes_on_where_its_calls_ended(tmp_path: Path):
    portal = company(Portal(), contacts=450)
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        with reading.warehouse.session() as session:
            session.connection.execute("UPDATE raw.contact SET properties = '{}' WHERE id = 440")
        small = reading.rules.extraction.model_copy(update={"reconcile_calls": 2})
        reading.rules = reading.rules.model_copy(update={"extraction": small})
        found = [reading.readers().reconciliation.run().figures.get("records changed silently", 0) for _ in range(4)]
        assert found == [0, 0, 1, 0]


def test_an_erasure_we_were_told_of_is_nothing_missing(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        portal.erase(minute(410), "12")
        reading.play(portal, minute(460))
        with reading.warehouse.session() as session:
            for table, row in (
                ("deletion", "('contacts', '12', 'privacy', now(), NULL, 'webhook', NULL, now())"),
                ("reread", "('contacts', '12', 'webhook', now())"),
            ):
                session.connection.execute(f"INSERT INTO raw.{table} VALUES {row}")
        calls = reading.read(minute(400), "contacts")["contacts"]
        assert missing(reading) == []
        assert totals(reading) == (29, 29)
        assert calls["POST /crm/objects/contacts/search"] == 1
        assert reading.rows("SELECT * FROM raw.reread") == []


def test_a_capped_history_is_flagged_and_gets_the_dates_of_first_entries(tmp_path: Path):
    portal = Portal()
    portal.create(minute(0), "contacts", 1, email="a@c.example", lifecyclestage="subscriber")
    portal.create(minute(1), "contacts", 2, email="b@c.example", lifecyclestage="lead")
    for n in range(60):
        portal.update(minute(2 + n), "contacts", 1, lifecyclestage=("lead", "marketingqualifiedlead")[n % 2])
    with Reading.of(tmp_path, portal, minute(100)) as reading:
        reading.read(None)
        entered = reading.rows(
            "SELECT id, json_extract_string(properties, '$.hs_v2_date_entered_subscriber') FROM raw.contact ORDER BY id"
        )
        assert entered == [(1, "2026-03-02T00:00:00Z"), (2, None)]
        flagged = reading.rows(
            "SELECT object_id, count(*) FROM raw.property_history WHERE property = 'lifecyclestage'"
            " AND history_truncated GROUP BY 1"
        )
        assert flagged == [(1, 45)]


def test_an_archived_record_does_not_hide_behind_a_new_one(tmp_path: Path):
    """Only a record that a webhook named and the search does not know yet excuses a difference."""
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        portal.archive(minute(410), "contacts", "17")
        portal.create(minute(459), "contacts", 31, email="new@c.example", lifecyclestage="lead")
        reading.play(portal, minute(460))
        reading.read(minute(400), "contacts")
        assert reading.rows("SELECT object_id FROM raw.deletion") == [(17,)]
        portal.create(minute(519), "contacts", 32, email="newer@c.example", lifecyclestage="lead")
        reading.play(portal, minute(520))
        with reading.warehouse.session() as session:
            session.connection.execute("INSERT INTO raw.reread VALUES ('contacts', '32', 'webhook', now())")
        reading.sandbox.faults([{"route": "POST /crm/objects/*/search", "kind": "index_lag", "seconds": 90}])
        calls = reading.read(minute(460), "contacts")["contacts"]
        assert calls["POST /crm/objects/contacts/search"] == 1
        assert "GET /crm/objects/contacts" not in calls, "the index is late: nothing is looked for"
