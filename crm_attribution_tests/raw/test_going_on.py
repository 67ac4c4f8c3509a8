"""A reading that dies goes on; hours may come in any order and as often as they like."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_attribution.clock import parse_instant
from crm_attribution.errors import Retryable
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.raw.portal import OBJECTS, Portal, Reading, minute
from crm_attribution_tests.raw.test_scenarios import company

pytestmark = pytest.mark.sandbox


class Killed(BaseException):
    """Stands for a process that is gone: nothing catches it."""


def dying(reading: Reading, kind: str, since: Any, after_chunks: int) -> None:
    found = reading.readers()
    store, stored = found.records.store.store, 0

    def until_death(*arguments: Any) -> None:
        nonlocal stored
        if stored == after_chunks:
            raise Killed
        store(*arguments)
        stored += 1

    object.__setattr__(found.records.store, "store", until_death)
    with pytest.raises(Killed):
        found.records.read(kind, since)


def test_a_first_load_goes_on_from_the_last_stored_page(tmp_path: Path):
    portal = company(Portal(), contacts=3_400)
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None, "companies", "deals")
        dying(reading, "contacts", None, 2)
        portal.update(minute(410), "contacts", 3, lifecyclestage="customer")  # behind the place where it died
        reading.play(portal, minute(420))
        calls = reading.read(None, "contacts")["contacts"]
        assert reading.problems(portal) == []
        listed = (3_400 - 2_000) // 50
        assert listed + 1 <= calls["GET /crm/objects/contacts"] <= listed + 2
        assert calls["POST /crm/objects/contacts/batch/read"] == 1
        assert reading.rows("SELECT name FROM meta.fact WHERE name LIKE 'progress:%'") == []


def test_a_walk_through_changes_goes_on_from_the_last_stored_page(tmp_path: Path):
    portal = company(Portal(), contacts=6_000)
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        for n in range(1, 1_801):
            portal.update(minute(410 + n / 1000), "contacts", n, lifecyclestage="customer")
        reading.play(portal, minute(460))
        dying(reading, "contacts", minute(400), 2)
        portal.update(minute(465), "contacts", 7, firstname="Ada")
        portal.update(minute(466), "contacts", 6_000, firstname="Bea")
        reading.play(portal, minute(520))
        calls = reading.read(minute(460), "contacts")["contacts"]
        assert reading.problems(portal) == []
        assert calls["POST /crm/objects/contacts/batch/read"] <= (1_800 - 1_200) / 50 + 2


def test_a_service_that_stays_down_stops_the_reading_and_loses_nothing(tmp_path: Path):
    portal = company(Portal(), contacts=2_600)
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.sandbox.faults([{"route": "GET /crm/objects/contacts", "kind": "503", "probability": 0.9, "seed": 2}])
        with pytest.raises(Retryable, match="gave up"):
            reading.read(None)
        reading.sandbox.faults([])
        reading.read(None)
        assert reading.problems(portal) == []


def test_new_properties_are_read_for_all_records(tmp_path: Path):
    portal = company(Portal())
    portal.update(minute(350), "contacts", 3, jobtitle="CFO")
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        given = reading.rules.properties
        lists = {**given, "contacts": [*given["contacts"], "jobtitle"]}
        reading.rules = reading.rules.model_copy(update={"properties": lists})
        reading.play(portal, minute(460))
        report = reading.readers().records.read("contacts", minute(400))
        assert report.figures["all records read again for new properties"] == "jobtitle"
        titled = reading.rows("SELECT id FROM raw.contact WHERE json_extract_string(properties, '$.jobtitle') = 'CFO'")
        assert titled == [(3,)]
        reading.play(portal, minute(520))
        assert reading.readers().records.read("contacts", minute(460)).rows == 0


def test_a_reading_for_new_properties_that_died_is_gone_on_with_once(tmp_path: Path):
    portal = company(Portal(), contacts=2_300)
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        reading.read(None)
        given = reading.rules.properties
        lists = {**given, "contacts": [*given["contacts"], "jobtitle"]}
        reading.rules = reading.rules.model_copy(update={"properties": lists})
        reading.play(portal, minute(460))
        dying(reading, "contacts", minute(400), 1)
        calls = reading.read(minute(400), "contacts")["contacts"]
        assert calls["GET /crm/objects/contacts"] == (2_300 - 1_000) // 50 + 1  # the rest, and the archive
        assert reading.problems(portal) == []


def test_drift_of_properties_is_told_and_breaks_nothing(tmp_path: Path):
    portal = company(Portal())
    with Reading.of(tmp_path, portal, minute(400)) as reading:
        first = reading.readers().properties.read()
        assert reading.rows("SELECT * FROM raw.property_drift") == []
        unknown = first.unknown_properties or []
        assert "contacts.no_such_property" not in unknown
        reading.sandbox.request(
            "PUT",
            "/_sandbox/properties",
            {
                "object": "contacts",
                "add": [{"name": "score", "label": "Score", "type": "number", "fieldType": "number"}],
                "rename": {"firstname": "Given name"},
                "retype": {"lifecyclestage": "string"},
                "remove": ["lastname"],
            },
        )
        reading.play(portal, minute(460))
        second = reading.readers().properties.read()
        changes = reading.rows("SELECT name, change, before, after FROM raw.property_drift ORDER BY name")
        assert [(name, change) for name, change, _, _ in changes] == [
            ("firstname", "renamed"),
            ("lastname", "removed"),
            ("lifecyclestage", "retyped"),
            ("score", "added"),
        ]
        assert "contacts.lastname" in (second.unknown_properties or [])
        reading.read(None)
        assert reading.problems(portal) == []


HOURS = 5


def busy() -> Portal:
    """Something in each hour: changes, merges in chains, archives, restores, associations come with a change."""
    portal = company(Portal(), contacts=12, deals=5)
    at = 400
    portal.update(minute(at + 5), "contacts", 1, lifecyclestage="customer")
    portal.merge(minute(at + 20), "contacts", "2", "3", "50")
    portal.archive(minute(at + 30), "deals", "502")
    portal.update(minute(at + 65), "contacts", 4, lifecyclestage="opportunity")
    portal.merge(minute(at + 70), "contacts", "50", "5", "51")
    portal.create(minute(at + 80), "contacts", 60, email="new@c.example", lifecyclestage="lead")
    portal.restore(minute(at + 125), "deals", "502")
    portal.update(minute(at + 126), "contacts", 1, lifecyclestage="evangelist")
    portal.merge(minute(at + 190), "deals", "503", "504")
    portal.update(minute(at + 191), "contacts", 60, email="newer@c.example")
    portal.archive(minute(at + 200), "contacts", "7")
    portal.update(minute(at + 250), "companies", "7001", name="Other")
    return portal


SAME = {
    **{f"raw.{name}": "* EXCLUDE (extracted_at)" for name in ("contact", "company", "deal", "property_history")},
    "raw.merge": "object_type, absorbed_id, survivor_id",
    "raw.association": "from_type, from_id, to_type, to_id, type_ids, is_primary, valid_to IS NULL",
    "raw.missing": "*",
}


def state(reading: Reading) -> dict[str, list[Any]]:
    return {name: sorted(reading.rows(f"SELECT {columns} FROM {name}"), key=repr) for name, columns in SAME.items()} | {
        "archived": sorted(reading.rows("SELECT object_id FROM raw.deletion WHERE restored_at IS NULL"))
    }


@pytest.fixture(scope="module")
def told_at_the_end(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What a single reading after everything says of records that can still be read."""
    portal = busy()
    with Reading.of(tmp_path_factory.mktemp("end"), portal, minute(400 + 60 * HOURS)) as reading:
        reading.read(None)
        return state(reading)


