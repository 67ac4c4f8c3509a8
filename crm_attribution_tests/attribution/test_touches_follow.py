"""Touches follow what changes around them, hour by hour, and end where deriving all of them again would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crm_attribution.layers import TOUCHES
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.identity.contacts import START, Contacts
from crm_attribution_tests.identity.test_accounts import company
from crm_attribution_tests.identity.test_identity import person_of
from crm_attribution_tests.identity.test_protection import click, derived_touches, form
from crm_attribution_tests.marts import sample_rows

pytestmark = pytest.mark.warehouse

Act = Callable[[], None]


def mail(session: Session, number: str, recipient: str, **more: object) -> None:
    row = {"id": number, "created_at": START, "recipient": recipient, "is_bot": False, "extracted_at": START, **more}
    sample_rows.fill(session, {"raw.email_click": [row]})


def fair(session: Session, number: str, email: str | None, contact: str | None = None) -> None:
    row = {"touch_id": number, "touched_at": START, "act": "fair", "email": email, "contact_id": contact,
           "told_at": START, "extracted_at": START}  # fmt: skip
    sample_rows.fill(session, {"raw.offline_touch": [row]})


def test_an_hour_ends_where_deriving_everything_again_would(session: Session):
    """Acts of a shared inbox, a stranger and Ann, an address that becomes a person's, a domain that becomes a
    company's, a contact that is merged away, and one that gets another address."""
    crm = Contacts()
    ann, bob = crm.create("ann@a.example"), crm.create("bob@a.example")

    def tell() -> None:
        crm.tell(session)

    def act(change: Act) -> Act:
        def told() -> None:
            change()
            crm.tell(session)

        return told

    stamp = f"email:{int(START.timestamp()) * 1000}"
    steps: list[tuple[Act, dict[str, Any]]] = [
        (tell, {}),
        (lambda: form(session, "1", "Desk7@a.example", gclid="G"), {"form:f:1": (None, "domain:a.example")}),
        (lambda: click(session, "k", None, gclid="G"), {"form:f:1": None, "click:k": (None, "domain:a.example")}),
        (lambda: mail(session, "e", "desk7@a.example"), {f"{stamp}:e": (None, "domain:a.example")}),
        (lambda: form(session, "2", "sub@mail.a.example"), {"form:f:2": (None, "domain:a.example")}),
        (lambda: form(session, "3", "ann@a.example"), {"form:f:3": ("ann", "domain:a.example")}),
        (lambda: mail(session, "g", "ghost@a.example"), {f"{stamp}:g": (None, "domain:a.example")}),
        (lambda: mail(session, "n", "nobody@gmail.com"), {}),
        (lambda: fair(session, "1", None, ann), {"offline:1": ("ann", "domain:a.example")}),
        (lambda: fair(session, "2", "desk7@a.example"), {"offline:2": (None, "domain:a.example")}),
        (lambda: fair(session, "3", "nobody@gmail.com", "99"), {}),
        (lambda: fair(session, "1", "desk7@a.example", bob), {"offline:1": ("bob", "domain:a.example")}),
        (act(lambda: crm.add_email(bob, "desk7@a.example")), {
            "click:k": ("bob", "domain:a.example"), f"{stamp}:e": ("bob", "domain:a.example"),
            "offline:2": ("bob", "domain:a.example")}),
        (lambda: company(session, "7", "a.example"), {"*": "company:7"}),
        (lambda: form(session, "4", "nobody@gmail.com"), {}),
        (act(lambda: crm.merge(ann, bob, third=False)), {"*person": "ann"}),
    ]  # fmt: skip
    expected: dict[str, tuple[str | None, str | None]] = {}
    found: list[tuple[Any, ...]] = []
    for change, differs in steps:
        change()
        for touch, what in differs.items():
            if touch == "*":
                expected = {name: (person, str(what)) for name, (person, _) in expected.items()}
            elif touch == "*person":
                expected = {name: (person and str(what), account) for name, (person, account) in expected.items()}
            elif what is None:
                del expected[touch]
            else:
                expected[touch] = what
        found = derived_touches(session)
        names = {None: None, person_of(session, ann): "ann"}
        if person_of(session, bob) not in names:
            names[person_of(session, bob)] = "bob"
        assert {touch: (names[person], account) for touch, person, account in found} == expected, list(differs)
    session.journal.forget([TOUCHES.name])
    assert derived_touches(session) == found, "as in a rebuild"


def test_a_shared_inboxs_acts_are_of_the_account_that_all_its_owners_have(session: Session):
    """Four owners are too many for one person. Of one company: its act; of two: nobody's, where the domain is free."""
    crm = Contacts()
    for place in range(8):
        crm.add_email(crm.create(f"c{place}@{'other' if place == 7 else 'firm'}.example"),
                      "desk@gmail.com" if place < 4 else "pool@gmail.com")  # fmt: skip
    crm.tell(session)
    company(session, "8", "firm.example")
    company(session, "9", "other.example")
    for number, sender in (("1", "desk@gmail.com"), ("2", "pool@gmail.com"), ("3", "stranger@gmail.com")):
        form(session, number, sender)
        mail(session, number, sender)
    stamp = f"email:{int(START.timestamp()) * 1000}"
    assert derived_touches(session) == [(f"{stamp}:1", None, "company:8"), ("form:f:1", None, "company:8")]
