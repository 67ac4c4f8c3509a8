"""What is shown of a mart besides its counts: its first rows, and the business figures of some."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from crm_attribution.warehouse.identifiers import quote_identifier
from crm_attribution.warehouse.session import Session

FIRST = 5

_WON = "milestone IN ('customer_won', 'customer_expanded') AND scope = 'account'"
_ONE_MODEL = "(SELECT min(model) FROM marts.revenue_attribution WHERE model <> 'self_reported')"
_FIGURES = {
    "marts.revenue_attribution": f"""
        SELECT 'won ARR in ' || currency, sum(credit)::DECIMAL(18, 3) FROM marts.revenue_attribution
        WHERE {_WON} AND measure = 'arr' AND model = {_ONE_MODEL} GROUP BY currency
        UNION ALL SELECT 'wins no touch explains, per cent',
            (100 * sum(credit) FILTER (channel = 'Unattributed') / nullif(sum(credit), 0))::DECIMAL(18, 3)
        FROM marts.revenue_attribution WHERE {_WON} AND measure = 'count' AND model = {_ONE_MODEL}
        ORDER BY 1
    """,
    "marts.known_gaps": "SELECT gap, count(*) FROM marts.known_gaps GROUP BY gap ORDER BY gap",
}
_NAMES = ("owner_name", "account_name", "account_domain")
_DOMAIN_ACCOUNT = "domain:"


def first_rows(session: Session, table: str) -> pl.DataFrame:
    """The first rows of a table, `schema.name`, without names of people and accounts: a domain may be a person's."""
    rows = session.query(f"SELECT * FROM {quote_identifier(*table.split('.'))} LIMIT {FIRST}")
    hidden = pl.when(pl.col(pl.String).str.starts_with(_DOMAIN_ACCOUNT)).then(pl.lit(f"{_DOMAIN_ACCOUNT}…"))
    shown = rows.drop(_NAMES, strict=False)
    return shown.with_columns(hidden.otherwise(pl.col(pl.String)).name.keep()) if pl.String in shown.dtypes else shown


def business_figures(session: Session, table: str) -> dict[str, int | Decimal]:
    """Figures of a mart by their names; empty for marts that have none. Money is in units of its currency."""
    sql = _FIGURES.get(table)
    found = session.connection.execute(sql).fetchall() if sql else []
    return {str(name): value for name, value in found if value is not None}
