"""Planning: which milestone becomes whose conversion, once, and which never leaves the house."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crm_attribution import configuration
from crm_attribution.conversions import plan as conversions
from crm_attribution.identifiers import delivery_key
from crm_attribution.ledger import moves
from crm_attribution.ledger.store import Ledger
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.marts import sample_rows

pytestmark = pytest.mark.warehouse

NOW = at("2026-04-01")
THEN = "2026-03-10T09:00:00Z"
META = {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "dataset", "CRM_ATTRIBUTION_START": "2026-03-01T00:00:00Z"}
MINIMAL = """
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead}
      - {milestone: customer_won, action: Purchase, value: arr}
      - {milestone: customer_expanded, action: Expansion, value: arr}
"""


class Desk:
    """A warehouse in which milestones are written by hand and planned."""

    def __init__(self, session: Session, folder: Path) -> None:
        self.session = session
        self.folder = folder
        self.ledger = Ledger(folder)
        self.text = MINIMAL
        self.environment = dict(META)

    def tell(self, *milestones: sample_rows.Row, gone: Sequence[tuple[str, str]] = ()) -> None:
        """What milestones.update would leave: rows written or removed."""
        sample_rows.fill(self.session, {"events.milestone": milestones})
        keys = pl.DataFrame(gone, schema={"milestone": pl.String, "milestone_id": pl.String}, orient="row")
        self.session["events.milestone"].delete(keys)
        self.session["events.milestone_event"].delete(keys)

    def plan(self) -> int:
        given = configuration.load(self.environment)
        return conversions.update(self.session, self.ledger, rules(self.folder, self.text), given, NOW).changed

    def change(self, *milestones: str, **columns: Any) -> None:
        """What sending would write."""
        keys = [row["conversion_id"] for row in self.rows() if row["milestone_id"] in milestones or not milestones]
        with self.ledger.writing() as book:
            book.update(CONVERSION, [{"conversion_id": key, **columns} for key in keys])

    def rows(self) -> list[dict[str, Any]]:
        return self.session.read("conversions.conversion").sort("occurred_at", "action").rows(named=True)

    def states(self) -> dict[str, str]:
        """milestone id -> state, and why."""
        return {
            row["milestone_id"]: row["state"] + (f": {row['reason']}" if row["reason"] else "") for row in self.rows()
        }


@pytest.fixture
def desk(session: Session, tmp_path: Path) -> Desk:
    session.state.watermark = at("2026-03-20")
    return Desk(session, tmp_path)


def lead(number: str, when: str = THEN, **more: Any) -> sample_rows.Row:
    return sample_rows.milestone("lead_captured", number, when, **{"person": f"person-{number}", **more})


def win(number: str, name: str = "customer_won", arr: int | None = 5000, **more: Any) -> sample_rows.Row:
    given = {"account": "company:1", "deal": "1", "subtype": "new", "money": ("EUR", None, None, arr)}
    return sample_rows.milestone(name, number, THEN, **(given | more))


def test_a_conversion_has_the_key_of_its_business_fact(desk: Desk):
    desk.tell(lead("a"))
    assert desk.plan() == 1
    (row,) = desk.rows()
    assert row["conversion_id"] == delivery_key("meta", "dataset", "Lead", "a", 0)
    assert (row["state"], row["person_id"], row["value"], row["currency"]) == ("pending", "person-a", None, None)
    assert row["ready_at"] == at(THEN) + timedelta(minutes=60)
    assert row["expires_at"] == at(THEN) + timedelta(days=7)
    assert (row["kind"], row["revision"], row["attempts"]) == ("conversion", 0, 0)
    assert (row["planned_at"], row["updated_at"]) == (NOW, NOW)


def test_again_is_nothing(desk: Desk):
    desk.tell(lead("a"), win("w"))
    assert desk.plan() == 2
    assert desk.plan() == 0
    desk.tell(lead("a"), win("w"))
    assert desk.plan() == 0
    desk.session.journal.forget([conversions.consumer("meta")])
    assert desk.plan() == 0


def test_what_is_not_sent_says_why(desk: Desk):
    desk.tell(
        lead("old", "2026-02-28T23:59:59Z", imported=True),
        lead("first", "2026-03-01T00:00:00Z"),
        lead("imported", imported=True),
        lead("ours", imported=True, suppressed_by="email_domain"),
        lead("gone", state="reversed", reason="archived"),
        win("renewal", "customer_expanded", subtype="renewal", deal="2"),
        sample_rows.milestone("meeting_scheduled", "no rule", THEN, account="company:1", deal="1"),
    )
    desk.plan()
    assert desk.states() == {
        "old": "suppressed: before_activation",
        "first": "pending",
        "imported": "suppressed: imported",
        "ours": "suppressed: internal",
    }


def test_a_rule_may_allow_imports_and_name_its_own_start_and_patience(desk: Desk):
    desk.text = """
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead, imported: true, settle_minutes: 5, send_from: "2026-02-01"}
"""
    desk.tell(lead("old", "2026-02-28T09:00:00Z", imported=True), lead("older", "2026-01-28T09:00:00Z"))
    desk.plan()
    assert desk.states() == {"older": "suppressed: before_activation", "old": "pending"}
    assert desk.rows()[1]["ready_at"] == at("2026-02-28T09:05:00Z")


@pytest.mark.parametrize(
    ("observed", "ready_from", "ready"),
    [
        ("2026-03-10T09:00:00Z", "2026-03-10T09:00:00Z", "2026-03-10T10:00:00Z"),
        ("2026-03-12T09:00:00Z", "2026-03-10T09:00:00Z", "2026-03-12T09:00:00Z"),
        ("2026-03-10T09:00:00Z", "2026-03-11T09:00:00Z", "2026-03-11T09:00:00Z"),
    ],
)
def test_ready_when_settled_observed_and_no_echo_can_come(desk: Desk, observed: str, ready_from: str, ready: str):
    desk.tell(lead("a", observed_at=at(observed), ready_from=at(ready_from)))
    desk.plan()
    assert desk.rows()[0]["ready_at"] == at(ready)


def test_the_value_follows_until_the_first_send(desk: Desk):
    desk.tell(win("w", arr=None))
    desk.plan()
    assert [(row["value"], row["currency"]) for row in desk.rows()] == [(None, None)]
    desk.tell(win("w", arr=7000))
    assert desk.plan() == 1
    assert [(row["value"], row["currency"]) for row in desk.rows()] == [(7000, "EUR")]
    assert desk.plan() == 0
    desk.change(attempts=1)
    desk.tell(win("w", arr=9000))
    assert desk.plan() == 0
    assert desk.rows()[0]["value"] == 7000, "what was sent once is sent again as it was"


def test_the_time_follows_until_the_first_send_each_rule_with_its_own_patience(desk: Desk):
    desk.text = """
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead, settle_minutes: 5}
      - {milestone: qualified_lead, action: QualifiedLead}
