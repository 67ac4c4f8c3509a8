"""The sections of the report, in their order: what each shows, the query on the published file, and its chart.

Money is in the home currency where a rate turns it into that, else in its own: never summed over currencies. Periods
are the twelve months up to the month of `marts.about.as_of`.
"""

from __future__ import annotations

from dataclasses import dataclass

from crm_attribution.report.charts import Chart, bars, movements


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: its anchor.
        title: heading.
        lead: what the figures are, and what they are not.
        sql: one SELECT; figures are whole numbers or decimals.
        chart: drawn from the rows, above the table.
        pivot: columns with names and values that the table shows beside each other.
        empty: said where there are no rows.
    """

    key: str
    title: str
    lead: str
    sql: str
    chart: Chart | None = None
    pivot: tuple[str, str] | None = None
    empty: str = "Nothing to show."


_ONE_MODEL = """(SELECT coalesce(max(model) FILTER (model = 'linear'), min(model))
        FROM marts.revenue_attribution WHERE model <> 'self_reported')"""
"""One that every figure of a table is of: linear where it is in use."""

_YEAR = """booked_month > (SELECT date_trunc('month', as_of) - INTERVAL 12 MONTH FROM marts.about)
    AND booked_month <= (SELECT as_of FROM marts.about)"""


def _credit(name: str, outcome: str, measure: str) -> str:
    """Credit of an outcome in one measure, by channel and model; the channel with most comes first."""
    return f"""
SELECT unit AS currency, channel, model, credited AS {name} FROM (
    SELECT coalesce(home_currency, currency) AS unit, channel, model,
        sum(coalesce(credit_home, credit))::DECIMAL(18, 3) AS credited
    FROM marts.revenue_attribution
    WHERE {outcome} AND measure = '{measure}' AND scope = 'account'
    AND {_YEAR}
    GROUP BY ALL)
ORDER BY unit, sum(credited) OVER (PARTITION BY unit, channel) DESC, channel, model
""".strip()


CARDS = Section(
    key="figures",
    title="Figures",
    lead="",
    sql=f"""
SELECT label, value, unit FROM (
    SELECT 1 AS place, 'Annual recurring revenue' AS label, closing::DECIMAL(18, 3) AS value, currency AS unit
    FROM marts.arr_bridge
    WHERE basis = 'own' AND month = (SELECT date_trunc('month', as_of)::DATE FROM marts.about)
    UNION ALL SELECT 2, 'Won ARR in ' || strftime(booked_month, '%Y-%m'), sum(arr_new)::DECIMAL(18, 3), currency
    FROM marts.milestone
    WHERE milestone IN ('customer_won', 'customer_expanded') AND is_counted AND currency IS NOT NULL
        AND booked_month > (SELECT date_trunc('month', as_of) - INTERVAL 2 MONTH FROM marts.about)
        AND booked_month <= (SELECT as_of FROM marts.about)
    GROUP BY booked_month, currency
    UNION ALL SELECT 3, 'Wins without a touch, of twelve months',
        (100 * sum(credit) FILTER (channel = 'Unattributed') / nullif(sum(credit), 0))::DECIMAL(18, 1), '%'
    FROM marts.revenue_attribution
    WHERE milestone IN ('customer_won', 'customer_expanded') AND measure = 'count' AND scope = 'account'
        AND model = {_ONE_MODEL} AND {_YEAR}
    UNION ALL SELECT 4, 'Open pipeline', sum(amount)::DECIMAL(18, 3), currency
    FROM marts.pipeline
    WHERE status = 'open' AND NOT is_suppressed AND currency IS NOT NULL GROUP BY currency
) WHERE value IS NOT NULL ORDER BY place, label DESC, unit
""".strip(),
)

SECTIONS = (
    Section(
        key="revenue",
        title="Won revenue by channel and model",
        lead="Annual recurring revenue of wins and expansions, shared among the channels of their touches by each"
        " model; of a renewal only what it changed. Every model's channels add up to the same sum. Unattributed: no"
        " touch explains it.",
        sql=_credit("arr", "milestone IN ('customer_won', 'customer_expanded')", "arr"),
        chart=bars("channel", "arr", series="model", facet="currency"),
        pivot=("model", "arr"),
        empty="No win with recurring revenue in these months.",
    ),
    Section(
        key="pipeline",
        title="Pipeline by channel and model",
        lead="Amounts of the opportunities of these months, as the deals stand now, shared in the same way. An"
        " opportunity that was won is in the chart above as well: never add the two.",
        sql=_credit("amount", "milestone = 'opportunity_created'", "amount"),
        chart=bars("channel", "amount", series="model", facet="currency"),
        pivot=("model", "amount"),
        empty="No opportunity with an amount in these months.",
    ),
    Section(
        key="funnel",
        title="Funnel of accounts",
        lead="Accounts that first reached each step, or a later one, in these months.",
        sql=f"""
