"""HubSpot's own campaigns, read from the sandbox over HTTP: their budget, and what was spent on them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.hubspot.campaigns import Portal, campaign
from crm_attribution.mapping import load
from crm_attribution_tests.flow.chain import Chain, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import day

STREAMS = "streams: {campaigns: on, campaign_revenue: on}\n"
REPORT = {"currencyCode": "EUR", "revenueAmount": 1234.567, "dealsNumber": 3, "dealAmount": 4000, "contactsNumber": 5}


def told(when: str, number: int | str, **fields: Any) -> dict[str, Any]:
    return {"at": when, "op": "campaign", "campaign": {"id": f"g{number}", **fields}}


def item(number: int, amount: float) -> dict[str, Any]:
    return {"id": number, "amount": amount}


@pytest.mark.sandbox
def test_spend_follows_hubspot_and_a_missing_scope_is_named_and_stops_nothing(tmp_path: Path):
    """A page of campaigns and one more; an item is added without a word about it, another campaign is renamed."""
    account = {"portalId": 7, "timeZone": "Europe/Berlin", "companyCurrency": "EUR"}
    lines = [
        {"at": day(1), "op": "account", "account": account},
        *(told(day(1), number, name=f"C{number}") for number in range(10, 111)),
        told(day(2), 11, spend=[item(1, 5)]),
        told(day(2, "23:30:00"), 10, utm="spring", spend=[item(1, 10.5), item(2, 0.25)], budget=[item(1, 100)]),
        told(day(3, "12:30:00"), 10, spend=[item(1, 10.5), item(3, -2)]),
        told(day(3, "12:30:00"), 11, name="Renamed", revenue=REPORT),
    ]
    with Chain.start(tmp_path, lines, day(3, "12:00:00"), rules(tmp_path, STREAMS)) as chain:
        reader = chain.readers()
        reader.reference.account()
        scope = "marketing.campaigns.read"
        chain.sandbox.faults([{"route": "GET /marketing/campaigns/*", "kind": "403", "scope": scope, "count": 1}])
        report = reader.campaigns.read(None)
        assert (report.rows, scope in str(report.not_read)) == (0, True)
        scope = "marketing.campaigns.revenue.read"
        chain.sandbox.faults([{"route": "GET /marketing/campaigns/*/revenue", "kind": "403", "scope": scope}])
        report = reader.campaigns.read(None)
        assert (report.calls, scope in str(report.not_read)) == (2 + 101 + 1, True), "it is asked for once"
        assert {row["revenue"] for row in chain.table("raw.campaign")} == {None}
        chain.sandbox.faults([])
        assert reader.campaigns.read(None).not_read is None
        assert spent(chain) == [("g10", "C10", date(2026, 3, 3), 1075), ("g11", "C11", date(2026, 3, 2), 500)]
        budgets = {row["campaign_id"]: row for row in chain.table("raw.campaign")}
        assert len(budgets) == 101
        assert [budgets["g10"][name] for name in ("utm_campaign", "currency", "budget")] == ["spring", "EUR", 10_000]
        chain.derive()
        (mine,) = (row for row in chain.table("attribution.spend_campaign") if row["campaign_id"] == "g10")
        assert (mine["campaign_of_id"], mine["campaign_of_name"]) == ("spring", "c10")
        chain.sandbox.set_clock(day(3, "13:00:00"))
        hour = chain.readers().campaigns.read(at(day(3, "12:00:00")))
        assert 2 < (hour.calls or 0) < 40, "the campaign that changed and a 24th of the others"
        (renamed,) = (row for row in chain.table("raw.campaign") if row["campaign_id"] == "g11")
        assert [renamed[f"revenue{name}"] for name in ("", "_currency", "_deals")] == [123_457, "EUR", 3]
        assert ("g11", "Renamed", date(2026, 3, 2), 500) in spent(chain)
        chain.sandbox.set_clock(day(4, "13:00:00"))
        assert chain.readers().campaigns.read(at(day(4, "12:00:00"))).calls == 2 + 2 * 101, "a day that was left out"
        assert spent(chain) == [("g10", "C10", date(2026, 3, 3), 850), ("g11", "Renamed", date(2026, 3, 2), 500)]
        off = chain.readers(load()).campaigns.read(None)
        assert (off.calls, len(off.figures)) == (None, 1)


def spent(chain: Chain) -> list[tuple[str, str, date, int]]:
    mine = [row for row in chain.table("raw.ad_spend") if (row["platform"], row["ad_account"]) == ("hubspot", "7")]
    rows = [(row["campaign_id"], row["campaign_name"], row["date"], row["amount"]) for row in mine]
    return sorted(rows)


def test_a_revenue_that_is_no_amount_is_refused_by_its_name():
    listed = {"id": "g", "updatedAt": "2026-03-01T00:00:00Z", "properties": {}}
    report = REPORT | {"revenueAmount": "much"}
    own, _ = campaign(listed, {}, Portal("7", "UTC"), extracted_at=at(day(5)), report=report)
    assert [row.reasons for row in own.refused] == ["revenueAmount:not_an_amount"]


def test_what_cannot_be_read_of_a_campaign_is_refused_alone():
    listed = {"id": "g", "updatedAt": "2026-03-01T00:00:00Z", "properties": {"hs_name": "Spring"}}
    stamps = {"createdAt": 1_772_400_000_000, "updatedAt": 1_772_400_000_000}
    items = [{"id": 1, "amount": 0.1 + 0.2, **stamps}, {"id": 2, "amount": "many", **stamps}, {"id": 3, "amount": 7},
             {"id": 4, "amount": True, **stamps}, {"id": 5, "amount": 1.1, **stamps}]  # fmt: skip
    totals = {"currencyCode": "EUR", "budgetItems": [{"amount": 1.005}], "spendItems": items}
    own, spends = campaign(listed, totals, Portal("7", "UTC"), extracted_at=at(day(5)))
    assert own.rows.is_empty()
    assert [row.reasons for row in own.refused] == ["amount:more_digits_than_EUR_has"]
    assert spends.rows.select("campaign_name", "amount").rows() == [("Spring", 110)]
    assert [(row.key, row.reasons) for row in spends.refused] == [
        ("hubspot:g:1", "amount:more_digits_than_EUR_has"),
        ("hubspot:g:2", "amount:not_an_amount"),
        ("hubspot:g:3", "createdAt:missing"),
        ("hubspot:g:4", "amount:not_an_amount"),
    ]
