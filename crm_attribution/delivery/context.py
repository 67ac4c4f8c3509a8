"""What the steps of one delivery to one account share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from crm_attribution.clock import Clock
from crm_attribution.delivery.access import Access
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.delivery.rules import Policy, Row
from crm_attribution.destinations.accounts import Account
from crm_attribution.destinations.base import Destination, Limits, Ready, Request, Resolved
from crm_attribution.ledger.entries import Scope
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.session import Session

Resolve = Callable[[Session, pl.DataFrame], Mapping[str, Resolved]]
"""Rows of `conversions.conversion` -> what is known about each, by conversion_id. Reads only: it runs while the
ledger's transaction claims the rows. A row it leaves out is held as `unresolved`."""

Checkpoint = Callable[[str], None]
"""Called with the name of each point a crash is tested at: selecting, selected, claiming, claimed, leaving, left,
answered, settling, settled (…ing: inside the transaction, before its commit)."""


@dataclass
class Delivery:
    """One delivery to one account.

    Attributes:
        to: the account.
        access: gives the access token of its requests; None where the settings hold all they need.
        queue: batches still to be claimed, as conversion ids.
        nap: seconds to wait before the next request.
        probing: the last end of this account is not certain, and the platform does not recognise our key: the next
            request takes one conversion, and batches go on when that has a certain end.
    """

    to: Account
    rules: Rules
    clock: Clock
    policy: Policy
    checkpoint: Checkpoint
    report: DeliveryReport
    access: Access | None = None
    queue: deque[list[str]] = field(default_factory=deque, repr=False)
    nap: float = 0.0
    probing: bool = False

    def __post_init__(self) -> None:
        self.limits: Limits = self.destination.limits
        if self.destination.plans_from == "touches":
            self.limits = replace(self.limits, batch=min(self.limits.batch, self.rules.write_back.events.batch))

    @property
    def destination(self) -> Destination:
        return self.to.destination

    @property
    def account(self) -> str:
        """The platform's id of it."""
        return self.to.id

    @property
    def scope(self) -> Scope:
        """The conversions it looks at; the first account also at those of accounts that are not in use any more, which
        it holds."""
        return Scope(self.destination.name, None if self.to.is_first else self.to.id, self.to.others)

    def request(self, batch: Sequence[Ready]) -> Request:
        """The request for a batch."""
        return self.destination.build(batch, self.to.settings, self.rules.options(self.destination.name))

    def renew(self) -> None:
        """Have an access token for the next request, or stop: before anything is claimed for it."""
        refused = self.access.renew() if self.access else None
        if refused is not None:
            self.report.stopped = refused.reason
            self.report.alert = f"check {self.to.credential}: {refused.reason}" if refused.person else None

    def headers(self, request: Request) -> Mapping[str, str]:
        """Of a request, its access token included."""
        return {**request.headers, **(self.access.headers() if self.access else {})}

    def ended(self, rows: Iterable[tuple[str, str, str | None]]) -> None:
        """Report the state and reason that rows (conversion id, state, reason) were left in."""
        self.report.ended.update({key: (state, reason) for key, state, reason in rows})


@dataclass
class Batch:
    """Claimed rows and the request made of them; `ready` in the order of `rows`."""

    batch_id: str
    rows: list[Row]
    ready: list[Ready] = field(repr=False)
    request: Request = field(repr=False)


def rows_of(frame: pl.DataFrame) -> list[Row]:
    """Rows of conversions.conversion as values."""
    return [Row.of(record) for record in frame.iter_rows(named=True)]