"""
    moved = at("2026-03-11T09:00:00Z")
    early = {"observed_at": at(THEN), "ready_from": at(THEN)}
    for when in (THEN, moved.isoformat()):
        desk.tell(lead("a", when, **early), lead("b", when, **early) | {"milestone": "qualified_lead"})
        desk.plan()
    assert [(row["action"], row["occurred_at"], row["ready_at"] - moved) for row in desk.rows()] == [
        ("Lead", moved, timedelta(minutes=5)),
        ("QualifiedLead", moved, timedelta(minutes=60)),
    ]
    assert {row["expires_at"] for row in desk.rows()} == {moved + timedelta(days=7)}


@pytest.mark.parametrize(("first", "second"), [("customer_won", "customer_expanded"),
                                               ("customer_expanded", "customer_won")])  # fmt: skip
def test_a_win_that_is_renamed_is_no_second_conversion(desk: Desk, first: str, second: str):
    desk.tell(win("w", first))
    desk.plan()
    (before,) = desk.rows()
    desk.tell(win("w", second), gone=[(first, "w")])
    assert desk.plan() == 0
    assert desk.rows() == [before]
    desk.tell(win("w", second, arr=6000))
    assert desk.plan() == 1, "its value still follows"
    assert desk.rows()[0]["value"] == 6000


def test_a_fact_told_by_an_earlier_event_after_all_keeps_its_conversion(desk: Desk):
    """A late carrier: the milestone's id changes, the event that was planned is linked to it."""
    desk.tell(lead("a"))
    desk.plan()
    (planned,) = desk.rows()
    desk.tell(lead("earlier", "2026-03-09T09:00:00Z", linked_event_ids=["earlier", "a"]), gone=[("lead_captured", "a")])
    assert desk.plan() == 1, "its time follows while it is unsent"
    (row,) = desk.rows()
    assert row["conversion_id"] == planned["conversion_id"]
    assert row["occurred_at"] == at("2026-03-09T09:00:00Z")
    assert desk.plan() == 0


