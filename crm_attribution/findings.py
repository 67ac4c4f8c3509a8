"""What a check of an installation finds, and when a version of somebody's API ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from typing import Literal

State = Literal["ok", "warning", "failed", "cannot be checked"]

VERSION_WARNS = timedelta(days=90)
"""How long before the end of a version it is named."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        state: warning: it works and should be looked at; failed: something does not work until a person acts.
        found: what was seen; no secret and nothing of a person.
        fix: what to do.
    """

    name: str
    state: State
    found: str
    fix: str = ""


@dataclass(frozen=True)
class ApiVersion:
    """A version of an API that our requests name.

    Attributes:
        api, version: as the platform calls them.
        ends: the day from which it may refuse them; None where none is announced.
        told: where the end is announced, or what it follows from.
    """

    api: str
    version: str
    ends: date | None
    told: str

    def finding(self, now: datetime) -> Finding:
        """What it means on this day."""
        name = f"{self.api}: version {self.version}"
        if self.ends is None:
            return Finding(name, "ok", "no end is announced")
        left = self.ends - now.date()
        fix = f"update crm_attribution to a release with a newer version; {self.told}"
        if left <= timedelta(0):
            return Finding(name, "failed", f"ended on {self.ends}", fix)
        if left <= VERSION_WARNS:
            return Finding(name, "warning", f"ends on {self.ends}, in {left.days} days", fix)
        return Finding(name, "ok", f"until {self.ends}")


def worst(findings: Iterable[Finding]) -> State:
    """failed, else warning, else ok: what cannot be checked says nothing."""
    states = {finding.state for finding in findings}
    return "failed" if "failed" in states else "warning" if "warning" in states else "ok"


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """A question to add to a message about a name that is not there; empty where nothing resembles it."""
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""
