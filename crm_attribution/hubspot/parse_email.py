"""HubSpot's e-mail events as rows of `raw.email_click`: pure, one bad event never stops the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from crm_attribution.clock import from_millis
from crm_attribution.contracts import CONTRACTS
from crm_attribution.contracts.raw import OBSOLETED
from crm_attribution.hubspot.parsed import Parsed, Record, Refused, frame_of
from crm_attribution.hubspot.texts import both, clean, readable
from crm_attribution.identifiers import sha256

TABLE = "raw.email_click"


def email_clicks(events: Iterable[Record], *, extracted_at: datetime) -> Parsed:
    """raw.email_click rows of CLICK events; `bot_reason` where HubSpot itself reports it; see `raw.rules.bot_clicks`.

    `filteredEvent` is HubSpot's own filter of bots and internal addresses; an event with `obsoletedBy` was replaced by
    another. Both stay as rows.
    https://developers.hubspot.com/docs/api-reference/legacy/email-analytics-v1/events/get-email-public-v1-events
    """
    rows: list[dict[str, Any]] = []
    sources: dict[tuple[str, datetime], Record] = {}
    refused: list[Refused] = []
    for event in events:
        problems: list[str] = []
        try:
            row = _row(event, problems) | {"extracted_at": extracted_at}
        except (ValueError, KeyError, TypeError) as error:
            refused.append(_refuse(event, _problem(error)))
            continue
        rows.append(row)
        sources[row["id"], row["created_at"]] = event
        if problems:
            refused.append(_refuse(event, both(*problems), stored=True))
    sifted = CONTRACTS[TABLE].sift(frame_of(TABLE, rows))
    refused += [
        _refuse(sources[key, created], reasons, stored=stored)
        for stored, rows_ in ((True, sifted.incomplete), (False, sifted.bad))
        for key, created, reasons in rows_.select("id", "created_at", "reasons").iter_rows()
    ]
    return Parsed(sifted.rows.unique(["created_at", "id"], keep="last", maintain_order=True), refused)


def _row(event: Record, problems: list[str]) -> dict[str, Any]:
    sent, place, address = event.get("sentBy"), event.get("location"), _said(event.get("ipAddress"))
    created = sent.get("created") if isinstance(sent, Mapping) else None
    return {
        "id": clean(event["id"]),
        "created_at": _moment("created", event["created"]),
        "recipient": _said(event.get("recipient")),
        "email_campaign_id": _said(event.get("emailCampaignId")),
        "app_name": _said(event.get("appName")),
        "url": _said(event.get("url")),
        "link_id": _said(event.get("linkId")),
        "sent_at": None
        if created in (None, "", 0)
        else readable(lambda: _moment("sentBy.created", str(created)), problems),
        "user_agent": _said(event.get("userAgent")),
        "device": _said(event.get("deviceType")),
        "country": _said(place.get("country")) if isinstance(place, Mapping) else None,
        "ip_hash": None if address is None else sha256(address),
        "is_bot": (reason := _reason(event)) is not None,
        "bot_reason": reason,
    }


def _reason(event: Record) -> str | None:
    if event.get("obsoletedBy"):
        return OBSOLETED
    return "hubspot_filter" if str(event.get("filteredEvent", "")).lower() == "true" else None


def _moment(name: str, millis: int | str) -> datetime:
    try:
        return from_millis(millis)
    except (ValueError, TypeError):
        raise ValueError(f"{name}:not_a_time") from None


def _said(value: object) -> str | None:
    text = "" if value is None else clean(value).strip()
    return text or None


def _problem(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]}:missing"
    text = str(error)
    return text if ":" in text and " " not in text else f"event:{type(error).__name__}"


def _refuse(event: Record, reasons: str, *, stored: bool = False) -> Refused:
    row = clean(json.dumps(event, ensure_ascii=False, default=str, sort_keys=True))
    return Refused(_said(event.get("id")) or f"created {event.get('created')}", reasons, row, TABLE, stored)
