"""The shape a workflow posts to `/ingest/crm`: `{source, event, occurred_at, contact{…}, company{…}}`."""

from __future__ import annotations

from typing import Any

from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.hubspot.wire import moment, read_json
from crm_attribution.identifiers import record_id

RECORDS = tuple(one.singular for one in OBJECT_TYPES.values())


def read_object(body: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """The object of a body, or why it has none."""
    try:
        given = read_json(body)
    except ValueError:
        return {}, {"body": "not JSON in UTF-8"}
    return (given, {}) if isinstance(given, dict) else ({}, {"body": "not a JSON object"})


def problems(body: bytes) -> dict[str, str]:
    """What is wrong with a body, by field; empty where it can be taken. Never holds a value of the body."""
    given, wrong = read_object(body)
    if wrong:
        return wrong
    found = {name: "missing" for name in ("source", "event") if not _is_text(given.get(name))}
    if moment(given.get("occurred_at")) is None:
        found["occurred_at"] = "missing, or neither ISO 8601 nor epoch milliseconds"
    named = [name for name in RECORDS if given.get(name) is not None]
    if not named:
        found["contact"] = "missing, and so is company"
    for name in named:
        found |= _record_problems(name, given[name])
    return found


def _record_problems(name: str, record: object) -> dict[str, str]:
    if not isinstance(record, dict):
        return {name: "not an object"}
    found = {
        f"{name}.{key}": "not a HubSpot record id"
        for key in ("id", "hs_object_id")
        if record.get(key) not in (None, "") and record_id(record[key]) is None
    }
    if not isinstance(record.get("email") or "", str):
        found[f"{name}.email"] = "not text"
    return found


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
