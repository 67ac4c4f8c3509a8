"""What a person says of a decision. It is kept, shown and published: a line of text."""

from __future__ import annotations

import unicodedata

from crm_attribution.errors import ConfigurationError

_BREAKS = ("Cc", "Cs", "Zl", "Zp")
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of what follows: they make a text read as another."""


def said(field: str, text: str, what: str) -> str:
    """The text without spaces around it.

    Args:
        field: how the person knows it, such as `--reason`.
        text: what was given.
        what: what belongs there, for the message.

    Raises:
        ConfigurationError: when it is empty, or holds control characters: line breaks, tabs, escape sequences.
    """
    text = text.strip()
    if not text:
        raise ConfigurationError(f"{field} is empty: {what}")
    for place, char in enumerate(text, 1):
        if unicodedata.category(char) in _BREAKS or char in _TURNS:
            raise ConfigurationError(
                f"{field} holds a control character (U+{ord(char):04X} in place {place}): write one line of plain text"
            )
    return text
