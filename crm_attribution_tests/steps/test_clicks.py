"""Clicks hour by hour: what comes later resolves them, and any order ends the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from crm_attribution.steps import clicks, identity
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.marts import world
from crm_attribution_tests.steps.chain import LOADED, at

CLICKED = at("2026-03-20T12:00:00Z")


def contact(session: Session, number: str, email: str) -> None:
    world.fill(session, {"raw.contact": [world.record(number, email=email)]})
    session.journal("contacts", [number])


def click(session: Session, number: str, moment: datetime = CLICKED, **more: Any) -> None:
    world.fill(session, {"raw.link_click": [world.click(number, moment.isoformat(), **more)]})
    session.journal("link_click", [number])


def form(session: Session, email: str, moment: datetime = CLICKED, **more: Any) -> None:
    row = {"form_id": "f", "conversion_id": "1", "submitted_at": moment, "email": email, "extracted_at": moment, **more}
    world.fill(session, {"raw.form_submission": [row]})
    session.journal("form_submission", ["f:1"])


def run(session: Session, hours: float) -> dict[str, str]:
    """One run that ends so many hours after the click: click id -> status and reason."""
    now = CLICKED + timedelta(hours=hours)
    identity.update(session, LOADED, now)
    clicks.update(session, LOADED, now)
    rows = session.read("identity.click").sort("click_id").iter_rows(named=True)
    return {row["click_id"]: f"{row['status']}: {row['reason']}" for row in rows}


def rebuilt(session: Session, hours: float) -> dict[str, str]:
    with session.transaction():
        session.truncate(["identity.click"])
        session.forget_cursors([clicks.CONSUMER])
    return run(session, hours)


def test_a_click_waits_72_hours_without_any_change(session: Session):
    click(session, "k")
    assert run(session, 1) == run(session, 71) == {"k": "pending: no_submission_with_click_id"}
    assert run(session, 72) == {"k": "unresolved: no_submission_with_click_id"}


def test_a_submission_resolves_a_waiting_click(session: Session):
    contact(session, "1", "ann@a.example")
    click(session, "k", gclid="G")
    run(session, 1)
    form(session, "Ann@A.example", CLICKED + timedelta(hours=2), gclid="G")
    assert run(session, 3) == {"k": "resolved: form_submission"}


def test_a_contact_we_learn_of_after_the_wait_still_gets_its_click(session: Session):
    """Its record was refused at first, or read late: what ends the same in a rebuild ends the same now."""
    click(session, "k", contact_id="1")
    assert run(session, 80) == {"k": "unresolved: contact_unknown"}
    contact(session, "1", "ann@a.example")
    assert run(session, 81) == {"k": "resolved: contact_id"} == rebuilt(session, 81)


def test_an_address_that_comes_to_name_one_contact_resolves_its_click_after_the_wait(session: Session):
    click(session, "k", gclid="G")
    form(session, "Ann@A.example", gclid="G")
    assert run(session, 80) == {"k": "unresolved: email_names_no_single_contact"}
    contact(session, "1", "ann@a.example")
    assert run(session, 81) == {"k": "resolved: form_submission"} == rebuilt(session, 81)


def test_a_third_link_makes_scanner_clicks_of_the_two_before(session: Session):
    contact(session, "1", "ann@a.example")
    for number, link in enumerate("ab"):
        click(session, link, CLICKED + timedelta(seconds=4 * number), contact_id="1", destination_url=link)
    assert set(run(session, 1).values()) == {"resolved: contact_id"}
    click(session, "c", CLICKED + timedelta(seconds=8), contact_id="1", destination_url="c")
    assert set(run(session, 2).values()) == {"suspect: burst"}
    assert run(session, 3) == rebuilt(session, 3)
