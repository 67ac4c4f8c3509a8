"""What a step tells its asset."""

from __future__ import annotations

from dataclasses import dataclass, field

from crm_attribution.warehouse.schema import table_name
from crm_attribution.warehouse.session import Session

_TOTALS = ("HubSpot counts", "known here")


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

    def plus(self, other: Report) -> Report:
        """The report of two readings of one run: figures add up, of texts and totals the later one stands."""
        facts = dict(self.facts)
        for name, value in other.facts.items():
            before = facts.get(name)
            both = isinstance(before, int) and isinstance(value, int) and name not in _TOTALS
            facts[name] = before + value if both else value  # type: ignore[operator]
        return Report(self.rows + other.rows, self.changed + other.changed, facts)


def count(session: Session, name: str) -> Report:
    """Rows of a table that others write."""
    return Report(rows=session.scalar(f"SELECT count(*) FROM {table_name(name)}"))


def with_table_rows(session: Session, name: str, report: Report) -> Report:
    """A window's report with the rows of the whole table; what the window brought stands beside."""
    facts = {"dagster/partition_row_count": report.rows, **report.facts}
    return Report(count(session, name).rows, report.changed, facts)
