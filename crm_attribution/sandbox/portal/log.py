"""Portal-log lines: read and checked before anything is applied.

A line is `{"at": ISO, "op": ..., ...}`. What a line says about the business (an amount, an e-mail) may be nonsense on
purpose and is served unchanged; a line that cannot be played is an error with its number and field.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from zoneinfo import available_timezones

from crm_attribution.sandbox.instants import iso, to_ms
from crm_attribution.sandbox.portal.kinds import KINDS


class LogError(ValueError):
    """A line of the portal log cannot be played; the message names the line and the field."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"portal log, line {number}: {problem}")


class Line(NamedTuple):
    """One checked line. `number` counts from 1 in its file or request."""

    number: int
    at: int
    op: str
    body: dict[str, Any]


Check = Callable[[Any], str | None]


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "must be a non-empty text"


def _kind(value: Any) -> str | None:
    return None if isinstance(value, str) and value in KINDS else f"must be one of {', '.join(KINDS)}"


def _id(value: Any) -> str | None:
    good = isinstance(value, str) and value.isascii() and value.isdigit() and value == str(int(value))
    return None if good else 'must be a text of digits, such as "512"'


def _table(value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be an object"


def _end(value: Any) -> str | None:
    if isinstance(value, list) and len(value) == 2:
        return _kind(value[0]) or _id(value[1])
    return 'must be a pair such as ["contacts", "7"]'


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _properties(value: Any) -> str | None:
    problem = _table(value)
    if problem:
        return problem
    for name, item in value.items():
        if item is not None and not isinstance(item, str | int | float | bool):
            return f"has a value that is neither text, number, true, false nor null: {name}"
    return None


def _with(*names: str) -> Check:
    """An object that names these fields."""

    def check(value: Any) -> str | None:
        missing = [name for name in names if name not in value] if isinstance(value, dict) else list(names)
        return _table(value) or (f"misses {', '.join(missing)}" if missing else None)

    return check


def _pipeline(value: Any) -> str | None:
    problem = _with("id", "stages")(value)
    if problem:
        return problem
    stages = value["stages"]
    good = isinstance(stages, list) and all(isinstance(stage, dict) and "id" in stage for stage in stages)
    return None if good else "has stages that are not a list of objects with an id"


def _account(value: Any) -> str | None:
    problem = _table(value)
    zone = value.get("timeZone", "UTC") if problem is None else "UTC"
    return problem or (None if zone in available_timezones() else f"has an unknown timeZone: {zone}")


_WRITE: dict[str, Check] = {"object": _kind, "id": _id, "properties": _properties}
_STATE: dict[str, Check] = {"object": _kind, "id": _id}
_PAIR: dict[str, Check] = {"from": _end, "to": _end}

REQUIRED: dict[str, dict[str, Check]] = {
    "create": _WRITE,
    "update": _WRITE,
    "associate": _PAIR,
    "dissociate": _PAIR,
    "merge": {"object": _kind, "primary": _id, "merged": _id},
    "archive": _STATE,
    "restore": _STATE,
    "privacy_delete": _STATE,
    "submit": {"submission": _with("form_id")},
    "click": {"click": _with("click_id")},
    "email_click": {"event": _with("id", "recipient")},
    "attend": {"attendance": _with("event", "contact_id")},
    "spend": {"spend": _table},
    "campaign": {"campaign": _with("id")},
    "owner": {"owner": _with("id")},
    "pipeline": {"pipeline": _pipeline},
    "account": {"account": _account},
}
OPTIONAL: dict[str, Check] = {"into": _id, "primary": _flag, "label": _text, "source": _text, "source_id": _text}


def _checked(number: int, raw: Any) -> Line:
    if not isinstance(raw, dict):
        raise LogError(number, "must be a JSON object")
    for name in ("at", "op"):
        if not isinstance(raw.get(name), str):
            raise LogError(number, f"misses the field `{name}`")
    try:
        at = to_ms(raw["at"])
    except ValueError:
        raise LogError(number, f"`at` is not an ISO 8601 timestamp: {raw['at']!r}") from None
    op = raw["op"]
    required = REQUIRED.get(op)
    if required is None:
        raise LogError(number, f"`op` is unknown: {op!r}; known are {', '.join(REQUIRED)}")
    for name, check in required.items():
        if name not in raw:
            raise LogError(number, f"{op} misses the field `{name}`")
        problem = check(raw[name])
        if problem:
            raise LogError(number, f"`{name}` {problem}")
    for name, check in OPTIONAL.items():
        problem = check(raw[name]) if raw.get(name) is not None and name not in required else None
        if problem:
            raise LogError(number, f"`{name}` {problem}")
    return Line(number, at, sys.intern(op), raw)


def parse_lines(lines: Iterable[str]) -> list[Line]:
    """Every non-blank line, checked; they must be in the order of `at`.

    Raises:
        LogError: at the first line that cannot be played.
    """
    parsed: list[Line] = []
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise LogError(number, f"is not JSON ({error.msg} at column {error.colno})") from None
        line = _checked(number, raw)
        if parsed and line.at < parsed[-1].at:
            before = parsed[-1]
            raise LogError(number, f"`at` {raw['at']} is earlier than line {before.number}'s ({iso(before.at)})")
        parsed.append(line)
    return parsed
