"""Notes on HubSpot contacts, for accounts without custom events: a touch becomes a note on the contact's timeline.

https://developers.hubspot.com/docs/api-reference/2026-03/crm/activities/notes/guide
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from html import escape
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
    Verdict,
    all_rows,
)
from crm_attribution.destinations.hubspot import VERSION, HubSpot, headers, version
from crm_attribution.destinations.hubspot_records import unique_text

NOTES = f"/crm/objects/{VERSION}/notes"
PROPERTIES = f"/crm/properties/{VERSION}/notes"
KEY = "crm_attribution_key"
_TO_CONTACT = 202
"""Type of the association of a note with a contact."""

_TAKEN = ("already has that value", "CONFLICTING_UNIQUE_VALUE", "already exists")
_LONGEST = 65_536


_unique = partial(unique_text, KEY, "notes", "crm.schemas.contacts.read")


class HubSpotNotes(HubSpot):
    """A note for each touch. `crm_attribution_key` is unique among the notes of the account, so that a note that may
    have been made is made again without a second one."""

    name: ClassVar[str] = "hubspot_notes"
    key_field: ClassVar[str | None] = KEY
    example_action: ClassVar[str] = "tracked_link_clicked"
    limits: ClassVar[Limits] = Limits(
        batch=100, max_age=timedelta(days=90), dedupe=timedelta(days=365), calls_per_minute=300
    )
    told_as: ClassVar[str | None] = "note"
    scopes: ClassVar[Sequence[str]] = ("crm.objects.contacts.write",)
    version: ClassVar[ApiVersion | None] = version("HubSpot notes")
    documentation: ClassVar[str] = (
        "https://developers.hubspot.com/docs/api-reference/2026-03/crm/activities/notes/guide"
    )

    def accepts(self, ready: Ready) -> str | None:
        return "no_identifier" if ready.contact_id is None else None

    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:  # noqa: ARG002
        return Request("POST", f"{NOTES}/batch/create", headers(settings), {"inputs": [_note(row) for row in batch]})

    def read_refusal(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        if self.is_own_refusal(answer) and (verdict := _verdict(answer.body)) is not None:
            if verdict[0] == "stopped" or len(batch) == 1:
                return all_rows(batch, *verdict)
            return all_rows(batch, "refused", verdict[1] or "known")
        return super().read_refusal(answer, batch)

    def read_success(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        """201, or 207: each input has a trace id, so that those that failed are named."""
        body = answer.body if isinstance(answer.body, dict) else {}
        told: dict[str, Outcome] = {}
        for error in _objects(body.get("errors")):
            context = error.get("context")
            for key in context.get("objectWriteTraceId") or [] if isinstance(context, dict) else []:
                verdict, code = _verdict(error) or ("rejected", "refused")
                told[str(key)] = Outcome(str(key), verdict, code)
        for made in _objects(body.get("results")):
            properties = made.get("properties")
            key = str(properties.get(KEY)) if isinstance(properties, dict) else ""
            told[key] = Outcome(key, "accepted")
        unsure = {row.conversion_id: Outcome(row.conversion_id, "uncertain", "results_do_not_match") for row in batch}
        return [told.get(key, outcome) for key, outcome in unsure.items()]

    def questions(self, asked: Asked) -> list[Question]:
        request = Request("GET", f"{PROPERTIES}/{KEY}", headers(asked.settings), {})
        return [*super().questions(asked), Question(f"property {KEY}", request, _unique)]

    def pieces(
        self, wanted: Mapping[str, Mapping[str, str]], settings: Mapping[str, str], options: Mapping[str, str]
    ) -> list[Piece]:
        del wanted, options
        token = headers(settings)
        look = Request("GET", f"{PROPERTIES}/{KEY}", token, {})
        return [Piece(f"property {KEY} of notes", look, partial(_missing, token))]


def _note(ready: Ready) -> Json:
    return {
        "objectWriteTraceId": ready.conversion_id,
        "properties": {
            "hs_timestamp": iso(ready.occurred_at),
            "hs_note_body": escape(ready.details.get("text", ready.action))[:_LONGEST],
            KEY: ready.conversion_id,
        },
        "associations": [
            {
                "to": {"id": str(ready.contact_id)},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": _TO_CONTACT}],
            }
        ],
    }


def _verdict(error: object) -> tuple[Verdict, str | None] | None:
    """What an error means that is about our property. A note with this key is there already: an earlier request was
    applied. How HubSpot refuses a value that is not unique is not documented; these are words it was seen to use."""
    text = json.dumps(error)
    if any(word in text for word in _TAKEN):
        return "accepted", None
    if "PROPERTY_DOESNT_EXIST" in text and KEY in text:
        return "stopped", "property_is_not_there"
    code = error.get("category") if isinstance(error, dict) else None
    return ("rejected", code) if isinstance(code, str) and re.fullmatch(r"[A-Z_]{1,60}", code) else None


def _objects(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _missing(token: Mapping[str, str], answer: Answer) -> list[tuple[str, Request]] | Finding:
    if answer.status != 404:
        found = _unique(answer)
        return found if found.state != "ok" else []
    body = {
        "name": KEY,
        "label": "crm_attribution key",
        "groupName": "engagementinfo",
        "type": "string",
        "fieldType": "text",
        "hasUniqueValue": True,
    }
    return [(f"property {KEY} of notes", Request("POST", PROPERTIES, token, body))]


DESTINATION = HubSpotNotes()
