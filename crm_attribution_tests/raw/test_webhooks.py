"""From the inbox into the warehouse: each event once, in any order, and what follows from it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from shutil import rmtree
from typing import Any

import polars as pl
import pytest

from crm_attribution.clock import FixedClock, from_millis
from crm_attribution.contracts import CONTRACTS
from crm_attribution.raw import webhooks as inbox
from crm_attribution.warehouse.quarantine import Quarantine
from crm_attribution.webhook.inbox import Inbox
from crm_attribution_tests.helpers import new_warehouse

pytestmark = pytest.mark.warehouse

PORTAL = 62515
NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z
NOW = datetime(2026, 3, 2, 13, tzinfo=UTC)
LOADED = ["raw.webhook_event", "raw.merge", "raw.deletion", "raw.reread"]
CONTACT = {"id": 1, "created_at": NOW, "modified_at": NOW, "archived": False, "extracted_at": NOW}


def event(kind: str, object_id: int | None = 101, minute: int = 0, **more: Any) -> dict[str, Any]:
    """An event as HubSpot documents it."""
    named = {} if object_id is None else {"objectId": object_id}
    return {
        "eventId": 100 + minute,
        "subscriptionId": sum(kind.encode()),
        "portalId": PORTAL,
        "appId": 1160452,
        "occurredAt": NOON + 60_000 * minute,
        "subscriptionType": kind,
        "attemptNumber": 0,
        "changeSource": "CRM_UI",
        **named,
        **more,
    }


def merge(kind: str, primary: int, merged: int, into: int | None, minute: int = 0) -> dict[str, Any]:
    new = {} if into is None else {"newObjectId": into}
    ids = {"primaryObjectId": primary, "mergedObjectIds": [merged], "numberOfPropertiesMoved": 3, **new}
    return event(f"{kind}.merge", into or primary, minute, changeFlag="MERGED", **ids)


@dataclass
class Deliveries:
    """A warehouse and its inbox."""

    folder: Path

    def __post_init__(self) -> None:
        self.warehouse = new_warehouse(self.folder)
        self.inbox = self.folder / "inbox"
        self.put = Inbox(self.inbox / "webhooks")
        self.clear()

    def clear(self) -> None:
        """As it was at first."""
        rmtree(self.inbox, ignore_errors=True)
        self.put.prepare()
        self.received = NOW
        with self.warehouse.session() as session:
            session.truncate(["raw.contact", *LOADED])
            session.connection.execute("DELETE FROM meta.change; DELETE FROM quarantine.webhook_event")
            session.state.portal_id = str(PORTAL)

    def deliver(self, *events: dict[str, Any], kind: str = "hubspot") -> None:
        """One delivery; its file is written as the receiver writes it."""
        self.received += timedelta(seconds=1)
        content = events[0] if kind == "ingest" else list(events)
        self.put.put(kind, json.dumps(content).encode(), self.received)

    def load(self, *deliveries: Iterable[dict[str, Any]]) -> Any:
        """Deliver and load each by itself; the last report."""
        for events in deliveries:
            self.deliver(*events)
            report = inbox.load(self.warehouse, FixedClock(NOW), self.inbox)
        return report if deliveries else inbox.load(self.warehouse, FixedClock(NOW), self.inbox)

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        with self.warehouse.session() as session:
            frame = session.read(table)
            return sorted(frame.select(columns or CONTRACTS[table].compared).rows(), key=repr)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.warehouse.session() as session:
            return session.query(sql).rows()

    def reread(self) -> list[tuple[Any, ...]]:
        return self.rows("raw.reread", "object_type", "object_id")

    def state(self) -> dict[str, Any]:
        """What was loaded, but for when."""
        return {name: self.rows(name) for name in LOADED}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Deliveries:
    return Deliveries(tmp_path_factory.mktemp("deliveries"))


@pytest.fixture
def deliveries(shared: Deliveries) -> Deliveries:
    shared.clear()
    return shared


def test_an_event_becomes_a_row_and_its_file_is_archived(deliveries: Deliveries):
    change = event("contact.propertyChange", propertyName="email", propertyValue="ada@lovelace.example", sourceId="u:7")
    report = deliveries.load([change])
    with deliveries.warehouse.session() as session:
        [row] = session.read("raw.webhook_event").drop("event_key").rows(named=True)
    assert row == {
        "source": "hubspot",
        "hubspot_event_id": "100",
        "subscription_id": str(change["subscriptionId"]),
        "subscription_type": "contact.propertyChange",
        "object_type": "contacts",
        "object_id": "101",
        "property_name": "email",
        "property_value": "ada@lovelace.example",
        "change_source": "CRM_UI",
        "portal_id": str(PORTAL),
        "app_id": "1160452",
        "attempt_number": 0,
        "occurred_at": from_millis(NOON),
        "received_at": NOW + timedelta(seconds=1),
        "details": '{"sourceId": "u:7"}',
    }
    assert deliveries.reread() == [("contacts", 101)]
    assert inbox.waiting(deliveries.inbox) == []
    assert len(list((deliveries.inbox / "archive" / "webhooks").iterdir())) == 1
    assert report.figures == {"files": 1, "events": 1, "duplicates": 0, "quarantined": 0, "to be read again": 1,
                            "new contact.propertyChange": 1}  # fmt: skip
    assert "ada" not in repr(report)


@pytest.mark.parametrize("changed", [{"attemptNumber": 3}, {"eventType": "deal.creation", "subscriptionType": None}])
def test_an_event_that_comes_again_is_the_same_event(deliveries: Deliveries, changed: dict[str, Any]):
    first = event("deal.creation", 5)
    again = {name: value for name, value in {**first, **changed}.items() if value is not None}
    deliveries.load([first, first])
    with deliveries.warehouse.session() as session, session.transaction():
        session.truncate(["raw.reread"])
    report = deliveries.load([again])
    assert report.figures["duplicates"] == 1
    assert len(deliveries.rows("raw.webhook_event")) == 1
    assert deliveries.reread() == []  # what was read again meanwhile is not asked for once more


@pytest.mark.parametrize(
    "other",
    [
        {"objectId": 102},
        {"occurredAt": NOON + 1},
        {"propertyName": "phone"},
        {"eventId": 101},
        {"subscriptionId": 1},
        {"subscriptionType": "company.propertyChange"},
    ],
)
def test_what_differs_in_what_it_is_about_is_another_event(deliveries: Deliveries, other: dict[str, Any]):
    """eventId alone is not unique: https://developers.hubspot.com/docs/api/webhooks"""
    first = event("contact.propertyChange", propertyName="email", propertyValue="x")
    deliveries.load([first, {**first, **other}])
    assert len(deliveries.rows("raw.webhook_event")) == 2


