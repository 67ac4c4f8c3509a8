"""What plans rows from something else than milestones: what HubSpot and a channel are told. One `Teller` for each
source of rows (`Destination.plans_from`); all are in `tellers.TELLERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from crm_attribution.contracts.topics import Topic
from crm_attribution.destinations.accounts import Account
from crm_attribution.destinations.base import Destination, Resolved
from crm_attribution.identifiers import delivery_key
from crm_attribution.ledger import entries
from crm_attribution.ledger.store import Book
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.mapping import Rules, send_from
from crm_attribution.marts.traits import Trait
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.session import Session

Resolver = Callable[[Session, pl.DataFrame], Mapping[str, Resolved]]
"""Due rows -> by their id what is to be sent of them now."""

OF_TOUCH = "t.kind, t.touched_at, t.channel, t.source, t.medium, t.campaign"
OF_CLICK = (
    "k.received_at, k.utm_term, k.utm_content, k.link_slug, k.link_tags, k.link_title, k.short_url, k.destination_url,"
    " k.referrer, k.country, k.device"
)
"""Columns that texts of the mapping may name, of `attribution.touch t` and `raw.link_click k`."""


@dataclass(frozen=True)
class Work:
    """What planning for one account is given.

    Attributes:
        book: the ledger, in the transaction of the planning.
        start: what `send_from: start` means, where a rule was in use from the first planning on.
        changes: what changed of the teller's topics.
        now: log time, UTC.
        traits: computed traits in use.
    """

    session: Session
    book: Book
    account: Account
    rules: Rules
    start: datetime
    changes: Changes
    now: datetime
    traits: Mapping[str, Trait] = field(default_factory=dict)

    @property
    def destination(self) -> Destination:
        return self.account.destination

    @property
    def oldest(self) -> datetime:
        """What happened before is too old to be told."""
        return self.now - self.destination.limits.max_age

    def seen(self) -> dict[tuple[str, str], str]:
        """(kind, action) of the account's rules -> `send_from` when each was seen first."""
        found = entries.activations(self.book)
        return {(kind, action): since for of, kind, action, since in found if of == self.account.key}

    def begin(self, first: str | None, wanted: str = "start") -> datetime:
        """From when a rule tells: from `wanted` on; where that is `start`, from when it was seen first."""
        return send_from((first or "start") if wanted == "start" else wanted, self.start)

    def insert(self, planned: pl.DataFrame) -> list[str]:
        """Plan rows that are not there yet; their ids.

        Args:
            planned: action, milestone (the kind), milestone_id (the key), occurred_at, ready_at and, where it is to be
                suppressed, reason; expires_at, or it follows from occurred_at.
        """
        if planned.is_empty():
            return []
        name, account, now = self.destination.name, self.account.id, pl.lit(self.now)
        pairs = planned.select("action", "milestone_id").iter_rows()
        keys = [delivery_key(name, account, action, key, 0) for action, key in pairs]
        reason = pl.col("reason") if "reason" in planned.columns else pl.lit(None, pl.String)
        late = "expires_at" in planned.columns
        rows = planned.select(
            conversion_id=pl.Series(keys, dtype=pl.String),
            destination=pl.lit(name),
            account=pl.lit(account),
            action="action",
            milestone="milestone",
            milestone_id="milestone_id",
            event_id="milestone_id",
            kind=pl.lit("conversion"),
            revision=pl.lit(0, pl.Int64),
            occurred_at="occurred_at",
            ready_at="ready_at",
            expires_at="expires_at" if late else pl.col("occurred_at") + self.destination.limits.max_age,
            state=pl.when(reason.is_null()).then(pl.lit("pending")).otherwise(pl.lit("suppressed")),
            reason=reason,
            attempts=pl.lit(0, pl.Int64),
            planned_at=now,
            updated_at=now,
        )
        return self.book.insert(CONVERSION, rows)["conversion_id"].to_list()


def _nothing_more(session: Session, traits: Mapping[str, Trait]) -> str:
    del session, traits
    return ""


def _none_wrong(session: Session, rules: Rules) -> dict[str, str]:
    del session, rules
    return {}


@dataclass(frozen=True)
class Teller:
    """One source of rows.

    Attributes:
        topics: whose changes it plans from.
        section: of the mapping, whose change plans everything anew.
        not_named: what the mapping says that names nothing; `{told_as}` is the destination's.
        plan: plans what is new; the ids of the rows.
        resolver: for a destination, what is sent of due rows.
        more: what else decides about everything, as a part of the cursor's signature.
        wrong: rules of the mapping that cannot be used, by name, and why.
    """

    topics: tuple[Topic, ...]
    section: str
    not_named: str
    plan: Callable[[Work], list[str]]
    resolver: Callable[[Destination, Rules], Resolver]
    more: Callable[[Session, Mapping[str, Trait]], str] = _nothing_more
    wrong: Callable[[Session, Rules], Mapping[str, str]] = _none_wrong
