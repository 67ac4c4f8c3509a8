"""A small company as portal-log lines, and short ways to write more of them."""

from __future__ import annotations

from typing import Any

Line = dict[str, Any]

OPENED = "2026-03-01T00:00:00Z"
FORM = "f0f0f0f0-1111-4222-8333-444444444444"
NOW = "2026-03-10T00:00:00Z"


def create(at: str, kind: str, identifier: int | str, source: str = "CRM_UI", **properties: Any) -> Line:
    return {
        "at": at,
        "op": "create",
        "object": kind,
        "id": str(identifier),
        "source": source,
        "properties": properties,
    }


def update(at: str, kind: str, identifier: int | str, source: str = "CRM_UI", **properties: Any) -> Line:
    return {**create(at, kind, identifier, source, **properties), "op": "update"}


def join(at: str, one: tuple[str, int], other: tuple[str, int], **more: Any) -> Line:
    ends = {"from": [one[0], str(one[1])], "to": [other[0], str(other[1])]}
    return {"at": at, "op": "associate", **ends, **more}


def merge(at: str, kind: str, primary: int, merged: int, into: int | None = None) -> Line:
    third = {} if into is None else {"into": str(into)}
    return {"at": at, "op": "merge", "object": kind, "primary": str(primary), "merged": str(merged), **third}


def submit(at: str, form: str, **fields: Any) -> Line:
    return {"at": at, "op": "submit", "submission": {"form_id": form, **fields}}


def click(at: str, identifier: str, **fields: Any) -> Line:
    return {"at": at, "op": "click", "click": {"click_id": identifier, "link_slug": "demo", **fields}}


def email_click(at: str, identifier: str, recipient: str, *, filtered: bool = False) -> Line:
    event = {"id": identifier, "recipient": recipient, "email_campaign_id": 5, "filtered": filtered}
    return {"at": at, "op": "email_click", "event": {**event, "url": "https://v.example"}}


def day(number: int, time: str = "09:00:00") -> str:
    return f"2026-03-{number:02d}T{time}Z"


COMPANY: list[Line] = [
    {"at": OPENED, "op": "owner", "owner": {"id": "71", "email": "ada@vendor.example", "firstName": "Ada"}},
    {"at": OPENED, "op": "owner", "owner": {"id": "72", "email": "gone@vendor.example", "archived": True}},
    {"at": OPENED, "op": "owner", "owner": {"id": "73", "email": "bob@vendor.example", "firstName": "Bob"}},
    {
        "at": OPENED,
        "op": "pipeline",
        "pipeline": {
            "id": "880",
            "label": "Renewals",
            "displayOrder": 1,
            "stages": [
                {"id": "8801", "label": "Due", "metadata": {"isClosed": False, "probability": 0.5}},
                {"id": "8802", "label": "Renewed", "metadata": {"isClosed": True, "probability": 1.0}},
            ],
        },
    },
    create(day(1), "companies", 31, name="Quelle", domain="quelle.example"),
    create(day(1), "companies", 32, name="Ufer", domain="ufer.example"),
    create(day(1), "contacts", 11, "FORM", email="ann@quelle.example", firstname="Ann", lifecyclestage="lead"),
    create(day(1), "contacts", 12, "FORM", email="Ben@Ufer.example", firstname="Ben", lifecyclestage="lead"),
    create(day(1), "contacts", 13, "IMPORT", email="cleo@ufer.example", createdate="2024-05-06T07:08:09.120Z"),
    join(day(2), ("contacts", 11), ("companies", 31)),
    join(day(2), ("contacts", 11), ("companies", 32), label="Advisor"),
    create(day(2), "deals", 21, dealname="Quelle start", dealstage="appointmentscheduled", amount="12 500,00"),
    create(day(2), "deals", 22, dealname="Quelle more", dealstage="8801", pipeline="880", amount=900),
    join(day(2), ("deals", 21), ("contacts", 11)),
    join(day(2), ("deals", 21), ("companies", 31)),
    update(day(3), "contacts", 11, "AUTOMATION_PLATFORM", lifecyclestage="marketingqualifiedlead"),
    update(day(4), "contacts", 11, lifecyclestage="opportunity"),
    update(day(5), "deals", 21, dealstage="closedwon", amount="12500.00", closedate=day(5)),
    update(day(6), "contacts", 12, lifecyclestage="lead"),
    create(day(6), "contacts", 14, email="old@quelle.example"),
    {"at": day(7), "op": "archive", "object": "contacts", "id": "14"},
    submit(day(7), FORM, email="ann@quelle.example", gclid="Cj0K", page_url="https://v.example/demo"),
    submit(day(7, "10:00:00"), FORM, email="ben@ufer.example", fbclid=None),
    click(day(7, "10:05:00"), "k1", contact_id="11", gclid="Cj0K", clicked_at=day(6)),
    click(day(7, "10:30:00"), "k2"),
    click(day(8), "k3"),
    email_click(day(8), "e1", "ann@quelle.example"),
    {
        "at": day(8),
        "op": "campaign",
        "campaign": {"id": "c1", "name": "Spring", "utm": "spring", "spend": [{"id": 1, "amount": 5.5}]},
    },
    email_click(day(8, "10:00:00"), "e2", "ben@ufer.example", filtered=True),
    update(day(20), "contacts", 11, lifecyclestage="customer"),
]