@pytest.mark.parametrize("kind", ["contact", "company", "deal"])
@pytest.mark.parametrize("generic", [False, True])
def test_a_merge_makes_aliases_of_both_and_reads_the_new_record(deliveries: Deliveries, kind: str, generic: bool):
    plural = {"contact": "contacts", "company": "companies", "deal": "deals"}[kind]
    told = merge(kind, 1, 2, 9)
    if generic:
        told |= {
            "subscriptionType": "object.merge",
            "objectTypeId": {"contact": "0-1", "company": "0-2", "deal": "0-3"}[kind],
        }
    deliveries.load([told])
    at = from_millis(NOON)
    assert deliveries.rows("raw.merge") == [(plural, 1, 9, at, "webhook"), (plural, 2, 9, at, "webhook")]
    assert deliveries.reread() == [(plural, 9)]
    assert sorted(deliveries.query("SELECT topic, key FROM meta.change")) == [
        (plural, ["1"]),
        (plural, ["2"]),
        (plural, ["9"]),
    ]


@pytest.mark.parametrize("into", [None, 1])
def test_a_merge_of_the_old_kind_keeps_the_primary(deliveries: Deliveries, into: int | None):
    deliveries.load([merge("contact", 1, 2, into)])
    assert deliveries.rows("raw.merge", "absorbed_id", "survivor_id") == [(2, 1)]
    assert deliveries.reread() == [("contacts", 1)]


def test_what_the_records_said_of_a_merge_stays_and_gets_its_time(deliveries: Deliveries):
    at = NOW - timedelta(days=1)
    said = [(1, 9, None, "hs_merged_object_ids"), (2, 9, at, "hs_calculated_merged_vids")]
    with deliveries.warehouse.session() as session, session.transaction():
        rows = [dict(zip(("absorbed_id", "survivor_id", "merged_at", "source"), row, strict=True)) for row in said]
        session["raw.merge"].upsert(pl.DataFrame([{"object_type": "contacts", **row} for row in rows]))
        session.connection.execute("DELETE FROM meta.change")
    deliveries.load([merge("contact", 1, 2, 9)])
    assert deliveries.rows("raw.merge", "absorbed_id", "merged_at", "source") == [
        (1, from_millis(NOON), "webhook"),
        (2, at, "hs_calculated_merged_vids"),
    ]
    assert deliveries.query("SELECT key FROM meta.change ORDER BY 1") == [(["1"],), (["9"],)]


