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
    option_names: ClassVar[Sequence[str]] = ("contact_by", "matching")
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
        found = super().questions(asked)
        request = Request("GET", DEFINITIONS, headers(asked.settings), {}, {"limit": "500"})
        return found + [
            Question(f"event {name}", request, partial(_defined, f"event {name}", name)) for name in asked.actions
        ]


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
    if (told := told_by_status(about, answer, HubSpotEvents.credential)) is not None:
        return told
    if answer.status == 403:
        lacking = ", ".join(missing_scopes(answer.body)) or "behavioral_events.event_definitions.read_write"
        return Finding(
            about, "failed", f"403: missing scope {lacking}", "grant it, or the account has no custom events"
        )
    body = answer.body if isinstance(answer.body, dict) else {}
    results = [one for one in body.get("results") or [] if isinstance(one, dict)]
    if answer.status != 200:
        return Finding(about, "cannot be checked", f"HubSpot answers {answer.status}", "run preflight again later")
    known = {re.sub(r"^pe\d+_", "", str(one.get("fullyQualifiedName") or one.get("name"))) for one in results}
    if name in known:
        return Finding(about, "ok", "it is defined")
    return Finding(about, "failed", "the account has no such event", "run `crm-attribution write-back setup`")


DESTINATION = HubSpotEvents()