def test_a_win_taken_back_and_won_again_before_it_is_sent_is_sent_as_the_standing_win(desk: Desk):
    desk.tell(win("w"))
    desk.plan()
    (before,) = desk.rows()
    again = before["occurred_at"] + timedelta(days=2)
    desk.tell(win("w", occurred_at=again, observed_at=again))
    assert desk.plan() == 1
    (row,) = desk.rows()
    assert row["conversion_id"] == before["conversion_id"]
    assert row["expires_at"] == before["expires_at"] + timedelta(days=2)
    assert row["ready_at"] >= again


def test_two_persons_merged_send_nothing_new(desk: Desk):
    desk.tell(lead("a"), lead("b"))
    assert desk.plan() == 2
    desk.tell(lead("a", linked_event_ids=["a", "b"]), gone=[("lead_captured", "b")])
    assert desk.plan() == 1
    assert desk.states() == {"a": "pending", "b": "suppressed: duplicate"}
    desk.tell(lead("0", linked_event_ids=["0", "b", "a"]), gone=[("lead_captured", "a")])
    assert desk.plan() == 0
    desk.tell(lead("a"), lead("b"), gone=[("lead_captured", "0")])
    assert desk.plan() == 1, "they part again: nothing was lost"
    assert desk.states() == {"a": "pending", "b": "pending"}


def test_of_two_planned_before_a_merge_the_one_sent_stays(desk: Desk):
    desk.tell(lead("a"), lead("b"))
    desk.plan()
    desk.change("b", state="accepted", attempts=1)
    desk.tell(lead("a", linked_event_ids=["a", "b"]), gone=[("lead_captured", "b")])
    assert desk.plan() == 1
    assert desk.states() == {"a": "suppressed: duplicate", "b": "accepted"}


def test_what_may_be_the_copy_of_an_archived_deal_waits_for_a_person(desk: Desk):
    copy = win("new", deal="2", possible_duplicate_of="old")
    desk.tell(win("old", state="reversed", reason="archived"), copy)
    desk.plan()
    assert desk.states() == {"new": "held: possible_duplicate"}
    with desk.ledger.writing() as book:
        moves.release(book, "meta", "possible_duplicate", NOW)
    desk.tell(copy)
    assert desk.plan() == 0, "a person has decided"
    assert desk.states() == {"new": "pending: released"}
    desk.tell(win("late", deal="3"))
    desk.plan()
    desk.tell(win("late", deal="3", possible_duplicate_of="old"))
    assert desk.plan() == 1
    assert desk.states()["late"] == "held: possible_duplicate"
    desk.tell(win("late", deal="3"))
    assert desk.plan() == 1
    assert desk.states()["late"] == "pending"


