"""What a step tells its asset."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """Row counts for metadata.

    Attributes:
        rows: rows the table has now, or the window brought; see each step.
        changed: rows written or removed.
        facts: further figures by name, shown as they are.
    """

    rows: int = 0
    changed: int = 0
    facts: dict[str, int | str | float] = field(default_factory=dict)
