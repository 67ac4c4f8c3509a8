"""What destinations that write to records of HubSpot have in common: what is sent, how the answer is read, and the
properties that must be there.

https://developers.hubspot.com/docs/api-reference/2026-03/crm/objects/contacts/batch/update-contacts
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

from crm_attribution.destinations.base import (
    Answer,
    ApiVersion,
    Finding,
    Json,
    Outcome,
    Piece,
    Ready,
    Request,
    told_by_status,
)
from crm_attribution.destinations.hubspot import RECORD, VERSION, HubSpot, headers, version
from crm_attribution.destinations.normal_form import same
from crm_attribution.http.answers import missing_scopes

OBJECTS, PROPERTIES = f"/crm/objects/{VERSION}", f"/crm/properties/{VERSION}"
GROUP = "crm_attribution"
UNIQUE = "unique"
"""In place of a type: a text that no two records share."""

_FIELD_TYPES = {
    **{"string": "text", "number": "number", "date": "date", "datetime": "date", "enumeration": "select"},
    "bool": "booleancheckbox",
}


class HubSpotRecords(HubSpot):
    """Writes to records by their ids, at most once for each record in a request."""

    key_field: ClassVar[str | None] = "objectWriteTraceId"
    version: ClassVar[ApiVersion | None] = version("HubSpot objects")

    def accepts(self, ready: Ready) -> str | None:
        return None if record_of(ready) else "no_identifier"

    def build(self, batch: Sequence[Ready], settings: Mapping[str, str], options: Mapping[str, str]) -> Request:  # noqa: ARG002
        """Two rows of one record have one state and are one input: HubSpot refuses a batch with a record twice."""
        inputs = {record_of(row): input_of(row) for row in batch}
        path = f"{OBJECTS}/{self.object_of(batch[0])}/batch/update"
        return Request("POST", path, headers(settings), {"inputs": list(inputs.values())})

    def object_of(self, ready: Ready) -> str:
        """The type of the record that a row is about."""
        return ready.action

    def read_success(self, answer: Answer, batch: Sequence[Ready]) -> list[Outcome]:
        """200, or 207: each record with the values it has now. A value that is not ours in HubSpot's normal form was
        dropped without a word."""
        body = answer.body if isinstance(answer.body, dict) else {}
        stored = {str(one.get("id")): one.get("properties") for one in objects(body.get("results"))}
        failed = failures(body, "objectWriteTraceId", "ids")
        return [outcome_of(row, stored.get(record_of(row)), failed) for row in batch]

    def pieces(
        self, wanted: Mapping[str, Mapping[str, str]], settings: Mapping[str, str], options: Mapping[str, str]
    ) -> list[Piece]:
        del options
        token, found = headers(settings), []
        for kind, properties in wanted.items():
            look = Request("GET", f"{PROPERTIES}/{kind}/groups/{GROUP}", token, {})
            found.append(Piece(f"group {GROUP} of {kind}", look, partial(_group, kind, token)))
            for name, value_type in properties.items():
                look = Request("GET", f"{PROPERTIES}/{kind}/{name}", token, {})
                found.append(Piece(f"property {kind}.{name}", look, partial(_missing, kind, name, value_type, token)))
        return found


def record_of(ready: Ready) -> str:
    """The id of the record that a row writes to; empty where there is none."""
    contact = "" if ready.contact_id is None else str(ready.contact_id)
    return ready.details.get(RECORD, contact)


def input_of(ready: Ready) -> Json:
    properties = {name: text for name, text in ready.details.items() if name != RECORD}
    return {"id": record_of(ready), "objectWriteTraceId": ready.conversion_id, "properties": properties}


def failures(body: Json, *places: str) -> dict[str, str]:
    """What an answer of 207 names under some fields of the context of its errors -> HubSpot's category."""
    failed: dict[str, str] = {}
    for error in objects(body.get("errors")):
        code, context = error.get("category"), error.get("context")
        named = context if isinstance(context, dict) else {}
        for key in (one for place in places for one in listed(named.get(place))):
            failed[str(key)] = code if isinstance(code, str) and re.fullmatch(r"[A-Z_]{1,60}", code) else "refused"
    return failed


def listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def outcome_of(row: Ready, stored: object, failed: Mapping[str, str]) -> Outcome:
    """What became of a row, by the values that HubSpot says the record has now."""
    key, record = row.conversion_id, record_of(row)
    if (code := failed.get(key) or failed.get(record)) is not None:
        return Outcome(key, "rejected", code)
    if not isinstance(stored, dict):
        return Outcome(key, "uncertain", "results_do_not_match")
    sent = {name: text for name, text in row.details.items() if name != RECORD}
    dropped = [name for name, text in sent.items() if name in stored and not same(text, _text(stored[name]))]
    if dropped:
        return Outcome(key, "rejected", f"dropped: {', '.join(dropped)}"[:80])
    return Outcome(key, "accepted")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def objects(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _there(about: str, answer: Answer) -> Finding | None:
    if (told := told_by_status(about, answer, HubSpot.credential)) is not None:
        return told
    if answer.status == 403:
        return Finding(about, "failed", f"403: missing scope {', '.join(missing_scopes(answer.body))}", "grant it")
    if answer.status not in (200, 404):
        return Finding(about, "cannot be checked", f"HubSpot answers {answer.status}", "run it again later")
    return None


def _group(kind: str, token: Mapping[str, str], answer: Answer) -> list[tuple[str, Request]] | Finding:
    about = f"group {GROUP} of {kind}"
    if (told := _there(about, answer)) is not None:
        return told
    body = {"name": GROUP, "label": "crm_attribution"}
    return [] if answer.status == 200 else [(about, Request("POST", f"{PROPERTIES}/{kind}/groups", token, body))]


def _missing(
    kind: str, name: str, value_type: str, token: Mapping[str, str], answer: Answer
) -> list[tuple[str, Request]] | Finding:
    about = f"property {kind}.{name}"
    if (told := _there(about, answer)) is not None:
        return told
    value_type, _, named = value_type.partition(":")
    options = [one for one in named.split(";") if one]
    unique = {"hasUniqueValue": True} if value_type == UNIQUE else {}
    value_type = "string" if unique else value_type
    path = f"{PROPERTIES}/{kind}"
    if answer.status == 404:
        body: Json = {"name": name, "label": name.replace("_", " ").capitalize(), "groupName": GROUP, **unique}
        body |= {"type": value_type, "fieldType": _FIELD_TYPES[value_type]}
        if value_type == "bool":
            options = ["true", "false"]
        if options:
            body["options"] = [_option(one, place) for place, one in enumerate(options)]
        return [(about, Request("POST", path, token, body))]
    found = answer.body if isinstance(answer.body, dict) else {}
    if found.get("type") != value_type:
        fix = "name another property in the mapping (write_back.properties), or its type there as HubSpot has it"
        return Finding(about, "failed", f"it is there with the type {found.get('type')}, not {value_type}", fix)
    if unique and found.get("hasUniqueValue") is not True:
        fix = "archive it in HubSpot, then run `crm-attribution provision`: uniqueness is fixed when a property is made"
        return Finding(about, "failed", "it is there and is not unique", fix)
    known = objects(found.get("options"))
    lacking = [one for one in options if one not in {str(each.get("value")) for each in known}]
    if not lacking:
        return []
    more = [*known, *(_option(one, len(known) + place) for place, one in enumerate(lacking))]
    return [(f"options of {about}", Request("PATCH", f"{path}/{name}", token, {"options": more}))]


def _option(value: str, place: int) -> Json:
    return {"value": value, "label": value, "displayOrder": place, "hidden": False}


def unique_text(name: str, kind: str, scope: str, answer: Answer) -> Finding:
    """Whether records of a kind have a property of ours that no two of them share; `scope` reads it."""
    about = f"property {name}"
    if (told := told_by_status(about, answer, HubSpot.credential)) is not None:
        return told
    if answer.status == 403:
        lacking = ", ".join(missing_scopes(answer.body)) or scope
        return Finding(about, "failed", f"403: missing scope {lacking}", "grant it to HUBSPOT_WRITE_TOKEN")
    body = answer.body if isinstance(answer.body, dict) else {}
    if answer.status != 200:
        return Finding(about, "failed", f"{kind} have no such property", "run `crm-attribution provision`")
    if body.get("type") != "string" or body.get("hasUniqueValue") is not True:
        fix = "archive it in HubSpot, then run `crm-attribution provision`: uniqueness is fixed when a property is made"
        return Finding(about, "failed", "it is there and is no unique text", fix)
    return Finding(about, "ok", "it is there and unique")
