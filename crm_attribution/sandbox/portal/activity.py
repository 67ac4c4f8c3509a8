"""What people did: link clicks, form submissions, clicks in marketing e-mails."""

from __future__ import annotations

import hashlib
import uuid
from bisect import bisect_left, insort
from collections.abc import Collection
from typing import Any, NamedTuple

from crm_attribution.sandbox.instants import iso, property_ms

Json = dict[str, Any]
_CAMEL = {"filtered": "filteredEvent", "obsoleted_by": "obsoletedBy", "user_agent": "userAgent"}
_NAMESPACE = uuid.UUID("6f0d3c6e-6a0b-5b53-9c58-2f6b1a2f5d10")


class Received(NamedTuple):
    """A row with the instant its source learned of it; `number` keeps the order inside one instant."""

    at: int
    number: int
    row: Json


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return _CAMEL.get(name, head + "".join(part.title() for part in tail))


class Activity:
    """Rows in the order their sources received them."""

    def __init__(self) -> None:
        self.clicks: list[Received] = []
        self.email_events: list[Received] = []
        self.forms: dict[str, Json] = {}
        self.submissions: dict[str, list[Received]] = {}
        self.events: dict[str, Json] = {}
        self.attendance: dict[str, dict[str, Json]] = {}
        self.campaigns: dict[str, Json] = {}
        self.revenue: dict[str, Json] = {}
        self.budgets: dict[str, Json] = {}
        self._numbers = 0

    def _add(self, rows: list[Received], at: int, row: Json) -> None:
        self._numbers += 1
        insort(rows, Received(at, self._numbers, row))

    def click(self, raw: Json, at: int) -> None:
        clicked = property_ms(raw.get("clicked_at"))
        row = {**raw, "clicked_at": iso(at if clicked is None else clicked), "received_at": iso(at)}
        self._add(self.clicks, at, row)

    def email_click(self, raw: Json, at: int) -> None:
        """An event in the shape of the e-mail events API, whose key is the pair (created, id)."""
        created = property_ms(str(raw["created"])) if raw.get("created") is not None else None
        row: Json = {"type": "CLICK", "filteredEvent": False}
        row.update((_camel(name), value) for name, value in raw.items() if name not in ("created", "sent_at"))
        row["created"] = at if created is None else created
        sent = property_ms(raw.get("sent_at"))
        if sent is not None:
            row["sentBy"] = {"id": str(uuid.uuid5(_NAMESPACE, f"sent {row['id']}")), "created": sent}
        first, last = (bisect_left(self.email_events, (row["created"] + more,)) for more in (0, 1))
        for place in range(first, last):
            if self.email_events[place].row["id"] == row["id"]:
                del self.email_events[place]  # the same event, reported again: HubSpot marks some after the fact
                break
        self._add(self.email_events, row["created"], row)

    def attend(self, raw: Json, at: int) -> None:
        """A contact's part in a marketing event, told again as it goes on; its first telling makes the event."""
        event, contact = str(raw["event"]), str(raw["contact_id"])
        begins = property_ms(raw.get("starts_at"))
        known = {"objectId": event, "eventName": raw.get("name", f"Event {event}"), "createdAt": iso(at)}
        self.events.setdefault(event, {**known, "startDateTime": iso(at if begins is None else begins)})
        self.events[event]["updatedAt"] = iso(at)
        self.attendance.setdefault(event, {})[contact] = {
            "id": f"{event}{contact}",
            "createdAt": iso(at),
            "associations": {"contact": {"contactId": contact}, "marketingEvent": {"marketingEventId": event}},
            "properties": {"attendanceState": raw.get("state", "ATTENDED"), "occurredAt": at},
        }

    def campaign(self, raw: Json, at: int) -> None:
        """A campaign, told again as it goes on: what is told replaces what was. `spend` and `budget` are lists of items
        with id and amount; an item keeps the time it was told first, and moves no stamp of the campaign. `revenue` is
        HubSpot's report of it, as the API spells it."""
        number = str(raw["id"])
        texts = {f"hs_{name}": raw[name] for name in ("name", "utm") if name in raw}
        known = self.campaigns.setdefault(number, {"id": number, "createdAt": iso(at), "properties": {}})
        if texts:
            known |= {"updatedAt": iso(at), "properties": {**known["properties"], **texts}}
        self.revenue.setdefault(number, {}).update(raw.get("revenue", {}))
        budget = self.budgets.setdefault(number, {"currencyCode": "EUR", "budgetItems": [], "spendItems": []})
        budget["currencyCode"] = raw.get("currency", budget["currencyCode"])
        for field, told in (("budgetItems", raw.get("budget")), ("spendItems", raw.get("spend"))):
            if told is not None:
                since = {item["id"]: item["createdAt"] for item in budget[field]}
                budget[field] = [
                    {"id": key, "name": key, "amount": item["amount"], "order": place, "updatedAt": at}
                    | {"createdAt": since.get(key, at)}
                    for place, item in enumerate(told)
                    if (key := str(item["id"]))
                ]

    def submit(self, raw: Json, at: int) -> None:
        """A form submission; fields such as click ids are hidden fields of the form."""
        form = raw["form_id"]
        if form not in self.forms:
            name = form.replace("-", " ").replace("_", " ").capitalize()
            self.forms[form] = {"id": form, "name": name, "createdAt": iso(at), "updatedAt": iso(at)}
        rows = self.submissions.setdefault(form, [])
        values = [
            {"name": name, "value": str(value), "objectTypeId": "0-1"}
            for name, value in raw.items()
            if name not in ("form_id", "page_url") and value is not None
        ]
        key = hashlib.sha256(f"{form}\n{at}\n{self._numbers}\n{values}".encode()).digest()[:16]
        row = {
            "conversionId": str(uuid.UUID(bytes=key, version=4)),
            "submittedAt": at,
            "values": values,
            "pageUrl": raw.get("page_url"),
        }
        self._add(rows, at, row)

    def erase(self, addresses: Collection[str]) -> None:
        """Remove the submissions and e-mail events of these addresses."""
        gone = {address.lower() for address in addresses}
        for form, rows in self.submissions.items():
            self.submissions[form] = [row for row in rows if _email(row.row) not in gone]
        self.email_events = [row for row in self.email_events if str(row.row.get("recipient")).lower() not in gone]


def _email(submission: Json) -> str | None:
    return next((item["value"].lower() for item in submission["values"] if item["name"] == "email"), None)
