"""Whose click it was, at the edges of the windows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.identity.rules.clicks import resolve, withheld
from crm_attribution_tests.events.rules.histories import RULES, frame
from crm_attribution_tests.helpers import at

CLICKED = at("03-20T12:00:00")
LATE = CLICKED + timedelta(days=30)
MILLISECOND = timedelta(milliseconds=1)
PEOPLE = {1: "ann", 2: "bob"}
EMAILS = {"ann@a.example": 1, "bob@b.example": 2}


def click(**more: Any) -> dict[str, Any]:
    return {"click_id": "k", "clicked_at": CLICKED, "received_at": CLICKED, "link_tags": [], "is_bot": False,
            "destination_url": "https://v.example", "extracted_at": CLICKED, **more}  # fmt: skip


def form(when: datetime, number: str = "s", email: str | None = "ann@a.example", **more: Any) -> dict[str, Any]:
    return {"form_id": "f", "conversion_id": number, "submitted_at": when, "email": email, "extracted_at": when, **more}


def resolved(given: dict[str, Any], *forms: dict[str, Any], as_of: datetime = LATE) -> dict[str, Any]:
    submissions = frame("raw.form_submission", forms).with_columns(email_normalised="email")
    rows = resolve(
        frame("raw.link_click", [given]),
        submissions,
        pl.DataFrame({"email": list(EMAILS), "contact_id": list(EMAILS.values())}),
        pl.DataFrame({"contact_id": list(PEOPLE), "person_id": list(PEOPLE.values())}),
        RULES.identity,
        as_of,
    )
    contract = CONTRACTS["identity.click"]
    return dict(contract.validate(contract.conform(rows)).row(0, named=True))


def told(row: dict[str, Any]) -> tuple[str, str, str | None]:
    return row["status"], row["reason"], row["person_id"]


def test_the_contact_in_the_link_comes_first():
    row = resolved(click(contact_id="1", gclid="G"), form(CLICKED, gclid="G"))
    assert told(row) == ("resolved", "contact_id", "ann")
    assert row["conversion_id"] == "s", "the submission is the same touch"


def test_a_forwarded_mail_stays_with_the_contact_it_was_sent_to():
    row = resolved(click(contact_id="1", gclid="G"), form(CLICKED, email="bob@b.example", gclid="G"))
    assert told(row) == ("resolved", "contact_id", "ann")
    assert row["conversion_id"] is None, "bob's submission is a touch of its own"


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        (CLICKED - timedelta(days=14), "form_submission"),
        (CLICKED - timedelta(days=14) - MILLISECOND, None),
        (CLICKED, "form_submission"),
        (CLICKED + timedelta(hours=72), "form_submission"),
        (CLICKED + timedelta(hours=72) + MILLISECOND, "later_form_submission"),
        (CLICKED + timedelta(days=90), "later_form_submission"),
        (CLICKED + timedelta(days=90) + MILLISECOND, None),
    ],
)
def test_the_windows_of_a_submission_include_both_ends(moment: datetime, found: str | None):
    row = resolved(click(gclid="G"), form(moment, gclid="G"))
    assert told(row) == (("resolved", found, "ann") if found else ("unresolved", "no_submission_with_click_id", None))


@pytest.mark.parametrize("name", ["gclid", "fbclid", "li_fat_id", "msclkid", "ttclid"])
def test_every_shared_click_id_names_a_click_and_so_does_our_own(name: str):
    assert told(resolved(click(**{name: "X"}), form(CLICKED, **{name: "X"})))[0] == "resolved"
    assert told(resolved(click(**{name: "X"}), form(CLICKED, **{name: "x"})))[0] == "unresolved", "case matters"
    assert told(resolved(click(), form(CLICKED, link_click_id="k")))[0] == "resolved"


def test_the_latest_submission_that_names_a_contact_counts():
    earlier, later = CLICKED + timedelta(hours=1), CLICKED + timedelta(hours=2)
    ann, bob = form(earlier, "1", gclid="G"), form(later, "2", "bob@b.example", gclid="G")
    assert told(resolved(click(gclid="G"), ann, bob))[2] == "bob"
    assert told(resolved(click(gclid="G"), ann, bob | {"email": "stranger@c.example"}))[2] == "ann"


def test_of_later_submissions_the_earliest_counts_and_of_one_instant_the_smaller_ids():
    late = CLICKED + timedelta(days=10)
    first, then = form(late, "9", gclid="G"), form(late + MILLISECOND, "1", "bob@b.example", gclid="G")
    assert resolved(click(gclid="G"), then, first)["conversion_id"] == "9"
    for moment in (CLICKED, late):
        forms = [form(moment, number, gclid="G", form_id=name) for name, number in (("b", "1"), ("a", "3"), ("a", "2"))]
        row = resolved(click(gclid="G"), *forms)
        assert (row["form_id"], row["conversion_id"]) == ("a", "2")


def test_pending_for_72_hours_then_unresolved_with_its_reason():
    end = CLICKED + timedelta(hours=72)
    for given, forms, reason in [
        (click(), [], "no_submission_with_click_id"),
        (click(contact_id="99"), [], "contact_unknown"),
        (click(gclid="G"), [form(CLICKED, email=None, gclid="G")], "email_names_no_single_contact"),
        (click(gclid="G"), [form(end + MILLISECOND, email=None, gclid="G")], "email_names_no_single_contact"),
    ]:
        assert told(resolved(given, *forms, as_of=end - MILLISECOND)) == ("pending", reason, None)
        assert told(resolved(given, *forms, as_of=end)) == ("unresolved", reason, None)


@pytest.mark.parametrize("name", ["gbraid", "wbraid"])
def test_an_aggregate_id_names_nobody(name: str):
    assert told(resolved(click(**{name: "X"}), form(CLICKED, **{name: "X"})))[0] == "unresolved"


def test_a_suspect_belongs_to_nobody():
    answer = pl.DataFrame([resolved(click(contact_id="1"))])
    (row,) = withheld(answer, pl.DataFrame({"click_id": ["k"], "reason": ["burst"]})).rows(named=True)
    assert told(row) == ("suspect", "burst", None)
    assert withheld(answer, pl.DataFrame({"click_id": ["other"], "reason": ["burst"]})).equals(answer)
