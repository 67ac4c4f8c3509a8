"""The chain of steps on a real warehouse, fed by a real sandbox over HTTP, without Dagster.

A `Chain` reads what the sandbox holds at its clock and derives everything from it; `rebuild` empties what is derived
and derives it again from raw, as `crm-attribution rebuild` does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from os import utime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crm_attribution.clock import FixedClock
from crm_attribution.contracts import CONTRACTS
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.layers import DERIVED, forget
from crm_attribution.layers import derive as derive_all
from crm_attribution.ledger.store import Ledger
from crm_attribution.mapping import Rules, load
from crm_attribution.raw.readers import Readers, readers
from crm_attribution.sources.base import Source
from crm_attribution.sources.costs import SOURCE as COSTS
from crm_attribution.sources.identify import SOURCE as IDENTIFY
from crm_attribution.sources.link_clicks import SOURCE as LINK_CLICKS
from crm_attribution.sources.rates import SOURCE as RATES_SOURCE
from crm_attribution.sources.spend import SOURCE as SPEND
from crm_attribution.sources.touches import SOURCE as OFFLINE_TOUCHES
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.schema import table_name
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.sql import Sql
from crm_attribution_tests.helpers import at, new_warehouse
from crm_attribution_tests.sandbox_process import Line, Sandbox

RULES = """
deals:
  pipelines: {renewals: renewal, partners: ignore, selling: new, upsell: expansion}
values:
  billing_months: {Monthly: 1}
suppression:
  domains: [Vendor.example]
  addresses: ["*+TEST@*"]
accounts:
  free_mail_domains: [buyer.example]
attribution:
  models: [first_touch, last_touch, linear, w_shaped, person_linear, markov]
  scopes: [account, deal_contacts]
"""
"""The test portal's mapping. All stories write from buyer.example, which must not make one account of them. `trials` is
a pipeline nobody mapped."""


def rules(folder: Path, text: str = RULES) -> Rules:
    path = folder / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


LOADED = load()
"""The shipped rules."""


def derive(session: Session, mapping: Rules, now: datetime) -> list[int]:
    """Every derived layer once. Returns the rows each step changed."""
    return list(derive_all(session, mapping, now).values())


def dump(session: Session) -> dict[str, list[tuple[Any, ...]]]:
    """The current state of everything derived, comparable; of credit the rows that hold."""
    state = {name: _rows(session, name) for name in [*DERIVED, "identity.alias", "identity.person"]}
    current = session.query("SELECT * EXCLUDE (recorded_at) FROM attribution.credit WHERE superseded_at IS NULL")
    return {**state, "attribution.credit": sorted(current.rows(), key=repr)}


def differences(one: dict[str, list[tuple[Any, ...]]], other: dict[str, list[tuple[Any, ...]]]) -> list[str]:
    """Rows that only one of two states has, named by their table."""
    return [
        f"{side} {name}: {row}"
        for name in one
        for side, mine, theirs in (("only first", one, other), ("only second", other, one))
        for row in mine[name]
        if row not in set(theirs[name])
    ]


def _rows(session: Session, name: str) -> list[tuple[Any, ...]]:
    contract = CONTRACTS[name]
    frame = session.query(f"SELECT * FROM {table_name(name)}").select(contract.compared)
    lists = [column for column, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    return sorted(frame.with_columns(pl.col(c).list.join("|") for c in lists).rows(), key=repr)


@contextmanager
def in_no_order() -> Iterator[None]:
    """Rows of a query without ORDER BY come in any order, as DuckDB may give them."""
    plain, chance = Sql.query, random.Random(1)

    def shuffled(
        self: Sql, sql: str, parameters: Sequence[object] | None = None, **frames: pl.DataFrame
    ) -> pl.DataFrame:
        found, outer = plain(self, sql, parameters, **frames), sql
        while outer != (outer := re.sub(r"\([^()]*\)", "", outer)):
            pass  # an ORDER BY in brackets promises nothing of the rows outside
        if re.search(r"\bORDER BY\b", outer, re.IGNORECASE):
            return found
        return found.sample(fraction=1, shuffle=True, seed=chance.randrange(2**32))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sql, "query", shuffled)
        yield


@dataclass
class Chain:
    """One warehouse that follows one sandbox."""

    sandbox: Sandbox
    warehouse: Warehouse
    mapping: Rules
    folder: Path
    transports: list[Transport] = field(default_factory=list)

    @classmethod
    @contextmanager
    def start(cls, folder: Path, lines: Sequence[Line], clock: str, mapping: Rules | None = None) -> Iterator[Chain]:
        folder.mkdir(parents=True, exist_ok=True)
        with Sandbox.start(lines, clock) as sandbox:
            chain = cls(sandbox, new_warehouse(folder / "warehouse"), mapping or rules(folder), folder)
            try:
                yield chain
            finally:
                for transport in chain.transports:
                    transport.close()

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.warehouse.directory)

    def transport(self, service: str, name: str) -> Transport:
        token = self.sandbox.env[f"{name}_TOKEN"]
        found = Transport(
            self.sandbox.env[f"{name.split('_')[0]}_BASE_URL"],
            service=service,
            headers={"Authorization": f"Bearer {token}"},
        )
        self.transports.append(found)
        return found

    def readers(self, mapping: Rules | None = None) -> Readers:
        """A reader of everything, at the sandbox's clock."""
        hubspot = HubSpotClient(self.transport("hubspot", "HUBSPOT_ACCESS"))
        clock = FixedClock(at(self.sandbox.clock()))
        return readers(self.warehouse, hubspot, clock, mapping or self.mapping, self.folder / "inbox")

    def read(self, since: datetime | None = None) -> None:
        """Everything changed since (None: all), as of the sandbox's clock, with the files kept open as a run does."""
        with self.warehouse.kept_open():
            self._read(since)

    def _read(self, since: datetime | None) -> None:
        found = self.readers()
        found.reference.account()
        found.reference.stages()
        found.reference.forms()
        for object_type in ("companies", "contacts", "deals"):
            found.records.read(object_type, since)
        found.streams.submissions(since)
        found.streams.email_clicks(since)
        found.activities.read(since)
        found.campaigns.read(since)
        found.sources.read(LINK_CLICKS, self.transport("clicks", "CLICKS"), since)
        found.properties.read()
        for source in (IDENTIFY, OFFLINE_TOUCHES, RATES_SOURCE, SPEND, COSTS):
            found.sources.read(source, None, since)

    def rates(self, *rows: str) -> None:
        """Drop a file of rates, each `date,from,to,rate`, told now."""
        self.drop(RATES_SOURCE, "date,from_currency,to_currency,rate", *rows)

    def drop(self, source: Source, *lines: str) -> None:
        """Drop a CSV file, told now."""
        folder = self.folder / "inbox" / source.folder
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{source.name}.csv"
        file.write_text("\n".join(lines), encoding="utf-8")
        utime(file, (at(self.sandbox.clock()).timestamp(),) * 2)

    def derive(self) -> list[int]:
        with self.warehouse.session() as session:
            return derive(session, self.mapping, at(self.sandbox.clock()))

    def run(self, since: datetime | None = None) -> list[int]:
        self.read(since)
        return self.derive()

    def advance(self, clock: str, since: datetime | None = None) -> list[int]:
        self.sandbox.set_clock(clock)
        return self.run(since)

    def rebuild(self) -> None:
        with self.warehouse.session() as session:
            forget(session)
        self.derive()

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        with self.warehouse.session() as session:
            return dump(session)

    def table(self, name: str) -> list[dict[str, Any]]:
        with self.warehouse.session() as session:
            return session.read(name).rows(named=True)
