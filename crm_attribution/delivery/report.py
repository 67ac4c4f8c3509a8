"""The report of a delivery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crm_attribution.clock import iso
from crm_attribution.money import to_decimal


@dataclass
class DeliveryReport:
    """What a delivery did; without personal data and secrets, so it may be shown and logged.

    Attributes:
        account: its title, where it is of one account.
        skipped: why nothing was selected (sending is off, not configured, not in the mapping).
        requests: HTTP requests made that carry conversions.
        least: requests that the platform's limits allow for what was to be sent.
        sent: conversions in those requests, each time they were sent.
        accepted: value of the conversions that were accepted, minor units by currency.
        oldest_waiting: since when the one that has been due longest waits, whatever for.
        stuck: conversions that have been due for longer than the destination's `stuck_after` and wait neither for a
            reason nor for a person.
        stopped: why it ended with rows still to be sent; they go out with a later delivery.
        alert: what a person must do before anything of this account can be sent again.
        warning: what a person should look at; nothing waits for it.
        paused_until: the platform asked for it.
        ended: state and reason each row it looked at was left in.
        resting: rows that are held still, by reason; nothing that it could go by has changed.
        left_out: how many identifiers were not sent because it is not certain what they mean, by the platform's name.
        accounts: of a delivery to several accounts, the report of each.
    """

    destination: str
    account: str = ""
    skipped: str | None = None
    requests: int = 0
    least: int = 0
    sent: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    oldest_waiting: datetime | None = None
    stuck: int = 0
    stopped: str | None = None
    alert: str | None = None
    warning: str | None = None
    paused_until: datetime | None = None
    ended: dict[str, tuple[str, str | None]] = field(default_factory=dict, repr=False)
    resting: Counter[str | None] = field(default_factory=Counter, repr=False)
    left_out: Counter[str] = field(default_factory=Counter, repr=False)
    accounts: list[DeliveryReport] = field(default_factory=list, repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Rows by the state they were left in."""
        return dict(sorted(self._by(lambda state, _: state).items()))

    @property
    def reasons(self) -> dict[str, int]:
        """Rows by `state: reason`, where there is one."""
        return dict(sorted(self._by(lambda state, why: f"{state}: {why}" if why else None).items()))

    def _by(self, name: Callable[[str, str | None], str | None]) -> Counter[str]:
        """Rows that were due, by a name for their end; those without one are left out."""
        ends = Counter(self.ended.values()) + Counter({("held", why): count for why, count in self.resting.items()})
        found: Counter[str] = Counter()
        for end, count in ends.items():
            if (called := name(*end)) is not None:
                found[called] += count
        return found

    def facts(self) -> dict[str, int | str]:
        """Figures by name, for metadata."""
        texts = {"skipped": self.skipped, "stopped": self.stopped, "alert": self.alert, "warning": self.warning}
        words = {name: text for name, text in texts.items() if text}
        unsent = {f"identifiers left out: {name}": count for name, count in sorted(self.left_out.items())}
        values = {f"value accepted, {currency}": str(to_decimal(minor, currency)) for currency, minor in
                  sorted(self.accepted.items())}  # fmt: skip
        each = {one.account: ", ".join(f"{count} {state}" for state, count in one.counts.items()) or "nothing due"
                for one in self.accounts}  # fmt: skip
        counted = {**self._ratios(), **self.counts, **self.reasons, **values, **unsent}
        return {"requests": self.requests, **counted, **each, **words}

    def _ratios(self) -> dict[str, int | str]:
        found: dict[str, int | str] = {} if self.skipped else {"sent": self.sent}
        if self.requests:
            found["conversions per request"] = f"{self.sent / self.requests:.1f}"
        if self.least:
            found["requests ÷ least"] = f"{self.requests / self.least:.2f}"
        if self.oldest_waiting is not None:
            found["oldest waiting since"] = iso(self.oldest_waiting)
        return found


def together(reports: Sequence[DeliveryReport]) -> DeliveryReport:
    """One report of the deliveries to all accounts of a destination; texts say whose they are."""
    if len(reports) == 1:
        return reports[0]
    whole = DeliveryReport(reports[0].destination, accounts=list(reports))
    for one in reports:
        whole.requests += one.requests
        whole.least += one.least
        whole.sent += one.sent
        whole.stuck += one.stuck
        whole.accepted.update(one.accepted)
        whole.left_out.update(one.left_out)
        whole.ended.update(one.ended)
        whole.resting.update(one.resting)
    whole.oldest_waiting = min((one.oldest_waiting for one in reports if one.oldest_waiting), default=None)
    whole.paused_until = max((one.paused_until for one in reports if one.paused_until), default=None)
    whole.stopped = _said(reports, "stopped")
    whole.alert = _said(reports, "alert")
    whole.warning = _said(reports, "warning")
    return whole


def _said(reports: Sequence[DeliveryReport], name: str) -> str | None:
    return "; ".join(f"{one.account}: {text}" for one in reports if (text := getattr(one, name))) or None
