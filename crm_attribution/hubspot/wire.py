"""Times and JSON as webhooks and workflows write them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from math import isfinite
from typing import Any

from crm_attribution.clock import from_millis, parse_instant

_MILLIS = re.compile(r"-?[0-9]{1,16}")


def moment(value: object) -> datetime | None:
    """A timestamp in epoch milliseconds or ISO 8601 as UTC; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    try:
        return from_millis(text) if _MILLIS.fullmatch(text) else parse_instant(text)
    except ValueError:
        return None


def read_json(body: str | bytes) -> Any:
    """The value of a JSON text; what JSON does not know (NaN, Infinity, numbers beyond a double) is refused.

    Raises:
        ValueError: when it is no JSON, no UTF-8, or nested too deeply.
    """
    try:
        return json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number beyond every double")
    return number