def test_a_deletion_is_a_row_and_a_reading(deliveries: Deliveries):
    deliveries.load([event("deal.deletion", 7, 2), event("deal.deletion", 7, 1), event("company.deletion", 8)])
    assert deliveries.rows(
        "raw.deletion", "object_type", "object_id", "kind", "deleted_at", "source", "restored_at"
    ) == [
        ("companies", 8, "archived", from_millis(NOON), "webhook", None),
        ("deals", 7, "archived", from_millis(NOON + 120_000), "webhook", None),
    ]
    assert deliveries.reread() == [("companies", 8), ("deals", 7)]


def deleted(deliveries: Deliveries, source: str, at: datetime, restored_at: datetime | None) -> None:
    row = {"object_type": "deals", "object_id": 7, "kind": "archived", "deleted_at": at, "restored_at": restored_at}
    with deliveries.warehouse.session() as session, session.transaction():
        session["raw.deletion"].upsert(pl.DataFrame([{**row, "source": source, "noticed_at": NOW}]))


@pytest.mark.parametrize(
    ("source", "at", "restored", "stands"),
    [
        ("archived_list", -1, None, "archived_list"),  # the list knows the exact time
        ("webhook", 1, None, "webhook"),
        ("archived_list", -2, -1, "webhook"),  # deleted once more since
        ("archived_list", -2, 1, "archived_list"),  # an old deletion, told late: restored since
    ],
)
def test_a_deletion_agrees_with_the_archived_list(
    deliveries: Deliveries, source: str, at: int, restored: int | None, stands: str
):
    noon, hour = from_millis(NOON), timedelta(hours=1)
    back = None if restored is None else noon + restored * hour
    deleted(deliveries, source, noon + at * hour, back)
    deliveries.load([event("deal.deletion", 7)])
    [row] = deliveries.rows("raw.deletion", "source", "deleted_at", "restored_at")
    assert row == ((stands, noon + at * hour, back) if stands == source else (stands, noon, None))


def test_a_restored_record_is_read_again(deliveries: Deliveries):
    deliveries.load([event("contact.restore", 7)])
    assert deliveries.rows("raw.deletion") == []
    assert deliveries.reread() == [("contacts", 7)]


ERASURE = [
    event("contact.deletion", 101, 1, changeFlag="DELETED"),
    event("contact.privacyDeletion", 101, 1),
    event("contact.propertyChange", 101, 0, propertyName="email", propertyValue="ada@lovelace.example"),
]


@pytest.mark.parametrize("order", permutations(range(3)), ids=str)
@pytest.mark.parametrize("together", [True, False])
def test_an_erasure_stands_alone_whatever_comes_before_or_after(
    deliveries: Deliveries, order: tuple[int, ...], together: bool
):
    told = [ERASURE[place] for place in order]
    deliveries.load(*([told] if together else [[one] for one in told]))
    assert deliveries.rows("raw.deletion", "object_id", "kind", "deleted_at", "source", "erased_at") == [
        (101, "privacy", from_millis(NOON + 60_000), "webhook", None)
    ]
    assert deliveries.reread() == []
    if together or order.index(1) < order.index(2):
        values = deliveries.rows("raw.webhook_event", "subscription_type", "property_value")
        assert ("contact.propertyChange", None) in values


def test_what_was_erased_is_not_asked_to_be_erased_again(deliveries: Deliveries):
    deliveries.load([ERASURE[1]])
    with deliveries.warehouse.session() as session, session.transaction():
        session["raw.deletion"].upsert(session.read("raw.deletion").with_columns(erased_at=pl.lit(NOW)))
    deliveries.load([{**ERASURE[1], "eventId": 5}])
    assert deliveries.rows("raw.deletion", "erased_at") == [(NOW,)]


def test_both_ends_of_an_association_are_read_again(deliveries: Deliveries):
    ends = {"fromObjectId": 5, "toObjectId": 101, "associationRemoved": False, "isPrimaryAssociation": True}
    there = event("deal.associationChange", None, associationType="DEAL_TO_CONTACT", **ends)
    generic = event("object.associationChange", None, 1, **{**ends, "toObjectId": 8}, associationTypeId=5)
    generic |= {"fromObjectTypeId": "0-3", "toObjectTypeId": "0-2"}
    ticket = event(
        "contact.associationChange", None, 2, associationType="CONTACT_TO_TICKET", **{**ends, "toObjectId": 1}
    )
    deliveries.load([there, generic, ticket])
    assert deliveries.reread() == [("companies", 8), ("contacts", 101), ("contacts", 5), ("deals", 5)]
    removed = {**there, "associationRemoved": True}
    assert deliveries.load([there, removed]).figures["duplicates"] == 1


