"""HubSpot's normal form of what is written to a property: what it reformats is no dropped write.

Phones are written with a country code and without punctuation, domains without scheme and `www.`, in lower case:
https://knowledge.hubspot.com/properties/property-field-types-in-hubspot
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

_PHONE = re.compile(r"\+?[0-9 ()./-]{7,25}")
_WEB = re.compile(r"^(?:https?://)?(?:www\.)?", re.IGNORECASE)
_LEAST = 6
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
    for form in (_moment, _number):
        ours, theirs = form(left), form(right)
        if ours is not None and ours == theirs:
            return True
    return _phones(left, right)


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
    if not re.fullmatch(r"[+-]?(0|[1-9]\d*)(\.\d+)?", text):  # 007 is no number
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _phones(one: str, other: str) -> bool:
    """Whether two are one phone number, of which one at least has its country code."""
    if not (_PHONE.fullmatch(one) and _PHONE.fullmatch(other) and "+" in (one[0], other[0])):
        return False
    short, long = sorted((re.sub(r"\D", "", text).lstrip("0") for text in (one, other)), key=len)
    return len(short) >= _LEAST and long.endswith(short)