SELECT step, sum(reached)::BIGINT AS accounts
FROM marts.funnel
WHERE subject = 'account' AND {_YEAR}
GROUP BY step, step_number ORDER BY step_number
""".strip(),
        chart=bars("step", "accounts"),
        empty="No account has entered the funnel in these months.",
    ),
    Section(
        key="roi",
        title="Spend and what it brought",
        lead="Spend on ads in these months and the recurring revenue that one model credits to the same campaign in"
        " them. A ratio is empty without spend. marts.campaign_roi has the other models, cohorts, CAC and payback.",
        sql=f"""
SELECT campaign, currency, model, sum(spend)::DECIMAL(18, 3) AS spend, sum(revenue)::DECIMAL(18, 3) AS arr,
    (sum(revenue) / nullif(sum(spend), 0))::DECIMAL(18, 2) AS roas
FROM marts.campaign_roi
WHERE basis = 'booking' AND level = 'campaign' AND scope = 'account' AND measure = 'arr' AND model = {_ONE_MODEL}
    AND {_YEAR.replace("booked_month", "month")}
GROUP BY ALL HAVING sum(spend) IS NOT NULL ORDER BY currency, sum(spend) DESC, campaign LIMIT 20
""".strip(),
        chart=bars("campaign", "arr", facet="currency"),
        empty="No spend is known: put files into inbox/spend (docs/sources.md).",
    ),
    Section(
        key="arr",
        title="ARR bridge",
        lead="Annual recurring revenue: opening + new + expansion - contraction - churn = closing, to the cent. The"
        " line is the closing value.",
        sql="""
SELECT currency, strftime(month, '%Y-%m') AS month, opening::DECIMAL(18, 3) AS opening, new::DECIMAL(18, 3) AS new,
    expansion::DECIMAL(18, 3) AS expansion, contraction::DECIMAL(18, 3) AS contraction,
    churn::DECIMAL(18, 3) AS churn, closing::DECIMAL(18, 3) AS closing
FROM marts.arr_bridge
WHERE basis = 'own' AND month > (SELECT date_trunc('month', as_of) - INTERVAL 12 MONTH FROM marts.about)
    AND month <= (SELECT as_of FROM marts.about)
ORDER BY currency, arr_bridge.month
""".strip(),
        chart=movements("month", {"new": 1, "expansion": 1, "contraction": -1, "churn": -1}, "closing", "currency"),
        empty="No recurring revenue is known.",
    ),
    Section(
        key="wins",
        title="The largest wins",
        lead="What the ten largest wins of these months are worth, and how the accounts came: their entry touch and the"
        " days from there. `crm-attribution why deal ID` shows each step.",
        sql=f"""
SELECT won.account_name AS account, won.deal_id::VARCHAR AS deal, won.booked_on AS won_on, won.milestone,
    coalesce(won.home_currency, won.currency) AS currency,
    coalesce(won.amount_home, won.amount_current)::DECIMAL(18, 3) AS amount, journey.entry_channel,
    journey.entry_touched_on AS entered_on, journey.touches, journey.days_opportunity_to_won AS days_to_win
FROM marts.milestone AS won LEFT JOIN marts.account_progress AS journey USING (account_id)
WHERE won.milestone IN ('customer_won', 'customer_expanded') AND won.is_counted AND won.{_YEAR}
    AND coalesce(won.amount_home, won.amount_current) IS NOT NULL
