"""Small tables that are read whole: the account, owners, pipeline stages, forms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import ceil

import polars as pl

from crm_attribution.hubspot import parse_setup
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.hubspot.paging import Record
from crm_attribution.raw.money import price_again
from crm_attribution.raw.reading import Readings, StreamReport
from crm_attribution.raw.rules.stage_meanings import new_meanings
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import check_portal

_PAGE = 100


@dataclass(frozen=True)
class ReferenceReader:
    """Reference data of the portal."""

    readings: Readings
    hubspot: HubSpotClient

    def account(self) -> StreamReport:
        """The portal itself: its id, time zone and home currency. The first thing a run reads.

        Raises:
            ConfigurationError: when the data directory belongs to another portal.
        """
        run = self.readings.begin("account", None, self.hubspot.transport)
        frame = parse_setup.account(self.hubspot.account_details())
        with self.readings.warehouse.session() as session, session.transaction():
            check_portal(session.state, frame["portal_id"].item())
            former, since = _home(session)
            home = frame["company_currency"].item()
            if former is not None and home != former:
                since = self.readings.clock.now()
            dated = frame.with_columns(company_currency_since=pl.lit(since, pl.Datetime("us", "UTC")))
            changed = session["raw.account"].replace(dated, None)
            if home != former:
                run.count("deals in the account's other currency", price_again(session, home))
        return self.readings.end_reference(run, frame, changed, 1)

    def owners(self) -> StreamReport:
        """All owners, archived ones included."""
        run = self.readings.begin("owners", None, self.hubspot.transport)
        gone, active = self.hubspot.owners(archived=True), self.hubspot.owners()
        frame = parse_setup.owners([*gone, *active])
        with self.readings.warehouse.session() as session, session.transaction():
            changed = session["raw.owner"].upsert(frame)
        return self.readings.end_reference(
            run, frame, changed, sum(max(1, ceil(len(rows) / _PAGE)) for rows in (gone, active))
        )

    def stages(self) -> StreamReport:
        """All stages of all pipelines."""
        run = self.readings.begin("pipeline_stages", None, self.hubspot.transport)
        staged = [name for name, described in OBJECT_TYPES.items() if described.pipelines]
        frame = pl.concat([parse_setup.stages(name, self.hubspot.pipelines(name)) for name in staged])
        with self.readings.warehouse.session() as session, session.transaction():
            former = session.read("raw.pipeline_stage")
            changed = session["raw.pipeline_stage"].upsert(frame)
            known = session.read("raw.stage_meaning")
            now = self.readings.clock.now()
            session["raw.stage_meaning"].append(new_meanings(known, former, frame, now))
        return self.readings.end_reference(run, frame, changed, len(staged))

    def forms(self) -> StreamReport:
        """All forms, archived ones included."""
        run = self.readings.begin("forms", None, self.hubspot.transport)
        gone, active = self.hubspot.forms(archived=True), self.hubspot.forms()
        frame = parse_setup.forms([*gone, *active])
        with self.readings.warehouse.session() as session, session.transaction():
            changed = session["raw.form"].upsert(frame)
        return self.readings.end_reference(
            run, frame, changed, sum(max(1, ceil(len(rows) / _PAGE)) for rows in (gone, active))
        )


def _home(session: Session) -> tuple[str | None, datetime | None]:
    """The home currency as it was read last, and when it was seen to change."""
    rows = session.query("SELECT company_currency, company_currency_since FROM raw.account").rows()
    return rows[0] if rows else (None, None)


def _pages(rows: list[Record]) -> int:
    """Calls that reading so many rows takes; asking costs one even where there is nothing."""
    return max(1, ceil(len(rows) / _PAGE))