def test_what_we_do_not_read_is_kept_and_has_no_effect(deliveries: Deliveries):
    deliveries.load(
        [
            event("ticket.creation", 4),
            event("object.creation", 4, 1, objectTypeId="2-77"),
            event("event.completed", None, 2),
        ]
    )
    assert [row[0] for row in deliveries.rows("raw.webhook_event", "object_type")] == [None] * 3
    assert deliveries.reread() == []
    assert deliveries.rows("raw.deletion") == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"portalId": 4711}, "portalId:another_portal"),
        ({"portalId": None}, "portalId:missing"),
        ({"occurredAt": "soon"}, "occurredAt:not_a_time"),
        ({"occurredAt": 10**18}, "occurredAt:not_a_time"),
        ({"subscriptionType": None}, "subscriptionType:missing"),
        ({"objectId": "ada@lovelace.example"}, "objectId:not_an_id"),
        ({"subscriptionType": "contact.merge", "mergedObjectIds": []}, "mergedObjectIds:not_ids"),
        (
            {"subscriptionType": "contact.merge", "mergedObjectIds": [1]},
            "newObjectId:missing, and so is primaryObjectId",
        ),
    ],
)
def test_what_cannot_be_taken_waits_in_quarantine_with_its_reason_and_the_rest_goes_on(
    deliveries: Deliveries, bad: dict[str, Any], reason: str
):
    report = deliveries.load([{**event("contact.deletion", 102), **bad}, event("contact.creation", 101)])
    assert [row[0] for row in deliveries.query("SELECT reasons FROM quarantine.webhook_event")] == [reason]
    assert deliveries.reread() == [("contacts", 101)]
    assert deliveries.rows("raw.deletion") == []
    assert report.figures["quarantined"] == 1


@pytest.mark.parametrize(
    "body", [b"not json", b'"text"', b"\xff\xfe", b"[1]", b"[[]]", b"[" * 5000, b"[NaN]", b"[1e999]"]
)
def test_a_body_that_is_no_delivery_is_quarantined_and_archived(deliveries: Deliveries, body: bytes):
    deliveries.put.put("hubspot", body, NOW)
    deliveries.load()
    assert len(deliveries.query("SELECT key FROM quarantine.webhook_event")) == 1
    assert inbox.waiting(deliveries.inbox) == []


def test_a_file_of_somebody_else_is_quarantined_too(deliveries: Deliveries):
    for number, text in enumerate(["", "{}", '{"kind": "x", "received_at": 1, "body": ""}']):
        (deliveries.put.folder / f"{number}.json").write_text(text)
    deliveries.load()
    assert deliveries.query("SELECT DISTINCT reasons FROM quarantine.webhook_event") == [("file:not_a_delivery",)]


def test_half_written_files_are_left_alone(deliveries: Deliveries):
    half = deliveries.put.folder / ".20260302T120000000000Z-hubspot-00.json.part"
    half.write_bytes(b'{"kind": "hubspot", "bo')
    (deliveries.put.folder / ".hidden.json").write_bytes(b"[]")
    assert deliveries.load().figures["files"] == 0
    assert half.exists()


def test_before_the_portal_is_known_everything_waits(deliveries: Deliveries):
    with deliveries.warehouse.session() as session:
        session.connection.execute("DELETE FROM meta.fact")
    deliveries.load([event("contact.creation")])
    assert len(inbox.waiting(deliveries.inbox)) == 1
    assert deliveries.rows("raw.webhook_event") == []


def test_a_crash_before_the_archive_loads_the_file_again_to_no_effect(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    deliveries.deliver(event("contact.deletion"), merge("deal", 1, 2, 3, 1), {"bad": 1})
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "move_away", die)
        with pytest.raises(KeyboardInterrupt):
            deliveries.load()
    before = deliveries.state()
    assert len(before["raw.webhook_event"]) == 2
    deliveries.load()
    assert deliveries.state() == before
    assert inbox.waiting(deliveries.inbox) == []


