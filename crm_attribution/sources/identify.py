"""What other systems say of people and companies, from files: identify, group and track.

https://segment.com/docs/connections/spec/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crm_attribution.hubspot.texts import clean
from crm_attribution.identifiers import normalise_domain, normalise_email, sha256
from crm_attribution.sources.base import Given, Source
from crm_attribution.sources.restated import Restated
from crm_attribution.sources.rows import Row, slug

_ID = 24
_PROPERTIES = "properties"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Inputs(Source):
    """Rows of people and companies. Columns that the table does not have are properties too, below those of
    `properties`."""

    def row(self, given: Given, problems: list[str]) -> Row:
        """A row without an id of its own gets one made of all that it says.

        Raises:
            ValueError: `column:reason`; also where it names nobody, or, of a group, no company.
        """
        known = {column.name for column in self.contract.columns}
        told = _told(given.get(_PROPERTIES))
        others = {name: value for name, value in given.items() if name not in known}
        properties = {**_named(others, problems), **_named(told, problems)}
        kind = clean(given.get("kind") or "identify").strip()
        row = super().row({**given, "kind": kind, _PROPERTIES: None}, problems)
        row[_PROPERTIES] = json.dumps(properties, ensure_ascii=False, sort_keys=True) if properties else None
        row["domain"] = normalise_domain(row["domain"] or row["website"])
        if row["domain"] is None and row["website"] is not None:
            problems.append("website:no_address")
        _whole(row, problems)
        made = sha256(json.dumps({**row, "told_at": None}, default=str, sort_keys=True))[:_ID]
        return {**row, "message_id": row["message_id"] or made}


def _whole(row: Row, problems: list[str]) -> None:
    if row["kind"] == "group" and row["domain"] is None:
        raise ValueError("; ".join(problems) or "website:missing")
    if row["kind"] == "track" and row["event"] is None:
        raise ValueError("event:missing")
    if row["kind"] != "group" and row["contact_id"] is None and normalise_email(row["email"]) is None:
        raise ValueError("; ".join(problems) or f"email:{'missing' if row['email'] is None else 'not_an_address'}")


def _told(value: object) -> dict[str, Any]:
    """The object that `properties` is.

    Raises:
        ValueError: where it is none.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("properties:not_an_object")
    return found


def _named(values: Given, problems: list[str]) -> dict[str, str]:
    """Property -> text. What no name can be made of, and names that mean one property with two values, are problems."""
    found: dict[str, set[str]] = {}
    for key, text in _flat(values):
        found.setdefault(key, set()).add(text)
    if found.pop("", None):
        problems.append("properties:not_a_name")
    if any(len(texts) > 1 for texts in found.values()):
        problems.append("properties:named_twice")
    return {key: text for key, (text, *others) in found.items() if not others}


def _flat(values: Given, above: str = "") -> Iterator[tuple[str, str]]:
    """Property -> text: an object inside an object joins its keys, a list its values by `;`. Nulls are left out; the
    name is empty where none can be made of a key."""
    for name, value in values.items():
        try:
            key = slug(f"{above} {name}")
        except ValueError:
            key = ""
        inner = _nested(value)
        if not key:
            if value not in (None, ""):
                yield "", str(value)
            continue
        if isinstance(inner, dict):
            yield from _flat(inner, key)
            continue
        parts = inner if isinstance(inner, list) else [inner]
        texts = [_text(one) for one in parts if one is not None]
        text = ";".join(one for one in map(str.strip, texts) if one)
        if text:
            yield key, text


def _text(value: Any) -> str:
    """As HubSpot takes it: an object inside a list as JSON, no control characters but line ends and tabs."""
    if isinstance(value, bool):
        return str(value).lower()
    plain = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
    return _CONTROL.sub("", clean(plain))


def _nested(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


SOURCE = Inputs(
    name="identify",
    table="raw.identify",
    folder="identify",
    owner_column="contact_id",
    happened=("happened_at",),
    restated=Restated(part=("message_id",)),
    derived=("email_normalised",),
    filled=("message_id", "told_at"),
    readers={"event": slug, "kind": lambda text: text.lower()},
    in_files={
        "message_id": "your own id of it, by which it can be told again; where empty, made of all that it says",
        "kind": "identify, group or track; identify where it is empty",
        "domain": "domain of the company; made of `website` where it is empty",
        "properties": "JSON object; further columns of the file are properties too",
    },
)
