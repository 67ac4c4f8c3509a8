"""All sections of the mapping."""

from __future__ import annotations

import hashlib
import json

from crm_attribution.mapping.alerts import Alerts
from crm_attribution.mapping.attribution import Attribution
from crm_attribution.mapping.base import Section
from crm_attribution.mapping.conversions import Consent, ConversionDefaults, Destination, Identifiers
from crm_attribution.mapping.events import Churn, Currency, Deals, Lifecycle, Milestones, Suppression, Values
from crm_attribution.mapping.identity import Accounts, Clicks, Identity
from crm_attribution.mapping.raw import Extraction, PropertyLists, Streams
from crm_attribution.mapping.spend import Spend
from crm_attribution.mapping.touches import Touches
from crm_attribution.mapping.write_back import WriteBack


class Rules(Section):
    """All business rules, validated."""

    version: str
    properties: PropertyLists
    history: PropertyLists
    extraction: Extraction
    streams: Streams
    lifecycle: Lifecycle
    deals: Deals
    values: Values
    currency: Currency
    churn: Churn
    milestones: Milestones
    identity: Identity
    accounts: Accounts
    clicks: Clicks
    touches: Touches
    spend: Spend
    attribution: Attribution
    suppression: Suppression
    identifiers: Identifiers
    consent: Consent
    conversions: ConversionDefaults
    destinations: dict[str, Destination]
    write_back: WriteBack
    alerts: Alerts

    def named(self, destination: str) -> list[tuple[str, str]]:
        """What a destination is told of, and as what: milestone or kind of touch, and action, each pair once."""
        mine = self.destinations.get(destination)
        if destination == "alerts":
            return [(rule.on, rule.name) for rule in self.alerts.rules]
        if mine is None:
            return self.write_back.named(destination)
        return list(dict.fromkeys((rule.milestone, rule.action) for rule in mine.conversions))

    def options(self, destination: str) -> dict[str, str]:
        """What `Destination.build` is told of the mapping."""
        mine = self.destinations.get(destination)
        return self.write_back.options() if mine is None else mine.options

    def signature(self, *sections: str) -> str:
        """A fingerprint of some sections: when it changes, what was derived from them is derived again."""
        data = self.model_dump(mode="json", include=set(sections))
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
