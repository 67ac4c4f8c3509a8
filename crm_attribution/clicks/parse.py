"""Clicks from any source as raw.link_click rows: pure, one bad row never stops the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.clock import parse_instant
from crm_attribution.contracts import CONTRACTS
from crm_attribution.hubspot.parsed import Parsed, Refused, clean
from crm_attribution.identifiers import CLICK_ID_PARAMETERS, url_parameters

TABLE = "raw.link_click"
_UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
_PLAIN = ("link_slug", "country", "device", "referrer", "user_agent", "method", "ip_hash")


def clicks(rows: Iterable[tuple[str, Mapping[str, Any]]], *, extracted_at: datetime) -> Parsed:
    """Rows of raw.link_click; is_bot is false, `raw.rules.suspects` judges.

    Args:
        rows: (where it stood, e.g. a file and row number; the click's fields).
        extracted_at: log time.
    """
    found: list[dict[str, Any]] = []
    sources: dict[str, tuple[str, Mapping[str, Any]]] = {}
    refused = []
    for where, row in rows:
        try:
            click = _click(row, extracted_at)
        except (ValueError, KeyError, TypeError) as error:
            refused.append(_refuse(where, row, _reason(error)))
            continue
        found.append(click)
        sources[click["click_id"]] = (where, row)
    contract = CONTRACTS[TABLE]
    frame = contract.conform(
        pl.DataFrame(found, schema=contract.polars_schema if not found else None, infer_schema_length=None)
    )
    good, bad = contract.split(frame)
    refused += [_refuse(*sources[key], reasons) for key, reasons in bad.select("click_id", "reasons").iter_rows()]
    return Parsed(good.unique("click_id", keep="last", maintain_order=True), refused)


def _click(row: Mapping[str, Any], extracted_at: datetime) -> dict[str, Any]:
    given = {name: _text(value) for name, value in row.items() if name != "link_tags"}
    landing = url_parameters(given.get("destination_url"))
    clicked = given.get("clicked_at")
    if clicked is None:
        raise ValueError("clicked_at:missing")
    if given.get("click_id") is None:
        raise ValueError("click_id:missing")
    if given.get("destination_url") is None:
        raise ValueError("destination_url:missing")
    return {
        "click_id": given["click_id"],
        "clicked_at": _moment("clicked_at", clicked),
        "received_at": _moment("received_at", given.get("received_at") or clicked),
        "link_tags": _tags(row.get("link_tags")),
        "destination_url": given["destination_url"],
        "contact_id": given.get("contact_id") or landing.get("eid"),
        **{name: given.get(name) or landing.get(name) for name in (*_UTM, *CLICK_ID_PARAMETERS)},
        **{name: given.get(name) for name in _PLAIN},
        "is_bot": False,
        "bot_reason": None,
        "extracted_at": extracted_at,
    }


def _moment(name: str, text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(f"{name}:not_a_time") from None


def _text(value: Any) -> str | None:
    text = None if value is None else clean(value).strip()
    return text or None


def _tags(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in clean(value).strip("[]").replace('"', "").split(",") if part.strip()]
    return [clean(part) for part in value]


def _reason(error: Exception) -> str:
    text = str(error)
    return text if ":" in text and " " not in text else f"row:{type(error).__name__}"


def _refuse(where: str, row: Mapping[str, Any], reasons: str) -> Refused:
    key = _text(row.get("click_id")) or where
    return Refused(key, reasons, clean(json.dumps(row, default=str, sort_keys=True, ensure_ascii=False)), where)