Step = tuple[str, int]


@given(
    steps=st.lists(st.tuples(st.sampled_from(["play", "read"]), st.integers(0, HOURS - 1)), max_size=5),
    kinds=st.permutations(OBJECTS),
)
@settings(max_examples=5 * TIMES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_interleaving_and_repetition_of_hours_gives_the_same_raw_tables(
    tmp_path_factory: pytest.TempPathFactory,
    told_at_the_end: dict[str, list[Any]],
    steps: list[Step],
    kinds: list[str],
):
    """The portal moves on, hours are read in any order, as often as one likes, and the last hour at the end."""
    portal = busy()
    lines, portal.lines = portal.lines, [line for line in portal.lines if parse_instant(line["at"]) < minute(400)]
    with Reading.of(tmp_path_factory.mktemp("hours"), portal, minute(400)) as reading:
        portal.lines = lines
        reading.read(None, *kinds)
        clock = 0
        for what, hour in [*steps, ("play", HOURS), ("read", HOURS - 1)]:
            if what == "play" and hour > clock:
                clock = hour
                reading.play(portal, minute(400 + 60 * clock))
            elif what == "read":
                reading.read(minute(400) + timedelta(hours=hour), *kinds)
        found = state(reading)
    # Records absorbed while we watched stay as rows; a reading at the end never sees them.
    gone = {row[1] for row in found["raw.merge"]}
    for name in ("raw.contact", "raw.company", "raw.deal"):
        assert [row for row in found[name] if row[0] not in gone] == told_at_the_end[name]
    assert found["raw.merge"] == told_at_the_end["raw.merge"]
    assert found["raw.missing"] == []
    assert found["archived"] == told_at_the_end["archived"]
    history = {row for row in found["raw.property_history"] if row[1] not in gone}
    assert history == set(told_at_the_end["raw.property_history"])
