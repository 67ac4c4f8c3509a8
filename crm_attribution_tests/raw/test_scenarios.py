"""Days in the life of a portal: no row missing, duplicated or wrong, and hardly a call more than there must be."""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from pathlib import Path

import pytest

from crm_attribution_tests.raw.portal import Portal, Reading, minute

pytestmark = pytest.mark.sandbox

SEARCH = "POST /crm/objects/{kind}/search"
BATCH = "POST /crm/objects/{kind}/batch/read"
LIST = "GET /crm/objects/{kind}"


def company(portal: Portal, contacts: int = 30, companies: int = 5, deals: int = 8) -> Portal:
    """A small portal: companies, contacts of them, deals with both."""
    for n in range(1, companies + 1):
        portal.create(minute(10), "companies", 7000 + n, name=f"Company {n}", domain=f"c{n}.example")
    for n in range(1, contacts + 1):
        portal.create(minute(60), "contacts", n, email=f"p{n}@c.example", lifecyclestage="lead")
    for n in range(1, deals + 1):
        portal.create(minute(200), "deals", 500 + n, dealname=f"D{n}", dealstage="contractsent", amount=f"{n}00")
    at = minute(300)
    for n in range(1, contacts + 1):
        portal.associate(at, ("contacts", str(n)), ("companies", str(7001 + n % companies)))
    for n in range(1, deals + 1):
        portal.associate(at, ("deals", str(500 + n)), ("contacts", str(n)))
        portal.associate(at, ("deals", str(500 + n)), ("companies", str(7001 + n % companies)))
    return portal


def of(kind: str, **calls: int) -> dict[str, int]:
    """The calls of an object type by route."""
    names = {"search": SEARCH, "batch": BATCH, "listing": LIST}
    pairs = {"contacts": ["companies"], "companies": ["companies"], "deals": ["contacts", "companies"]}[kind]
    found = {names[name].format(kind=kind): count for name, count in calls.items() if name != "associations"}
    return found | {
        f"POST /crm/associations/{kind}/{other}/batch/read": calls["associations"]
        for other in pairs
        if calls.get("associations")
    }


def test_first_load(tmp_path: Path):
    portal = company(Portal(), contacts=1_230)
    portal.archive(minute(310), "contacts", "17")
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        calls = reading.read(None)
        # An archived record had associations that nobody tells any more.
        portal.associations = {k: v for k, v in portal.associations.items() if k[:2] != ("contacts", "17")}
        assert [p for p in reading.problems(portal) if "'17'" not in p] == []
        assert calls["contacts"] == of("contacts", listing=ceil(1_229 / 50) + 1, associations=2)
        assert calls["deals"] == of("deals", listing=2, associations=1)


