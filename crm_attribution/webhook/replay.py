"""What is posted to `/v1/replay`: which conversions to send again, where, and why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from crm_attribution.errors import ConfigurationError
from crm_attribution.hubspot.wire import moment
from crm_attribution.webhook.inbox import Inbox
from crm_attribution.webhook.ingest import read_object
from crm_attribution.words import said

NAME = re.compile(r"\d{8}T\d{12}Z-replay-[0-9a-f]{16}")
"""Of a wish: its file's name, which is how its answer is asked for."""
MOST_IDS = 10_000


def problems(body: bytes) -> dict[str, str]:
    """What is wrong with a body, by field; empty where it can be taken."""
    given, wrong = read_object(body)
    if wrong:
        return wrong
    found = dict.fromkeys(given.keys() - _FIELDS, "not known")
    for name in ("event_ids", "destinations"):
        values = given.get(name, [])
        if not isinstance(values, list) or not all(isinstance(one, str) and one.strip() for one in values):
            found[name] = "not a list of texts"
        elif len(values) > MOST_IDS:
            found[name] = f"more than {MOST_IDS}"
    if not given.get("destinations"):
        found.setdefault("destinations", "missing")
    if not isinstance(given.get("reason"), str) or not given["reason"].strip():
        found["reason"] = "missing"
    else:
        try:
            said("reason", given["reason"], "say why")
        except ConfigurationError as error:
            found["reason"] = str(error).removeprefix("reason ")
    return found | _which(given)


_FIELDS = {"event_ids", "destinations", "reason", "hour", "milestone", "state"}


def _which(given: dict[str, Any]) -> dict[str, str]:
    found = {}
    if bool(given.get("event_ids")) == (given.get("hour") is not None):
        found["event_ids"] = "give either event_ids or an hour"
    if given.get("hour") is not None and moment(given["hour"]) is None:
        found["hour"] = "not a timestamp"
    for name in ("milestone", "state"):
        if given.get(name) is not None and (not isinstance(given[name], str) or given.get("hour") is None):
            found[name] = "a text, and only with an hour"
    return found


def answer_of(inbox: Inbox, name: str) -> tuple[int, bytes] | None:
    """Status and content for a wish: its answer, or that it waits; None where there is no such wish."""
    if not NAME.fullmatch(name):
        return None
    answered = answers(inbox.folder) / f"{name}.json"
    if answered.exists():
        return 200, answered.read_bytes()
    if (inbox.folder / f"{name}.json").exists():
        return 202, b'{"status":"queued"}'
    return None


def answers(folder: Path) -> Path:
    """Where the pipeline writes the answers of a folder of wishes."""
    return folder / "answered"
