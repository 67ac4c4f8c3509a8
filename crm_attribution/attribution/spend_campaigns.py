"""attribution.spend_campaign: what the touches of each campaign in spend, and of HubSpot's own, may be called."""

from __future__ import annotations

from datetime import datetime

from crm_attribution.attribution.rules.spend_campaigns import spend_campaigns
from crm_attribution.contracts import topics
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.report import Report
from crm_attribution.warehouse.session import Session

_EVERY = """
    SELECT platform, ad_account, campaign_id FROM raw.ad_spend
    UNION SELECT 'hubspot', portal_id, campaign_id FROM raw.campaign
    UNION SELECT platform, ad_account, campaign_id FROM attribution.spend_campaign
"""
_CAMPAIGNS = """
    SELECT DISTINCT spent.platform, ad_account, spent.campaign_id, campaign_name,
        CASE WHEN spent.platform = 'hubspot' THEN own.utm_campaign END AS utm_campaign
    FROM raw.ad_spend AS spent SEMI JOIN keys USING (platform, ad_account, campaign_id)
    LEFT JOIN raw.campaign AS own ON own.campaign_id = spent.campaign_id AND own.portal_id = spent.ad_account
    UNION SELECT 'hubspot', portal_id, campaign_id, name, utm_campaign FROM raw.campaign
    SEMI JOIN keys ON keys.platform = 'hubspot' AND ad_account = portal_id AND keys.campaign_id = campaign.campaign_id
    ORDER BY ALL
"""


def update(session: Session, changes: Changes, rules: Rules, _as_of: datetime) -> Report:
    """Name again the campaigns whose spend changed; all of them where a rule or a spelling did."""
    report = Report()
    if not changes.idle:
        keys = session.query(_EVERY) if changes.everything else changes.frame(topics.AD_CAMPAIGN)
        rows = spend_campaigns(session.query(_CAMPAIGNS, keys=keys), rules)
        report.changed = session["attribution.spend_campaign"].replace(rows, keys).filter("_came").height
    report.rows = session.scalar("SELECT count(*) FROM attribution.spend_campaign")
    report.figures = {"by a rule": session.scalar("SELECT count(rule) FROM attribution.spend_campaign")}
    return report
