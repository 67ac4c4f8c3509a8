"""HubSpot told of touches by the real steps: a chain over a sandbox portal, planned and delivered hour by hour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crm_attribution import configuration
from crm_attribution.clock import FixedClock
from crm_attribution.conversions import plan
from crm_attribution.conversions.recipients import resolver
from crm_attribution.delivery.deliver import deliver
from crm_attribution.delivery.replay import Answer, Wish, queue
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.destinations import destinations
from crm_attribution.ledger.tables import CONVERSION, TABLES
from crm_attribution.settings import Settings
from crm_attribution_tests.flow.chain import RULES, Chain, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox_process import Line

START = "2026-01-01T00:00:00Z"
NO_ADS = "destinations: {meta: {conversions: []}}\n"


@dataclass
class Telling:
    """One portal and what it is told.

    Attributes:
        env: settings above the sandbox's.
        planning: what the last hour said of its planning.
    """

    chain: Chain
    env: dict[str, str] = field(default_factory=dict)
    planning: plan.Planning = field(default_factory=plan.Planning)

    @classmethod
    @contextmanager
    def start(cls, folder: Path, lines: Sequence[Line], clock: str, mapping: str = "") -> Iterator[Telling]:
        folder.mkdir(parents=True, exist_ok=True)
        with Chain.start(folder, lines, clock, rules(folder, RULES + NO_ADS + mapping)) as chain:
            yield cls(chain)

    def hour(self, clock: str | None = None, *, to: Sequence[str] = ("hubspot_events",)) -> dict[str, DeliveryReport]:
        """Read what has changed, derive, plan, and send to some destinations."""
        if clock is not None:
            self.chain.sandbox.set_clock(clock)
        self.chain.run()
        now = at(self.chain.sandbox.clock())
        given = self.settings()
        with self.chain.warehouse.session() as session:
            self.planning = plan.update(session, self.chain.ledger, self.chain.mapping, given, now)
        return {name: self.deliver(name) for name in to}

    def deliver(self, name: str, **options: Any) -> DeliveryReport:
        now = at(self.chain.sandbox.clock())
        return deliver(
            destinations()[name],
            settings=self.settings(),
            rules=self.chain.mapping,
            warehouse=self.chain.warehouse,
            ledger=self.chain.ledger,
            clock=FixedClock(now),
            window_end=now,
            resolve=resolver(destinations()[name], self.chain.mapping),
            **options,
        )

    def replay(self, name: str) -> list[Answer]:
        """Ask for everything that a destination took to be sent again, as the command does."""
        with self.chain.ledger.reading() as book:
            of = TABLES[CONVERSION].c
            rows = book.read(CONVERSION, of.destination == name, of.state == "accepted").sort("milestone_id")
        wish = Wish(rows["milestone_id"].to_list(), [name], "asked to", "command")
        with self.chain.warehouse.session() as session:
            return queue(session, self.chain.ledger, wish, at(self.chain.sandbox.clock()))

    def settings(self) -> Settings:
        on = {"CRM_ATTRIBUTION_WRITE_BACK": "on", "CRM_ATTRIBUTION_START": START}
        return configuration.load({**self.chain.sandbox.env, **on, **self.env})

    def remap(self, mapping: str) -> None:
        """Put another mapping in force."""
        self.chain.mapping = rules(self.chain.folder, RULES + NO_ADS + mapping)

    def rows(self) -> dict[str, tuple[str, str | None]]:
        """Touch -> state and reason of what is planned for it."""
        with self.chain.ledger.reading() as book:
            return {
                row["milestone_id"]: (row["state"], row["reason"])
                for row in book.read(CONVERSION).iter_rows(named=True)
            }

    def counted(self, name: str = "hubspot_events") -> list[dict[str, Any]]:
        """What HubSpot counts."""
        return list(self.chain.sandbox.received(name)["counted"])
