"""raw.closed_won: what HubSpot itself answers when it is asked for its closed and won deals. The marts compare it with
what was read deal by deal.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.hubspot import parse
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.search import PAGE
from crm_attribution.raw.reading import Readings, StreamReport

TABLE = "raw.closed_won"


@dataclass(frozen=True)
class ClosedWonReader:
    """HubSpot's own list of won deals."""

    readings: Readings
    hubspot: HubSpotClient

    def read(self) -> StreamReport:
        """All deals with hs_is_closed_won, by search: ⌈N/200⌉ calls. What cannot be read is left out: its deal waits in
        quarantine already."""
        run = self.readings.begin("closed_won", None, self.hubspot.transport)
        with self.readings.warehouse.session() as session:
            home = session.scalar("SELECT company_currency FROM raw.account")
        now = self.readings.clock.now()
        found = [record for page in self.hubspot.closed_won() for record in page]
        rows = parse.records("deals", found, home_currency=home, extracted_at=now).rows
        told = rows.select("modified_at", "currency", "amount", "closedate", deal_id="id", asked_at=pl.lit(now))
        with self.readings.warehouse.session() as session, session.transaction():
            session[TABLE].replace(CONTRACTS[TABLE].conform(told), None)
        run.found, run.rows = len(found), told.height
        run.floor += max(1, ceil(len(found) / PAGE))
        return self.readings.end(run)
