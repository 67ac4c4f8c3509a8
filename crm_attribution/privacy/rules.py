"""Whether a text or a document names a person who is to be forgotten, and what of a document stays without them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from crm_attribution.identifiers import CLICK_ID_PARAMETERS, record_id, sha256, url_parameters

_LONG_ENOUGH = 10
"""A shorter click id may be in any text by chance; it counts only in a field that holds click ids."""

_HASH_PREFIX = 12
_PER_PATTERN = 500
_CONTACT_FIELDS = frozenset({"contact_id", "contactid", "eid", "vid"})
_CLICK_FIELDS = frozenset({"click_id", "link_click_id", *CLICK_ID_PARAMETERS})
_MERGE_FIELDS = ("objectId", "object_id", "primaryObjectId", "mergedObjectIds", "newObjectId")
_NOTHING = object()


@dataclass(frozen=True)
class Trace:
    """What a person has left here.

    Attributes:
        contact_ids: the HubSpot record with everything merged into it.
        emails: normalised e-mails that only this record ever had.
        click_ids: the person's clicks: our own ids and the platforms', as they came.
    """

    contact_ids: frozenset[int]
    emails: frozenset[str]
    click_ids: frozenset[str] = frozenset()

    @cached_property
    def patterns(self) -> list[str]:
        """Regular expressions over lower-case text, for Python and DuckDB alike: an e-mail (plain, in a URL, or the
        beginning of its SHA-256) or a click id, each as a whole."""
        parts = [
            *(_email(email) for email in sorted(self.emails)),
            *(sha256(email)[:_HASH_PREFIX] for email in sorted(self.emails)),
            *(
                rf"(?:^|[^a-z0-9_-]){re.escape(name.lower())}(?:$|[^a-z0-9_-])"
                for name in sorted(self.click_ids)
                if len(name) >= _LONG_ENOUGH
            ),
        ]
        return ["|".join(parts[at : at + _PER_PATTERN]) for at in range(0, len(parts), _PER_PATTERN)]

    @cached_property
    def _compiled(self) -> list[re.Pattern[str]]:
        return [re.compile(pattern) for pattern in self.patterns]

    def on_line(self, text: str) -> bool:
        """Whether a line that could not be read is about the person: also one that has an id as a field of its own."""
        numbers = set(re.findall(r"(?<![\w.:/-])[0-9]+(?![\w.:/-])", text))
        return bool(numbers & {str(one) for one in self.contact_ids}) or self.mentioned_in(text)

    def mentioned_in(self, text: str) -> bool:
        lowered = text.lower()
        return any(pattern.search(lowered) for pattern in self._compiled)


def _email(email: str) -> str:
    """An e-mail that is not the end or the beginning of another one."""
    address = re.escape(email).replace("@", "(?:@|%40)").replace(r"\+", r"(?:\+|%2b)")
    return rf"(?:^|[^a-z0-9._%+-]|%[0-9a-f]{{2}}|\\[nrt]){address}(?:$|[^a-z0-9.-]|\.(?:$|[^a-z0-9]))"


def names(value: Any, trace: Trace) -> bool:
    """Whether a JSON document (a webhook, an ingested record, a click, a refused row) is about the person.

    A document that names another contact by id belongs to that contact, with any click ids it has.
    """
    if isinstance(value, Mapping):
        if _by_id(value, trace):
            return True
        if set(value) == {"line"} and isinstance(value["line"], str):
            return trace.on_line(value["line"])
        if _other_contact(value, trace):
            return any(trace.mentioned_in(text) for text in _texts(value) if "@" in text or "%40" in text)
        if any(str(value[key]) in trace.click_ids for key in _CLICK_FIELDS & value.keys() if value[key] is not None):
            return True
        return any(names(inner, trace) for inner in value.values())
    if isinstance(value, list):
        return any(names(inner, trace) for inner in value)
    if isinstance(value, str):
        inner = _nested(value)
        return trace.mentioned_in(value) if inner is _NOTHING else names(inner, trace)
    return False


def without(value: Any, trace: Trace) -> tuple[Any, int]:
    """A document without what is about the person, and how many parts were taken out.

    Lists lose elements; a JSON text inside the document is treated as its content. What then still names the person
    is gone as a whole: the answer is None. A notice of the privacy deletion itself stays: it holds no more than the id.
    """
    if _is_notice(value):
        return value, 0
    if isinstance(value, list):
        kept, gone = [], 0
        for element in value:
            rest, count = without(element, trace)
            gone += count
            if rest is not None or element is None:
                kept.append(rest)
        return kept, gone
    if isinstance(value, Mapping):
        return _without_fields(value, trace)
    if isinstance(value, str) and (inner := _nested(value)) is not _NOTHING:
        rest, count = without(inner, trace)
        return (value, 0) if not count else (None if rest is None else json.dumps(rest, ensure_ascii=False), count)
    return (None, 1) if names(value, trace) else (value, 0)


def _without_fields(value: Mapping[str, Any], trace: Trace) -> tuple[Any, int]:
    if _by_id(value, trace):
        return None, 1
    fields, gone = dict(value), 0
    for key, inner in value.items():
        batch = isinstance(inner, list) or (isinstance(inner, str) and isinstance(_nested(inner), list))
        if batch:
            fields[key], count = without(inner, trace)
            gone += count
    return (None, gone + 1) if not _is_notice(fields) and names(_loose(fields), trace) else (fields, gone)


def _loose(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without batches of documents, which were searched one by one."""
    return {
        key: inner
        for key, inner in fields.items()
        if not (isinstance(inner, str) and isinstance(_nested(inner), list) and "[{" in inner.replace(" ", ""))
    }


def _is_notice(value: Any) -> bool:
    return isinstance(value, Mapping) and _kind(value).endswith(".privacyDeletion")


def _kind(value: Mapping[str, Any]) -> str:
    return str(value.get("subscriptionType") or value.get("subscription_type") or value.get("eventType") or "")


def _by_id(value: Mapping[str, Any], trace: Trace) -> bool:
    ids = trace.contact_ids
    if any(record_id(inner) in ids for key, inner in value.items() if key.lower() in _CONTACT_FIELDS):
        return True
    contact = value.get("contact")
    if isinstance(contact, Mapping) and record_id(contact.get("id")) in ids:
        return True
    if _kind(value).startswith("contact.") or "contacts" in (value.get("object_type"), value.get("objectType")):
        merged = (value[key] for key in _MERGE_FIELDS if key in value)
        if any(record_id(one) in ids for inner in merged for one in (inner if isinstance(inner, list) else [inner])):
            return True
    ends = str(value.get("associationType") or "").partition("_TO_")
    if ends[0] == "CONTACT" and record_id(value.get("fromObjectId")) in ids:
        return True
    if ends[2] == "CONTACT" and record_id(value.get("toObjectId")) in ids:
        return True
    url = value.get("destination_url")
    return isinstance(url, str) and record_id(url_parameters(url).get("eid")) in ids


def _other_contact(value: Mapping[str, Any], trace: Trace) -> bool:
    return any(
        (named := record_id(inner)) is not None and named not in trace.contact_ids
        for key, inner in value.items()
        if key.lower() in _CONTACT_FIELDS
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        parts: Iterable[Any] = value.values() if isinstance(value, Mapping) else value
        for inner in parts:
            yield from _texts(inner)


def _nested(text: str) -> Any:
    """The JSON document a text holds; a mark where it holds none."""
    if text[:1] not in ("{", "["):
        return _NOTHING
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING
