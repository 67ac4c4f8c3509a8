"""How often the OAuth token was renewed, and how that ended: counters in Prometheus' text format.

https://prometheus.io/docs/instrumenting/exposition_formats/. The file is replaced whole, by who holds the token file's
lock; a collector such as node_exporter's textfile reads it at any time. The days are for our own check.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

NAME, DAILY = "hubspot_refresh_attempts_total", "hubspot_refresh_attempts_of_day"
FILE = "hubspot_oauth.prom"
RESULTS = ("success", "refused", "no_answer", "failed", "unfinished")
"""refused: HubSpot does not take the token, the app or the account; no_answer: it gave none in time; unfinished: the
process ended before it knew."""

DAYS = 7
ALARM_PERCENT = 1
_LINE = re.compile(r'(\w+)\{(?:day="(\d{4}-\d\d-\d\d)",)?result="(\w+)"\} (\d+)')


@dataclass(frozen=True)
class Counted:
    """Attempts of the last `DAYS` days, today included."""

    attempts: int
    errors: int

    @property
    def is_alarming(self) -> bool:
        """Whether more than `ALARM_PERCENT` of a hundred attempts failed."""
        return self.errors * 100 > self.attempts * ALARM_PERCENT


class Refreshes:
    """The file in a data directory. One that cannot be read is begun anew: it is no memory of anything else."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def count(self, result: str, now: datetime) -> None:
        """One more attempt ended so. The caller holds the lock of the token file."""
        found = self._read()
        found[NAME, "", result] += 1
        found[DAILY, f"{now:%Y-%m-%d}", result] += 1
        oldest = f"{now - timedelta(days=DAYS - 1):%Y-%m-%d}"
        kept = {key: number for key, number in found.items() if not key[1] or key[1] >= oldest}
        for one in RESULTS:
            kept.setdefault((NAME, "", one), 0)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        half = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        half.write_text(_text(kept), encoding="utf-8")
        half.replace(self.path)

    def recent(self, now: datetime) -> Counted:
        """The attempts of the last days."""
        oldest = f"{now - timedelta(days=DAYS - 1):%Y-%m-%d}"
        days = {key: number for key, number in self._read().items() if key[0] == DAILY and key[1] >= oldest}
        errors = sum(number for (_, _, result), number in days.items() if result != "success")
        return Counted(sum(days.values()), errors)

    def _read(self) -> Counter[tuple[str, str, str]]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return Counter()
        found = (_LINE.fullmatch(line) for line in lines)
        return Counter({(one[1], one[2] or "", one[3]): int(one[4]) for one in found if one})


def _text(counted: dict[tuple[str, str, str], int]) -> str:
    lines = []
    for name, kind, meaning in (
        (NAME, "counter", "Attempts to renew HubSpot's OAuth token, by how they ended."),
        (DAILY, "gauge", f"The same by day, UTC, of the last {DAYS} days."),
    ):
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
        for (of, day, result), number in sorted(counted.items()):
            if of == name:
                label = f'day="{day}",' if day else ""
                lines.append(f'{name}{{{label}result="{result}"}} {number}')
    return "\n".join(lines) + "\n"
