"""What Dagster shows of a mart besides its counts."""

from __future__ import annotations

from decimal import Decimal

import dagster as dg

from crm_attribution.marts.figures import business_figures, first_rows
from crm_attribution.warehouse.session import Session

LONGEST = 40


def of_mart(session: Session, table: str) -> dict[str, dg.MetadataValue]:
    """Metadata of a mart, `schema.name`: its first rows and its business figures; none of other tables."""
    if not table.startswith("marts."):
        return {}
    rows = first_rows(session, table)
    lines = [rows.columns, ["---"] * rows.width, *([text(value) for value in row] for row in rows.iter_rows())]
    table_of_rows = dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))
    figures = {name: dg.MetadataValue.text(text(value)) for name, value in business_figures(session, table).items()}
    return {"first rows": table_of_rows, **figures}


def text(value: object) -> str:
    """A value in a cell of a Markdown table."""
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    shown = "" if value is None else str(value).replace("|", "/").replace("\n", " ")
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
