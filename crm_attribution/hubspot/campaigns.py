"""HubSpot's own campaigns: budget, what was spent on them, and what HubSpot's own report credits to them, as rows.

Campaigns: https://developers.hubspot.com/docs/api-reference/latest/marketing/campaigns/guide, budget and spend items:
https://developers.hubspot.com/docs/api-reference/2026-03/marketing/campaigns/budget/get-budget-totals. They need the
scope `marketing.campaigns.read` and Marketing Hub Professional; the report of revenue needs
`marketing.campaigns.revenue.read` too:
https://developers.hubspot.com/docs/api-reference/latest/marketing/campaigns/reports/get-revenue-report.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from crm_attribution.clock import from_millis
from crm_attribution.contracts import CONTRACTS
from crm_attribution.hubspot.paging import Record
from crm_attribution.hubspot.parsed import Parsed, Refused, frame_of, refuse
from crm_attribution.hubspot.texts import blank, clean, moment, reason
from crm_attribution.money import to_decimal, to_minor

TABLE, SPENT = "raw.campaign", "raw.ad_spend"
PLATFORM = "hubspot"
PROPERTIES = ("hs_name", "hs_utm")
PAGE = 100
MODEL = "LINEAR"


@dataclass(frozen=True)
class Portal:
    """Whose campaigns they are: the portal's id and its time zone, of days."""

    number: str
    time_zone: str


def campaign(
    listed: Record, totals: Record, portal: Portal, *, extracted_at: datetime, report: Record | None = None
) -> tuple[Parsed, Parsed]:
    """The raw.campaign row of a campaign and its raw.ad_spend rows: by the day on which the item was created, which is
    all that HubSpot says of when. What cannot be read is refused alone.

    Args:
        listed: as the list of campaigns has it.
        totals: its budget/totals.
        portal: whose it is.
        extracted_at: log time.
        report: its reports/revenue, where it is read.
    """
    texts = listed.get("properties") or {}
    own = {"campaign_id": clean(listed["id"]), "campaign_name": blank(texts.get("hs_name")) or ""}
    refused: list[Refused] = []
    told: list[dict[str, Any]] = []
    try:
        currency = clean(totals.get("currencyCode") or "").strip()
        told.append({
            "campaign_id": own["campaign_id"],
            "portal_id": portal.number,
            "name": own["campaign_name"],
            "utm_campaign": blank(texts.get("hs_utm")),
            "currency": currency or None,
            "budget": sum(_minor(item["amount"], currency) for item in totals.get("budgetItems") or []),
            **_credited(report),
            "updated_at": moment("updatedAt", str(listed["updatedAt"])),
            "extracted_at": extracted_at,
        })  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        refused.append(refuse(own, TABLE, reason(error)))
    spent = _spent(totals, own, portal, extracted_at)
    return Parsed(CONTRACTS[TABLE].sift(frame_of(TABLE, told)).rows, refused), spent


def _credited(report: Record | None) -> dict[str, Any]:
    """HubSpot's figure; it is a sum of shares, so what is smaller than a minor unit is rounded."""
    if report is None or report.get("currencyCode") is None:
        return {"revenue_currency": None, "revenue": None, "revenue_deals": None}
    currency, amount = clean(report["currencyCode"]), report.get("revenueAmount") or 0
    minor = None if isinstance(amount, bool) else to_minor(str(amount), currency)
    if minor is None:
        raise ValueError("revenueAmount:not_an_amount")
    return {"revenue_currency": currency, "revenue": minor, "revenue_deals": int(report.get("dealsNumber") or 0)}


def _spent(totals: Record, own: dict[str, str], portal: Portal, extracted_at: datetime) -> Parsed:
    days: dict[Any, dict[str, Any]] = {}
    refused: list[Refused] = []
    for item in totals.get("spendItems") or []:
        try:
            currency = clean(totals["currencyCode"])
            day = from_millis(item["createdAt"]).astimezone(ZoneInfo(portal.time_zone)).date()
            amount, told_at = _minor(item["amount"], currency), from_millis(item["updatedAt"])
        except (ValueError, KeyError, TypeError) as error:
            key = f"{PLATFORM}:{own['campaign_id']}:{item.get('id')}"
            refused.append(refuse({"id": item.get("id"), **own}, SPENT, reason(error), key=key))
            continue
        row = days.setdefault(day, {
            **own, "date": day, "platform": PLATFORM, "ad_account": portal.number, "currency": currency, "amount": 0,
            "clicks": None, "impressions": None, "told_at": told_at, "extracted_at": extracted_at,
        })  # fmt: skip
        row |= {"amount": row["amount"] + amount, "told_at": max(row["told_at"], told_at)}
    return Parsed(CONTRACTS[SPENT].sift(frame_of(SPENT, list(days.values()))).rows, refused)


def _minor(amount: object, currency: str) -> int:
    """A JSON number in minor units; never rounded."""
    minor = to_minor(str(amount), currency)
    if isinstance(amount, bool) or minor is None:
        raise ValueError("amount:not_an_amount")
    if Decimal(to_decimal(minor, currency)) != Decimal(str(amount)):
        raise ValueError(f"amount:more_digits_than_{currency}_has")
    return minor
