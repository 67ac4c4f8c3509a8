"""Clicks hour by hour: what comes later resolves them, and any order ends the same."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from crm_attribution.layers import CLICKS, IDENTITY, TOUCHES, run
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED
from crm_attribution_tests.helpers import at
from crm_attribution_tests.marts import sample_rows

pytestmark = pytest.mark.warehouse

CLICKED = at("2026-03-20T12:00:00Z")


def contact(session: Session, number: str, email: str, *further: str) -> None:
    row = sample_rows.record(number, email=email, additional_emails=list(further))
    sample_rows.fill(session, {"raw.contact": [row]})


def click(session: Session, number: str, moment: datetime = CLICKED, **more: Any) -> None:
    sample_rows.fill(session, {"raw.link_click": [sample_rows.click(number, moment.isoformat(), **more)]})


def mail(session: Session, number: str, moment: datetime = CLICKED, **more: Any) -> None:
    row = {"id": number, "created_at": moment, "url": "https://v.example", "is_bot": False, "extracted_at": moment}
    sample_rows.fill(session, {"raw.email_click": [row | more]})


def form(session: Session, email: str, moment: datetime = CLICKED, **more: Any) -> None:
    row = {"form_id": "f", "conversion_id": "1", "submitted_at": moment, "email": email, "extracted_at": moment, **more}
    sample_rows.fill(session, {"raw.form_submission": [row]})


def after(session: Session, hours: float) -> dict[str, str]:
    """One run that ends so many hours after the click: click id -> status and reason."""
    now = CLICKED + timedelta(hours=hours)
    run(IDENTITY, session, LOADED, now)
    run(CLICKS, session, LOADED, now)
    rows = session.read("identity.click").sort("click_id").iter_rows(named=True)
    return {row["click_id"]: f"{row['status']}: {row['reason']}" for row in rows}


def rebuilt(session: Session, hours: float) -> dict[str, str]:
    with session.transaction():
        session.truncate(["identity.click"])
        session.journal.forget([CLICKS.name])
    return after(session, hours)


def test_a_click_waits_72_hours_without_any_change(session: Session):
    click(session, "k")
    assert after(session, 1) == after(session, 71) == {"k": "pending: no_submission_with_click_id"}
    assert after(session, 72) == {"k": "unresolved: no_submission_with_click_id"}


def test_a_submission_resolves_a_waiting_click(session: Session):
    contact(session, "1", "ann@a.example")
    click(session, "k", gclid="G")
    after(session, 1)
    form(session, "Ann@A.example", CLICKED + timedelta(hours=2), gclid="G")
    assert after(session, 3) == {"k": "resolved: form_submission"}


def test_identity_shows_the_clicks_that_are_not_resolved(session: Session):
    contact(session, "1", "ann@a.example")
    click(session, "k", contact_id="1")
    click(session, "l")
    after(session, 1)
    shown = run(IDENTITY, session, LOADED, CLICKED).figures
    assert {name: count for name, count in shown.items() if name.startswith("clicks")} == {
        "clicks pending: no_submission_with_click_id": 1
    }


def test_a_contact_we_learn_of_after_the_wait_still_gets_its_click(session: Session):
    """Its record was refused at first, or read late: what ends the same in a rebuild ends the same now."""
    click(session, "k", contact_id="1")
    assert after(session, 80) == {"k": "unresolved: contact_unknown"}
    contact(session, "1", "ann@a.example")
    assert after(session, 81) == {"k": "resolved: contact_id"} == rebuilt(session, 81)


def test_an_address_that_comes_to_name_one_contact_resolves_its_click_after_the_wait(session: Session):
    click(session, "k", gclid="G")
    form(session, "Ann@A.example", gclid="G")
    assert after(session, 80) == {"k": "unresolved: email_names_no_single_contact"}
    contact(session, "1", "ann@a.example")
    assert after(session, 81) == {"k": "resolved: form_submission"} == rebuilt(session, 81)


def test_a_third_link_makes_scanner_clicks_of_the_two_before(session: Session):
    contact(session, "1", "ann@a.example")
    for number, link in enumerate("ab"):
        click(session, link, CLICKED + timedelta(seconds=4 * number), contact_id="1", destination_url=link)
    assert set(after(session, 1).values()) == {"resolved: contact_id"}
    click(session, "c", CLICKED + timedelta(seconds=8), contact_id="1", destination_url="c")
    assert set(after(session, 2).values()) == {"suspect: burst"}
    assert after(session, 3) == rebuilt(session, 3)


STATE = {"identity.click": "click_id", "identity.email_click": "id", "attribution.touch": "touch_id"}


def state(session: Session) -> dict[str, list[tuple[Any, ...]]]:
    run(CLICKS, session, LOADED, CLICKED + timedelta(hours=1))
    run(TOUCHES, session, LOADED, CLICKED)
    return {
        name: session.read(name).drop("click_id_kinds", strict=False).sort(key).rows() for name, key in STATE.items()
    }


def test_a_tracked_link_in_a_marketing_mail_is_one_touch(session: Session):
    contact(session, "1", "ann@a.example")
    mail(session, "e", CLICKED + timedelta(seconds=2), recipient="Ann@A.example", email_campaign_id="5")
    after(session, 1)
    assert [row[2] for row in state(session)["attribution.touch"]] == ["email_click"]
    click(session, "k", contact_id="1", destination_url="https://www.v.example/?utm_source=x")
    after(session, 2)
    assert [row[2] for row in state(session)["attribution.touch"]] == ["link_click"]
    mail(
        session,
        "bot",
        CLICKED + timedelta(seconds=1),
        recipient="ann@a.example",
        bot_reason="hubspot_filter",
        is_bot=True,
    )
    assert after(session, 3) == {"k": "suspect: hubspot_filter"}, "HubSpot knows that this act was a scanner's"
    assert [row[2] for row in state(session)["attribution.touch"]] == ["email_click"], "and the other one was not"


def test_a_recipient_we_learn_of_later_gets_its_clicks(session: Session):
    mail(session, "e", recipient="ann@a.example")
    after(session, 1)
    assert session.read("identity.email_click")["reason"].to_list() == ["recipient_names_no_person"]
    contact(session, "1", "ann@a.example")
    after(session, 2)
    assert session.read("identity.email_click")["reason"].to_list() == ["recipient"]
    mail(session, "nobody", recipient=None)
    after(session, 2)
    assert session.read("identity.email_click", "id = 'nobody'")["reason"].to_list() == ["no_recipient"]


def test_a_role_mailbox_of_one_contact_is_that_contact_by_both_kinds_of_click(session: Session):
    """Such an address joins nobody, and is one contact's all the same; of two persons it is nobody's."""
    contact(session, "1", "info@a.example")
    contact(session, "2", "ann@a.example")
    click(session, "k", gclid="G")
    form(session, "info@a.example", gclid="G")
    mail(session, "e", CLICKED + timedelta(hours=2), recipient="Info@a.example")
    assert after(session, 3) == {"k": "resolved: form_submission"}
    mine = session.read("identity.email_click").row(0, named=True)
    assert (mine["status"], mine["contact_id"]) == ("resolved", 1)
    assert mine["person_id"] == session.read("identity.click")["person_id"].item()
    contact(session, "2", "info@a.example", "ann@a.example")
    after(session, 4)
    found = session.read("identity.email_click")
    assert found["reason"].to_list() == ["recipient_names_no_person"]
    rebuilt(session, 4)
    assert session.read("identity.email_click").equals(found)
    contact(session, "2", "ann@a.example")
    after(session, 5)
    assert session.read("identity.email_click")["contact_id"].to_list() == [1], "its only holder again"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_any_order_of_arrival_ends_where_a_rebuild_does(session: Session, seed: int):
    """Clicks of a few busy seconds, persons and a merge of two, told in batches of random size and order."""
    chance = random.Random(seed)
    pages = ["https://v.example/a", "https://v.example/b", "https://v.example/c"]
    acts: list[Any] = [lambda n=n: contact(session, n, f"c{n}@a.example") for n in ("1", "2", "3")]
    acts.append(lambda: contact(session, "4", "c1@a.example"))  # 1 and 4 are one person from then on
    for number in range(50):
        moment = CLICKED + timedelta(seconds=chance.randrange(200))
        who, page = chance.choice("1234"), chance.choice(pages)
        if number % 2:
            method = chance.choice(["GET", "GET", "HEAD"])
            bot = {"is_bot": True, "bot_reason": "method_head"} if method == "HEAD" else {}
            acts.append(
                lambda n=number, t=moment, w=who, p=page, b=bot: click(
                    session, f"k{n}", t, contact_id=w, destination_url=p, **b
                )
            )
        else:
            reason = chance.choice([None, None, None, None, None, "hubspot_filter", "obsoleted"])
            bot = {"is_bot": reason is not None, "bot_reason": reason}
            sent = moment - timedelta(seconds=chance.choice([2, 300, 300, 300]))
            acts.append(
                lambda n=number, t=moment, w=who, p=page, b=bot, s=sent: mail(
                    session, f"e{n}", t, recipient=f"C{w}@a.example", url=p, sent_at=s, **b
                )
            )
    chance.shuffle(acts)
    while acts:
        for _ in range(min(len(acts), chance.randint(5, 15))):
            acts.pop()()
        run(IDENTITY, session, LOADED, CLICKED)
        found = state(session)
    assert {row[2] for row in found["identity.email_click"]} >= {"resolved", "suspect"}
    with session.transaction():
        session.truncate(STATE)
        session.journal.forget([CLICKS.name, TOUCHES.name])
    assert state(session) == found


def test_a_later_submission_names_a_click_that_was_given_up(session: Session):
    contact(session, "1", "ann@a.example")
    click(session, "k", gclid="G")
    after(session, 80)
    form(session, "ann@a.example", CLICKED + timedelta(days=89), gclid="G")
    assert after(session, 24 * 89) == {"k": "resolved: later_form_submission"} == rebuilt(session, 24 * 89)


def test_the_click_of_a_forwarded_mail_stays_with_the_contact_of_the_link(session: Session):
    contact(session, "1", "ann@a.example")
    contact(session, "2", "bob@a.example")
    click(session, "k", contact_id="1", gclid="G")
    form(session, "bob@a.example", gclid="G")
    assert after(session, 1) == {"k": "resolved: contact_id"}
    row = session.read("identity.click").row(0, named=True)
    assert (row["contact_id"], row["forwarded"], row["form_id"]) == (1, True, None)


def test_an_address_shared_within_one_person_names_that_person(session: Session):
    contact(session, "1", "ann@a.example", "both@a.example")
    contact(session, "2", "both@a.example")
    click(session, "k", gclid="G")
    form(session, "ann@a.example", gclid="G")
    assert after(session, 1) == {"k": "resolved: form_submission"}
    contact(session, "2", "both@a.example", "ann@a.example")
    assert after(session, 80) == {"k": "resolved: form_submission"}
    assert touched(session) == [("click:k", True)]
    assert after(session, 80) == rebuilt(session, 80)
    assert session.read("identity.click")["contact_id"].to_list() == [1], "whose own address it is"


def touched(session: Session) -> list[tuple[str, bool]]:
    """Each touch, and whether its person is known."""
    run(TOUCHES, session, LOADED, CLICKED)
    rows = session.read("attribution.touch").sort("touch_id")
    return rows.select("touch_id", rows["person_id"].is_not_null()).rows()
