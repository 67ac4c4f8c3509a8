"""events.milestone: what happened in the business, of the persons and accounts that events, merges or deals touch."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.events.rules import milestones as milestone_rules
from crm_attribution.events.rules.deal_stages import IS_CLOSED, IS_WON, stage_names
from crm_attribution.events.rules.events import hubspot_time
from crm_attribution.events.rules.subjects import of_companies, of_persons
from crm_attribution.events.rules.values import has_choice, measures, needed_properties
from crm_attribution.events.scope import scope
from crm_attribution.identifiers import DEAL_ACCOUNT
from crm_attribution.mapping import Rules
from crm_attribution.mapping.events import ChurnTold
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session

_EVENT = [
    "event_id", "event", "occurred_at", "time_basis", "observed_at", "source", "object_type", "object_id", "record_id",
    "contact_id", "deal_id", "from_stage", "to_stage", "left_at", "next_stage", "undone", "began", "pipeline",
    "currency", "amount", "mrr", "arr", "tcv", "suppressed_by",
]  # fmt: skip
"""Columns of events.event that milestones are made of."""

_DEAL = [
    "deal_id",
    "account_id",
    "dealname",
    "dealtype",
    "created_at",
    "createdate",
    "stage_now",
    "pipeline_now",
    "archived",
    "archived_at",
    "closedate",
    "currency",
    "valued_at",
    "churned_at",
    "churned_on",
    "company_id",
    "company_churned_at",
    "company_churned_on",
]
_ENTERED = """
    SELECT object_id AS deal_id, property, timestamp, ordinal, value FROM raw.property_history
    SEMI JOIN fact_live_deal ON deal_id = object_id
    WHERE object_type = 'deals' AND list_contains($1, property)
"""
"""Values entered into some properties of the deals in scope."""

_COMPANIES = """
    SELECT account_id, company_id, properties FROM identity.account AS account SEMI JOIN fact_account USING (account_id)
    JOIN raw.company AS company ON company.id = account.company_id
"""
_ENTERED_ON_COMPANIES = """
    SELECT object_id AS company_id, timestamp, ordinal, value FROM raw.property_history
    SEMI JOIN asked ON asked.company_id = object_id WHERE object_type = 'companies' AND property = $1
"""
"""Values entered into a property of the companies that are the accounts in scope."""

_CONTACT_KEYS = "SELECT 'contacts' AS object_type, contact_id AS object_id FROM fact_contact"
_RECORD_KEYS = """
    SELECT 'companies' AS object_type, company_id AS record_id FROM fact_company
    UNION ALL SELECT 'deals', deal_id FROM fact_live_deal
"""
_COMPANY_ACCOUNTS = """
    SELECT company_id, coalesce(a.account_id, 'company:' || company_id) AS account_id FROM fact_company
    LEFT JOIN identity.account_alias a ON alias_id = 'company:' || company_id
"""
_DEAL_PERSONS = """
    SELECT deal_id, person_id, CASE WHEN count(valid_to) = count(*) THEN max(valid_to) END AS until
    FROM fact_deal_contact JOIN identity.alias ON identifier = contact_id::VARCHAR
    WHERE identifier_type = 'contact' GROUP BY ALL ORDER BY ALL
"""
_LIVE_DEALS = f"""
    SELECT deal.* EXCLUDE (id), deal.id AS deal_id,
        coalesce(held.account_id, '{DEAL_ACCOUNT}' || deal.id) AS account_id,
        CASE WHEN archived THEN coalesce(gone.deleted_at, deal.modified_at) END AS archived_at
    FROM raw.deal AS deal
    SEMI JOIN fact_live_deal ON fact_live_deal.deal_id = deal.id
    LEFT JOIN identity.deal_account AS held ON held.deal_id = deal.id
    LEFT JOIN (
        SELECT object_id, max(deleted_at) AS deleted_at FROM raw.deletion
        SEMI JOIN fact_live_deal ON deal_id = object_id WHERE object_type = 'deals' AND kind = 'archived' GROUP BY ALL
    ) AS gone ON gone.object_id = deal.id
