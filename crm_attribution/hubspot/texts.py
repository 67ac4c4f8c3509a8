"""HubSpot writes every value as a text: read here without a surprise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from crm_attribution.clock import from_millis, parse_instant
from crm_attribution.identifiers import normalise_click_id, record_id

T = TypeVar("T")


def clean(value: object) -> str:
    """As text that can be stored. Half of a surrogate pair, where a form cut an emoji in two, becomes U+FFFD."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def blank(value: object) -> str | None:
    """The text without spaces around it; None where nothing is left."""
    return None if value is None or not str(value).strip() else clean(value).strip()


def millis(text: str | None) -> datetime | None:
    """Epoch milliseconds as a timestamp, UTC; None for anything else."""
    try:
        return None if text is None else from_millis(text)
    except ValueError:
        return None


def listed(text: str | None) -> list[str]:
    """The parts between semicolons, none of them empty."""
    return [part.strip() for part in (text or "").split(";") if part.strip()]


def hubspot_id(name: str, value: object) -> int:
    """A record id.

    Raises:
        ValueError: `name:not_a_record_id`.
    """
    found = record_id(value)
    if found is None:
        raise ValueError(f"{name}:not_a_record_id")
    return found


def hubspot_ids(name: str, text: str | None) -> list[int]:
    """The record ids of a `;`-separated list. Raises as `hubspot_id`."""
    return [hubspot_id(name, part) for part in listed(text)]


def number(text: object) -> float | None:
    """A decimal number; None for anything else."""
    try:
        return None if text is None else float(str(text))
    except ValueError:
        return None


def moment(name: str, text: str) -> datetime:
    """A timestamp in epoch milliseconds or ISO 8601, UTC.

    Raises:
        ValueError: `name:not_a_time`.
    """
    try:
        return from_millis(text) if text.lstrip("-").isdigit() else parse_instant(text)
    except ValueError:
        raise ValueError(f"{name}:not_a_time") from None


def reason(error: Exception) -> str:
    """Why a field or record could not be read: `field:problem`, never a value."""
    if isinstance(error, KeyError):
        return f"{error.args[0]}:missing"
    text = str(error)
    ours = all(":" in part and " " not in part for part in text.split("; "))
    return text if ours else f"record:{type(error).__name__}"


def readable(read: Callable[[], T], problems: list[str]) -> T | None:
    """What `read` gives; None where it raises, with the reason added to `problems`."""
    try:
        return read()
    except (ValueError, KeyError, TypeError) as error:
        problems.append(reason(error))
        return None


def click_id(name: str, text: str | None, problems: list[str]) -> str | None:
    """A click id as its platform gave it; None, with the reason added to `problems`, where it is none."""
    if text is None:
        return None
    value = normalise_click_id(text)
    if value is None:
        problems.append(f"{name}:not_a_click_id")
    return value


def both(*reasons: str | None) -> str:
    """Reasons of one row from several places as one text."""
    return "; ".join(sorted({part for text in reasons if text for part in text.split("; ")}))