def test_idle_hour(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        before = reading.rows("SELECT * FROM raw.contact ORDER BY id")
        reading.play(portal, minute(460))
        calls = reading.read(minute(400))
        assert calls["contacts"] == of("contacts", search=1, associations=1)  # the rotation of associations
        assert reading.problems(portal) == []
        assert reading.rows("SELECT * FROM raw.contact ORDER BY id") == before


def test_a_thousandth_changed(tmp_path: Path):
    portal = company(Portal(), contacts=1_000)
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        portal.update(minute(420), "contacts", 77, lifecyclestage="customer", firstname="Ada")
        reading.play(portal, minute(460))
        calls = reading.read(minute(400))
        assert calls["contacts"] == of("contacts", search=1, batch=1, associations=1)
        assert reading.problems(portal) == []


def test_eleven_thousand_on_one_timestamp(tmp_path: Path):
    portal = Portal()
    with Reading.of(tmp_path, portal, minute(60)) as reading:
        reading.read(None, "contacts")
        for n in range(1, 11_001):  # HubSpot's search ends at 10,000
            portal.create(minute(90), "contacts", n, email=f"p{n}@c.example", lifecyclestage="lead")
        reading.play(portal, minute(120))
        calls = reading.read(minute(60), "contacts")["contacts"]
        assert reading.problems(portal) == []
        assert sum(calls.values()) <= ceil(11_000 / 200) + ceil(11_000 / 50) + ceil(11_000 / 1000)
        for n in range(1, 2_001):  # few enough of all that listing them all costs more
            portal.update(minute(150), "contacts", n, lifecyclestage="opportunity")
        reading.play(portal, minute(180))
        calls = reading.read(minute(120), "contacts")["contacts"]
        assert reading.problems(portal) == []
        assert sum(calls.values()) <= 1.05 * (ceil(2_000 / 200) + ceil(2_000 / 50) + ceil(2_000 / 1000))


def test_an_index_that_lags_ninety_seconds(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        portal.update(minute(459), "contacts", 5, lifecyclestage="customer")
        portal.update(minute(459.9), "contacts", 6, lifecyclestage="customer")
        portal.create(minute(459.95), "contacts", 31, email="late@c.example")
        reading.play(portal, minute(460))
        reading.sandbox.faults([{"route": "POST /crm/objects/*/search", "kind": "index_lag", "seconds": 90}])
        reading.read(minute(400))
        reading.play(portal, minute(520))
        reading.read(minute(460))
        assert reading.problems(portal) == []


@pytest.mark.parametrize("hours", ["each", "one"])
def test_a_chain_of_merges_and_a_merge_of_deals(tmp_path: Path, hours: str):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        steps = [
            lambda at: portal.merge(at, "contacts", "1", "2", "9001"),
            lambda at: portal.merge(at, "contacts", "9001", "3", "9002"),
            lambda at: portal.merge(at, "contacts", "4", "5"),
            lambda at: portal.merge(at, "contacts", "9002", "4", "9003"),
            lambda at: portal.merge(at, "deals", "501", "502"),
            lambda at: portal.merge(at, "companies", "7001", "7002", "7100"),
        ]
        for number, step in enumerate(steps, 1):
            step(minute(400 + 60 * number - 30))
            if hours == "each":
                reading.play(portal, minute(400 + 60 * number))
                reading.read(minute(340 + 60 * number))
        reading.play(portal, minute(400 + 60 * (len(steps) + 1)))
        reading.read(minute(400))
        merges = set(reading.rows("SELECT object_type, absorbed_id, survivor_id FROM raw.merge"))
        assert merges == {(kind, int(gone), int(into)) for (kind, gone), into in portal.merges.items()}
        assert {("contacts", gone, 9003) for gone in (1, 2, 3, 4, 5, 9001, 9002)} <= merges
        assert [p for p in reading.problems(portal) if not p.startswith("association")] == []
        told = reading.rows(
            "SELECT absorbed_id FROM raw.merge WHERE merged_at IS NOT NULL AND object_type = 'contacts'"
        )
        if hours == "each":
            assert len(told) == 7
        assert reading.rows("SELECT * FROM raw.missing") == []


def test_an_edit_of_associations_only(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        portal.dissociate(minute(410), ("deals", "503"), ("contacts", "3"))
        portal.associate(minute(411), ("deals", "503"), ("contacts", "4"))
        portal.associate(minute(412), ("contacts", "9"), ("companies", "7003"), primary=True)
        reading.play(portal, minute(460))
        stamps = reading.rows("SELECT id, modified_at FROM raw.deal WHERE id = '503'")
        reading.read(minute(400))
        assert reading.problems(portal) == []
        assert reading.rows("SELECT id, modified_at FROM raw.deal WHERE id = '503'") == stamps
        moved = reading.rows(
            "SELECT to_id, valid_from, valid_to FROM raw.association"
            " WHERE from_type = 'deals' AND from_id = '503' AND to_type = 'contacts' ORDER BY to_id"
        )
        assert [(to, to_end is None) for to, _, to_end in moved] == [(3, False), (4, True)]
        assert moved[0][2] == moved[1][1] == minute(460)


@pytest.mark.parametrize("kind", ["429", "429_no_retry_after"])
def test_storms_of_429_on_every_route(tmp_path: Path, kind: str):
    portal = company(Portal(), contacts=400)
    waits: list[float] = []
    with Reading.of(tmp_path, portal, minute(400), sleep=waits.append) as reading:
        reading.sandbox.faults([{"route": "* /*", "kind": kind, "probability": 0.4, "seed": 3, "retry_after": 2}])
        reading.read(None)
        portal.update(minute(420), "contacts", 7, lifecyclestage="customer")
        reading.sandbox.faults([])
        reading.play(portal, minute(460))
        reading.sandbox.faults([{"route": "POST /*", "kind": kind, "probability": 0.5, "seed": 4, "retry_after": 2}])
        reading.read(minute(400))
        reading.sandbox.faults([])
        assert reading.problems(portal) == []
    assert len(waits) > 10
    assert all(wait >= (2 if kind == "429" else 1) for wait in waits)


def test_one_5xx_in_two_hundred(tmp_path: Path):
    portal = company(Portal(), contacts=4_000, deals=30)
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.sandbox.faults(
            [
                {"route": "* /*", "kind": "500", "probability": 0.005, "seed": 1},
                {"route": "POST /*", "kind": "524", "every": 3, "count": 1},
                {"route": "GET /crm/objects/*", "kind": "drop", "every": 60, "count": 2},
            ]
        )
        reading.read(None)
        struck = sum(fault["hits"] for fault in reading.sandbox.faults())
        reading.sandbox.faults([])
        assert struck >= 3
        assert reading.problems(portal) == []


def test_a_record_without_history_in_the_middle_of_a_page(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.sandbox.faults([{"route": "GET /crm/objects/contacts", "kind": "no_history", "count": 1}])
        reading.read(None)
        assert reading.problems(portal) == []
        for n in range(1, 31):
            portal.update(minute(420), "contacts", n, lifecyclestage="customer")
        reading.play(portal, minute(460))
        reading.sandbox.faults([{"route": "POST /crm/objects/contacts/batch/read", "kind": "no_history"}])
        reading.read(minute(400))
        waiting = reading.rows("SELECT key, reasons FROM quarantine.property_history WHERE NOT resolved")
        assert {reasons for _, reasons in waiting} == {"propertiesWithHistory:missing"}
        assert len(waiting) == 1
        reading.sandbox.faults([])
        portal.update(minute(470), "contacts", waiting[0][0].removeprefix("contacts:"), lifecyclestage="evangelist")
        reading.play(portal, minute(520))
        reading.read(minute(460))
        assert reading.rows("SELECT key FROM quarantine.property_history WHERE NOT resolved") == []
        assert reading.problems(portal) == []


def test_hours_in_any_order_leave_nothing_out(tmp_path: Path):
    """A later hour first, an hour never run: what is stored is what there is."""
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        for hour in range(5):
            portal.update(minute(410 + 60 * hour), "contacts", hour + 1, lifecyclestage="customer")
        reading.play(portal, minute(720))
        reading.read(minute(660))
        assert reading.problems(portal) == []
        reading.read(minute(460) - timedelta(hours=1))
        assert reading.problems(portal) == []
