"""Custom events of HubSpot (custom behavioural events): a touch becomes an event on the contact's timeline.

https://developers.hubspot.com/docs/api-reference/2026-03/events/send-event-data/batch-send-occurrences
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import ClassVar

from crm_attribution.clock import iso
from crm_attribution.destinations.base import (
    Answer,
    ApiVersion,
    Asked,
    Finding,
    Json,
    Limits,
    Outcome,
    Piece,
    Question,
    Ready,
    Request,
    all_rows,
    told_by_status,
)
from crm_attribution.destinations.hubspot import EMAIL, VERSION, HubSpot, headers, version
from crm_attribution.http.answers import missing_scopes

SEND = f"/events/{VERSION}/send/batch"
DEFINITIONS = f"/events/{VERSION}/event-definitions"
_SHORT, _LONG = 256, 1024
_IS_LONG = re.compile(r"url|referrer|link")
"""Of these properties a text may be longer: https://developers.hubspot.com/docs/api/events/custom-events"""


class HubSpotEvents(HubSpot):
    """Events of the account's own definitions. `action` is the qualified name, `pe{HubID}_{name}`.

    HubSpot answers 204 before it looks at an event, and keeps the first of one uuid for a year: an event that may have
    been taken is sent again under its uuid.
    """

    name: ClassVar[str] = "hubspot_events"
    key_field: ClassVar[str | None] = "uuid"
    example_action: ClassVar[str] = "pe1000001_tracked_link_clicked"
    limits: ClassVar[Limits] = Limits(
        batch=500, max_age=timedelta(days=90), dedupe=timedelta(days=365), calls_per_minute=300
    )
    option_names: ClassVar[Sequence[str]] = ("contact_by", "matching", "matching_contact")
    told_as: ClassVar[str | None] = "event"
    taken: ClassVar[frozenset[int]] = frozenset({204})
    scopes: ClassVar[Sequence[str]] = (
        "analytics.behavioral_events.send",
        "behavioral_events.event_definitions.read_write",
    )
    version: ClassVar[ApiVersion | None] = version("HubSpot custom events")
    documentation: ClassVar[str] = "https://developers.hubspot.com/docs/api-reference/2026-03/events/send-event-data"

    def action_of(self, name: str, portal: str) -> str:
        return f"pe{portal}_{name}"

    def accepts(self, ready: Ready) -> str | None:
        return None if ready.contact_id is not None or _email(ready) else "no_identifier"

    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:
        return Request("POST", SEND, headers(settings), {"inputs": [_event(row, options) for row in batch]})

    def read_refusal(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        """An event that is not defined is nobody's row's fault, and loses nothing: the definition has to be made."""
        message = str(answer.body.get("message", "")) if isinstance(answer.body, dict) else ""
        if self.is_own_refusal(answer) and re.search(r"event.*(not exist|n't exist|not found|unknown)", message, re.I):
            return all_rows(batch, "stopped", "event_is_not_defined")
        return super().read_refusal(answer, batch)

    def questions(self, asked: Asked) -> list[Question]:
        token, found = headers(asked.settings), super().questions(asked)
        for name in asked.actions:
            about = f"event {name}"
            found.append(Question(about, _search(name, token), partial(_defined, about, name)))
        return found

    def pieces(
        self, wanted: Mapping[str, Mapping[str, str]], settings: Mapping[str, str], options: Mapping[str, str]
    ) -> list[Piece]:
        token, matching = headers(settings), None
        if options.get("contact_by") == "matching_id":
            rule = {"eventPropertyName": options["matching"], "targetObjectPropertyName": options["matching_contact"]}
            matching = {"primaryObjectRule": rule}
        return [
            Piece(f"event {name}", _search(name, token), partial(_missing, name, properties, token, matching))
            for name, properties in wanted.items()
        ]


def _search(name: str, token: Mapping[str, str]) -> Request:
    return Request("GET", DEFINITIONS, token, {}, {"searchString": name, "includeProperties": "true"})


def _missing(
    name: str, properties: Mapping[str, str], token: Mapping[str, str], matching: Json | None, answer: Answer
) -> list[tuple[str, Request]] | Finding:
    """What an event and its properties lack: https://developers.hubspot.com/docs/api-reference/2026-03/events/define-events"""
    about = f"event {name}"
    if (told := _told(about, answer)) is not None:
        return told
    own = [one for one in properties if not one.startswith("hs_")]
    found = _definition(answer, name)
    if found is None:
        body = {
            "name": name,
            "label": _label(name),
            "description": "a touch that crm_attribution tells of",
            "primaryObject": "CONTACT",
            "includeDefaultProperties": True,
            "propertyDefinitions": [_property(one) for one in own],
            **({"customMatchingId": matching} if matching else {}),
        }
        return [(about, Request("POST", DEFINITIONS, token, body))]
    known = {str(one.get("name")): str(one.get("type")) for one in found.get("properties") or []}
    other = {one: known[one] for one in properties if known.get(one) not in (None, "string", "enumeration")}
    if other:
        named = ", ".join(f"{one} ({kind})" for one, kind in other.items())
        fix = "name another property in the mapping (write_back.events), or archive that one in HubSpot"
        return Finding(about, "failed", f"it has properties that are no text: {named}", fix)
    if matching and (found.get("customMatchingId") or {}) != matching:
        fix = "HubSpot fixes the matching id when an event is made: name another event in the mapping"
        return Finding(about, "failed", "it was made without the custom matching id of the mapping", fix)
    path = f"{DEFINITIONS}/{found.get('fullyQualifiedName') or name}/property"
    lacking = [one for one in own if one not in known]
    return [(f"property {one} of {about}", Request("POST", path, token, _property(one))) for one in lacking]


def _property(name: str) -> Json:
    return {"name": name, "label": _label(name), "type": "string"}


def _label(name: str) -> str:
    return name.replace("_", " ").replace("-", " ").capitalize()


def _definition(answer: Answer, name: str) -> Json | None:
    """The definition of an event in an answer that lists some."""
    body = answer.body if isinstance(answer.body, dict) else {}
    results = [one for one in body.get("results") or [] if isinstance(one, dict)]
    names = (re.sub(r"^pe\d+_", "", str(one.get("fullyQualifiedName") or one.get("name"))) for one in results)
    return next((one for one, named in zip(results, names, strict=True) if named == name), None)


def _told(about: str, answer: Answer) -> Finding | None:
    """What an answer without a list of definitions means."""
    if (told := told_by_status(about, answer, HubSpotEvents.credential)) is not None:
        return told
    if answer.status == 403:
        lacking = ", ".join(missing_scopes(answer.body)) or "behavioral_events.event_definitions.read_write"
        fix = "grant it; an account below Enterprise has no custom events: write_back: {events: {told_as: note}}"
        return Finding(about, "failed", f"403: missing scope {lacking}", fix)
    if answer.status != 200:
        return Finding(about, "cannot be checked", f"HubSpot answers {answer.status}", "run it again later")
    return None


def _event(ready: Ready, options: Mapping[str, str]) -> Json:
    properties = {name: cut(name, text) for name, text in ready.details.items()}
    event: Json = {
        "eventName": ready.action,
        "uuid": ready.conversion_id,
        "occurredAt": iso(ready.occurred_at),
        "properties": properties,
    }
    by, email = options.get("contact_by", "object_id"), _email(ready)
    if by == "matching_id" and options.get("matching") in properties:
        return event
    if email is not None and (by == "email" or ready.contact_id is None):
        return {**event, "email": email}
    return {**event, "objectId": str(ready.contact_id)}


def _email(ready: Ready) -> str | None:
    email = (ready.email or "").strip()
    return email if EMAIL.fullmatch(email) else None


def cut(name: str, text: str) -> str:
    """A text no longer than HubSpot takes it for a property: a longer one fails the whole request."""
    return text[: _LONG if _IS_LONG.search(name) else _SHORT]


def _defined(about: str, name: str, answer: Answer) -> Finding:
    if (told := _told(about, answer)) is not None:
        return told
    if _definition(answer, name) is not None:
        return Finding(about, "ok", "it is defined")
    return Finding(about, "failed", "the account has no such event", "run `crm-attribution provision`")


DESTINATION = HubSpotEvents()
