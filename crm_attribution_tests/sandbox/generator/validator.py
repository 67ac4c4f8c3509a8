"""Reads a portal log as somebody would who only knows its format: nothing here comes from the generator."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
SOURCES = {"FORM", "CRM_UI", "IMPORT", "INTEGRATION", "AUTOMATION_PLATFORM", "API", "MIGRATION"}
FIRST_DIGIT = {"contacts": "1", "companies": "3", "deals": "5"}
TEXT, TRUTH, NUMBER, TABLE, LIST = str, bool, int, dict, list

# op -> required fields, optional fields
FIELDS: dict[str, tuple[dict[str, type], dict[str, type]]] = {
    "create": ({"object": TEXT, "id": TEXT, "source": TEXT, "properties": TABLE}, {}),
    "update": ({"object": TEXT, "id": TEXT, "source": TEXT, "properties": TABLE}, {}),
    "associate": ({"from": LIST, "to": LIST}, {"primary": TRUTH, "label": TEXT}),
    "dissociate": ({"from": LIST, "to": LIST}, {}),
    "merge": ({"object": TEXT, "primary": TEXT, "merged": TEXT}, {"into": TEXT}),
    "archive": ({"object": TEXT, "id": TEXT}, {}),
    "restore": ({"object": TEXT, "id": TEXT}, {}),
    "privacy_delete": ({"object": TEXT, "id": TEXT}, {}),
    "submit": ({"submission": TABLE}, {}),
    "click": ({"click": TABLE}, {}),
    "email_click": ({"event": TABLE}, {}),
    "spend": ({"spend": TABLE}, {}),
    "owner": ({"owner": TABLE}, {}),
    "pipeline": ({"pipeline": TABLE}, {}),
    "account": ({"account": TABLE}, {}),
}
CLICK_IDS = {"gclid": TEXT, "fbclid": TEXT, "li_fat_id": TEXT}
CLICK_TEXTS = {"destination_url", "contact_id", "utm_source", "utm_medium", "utm_campaign", "country", "device"}
CLICK_TEXTS |= {"user_agent", "referrer", "method", "clicked_at"}
# the payload's name -> required fields, optional fields
PAYLOADS: dict[str, tuple[dict[str, type], dict[str, type]]] = {
    "submission": (
        {"form_id": TEXT, "email": TEXT, "page_url": TEXT},
        {**CLICK_IDS, "link_click_id": TEXT, "firstname": TEXT},
    ),
    "click": (
        {"click_id": TEXT, "link_slug": TEXT, "link_tags": LIST},
        {**CLICK_IDS, **dict.fromkeys(CLICK_TEXTS, TEXT)},
    ),
    "event": (
        {"id": TEXT, "recipient": TEXT, "email_campaign_id": TEXT, "url": TEXT, "filtered": TRUTH},
        {"sent_at": TEXT, "device_type": TEXT, "user_agent": TEXT},
    ),
    "spend": (
        {"date": TEXT, "platform": TEXT, "campaign": TEXT, "currency": TEXT, "amount": TEXT},
        {"clicks": NUMBER, "impressions": NUMBER},
    ),
    "owner": ({"id": TEXT, "email": TEXT}, {"firstName": TEXT, "lastName": TEXT, "userId": NUMBER, "archived": TRUTH}),
    "account": ({"portalId": NUMBER, "timeZone": TEXT, "companyCurrency": TEXT}, {}),
    "pipeline": (
        {"id": TEXT, "label": TEXT, "displayOrder": NUMBER, "stages": LIST},
        {"archived": TRUTH, "createdAt": TEXT, "updatedAt": TEXT},
    ),
}


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _shape(line: dict[str, Any], required: dict[str, type], optional: dict[str, type]) -> Iterable[str]:
    for name, kind in required.items():
        if name not in line:
            yield f"misses {name}"
        elif type(line[name]) is not kind:
            yield f"{name} is a {type(line[name]).__name__}"
    for name, value in line.items():
        if name not in required and name not in optional:
            yield f"has an unknown field {name}"
        elif name in optional and type(value) is not optional[name]:
            yield f"{name} is a {type(value).__name__}"


class Reader:
    """Plays the life of every object and notes what is wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.ops: Counter[str] = Counter()
        self.live: dict[str, set[str]] = {kind: set() for kind in FIRST_DIGIT}
        self.ever: dict[str, set[str]] = {kind: set() for kind in FIRST_DIGIT}
        self.archived: set[tuple[str, str]] = set()
        self.links: set[tuple[str, str]] = set()
        self.last = ""

    def read(self, lines: Iterable[dict[str, Any]]) -> Reader:
        for number, line in enumerate(lines, start=1):
            for problem in self._line(line):
                self.problems.append(f"line {number} ({line.get('op')}): {problem}")
        return self

    def _line(self, line: dict[str, Any]) -> Iterable[str]:
        at, op = line.get("at", ""), line.get("op", "")
        if not INSTANT.fullmatch(at):
            yield f"at is {at!r}"
        elif self.last and instant(at) < instant(self.last):
            yield f"{at} stands behind {self.last}"
        self.last = at
        self.ops[op] += 1
        if op not in FIELDS:
            yield "unknown op"
            return
        body = {name: value for name, value in line.items() if name not in ("at", "op")}
        problems = list(_shape(body, *FIELDS[op]))
        for name, (required, optional) in PAYLOADS.items():
            if not problems and name in body:
                problems += _shape(body[name], required, optional)
        yield from problems or getattr(self, f"_{op}", self._nothing)(body)

    def _nothing(self, _: dict[str, Any]) -> Iterable[str]:
        return ()

    def _new(self, kind: str, identifier: str) -> Iterable[str]:
        if identifier in self.ever[kind]:
            yield f"{kind} {identifier} exists already"
        if not identifier.isdigit() or identifier[0] != FIRST_DIGIT[kind]:
            yield f"{kind} id {identifier}"
        self.live[kind].add(identifier)
        self.ever[kind].add(identifier)

    def _alive(self, kind: str, identifier: str) -> Iterable[str]:
        if identifier not in self.live.get(kind, ()):
            yield f"{kind} {identifier} is not alive"

    def _create(self, body: dict[str, Any]) -> Iterable[str]:
        yield from self._new(body["object"], body["id"])
        yield from self._written(body)

    def _update(self, body: dict[str, Any]) -> Iterable[str]:
        yield from self._alive(body["object"], body["id"])
        yield from self._written(body)

    def _written(self, body: dict[str, Any]) -> Iterable[str]:
        if body["source"] not in SOURCES:
            yield f"source {body['source']}"
        if not body["properties"]:
            yield "no properties"
        for name, value in body["properties"].items():
            if type(value) is not str:
                yield f"{name} is a {type(value).__name__}"

    def _associate(self, body: dict[str, Any]) -> Iterable[str]:
        yield from self._alive(*body["from"])
        yield from self._alive(*body["to"])
        self.links.add((str(body["from"]), str(body["to"])))

    def _dissociate(self, body: dict[str, Any]) -> Iterable[str]:
        if (str(body["from"]), str(body["to"])) not in self.links:
            yield "was never associated"

    def _merge(self, body: dict[str, Any]) -> Iterable[str]:
        kind = body["object"]
        yield from self._alive(kind, body["primary"])
        yield from self._alive(kind, body["merged"])
        self.live[kind].discard(body["merged"])
        if "into" in body:
            self.live[kind].discard(body["primary"])
            yield from self._new(kind, body["into"])

    def _archive(self, body: dict[str, Any]) -> Iterable[str]:
        yield from self._alive(body["object"], body["id"])
        self.live[body["object"]].discard(body["id"])
        self.archived.add((body["object"], body["id"]))

    def _restore(self, body: dict[str, Any]) -> Iterable[str]:
        if (body["object"], body["id"]) not in self.archived:
            yield "was not archived"
        self.live[body["object"]].add(body["id"])

    def _privacy_delete(self, body: dict[str, Any]) -> Iterable[str]:
        yield from self._alive(body["object"], body["id"])
        self.live[body["object"]].discard(body["id"])