def test_a_second_rule_added_later_has_its_own_rows_and_a_renamed_one_has_none(desk: Desk):
    desk.tell(win("w"))
    desk.plan()
    desk.text = MINIMAL + "      - {milestone: customer_won, action: Celebrate, send_from: '2026-03-01'}\n"
    assert desk.plan() == 1
    assert sorted((row["action"], row["state"]) for row in desk.rows()) == [
        ("Celebrate", "pending"), ("Purchase", "pending"),
    ]  # fmt: skip
    desk.text = MINIMAL.replace("Purchase", "Bought")
    assert desk.plan() == 0
    desk.tell(win("w", "customer_expanded"), gone=[("customer_won", "w")])
    assert desk.plan() == 0, "renamed facts keep the rows they have"


def test_of_a_renewal_only_the_change_is_sent(desk: Desk):
    desk.text = """
destinations:
  meta:
    conversions:
      - {milestone: customer_expanded, action: Expansion, value: arr, subtypes: [expansion, renewal]}
"""
    desk.tell(
        win("r", "customer_expanded", arr=7000, subtype="renewal", arr_new=2000),
        win("e", "customer_expanded", arr=500, subtype="expansion", arr_new=500),
    )
    desk.plan()
    assert {row["milestone_id"]: row["value"] for row in desk.rows()} == {"r": 2000, "e": 500}


def test_a_rule_added_later_uploads_no_history(desk: Desk):
    desk.tell(lead("before"))
    desk.plan()
    desk.text = MINIMAL + "      - {milestone: qualified_lead, action: Qualified}\n"
    old = sample_rows.milestone("qualified_lead", "q1", "2026-03-19T23:59:59Z", person="p")
    new = sample_rows.milestone("qualified_lead", "q2", "2026-03-20T00:00:00Z", person="q")
    desk.tell(old, new)
    assert desk.plan() == 2
    assert desk.states() == {"before": "pending", "q1": "suppressed: before_activation", "q2": "pending"}


def test_a_rule_added_later_that_names_an_instant_does(desk: Desk):
    desk.plan()
    desk.text = MINIMAL + '      - {milestone: qualified_lead, action: Qualified, send_from: "2026-03-01"}\n'
    desk.tell(sample_rows.milestone("qualified_lead", "q1", THEN, person="p"))
    desk.plan()
    assert desk.states() == {"q1": "pending"}


def _deals_of_one_person(session: Session) -> None:
    stamp = at("2026-03-01")
    contact = sample_rows.record("7", email="ann@a.example")
    joined = [
        {"from_type": "deals", "from_id": deal, "to_type": "contacts", "to_id": "7", "type_ids": ["3"], "labels": [],
         "is_primary": False, "position": 0, "valid_from": stamp} for deal in ("1", "2")
    ]  # fmt: skip
    alias = [{"identifier_type": "contact", "identifier": "7", "person_id": "p"}]
    sample_rows.fill(session, {"raw.contact": [contact], "raw.association": joined, "identity.alias": alias})


@pytest.mark.parametrize("together", [True, False])
def test_once_per_person_sends_the_first_only(desk: Desk, together: bool):
    desk.text = """
destinations:
  meta:
    conversions:
      - {milestone: opportunity_created, action: Opportunity, once_per: person}
"""
    _deals_of_one_person(desk.session)
    first = sample_rows.milestone("opportunity_created", "one", THEN, account="a", deal="1", subtype="new")
    second = sample_rows.milestone(
        "opportunity_created", "two", "2026-03-11T09:00:00Z", account="a", deal="2", subtype="new"
    )
    desk.tell(*([first, second] if together else [first]))
    desk.plan()
    desk.tell(second)
    desk.plan()
    assert desk.states() == {"one": "pending", "two": "suppressed: once_per_person"}


@pytest.mark.parametrize("order", [("z", "a"), ("a", "z")])
def test_the_first_of_a_person_is_the_one_heard_of_first_whatever_its_id(desk: Desk, order: Sequence[str]):
    desk.text = """
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead, once_per: person}
"""
    when = {"z": "2026-03-10T09:00:00Z", "a": "2026-03-11T09:00:00Z"}
    desk.tell(*(lead(number, when[number], person="p") for number in order))
    desk.plan()
    assert desk.states() == {"z": "pending", "a": "suppressed: once_per_person"}