def test_a_crash_in_the_transaction_leaves_nothing_and_the_file(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    deliveries.deliver(event("contact.deletion"))
    with monkeypatch.context() as patch:
        patch.setattr(Quarantine, "add", die)
        patch.setattr(inbox, "quarantine", die)
        with pytest.raises(KeyboardInterrupt):
            deliveries.load()
    assert deliveries.state() == {name: [] for name in LOADED}
    deliveries.load()
    assert len(deliveries.rows("raw.deletion")) == 1


WORKFLOW = {
    "source": "hubspot_workflow",
    "event": "demo_booked",
    "occurred_at": "2026-03-02T11:59:00Z",
    "contact": {"id": 101},
    "company": {"hs_object_id": "55"},
}


def test_what_a_workflow_posts_asks_for_a_reading_and_is_no_event_of_ours(deliveries: Deliveries):
    deliveries.deliver(WORKFLOW, kind="ingest")
    deliveries.deliver(dict(reversed(WORKFLOW.items())), kind="ingest")
    report = deliveries.load()
    assert deliveries.reread() == [("companies", 55), ("contacts", 101)]
    rows = deliveries.rows("raw.webhook_event", "source", "subscription_type", "object_type", "object_id", "portal_id")
    assert rows == [("ingest", "demo_booked", "contacts", "101", str(PORTAL))]
    assert report.figures["new of ingest, other"] == 1


def test_an_address_names_the_contacts_that_have_it(deliveries: Deliveries):
    with deliveries.warehouse.session() as session, session.transaction():
        known = [
            {**CONTACT, "id": 1, "email": "Ada@Lovelace.example", "additional_emails": None},
            {**CONTACT, "id": 2, "email": None, "additional_emails": ["x@y.example", "ada@lovelace.EXAMPLE"]},
            {**CONTACT, "id": 3, "email": "grace@hopper.example", "additional_emails": None},
        ]
        session["raw.contact"].upsert(pl.DataFrame(known, infer_schema_length=None))
    deliveries.deliver({**WORKFLOW, "contact": {"email": " ada@lovelace.example"}, "company": None}, kind="ingest")
    deliveries.deliver({**WORKFLOW, "contact": {"id": "", "email": "nobody@x.example"}, "company": None}, kind="ingest")
    deliveries.load()
    assert deliveries.reread() == [("contacts", 1), ("contacts", 2)]


def test_any_order_and_repetition_ends_in_the_same(deliveries: Deliveries):
    told = [
        merge("contact", 1, 2, 9),
        merge("contact", 9, 3, 12, 5),
        merge("deal", 5, 6, None, 1),
        event("contact.deletion", 20, 1),
        event("contact.deletion", 20, 9),
        *ERASURE[:2],
        event("company.restore", 8, 3),
        event("contact.propertyChange", 20, 2, propertyName="email", propertyValue="x"),
        event("deal.creation", 5),
    ]
    states = []
    for seed in range(4):
        chance = random.Random(seed)
        shuffled = [one for one in told for _ in range(chance.randint(1, 3))]
        chance.shuffle(shuffled)
        cut = sorted(chance.sample(range(len(shuffled) + 1), 3))
        deliveries.clear()
        deliveries.load(*(shuffled[a:b] for a, b in zip([0, *cut], [*cut, len(shuffled)], strict=True)))
        states.append(deliveries.state())
        assert states[-1] == states[0], f"seed {seed}"


def test_a_thousand_malformed_bodies_are_loaded_or_quarantined(deliveries: Deliveries):
    chance = random.Random(20260303)
    values: list[Any] = [
        None,
        True,
        -1,
        0,
        10**30,
        1.5,
        "",
        "\x00",
        "\ud800",
        "7",
        [],
        {},
        [None],
        "é" * 9,
        {"a": {"b": []}},
    ]
    base = [*ERASURE, merge("deal", 1, 2, 3), event("object.associationChange", None, fromObjectId=1, toObjectId=2)]
    count = 0
    for _ in range(50):
        batch = []
        for _ in range(20):
            one = dict(chance.choice(base))
            for _ in range(chance.randint(1, 4)):
                one[chance.choice([*one, "toObjectTypeId", "newObjectId", "x"])] = chance.choice(values)
            batch.append(one)
        count += len(batch)
        deliveries.deliver(*batch)
        for _ in range(5):
            deliveries.deliver({**WORKFLOW, chance.choice(list(WORKFLOW)): chance.choice(values)}, kind="ingest")
        count += 5
    facts = deliveries.load().figures
    assert facts["events"] + facts["quarantined"] == count
    assert len(deliveries.rows("raw.webhook_event")) == facts["events"] - facts["duplicates"]
    assert {row[0] for row in deliveries.query("SELECT DISTINCT kind FROM raw.deletion")} <= {"archived", "privacy"}
