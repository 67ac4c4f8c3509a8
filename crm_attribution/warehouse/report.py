"""What a step reports to its asset."""

from __future__ import annotations

from dataclasses import dataclass, field

from crm_attribution.warehouse.schema import table_name
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import Figures

ROWS, CHANGED = "dagster/row_count", "changed rows"
CALLS, MINIMUM_CALLS = "calls", "minimum calls"
"""Names of an asset's metadata that commands read again from a run."""


@dataclass
class Report:
    """Row counts for metadata.

    Attributes:
        rows: rows the table has now, or the window brought; see each step.
        changed: rows written or removed.
        figures: further figures by name, for people: no program reads a name.
    """

    rows: int = 0
    changed: int = 0
    figures: Figures = field(default_factory=dict)

    def shown(self) -> Figures:
        """All figures other than the rows, by the name people see."""
        return self.figures


def count(session: Session, name: str) -> Report:
    """Rows of a table that others write."""
    return Report(rows=session.scalar(f"SELECT count(*) FROM {table_name(name)}"))
