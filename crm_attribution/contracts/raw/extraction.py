"""What was read, what webhooks announced, and which records are gone."""

from __future__ import annotations

from crm_attribution.contracts.base import Model, Timestamp, field, hubspot_id, table
from crm_attribution.contracts.raw.fields import OBJECT_TYPES


@table("raw.webhook_event", key=("event_key",))
class WebhookEvent(Model):
    """Events from HubSpot's webhooks and `/ingest/crm`, each once. May hold personal data.

    https://developers.hubspot.com/docs/api/webhooks
    """

    event_key: str = field("SHA-256 of what makes two deliveries the same event, attempts left out")
    source: str = field("hubspot or ingest", isin=["hubspot", "ingest"])
    hubspot_event_id: str = field("HubSpot's eventId: not unique by itself", nullable=True)
    subscription_id: str = field("HubSpot's subscriptionId", nullable=True)
    subscription_type: str = field("contact.propertyChange, deal.merge, …; ingest: the workflow's event name")
    object_type: str = field("contacts, companies or deals; null where it is none of them", nullable=True)
    object_id: str = field("record id, as it came; also of types that are not read here", nullable=True)
    property_name: str = field("changed property", nullable=True)
    property_value: str = field("its new value", nullable=True)
    change_source: str = field("HubSpot's changeSource, in the vocabulary of sourceType", nullable=True)
    portal_id: str = field("HubSpot portal id", nullable=True)
    app_id: str = field("HubSpot app id", nullable=True)
    attempt_number: int = field("attempt of the delivery we kept, 0 is the first", nullable=True, log=True)
    occurred_at: Timestamp = field("when it happened according to HubSpot, UTC")
    received_at: Timestamp = field("when we took it in, UTC", log=True)
    details: str = field(
        "the remaining fields (merges, associations, ingested records), JSON", nullable=True, json=True
    )


@table("raw.deletion", key=("object_type", "object_id", "kind"))
class Deletion(Model):
    """Records HubSpot has archived or erased. A tombstone without personal data."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    object_id: int = hubspot_id("record id")
    kind: str = field("archived (can be restored for 90 days) or privacy (gone for good)", isin=["archived", "privacy"])
    deleted_at: Timestamp = field("when HubSpot archived or erased it (the latest time), UTC")
    restored_at: Timestamp = field("when we saw that it was restored, UTC; null while it is gone", nullable=True)
    source: str = field("where we learned of it", isin=["archived_list", "webhook", "person"])
    erased_at: Timestamp = field("privacy: when this warehouse erased it, UTC; null while it has to", nullable=True)
    noticed_at: Timestamp = field("when we learned of it, UTC", log=True)


@table("raw.missing", key=("object_type", "object_id"))
class Missing(Model):
    """Records HubSpot no longer answers for and nothing explains: no archive, no merge, no webhook. Nothing is erased
    because of it; a person confirms a privacy deletion with the job `privacy_deletion`."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    object_id: int = hubspot_id("record id")
    noticed_at: Timestamp = field("when it was first looked up in vain, UTC")
    found_at: Timestamp = field("when it answered again, UTC; null while it is missing", nullable=True)


@table("raw.closed_won", key=("deal_id",))
class ClosedWon(Model):
    """The deals that HubSpot itself answers with when it is asked for those closed and won, as of the last daily
    reconciliation. marts.reconciliation compares them with what was read deal by deal."""

    deal_id: int = hubspot_id("HubSpot deal id")
    modified_at: Timestamp = field("HubSpot's modified stamp in this answer, UTC")
    currency: str = field("ISO 4217 code of `amount`", nullable=True)
    amount: int = field("amount in minor units of `currency`", nullable=True)
    closedate: Timestamp = field("close date, UTC", nullable=True)
    asked_at: Timestamp = field("when HubSpot was asked, UTC", log=True)


@table("raw.reread", key=("object_type", "object_id"))
class Reread(Model):
    """Records to be read again by the next run regardless of their modified time; empty after it."""

    object_type: str = field("contacts, companies or deals", isin=OBJECT_TYPES)
    object_id: int = hubspot_id("record id")
    reason: str = field("webhook, ingest, reconcile, …")
    requested_at: Timestamp = field("when it was asked for, UTC", log=True)


@table("raw.extraction", key=("stream", "window_start", "window_end", "started"))
class Extraction(Model):
    """One row per stream and window that was read."""

    stream: str = field("what was read, e.g. contacts, form_submissions")
    window_start: Timestamp = field("lower bound of the search, UTC")
    window_end: Timestamp = field("upper bound of the search (the run's now), UTC")
    calls: int = field("HTTP calls made")
    floor_calls: int = field("the least calls HubSpot's page sizes allow for what was found")
    found: int = field("records the source said had changed", nullable=True)
    source_total: int = field("unarchived records the source counts in all, where known", nullable=True)
    known_total: int = field("as many of them as the warehouse knows, refused ones included", nullable=True)
    rows: int = field("rows accepted")
    quarantined: int = field("rows refused")
    started: Timestamp = field("when it began, UTC")
    finished: Timestamp = field("when it ended, UTC")