def test_a_later_fact_of_a_person_keeps_the_reason_of_its_own(desk: Desk):
    desk.text = """
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead, once_per: person, send_from: "2026-03-10"}
"""
    told = {"a": "2026-03-01T09:00:00Z", "b": "2026-03-09T23:59:59Z", "c": "2026-03-11T09:00:00Z"}
    desk.tell(*(lead(number, moment, person="p") for number, moment in told.items()))
    desk.plan()
    assert desk.states() == {
        "a": "suppressed: before_activation",
        "b": "suppressed: before_activation",
        "c": "suppressed: once_per_person",
    }


@pytest.mark.parametrize(("measure", "sent"), [("amount", (1, 1)), ("mrr", (2, 20)), ("arr", (3, 30)), ("tcv", (4, 4))])
def test_each_measure_is_sent_as_it_is_and_recurring_ones_of_a_renewal_as_their_change(
    desk: Desk, measure: str, sent: tuple[int, int]
):
    desk.text = f"""
destinations:
  meta:
    conversions:
      - {{milestone: customer_expanded, action: Expansion, value: {measure}, subtypes: [new, renewal]}}
"""
    value = {"amount_current": 1, "mrr_current": 2, "arr_current": 3, "tcv_current": 4, "mrr_new": 20, "arr_new": 30}
    desk.tell(*(win(kind, "customer_expanded", deal=str(place), subtype=kind, **value)
                for place, kind in enumerate(("new", "renewal"))))  # fmt: skip
    desk.plan()
    assert {row["milestone_id"]: row["value"] for row in desk.rows()} == dict(
        zip(("new", "renewal"), sent, strict=True)
    )


def test_what_was_held_back_for_another_is_no_first_of_its_person(desk: Desk):
    """Two persons were one when the second fact was planned; what it held back is not the first of either."""
    desk.text = """
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead, once_per: person}
"""
    desk.tell(lead("a", person="p"), lead("b", "2026-03-11T09:00:00Z", person="p"))
    desk.plan()
    assert desk.states() == {"a": "pending", "b": "suppressed: once_per_person"}
    desk.change("b", person_id="q")
    desk.tell(lead("c", "2026-03-12T09:00:00Z", person="q"))
    desk.plan()
    assert desk.states()["c"] == "pending"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"CRM_ATTRIBUTION_SEND": "off"}, "switched off"),
        ({"META_DATASET_ID": ""}, "META_DATASET_ID (Meta Events Manager"),
    ],
)
def test_where_nothing_may_be_sent_nothing_is_planned(desk: Desk, change: Mapping[str, str], why: str):
    desk.environment |= change
    desk.tell(lead("a"))
    given = configuration.load(desk.environment)
    report = conversions.update(desk.session, desk.ledger, rules(desk.folder, MINIMAL), given, NOW)
    assert why in report.skipped["meta"]
    assert "no conversions under destinations.linkedin" in report.skipped["linkedin"] or "off" in why
    assert desk.rows() == []


def test_a_destination_configured_after_another_sends_no_history(desk: Desk):
    desk.text = MINIMAL + "  linkedin:\n    conversions: [{milestone: lead_captured, action: '104'}]\n"
    desk.environment |= {"META_DATASET_ID": "", "LINKEDIN_ACCESS_TOKEN": "token"}
    desk.tell(lead("before"))
    desk.plan()
    assert [(row["destination"], row["state"]) for row in desk.rows()] == [("linkedin", "pending")]
    desk.environment["META_DATASET_ID"] = "dataset"
    desk.tell(lead("after", "2026-03-20T00:00:00Z"))
    desk.plan()
    meta = {row["milestone_id"]: row["reason"] for row in desk.rows() if row["destination"] == "meta"}
    assert meta == {"before": "before_activation", "after": None}