ORDER BY currency, amount DESC, deal LIMIT 10
""".strip(),
        empty="No win with an amount in these months.",
    ),
    Section(
        key="journeys",
        title="How the largest wins came",
        lead="Each touch of the five largest of these wins and what one model gives it. Credit without a touch says"
        " why.",
        sql=f"""
WITH won AS (
    SELECT milestone, milestone_id, row_number() OVER (
        ORDER BY coalesce(amount_home, amount_current) DESC, deal_id) AS place
    FROM marts.milestone
    WHERE milestone IN ('customer_won', 'customer_expanded') AND is_counted AND {_YEAR}
        AND coalesce(amount_home, amount_current) IS NOT NULL
    QUALIFY place <= 5)
SELECT coalesce(account_name, account_id) AS account, deal_id::VARCHAR AS deal, touched_at, kind, channel, campaign,
    unattributed_reason AS without_touch, coalesce(home_currency, currency) AS currency,
    coalesce(credit_home, credit)::DECIMAL(18, 3) AS amount
FROM marts.deal_attribution JOIN won USING (milestone, milestone_id)
WHERE measure = 'amount' AND scope = 'account' AND model = {_ONE_MODEL}
ORDER BY place, touched_at NULLS LAST, touch_id
""".strip(),
        empty="No win with an amount in these months.",
    ),
    Section(
        key="restatements",
        title="What has changed since the last close",
        lead="Movements of revenue of months before the one that runs, recorded since the last month was closed, or in"
        " these twelve months where none is: what one model's figures were changed by, and why. Booked: the month it"
        " belongs to; posted: the month that bears it. `crm-attribution changed` lists each.",
        sql=f"""
WITH since AS (
    SELECT coalesce((SELECT max(recorded_at) FROM marts.period WHERE is_current AND state = 'closed'),
        (SELECT date_trunc('month', as_of) - INTERVAL 12 MONTH FROM marts.about)) AS instant)
SELECT strftime(booked_month, '%Y-%m') AS booked, strftime(posted_month, '%Y-%m') AS posted, cause, currency, channel,
    sum(delta)::DECIMAL(18, 3) AS arr_changed_by, count(DISTINCT milestone_id) AS outcomes
FROM marts.restatement
WHERE recorded_at > (SELECT instant FROM since) AND cause <> 'new' AND basis = 'own' AND scope = 'account'
    AND measure = 'arr' AND milestone IN ('customer_won', 'customer_expanded') AND model = {_ONE_MODEL}
    AND booked_month < (SELECT date_trunc('month', as_of) FROM marts.about)
GROUP BY ALL ORDER BY booked DESC, posted, cause, currency, channel
""".strip(),
        empty="Nothing has changed.",
    ),
    Section(
        key="reconciliation",
        title="Reconciliation with HubSpot",
        lead="Closed-won amounts as HubSpot itself adds them up, by the month of the close date, beside what the"
        " warehouse counts as wins, what is credited to touches and what is not. What is not explained is 0, or nothing"
        " is published; marts.reconciliation names each reason in between.",
        sql="""
SELECT strftime(booked_month, '%Y-%m') AS month, currency, hubspot_deals, hubspot::DECIMAL(18, 3) AS hubspot,
    warehouse_deals AS our_deals, warehouse::DECIMAL(18, 3) AS warehouse, attributed::DECIMAL(18, 3) AS attributed,
    unattributed::DECIMAL(18, 3) AS unattributed, difference_minor AS not_explained
FROM marts.reconciliation
WHERE booked_month > (SELECT date_trunc('month', as_of) - INTERVAL 12 MONTH FROM marts.about)
ORDER BY booked_month DESC, currency
""".strip(),
        empty="No deal is won.",
    ),
    Section(
        key="gaps",
        title="Known gaps",
        lead="What the figures leave out or may have wrong, and what to do about it.",
        sql="""
SELECT gap, detail, currency, sum(records)::BIGINT AS records, sum(amount)::DECIMAL(18, 3) AS amount,
    min(subject) AS for_example, any_value(what_to_do) AS what_to_do
FROM marts.known_gaps GROUP BY gap, detail, currency ORDER BY gap, records DESC NULLS LAST, detail, currency
""".strip(),
        empty="None is known.",
    ),
)
"""A section more is one entry."""