"""


def update(session: Session, changes: Changes, rules: Rules, _: datetime) -> Report:
    """Derive again the milestones of every person and account that an event, a merge or a deal touched."""
    report = Report(changed=0 if changes.idle else _derive(session, changes, rules))
    report.rows = session.scalar("SELECT count(*) FROM events.milestone")
    report.figures = dict(
        session.connection.execute(
            "SELECT milestone || ' (' || state || ')', n FROM"
            " (SELECT milestone, state, count(*) AS n FROM events.milestone GROUP BY ALL) ORDER BY 1"
        ).fetchall()
    )
    return report


def _derive(session: Session, changes: Changes, rules: Rules) -> int:
    """Write the milestones in scope. Returns how many rows came."""
    with scope(session, changes, of_companies=bool(rules.churn.company.names())):
        groups = session.query("FROM scope_group")
        made = milestone_rules.milestones(_facts(session, rules), rules)
        rows = made.rows.join(groups, on="group_key", how="semi")
        changed = session["events.milestone"].replace(rows, groups)
        keys = rows.select(milestone_rules.KEY)
        written = pl.concat([keys, changed.select(milestone_rules.KEY)]).unique()
        events = made.events.join(keys, on=milestone_rules.KEY, how="semi")
        session["events.milestone_event"].replace(events, written)
        session["events.revenue"].replace(made.revenue.join(groups, on="group_key", how="semi"), groups)
    return changed.filter("_came").height


def _facts(session: Session, rules: Rules) -> milestone_rules.Facts:
    """Events and deals of the open scope."""
    by_contact = session.read_keys("events.event", session.query(_CONTACT_KEYS), _EVENT)
    by_record = session.read_keys("events.event", session.query(_RECORD_KEYS), _EVENT)
    persons = session.query("FROM fact_contact")
    memberships = session.query("FROM identity.membership SEMI JOIN fact_person USING (person_id)")
    companies = session.query(_COMPANY_ACCOUNTS)
    of_company = pl.col("object_type") == "companies"
    no_account = {"person_id": pl.lit(None, pl.String), "account_id": pl.lit(None, pl.String)}
    return milestone_rules.Facts(
        events=pl.concat(
            [
                of_persons(by_contact, persons, memberships),
                of_companies(by_record.filter(of_company), companies),
                by_record.filter(~of_company).with_columns(**no_account),
            ]
        ),
        deals=_deals(session, rules),
        deal_persons=session.query(_DEAL_PERSONS),
        time_zone=session.scalar("SELECT time_zone FROM raw.account") or "UTC",
    )


def _deals(session: Session, rules: Rules) -> pl.DataFrame:
    """Live deals of the open scope with their account, when they were archived, and what they are worth now."""
    names = [*needed_properties(rules.values), IS_CLOSED, IS_WON, "createdate"]
    texts = {name: pl.col("properties").str.json_path_match(f"$.{name}") for name in names if name != "amount"}
    rows = session.query(_LIVE_DEALS).with_columns(
        **texts, _amount="amount", amount=pl.lit(None, pl.String), stage="dealstage"
    )
    rows = rows.with_columns(createdate=pl.coalesce(hubspot_time(pl.col("createdate")), "created_at"))
    rows = stage_names(rows, session.read("raw.pipeline_stage"), rules.deals)
    rows = _ended(session, rows, rules)
    valued = measures(rows, rules.values, given_amount="_amount")
    return valued.select(*_DEAL, "amount", "mrr", "arr", "tcv")


def _ended(session: Session, deals: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Add to deals: valued_at, when a value was last entered; churned_at and churned_on, when their revenue ended by a
    property and by a date; company_churned_at and company_churned_on, likewise of the company that is their account
    (UTC)."""
    churn = rules.churn
    values = [*needed_properties(rules.values), "deal_currency_code"]
    entered = session.query(_ENTERED, [[*values, churn.property or ""]])
    of_value = entered.filter(pl.col("property").is_in(values))
    valued = of_value.group_by("deal_id").agg(valued_at=pl.col("timestamp").max())
    of_churn = entered.filter(pl.col("property") == (churn.property or ""))
    return (
        deals.join(valued, on="deal_id", how="left")
        .join(_since(of_churn, "deal_id", churn), on="deal_id", how="left")
        .join(_companies(session, churn.company), on="account_id", how="left")
        .with_columns(churned_on=_date(churn))
    )


def _companies(session: Session, churn: ChurnTold) -> pl.DataFrame:
    """account_id, company_id, company_churned_at and company_churned_on of the accounts whose company says so."""
    columns = {"account_id": pl.String, "company_id": pl.Int64}
    if not churn.names():
        moment = pl.Datetime("us", "UTC")
        return pl.DataFrame(schema={**columns, "company_churned_at": moment, "company_churned_on": moment})
    companies = session.query(_COMPANIES)
    entered = session.query(_ENTERED_ON_COMPANIES, [churn.property or ""], asked=companies.select("company_id"))
    since = _since(entered, "company_id", churn).rename({"churned_at": "company_churned_at"})
    dated = companies.select(*columns, company_churned_on=_date(churn))
    return dated.join(since, on="company_id", how="left").select(*columns, "company_churned_at", "company_churned_on")


def _since(entered: pl.DataFrame, key: str, churn: ChurnTold) -> pl.DataFrame:
    """`key`, churned_at: since when a record's property has only had values that mean churn."""
    rows = entered.sort(key, "timestamp", "ordinal").with_columns(churns=has_choice(pl.col("value"), churn.values))
    before = ~pl.col("churns").reverse().cum_min().reverse().over(key)
    return rows.filter(~before).group_by(key).agg(churned_at=pl.col("timestamp").min())


def _date(churn: ChurnTold) -> pl.Expr:
    path = f"$.{churn.date_property}"
    return hubspot_time(pl.col("properties").str.json_path_match(path) if churn.date_property else pl.lit(""))
