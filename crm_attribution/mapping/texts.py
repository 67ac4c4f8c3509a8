"""Texts of the mapping that name values of a touch in braces, and names of HubSpot's events and properties."""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator

FIELDS = (
    *("channel", "source", "medium", "campaign", "utm_term", "utm_content"),
    *("link_slug", "link_tags", "link_title", "short_url", "destination_url", "referrer", "country", "device"),
    *("act", "kind", "touch_id", "touched_at", "clicks", "event"),
)
"""What a text of the mapping may name in braces: the touch's own, and of the link or the file it came from. Besides,
`properties[NAME]` of a row of the kind track."""

_PROPERTY = re.compile(r"properties\[[a-z0-9_]+\]")

INTERNAL = re.compile(r"[a-z][a-z0-9_-]{0,49}")


def checked(text: str, fields: tuple[str, ...] = FIELDS) -> str:
    """A text whose braces name nothing but fields.

    Raises:
        ValueError: naming what is not known.
    """
    try:
        named = [(name, spec, how) for _, name, spec, how in Formatter().parse(text) if name is not None]
    except ValueError:
        raise ValueError("a brace is not closed: write {link_title}, and {{ for a brace itself") from None
    wrong = [n for n, spec, how in named if not (n in fields or _PROPERTY.fullmatch(n)) or spec or how]
    if wrong:
        raise ValueError(f"there is no {{{wrong[0]}}}; there are {', '.join(fields)}")
    return text


def internal(name: str) -> str:
    """https://developers.hubspot.com/docs/api/events/custom-events"""
    if not INTERNAL.fullmatch(name):
        raise ValueError("must begin with a letter, of a-z, 0-9, _ and -, at most 50 characters")
    return name


Text = Annotated[str, AfterValidator(checked)]
"""Names of `FIELDS` in braces stand for their values."""

PropertyName = Annotated[str, AfterValidator(internal)]
