"""HubSpot's own campaigns, where `streams.campaigns` of the mapping reads them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import polars as pl

from crm_attribution.clock import parse_instant
from crm_attribution.errors import Forbidden, Rejected
from crm_attribution.hubspot import campaigns
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.parsed import Parsed
from crm_attribution.mapping import Rules
from crm_attribution.raw.reading import Extraction, Readings, StreamReport, quarantine

_NOT_FOUND = 404
_FIX = (
    "Campaigns are not read: grant the scope marketing.campaigns.read (Marketing Hub Professional), or switch them off"
    " in the mapping (streams: {campaigns: off})"
)
_REVENUE_FIX = (
    "HubSpot's own revenue of campaigns is not read: grant the scope marketing.campaigns.revenue.read, or switch it off"
    " in the mapping (streams: {campaign_revenue: off})"
)


@dataclass(frozen=True)
class CampaignReader:
    """Campaigns with their budget, and what was spent on them."""

    readings: Readings
    hubspot: HubSpotClient
    rules: Rules

    def read(self, since: datetime | None) -> StreamReport:
        """List the campaigns, and read budget, spend and HubSpot's revenue of those that changed and of a 24th of all
        in each hour, since nobody says that a new item moves the campaign's stamp.

        A campaign that is gone from HubSpot keeps what was read of it: the money was spent. A token that may not read
        them leaves the tables unchanged, and the report has `not_read`; so it does where the revenue alone is refused.
        """
        if not self.rules.streams.campaigns:
            return StreamReport(figures={"stream": "off (streams.campaigns in the mapping)"})
        run = self.readings.begin("campaigns", since, self.hubspot.transport)
        try:
            refused = self._read(run)
        except (Forbidden, Rejected) as error:
            if isinstance(error, Rejected) and error.status != _NOT_FOUND:
                raise
            report = run.report()
            report.not_read = f"{error}. {_FIX}"
            return report
        report = self.readings.end(run)
        report.not_read = refused
        return report

    def _read(self, run: Extraction) -> str | None:
        """Read what is due; what the token may not read of it."""
        listed = self.hubspot.campaigns()
        with self.readings.warehouse.session() as session:
            zone = session.scalar("SELECT time_zone FROM raw.account")
            portal = campaigns.Portal(str(session.state.portal_id or ""), zone or "UTC")
            known = dict(session.query("SELECT campaign_id, updated_at FROM raw.campaign").iter_rows())
        due = [row for row in listed if _due(row, known, run)]
        run.found = len(due)
        credited, refused = self.rules.streams.campaign_revenue, None
        for row in due:
            totals = self.hubspot.campaign_totals(str(row["id"]))
            if totals is None:
                run.count("campaigns gone while they were read", 1)
                continue
            report = None
            if credited:
                try:
                    report = self.hubspot.campaign_revenue(str(row["id"]))
                except Forbidden as error:
                    credited, refused = False, f"{error}. {_REVENUE_FIX}"
            now = self.readings.clock.now()
            told, spent = campaigns.campaign(row, totals, portal, extracted_at=now, report=report)
            self.readings.write(run, campaigns.TABLE, told, ["campaign_id"], now)
            self._restate(run, spent, portal, str(row["id"]), now)
        run.floor += max(1, ceil(len(listed) / campaigns.PAGE)) + len(due) * (1 + credited)
        return refused

    def _restate(self, run: Extraction, spent: Parsed, portal: campaigns.Portal, campaign: str, now: datetime) -> None:
        """Make a campaign's spend what HubSpot says now: items are changed and removed there."""
        own = {"platform": campaigns.PLATFORM, "ad_account": portal.number, "campaign_id": campaign}
        with self.readings.warehouse.session() as session, session.transaction():
            session[campaigns.SPENT].replace(spent.rows, pl.DataFrame([own]))
            prefix = f"{campaigns.PLATFORM}:{campaign}:"
            mended = [key for key in session.quarantine.waiting(campaigns.SPENT) if key.startswith(prefix)]
            session.quarantine.resolve(campaigns.SPENT, pl.Series(mended, dtype=pl.String))
            quarantine(session, campaigns.SPENT, spent.refused, now)
        run.rows += spent.rows.height
        run.quarantined += len(spent.refused)


def _due(row: dict[str, Any], known: dict[str, datetime], run: Extraction) -> bool:
    """New, changed, or its hour of the day is in the window."""
    if run.since is None or str(row["id"]) not in known:
        return True
    try:
        changed = parse_instant(str(row.get("updatedAt"))) != known[str(row["id"])]
    except ValueError:
        changed = True
    mine = int(hashlib.sha256(str(row["id"]).encode()).hexdigest(), 16) % 24
    hours = ceil((run.window_end - run.since) / timedelta(hours=1))
    return changed or (mine - run.since.hour) % 24 < hours
