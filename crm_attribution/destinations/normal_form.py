"""HubSpot's normal form of what is written to a property: what it reformats is no dropped write.

Phones are written with a country code and without punctuation, domains without scheme and `www.`, in lower case:
https://knowledge.hubspot.com/properties/property-field-types-in-hubspot
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

_PHONE = re.compile(r"\+?[\d\s()./-]{7,25}")
_WEB = re.compile(r"^(?:https?://)?(?:www\.)?", re.IGNORECASE)
_LEAST = 7
"""Digits of a phone number that must agree, from its end."""


def same(one: str | None, other: str | None) -> bool:
    """Whether two texts are one value of a property to HubSpot."""
    left, right = " ".join((one or "").split()), " ".join((other or "").split())
    if left == right:
        return True
    if not left or not right:
        return False
    if _plain(left) == _plain(right):
        return True
    for form in (_moment, _number, _phone):
        ours, theirs = form(left), form(right)
        if ours is not None and theirs is not None:
            return _phones(str(ours), str(theirs)) if form is _phone else ours == theirs
    return False


def _plain(text: str) -> str:
    return _WEB.sub("", text).rstrip("/").casefold()


def _moment(text: str) -> datetime | None:
    if re.fullmatch(r"\d{12,13}", text):
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _number(text: str) -> Decimal | None:
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?", text) or (len(text) > 1 and text.lstrip("+-").startswith("0")):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _phone(text: str) -> str | None:
    return re.sub(r"\D", "", text) if _PHONE.fullmatch(text) else None


def _phones(one: str, other: str) -> bool:
    short, long = sorted((one.lstrip("0"), other.lstrip("0")), key=len)
    return len(short) >= _LEAST and long.endswith(short)
