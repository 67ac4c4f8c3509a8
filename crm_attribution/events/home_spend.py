"""events.home_spend: money spent in the account's home currency, of the days and months with a change."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.events.home_values import RATES
from crm_attribution.events.rules.home_spend import home_spend
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session

_EVERY = """
    SELECT 'day' AS period, date AS starts_on FROM raw.ad_spend
    UNION SELECT 'month', month FROM raw.cost
    UNION SELECT period, starts_on FROM events.home_spend
"""
_TOUCHED = """
    SELECT 'day' AS period, date::DATE AS starts_on FROM changed_spend
    UNION SELECT 'month', month::DATE FROM changed_cost
    UNION SELECT 'day', spent.date FROM raw.ad_spend AS spent JOIN changed_rate AS told
        ON spent.currency IN (from_currency, to_currency)
        AND spent.date BETWEEN told.date::DATE AND told.date::DATE + $1::INTEGER
    UNION SELECT 'month', month FROM raw.cost JOIN changed_rate AS told ON currency IN (from_currency, to_currency)
        AND month BETWEEN date_trunc('month', told.date::DATE) AND told.date::DATE + $1::INTEGER
"""
_AMOUNTS = """
    SELECT DISTINCT 'day' AS period, date AS starts_on, currency, amount FROM raw.ad_spend
        SEMI JOIN keys ON period = 'day' AND starts_on = date
    UNION ALL SELECT DISTINCT 'month', month, currency, amount FROM raw.cost
        SEMI JOIN keys ON period = 'month' AND starts_on = month
    ORDER BY ALL
"""


def update(session: Session, changes: Changes, rules: Rules, _as_of: datetime) -> Report:
    """Convert again what was spent on the days and in the months with a change; all where the home currency changed."""
    report = Report()
    if not changes.idle:
        keys = _keys(session, changes, rules.currency.rate_days)
        rows = _converted(session, keys, rules.currency.rate_days)
        report.changed = session["events.home_spend"].replace(rows, keys).filter("_came").height
    report.rows = session.scalar("SELECT count(*) FROM events.home_spend")
    report.figures = dict(
        session.query(
            "SELECT coalesce(rate_source, 'no rate'), count(*) FROM events.home_spend GROUP BY 1 ORDER BY 1"
        ).iter_rows()
    )
    return report


def _keys(session: Session, changes: Changes, rate_days: int) -> pl.DataFrame:
    """period, starts_on of what is converted again."""
    if changes.everything or changes.of(topics.ACCOUNT_DETAILS):
        return session.query(_EVERY)
    return session.query(
        _TOUCHED,
        [rate_days],
        changed_spend=changes.frame(topics.AD_SPEND),
        changed_cost=changes.frame(topics.COST),
        changed_rate=changes.frame(topics.EXCHANGE_RATE),
    )


def _converted(session: Session, keys: pl.DataFrame, rate_days: int) -> pl.DataFrame:
    home = session.scalar("SELECT company_currency FROM raw.account")
    if home is None:
        return session.read("events.home_spend", "false")
    amounts = session.query(_AMOUNTS, keys=keys)
    asked = amounts.group_by("currency").agg(
        opens=pl.col("starts_on").min() - pl.duration(days=rate_days), closes=pl.col("starts_on").max().dt.month_end()
    )
    return home_spend(amounts, session.query(RATES, [home], asked=asked), home, rate_days)
