"""events.home_value: milestones in the account's home currency, of those whose value, deal or rate changed."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.events.rules.home_values import KEY, OWN_AMOUNT, OWN_RATE, Home, home_values
from crm_attribution.events.rules.values import CREDITED
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session

_VALUED = """
    (SELECT milestone, milestone_id, deal_id, currency, booked_on FROM events.milestone
     UNION ALL SELECT milestone, milestone_id, deal_id, currency, rated_on FROM events.revenue)
"""
_EVERY = f"SELECT milestone, milestone_id FROM {_VALUED} UNION FROM events.home_value SELECT milestone, milestone_id"
_TOUCHED = f"""
    FROM changed_milestone
    UNION SELECT change.milestone, change.milestone_id FROM events.revenue AS change SEMI JOIN changed_milestone AS win
        ON win.milestone = of_milestone AND win.milestone_id = of_milestone_id
    UNION SELECT milestone, milestone_id FROM {_VALUED} SEMI JOIN changed_deal USING (deal_id)
    UNION SELECT milestone, milestone_id FROM {_VALUED} SEMI JOIN changed_rate
        ON currency IN (from_currency, to_currency) AND booked_on BETWEEN date::DATE AND date::DATE + $1::INTEGER
"""
_OWN = f"""
    SELECT id AS deal_id, currency, json_extract_string(properties, '$.amount') AS amount,
        json_extract_string(properties, '$.{OWN_RATE}') AS {OWN_RATE},
        json_extract_string(properties, '$.{OWN_AMOUNT}') AS {OWN_AMOUNT}
    FROM raw.deal SEMI JOIN asked ON asked.deal_id = id
"""
RATES = """
    FROM raw.exchange_rate SEMI JOIN asked ON (from_currency = currency AND to_currency = $1
        OR to_currency = currency AND from_currency = $1) AND date BETWEEN opens AND closes
"""
"""raw.exchange_rate rows of `asked` (currency, opens, closes) and the home currency."""


def update(session: Session, changes: Changes, rules: Rules, _as_of: datetime) -> Report:
    """Convert again the milestones whose value, deal or rate changed; all of them where the home currency did."""
    report = Report()
    if not changes.idle:
        keys = _keys(session, changes, rules.currency.rate_days)
        rows = _converted(session, keys, rules.currency.rate_days)
        report.changed = session["events.home_value"].replace(rows, keys).filter("_came").height
    report.rows = session.scalar("SELECT count(*) FROM events.home_value")
    report.figures = dict(
        session.query(
            "SELECT coalesce(rate_source, 'no rate'), count(*) FROM events.home_value GROUP BY 1 ORDER BY 1"
        ).iter_rows()
    )
    return report


def _keys(session: Session, changes: Changes, rate_days: int) -> pl.DataFrame:
    """milestone, milestone_id of what is converted again, those that are none any more included."""
    if changes.everything or changes.of(topics.ACCOUNT_DETAILS):
        return session.query(_EVERY)
    return session.query(
        _TOUCHED,
        [rate_days],
        changed_milestone=changes.frame(topics.MILESTONE, topics.REVENUE_MOVEMENT),
        changed_deal=records_frame("deal_id", changes.ids(topics.DEALS)),
        changed_rate=changes.frame(topics.EXCHANGE_RATE),
    )


def _converted(session: Session, keys: pl.DataFrame, rate_days: int) -> pl.DataFrame:
    columns = (*KEY, "state", "deal_id", "booked_on", "currency", *CREDITED.values())
    milestones = session.read_keys("events.milestone", keys, columns)
    milestones = pl.concat([milestones, _movements(session, keys).select(milestones.columns)])
    found = session.query(
        "SELECT company_currency, company_currency_since, time_zone FROM raw.account WHERE company_currency IS NOT NULL"
    ).rows()
    if not found:
        return session.read("events.home_value", "false")
    home = Home(*found[0])
    deals = session.query(_OWN, asked=records_frame("deal_id", milestones["deal_id"].drop_nulls()))
    days = milestones.group_by("currency").agg(
        opens=pl.col("booked_on").min() - pl.duration(days=rate_days), closes=pl.col("booked_on").max()
    )
    rates = session.query(RATES, [home.currency], asked=days.drop_nulls())
    return home_values(milestones, deals, rates, home, rate_days)


def _movements(session: Session, keys: pl.DataFrame) -> pl.DataFrame:
    """Movements of revenue as milestones: each is converted by the rate of the win it changes."""
    rows = session.read_keys("events.revenue", keys)
    of = rows.select(milestone="of_milestone", milestone_id="of_milestone_id").unique()
    wins = session.read_keys("events.milestone", of, (*KEY, "state"))
    state = wins.rename({"milestone": "of_milestone", "milestone_id": "of_milestone_id"})
    return (
        rows.join(state, on=["of_milestone", "of_milestone_id"], how="left", maintain_order="left")
        .with_columns(booked_on="rated_on")
        .rename(CREDITED)
    )
