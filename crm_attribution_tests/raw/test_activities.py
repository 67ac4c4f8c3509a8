"""Meetings, calls and marketing-event attendance read from the sandbox over HTTP, and the touches they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_attribution.clock import iso
from crm_attribution.hubspot.activities import KINDS, activities, attendance, events_due
from crm_attribution.mapping import load
from crm_attribution.raw.reading import StreamReport
from crm_attribution_tests.flow.chain import Chain, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import create, day, join, update

ON = "streams: {meetings: on, calls: on, marketing_events: on}\n"
NOW = at(day(5))


@pytest.mark.sandbox
def test_what_changed_is_read_and_a_missing_scope_is_named_and_stops_nothing(tmp_path: Path):
    """A page of meetings and one more, a call and an event; then one is cancelled, and its touch goes."""
    meetings = [str(number) for number in range(1, 202)]
    lines = [
        *(create(day(1), "contacts", n, email=f"c{n}@firm.example") for n in (1, 2)),
        *(create(day(2), "meetings", n, hs_timestamp=day(2), hs_meeting_start_time=day(3)) for n in meetings),
        join(day(2), ("meetings", 201), ("contacts", 1)),
        join(day(2), ("meetings", 201), ("contacts", 2)),
        create(day(2), "calls", 7, hs_timestamp=day(2), hs_call_status="COMPLETED"),
        join(day(2), ("calls", 7), ("contacts", 2)),
        {"at": day(2), "op": "attend", "attendance": {"event": "9", "contact_id": "1", "name": "Webinar"}},
        update(day(4), "meetings", 201, hs_meeting_outcome="CANCELED"),
    ]
    with Chain.start(tmp_path, lines, day(3), rules(tmp_path, ON)) as chain:
        reader = chain.readers().activities
        chain.sandbox.faults(
            [{"route": "POST /crm/objects/*/calls/search", "kind": "403", "scope": "calls", "count": 1}]
        )
        report = reader.read(None)
        assert (report.rows, "calls" in str(report.not_read)) == (202, True)
        chain.run()
        touches = {row["touch_id"]: (row["touched_at"], row["channel"], row["campaign"])
                   for row in chain.table("attribution.touch")}  # fmt: skip
        assert touches == {
            "meeting:201:1": (at(day(3)), "Sales", None), "meeting:201:2": (at(day(3)), "Sales", None),
            "call:7:2": (at(day(2)), "Sales", None), "marketing_event:91:1": (at(day(2)), "Event", "webinar"),
        }  # fmt: skip
        chain.sandbox.set_clock(day(5))
        later = chain.readers().activities.read(at(day(4)))
        assert (later.rows, later.changed) == (2, 1), "the meeting, and the event that began days ago"
        chain.derive()
        assert {row["touch_id"] for row in chain.table("attribution.touch")} == {"call:7:2", "marketing_event:91:1"}
        off = chain.readers(load()).activities.read(None)
        assert (off.calls, len(off.figures)) == (None, 3)


@pytest.mark.sandbox
def test_what_is_archived_or_gone_is_no_touch_and_what_comes_back_is_one(tmp_path: Path):
    """HubSpot dates no archiving. Its count tells; the archive and what cannot be read any more say which."""
    lines = [
        create(day(1), "contacts", 1, email="c1@firm.example"),
        *(create(day(2), "meetings", n, hs_timestamp=day(2)) for n in (11, 12, 13)),
        *(join(day(2), ("meetings", n), ("contacts", 1)) for n in (11, 12, 13)),
        *({"at": day(2), "op": "attend", "attendance": {"event": event, "contact_id": "1", "name": "Webinar"}}
          for event in ("8", "9")),
        {"at": day(3), "op": "archive", "object": "meetings", "id": "11"},
        create(day(3), "meetings", 14, hs_timestamp="soon"),
        {"at": day(4), "op": "restore", "object": "meetings", "id": "11"},
        {"at": day(4), "op": "privacy_delete", "object": "meetings", "id": "12"},
    ]  # fmt: skip

    def touches() -> set[str]:
        chain.derive()
        return {row["touch_id"] for row in chain.table("attribution.touch")}

    def read(since: str) -> StreamReport:
        return chain.readers().activities.read(at(since))

    with Chain.start(tmp_path, lines, day(2, "12:00:00"), rules(tmp_path, ON)) as chain:
        chain.run()
        events = {"marketing_event:81:1", "marketing_event:91:1"}
        assert touches() == {"meeting:11:1", "meeting:12:1", "meeting:13:1", *events}
        chain.sandbox.set_clock(day(3, "12:00:00"))
        read(day(3))
        assert touches() == {"meeting:12:1", "meeting:13:1", *events}
        assert {row["rule"] for row in chain.table("attribution.telling")} == {"gone"}
        idle = read(day(3, "11:00:00"))
        assert (idle.calls, idle.floor) == (idle.floor, idle.calls), "a difference that is known costs nothing"
        chain.sandbox.set_clock(day(4, "12:00:00"))
        read(day(4))
        assert touches() == {"meeting:11:1", "meeting:13:1", *events}
        gone = {row["id"]: row["gone"] for row in chain.table("raw.activity") if row["kind"] == "meeting"}
        assert gone == {"11": None, "12": "missing", "13": None}


def test_an_activity_that_cannot_be_read_is_refused_alone():
    results = [{"id": "1", "properties": {"hs_timestamp": "soon"}}, {"id": "2", "properties": {}},
               {"id": "3", "properties": {"hs_timestamp": day(2), "hs_meeting_outcome": "NO SHOW"}}]  # fmt: skip
    found = activities(KINDS["meetings"], results, {3: [5, 4]}, extracted_at=NOW)
    assert found.rows.select("id", "outcome", "contact_ids").rows() == [("3", "no_show", [4, 5])]
    assert [(row.key, row.reasons) for row in found.refused] == [
        ("meeting:1", "hs_timestamp:not_a_time"),
        ("meeting:2", "hs_timestamp:missing"),
    ]
    person = {"associations": {"contact": {"contactId": "x"}}, "properties": {"occurredAt": 1}, "id": "9"}
    assert [row.reasons for row in attendance({}, [person], extracted_at=NOW).refused] == ["contactId:not_a_record_id"]


def test_people_of_an_event_are_read_while_they_may_change():
    def event(begins: str | None, changed: str | None = day(1)) -> dict[str, str | None]:
        return {"startDateTime": begins, "updatedAt": changed}

    since = at(day(5, "08:00:00"))
    due = [event("2026-02-20T00:00:00Z"), event(day(6, "08:00:00")), event(None), event(day(30), day(5)), event("x")]
    resting = [event("2026-02-18T00:00:00Z"), event(day(8))]
    assert events_due([*due, *resting], since, NOW) == due
    assert len(events_due(resting, None, NOW)) == 2
    assert iso(NOW) == day(5)
