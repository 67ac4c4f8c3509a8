"""Everything that is read, composed: each part with what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crm_attribution.clock import Clock
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.mapping import Rules
from crm_attribution.raw.activities import ActivityReader
from crm_attribution.raw.campaigns import CampaignReader
from crm_attribution.raw.closed_won import ClosedWonReader
from crm_attribution.raw.completeness import Completeness
from crm_attribution.raw.extract import RecordReader
from crm_attribution.raw.plugins import SourceReader
from crm_attribution.raw.properties import PropertyReader
from crm_attribution.raw.reading import Readings
from crm_attribution.raw.reconcile import Reconciler
from crm_attribution.raw.records import RecordStore
from crm_attribution.raw.reference import ReferenceReader
from crm_attribution.raw.rotation import AssociationRotation
from crm_attribution.raw.streams import StreamReader
from crm_attribution.warehouse.connection import Warehouse


@dataclass(frozen=True)
class Readers:
    """The readers of one portal and its sources.

    Attributes:
        records: contacts, companies, deals with history, merges, associations and deletions.
        reference: the account, owners, pipeline stages, forms.
        properties: property definitions and what changed about them.
        streams: form submissions and clicks in marketing e-mails.
        activities: meetings, calls and marketing-event attendance.
        campaigns: HubSpot's own campaigns with budget and spend.
        reconciliation: compares records with HubSpot, a bounded number a day.
        closed_won: HubSpot's own list of won deals, once a day.
        sources: what is read other than HubSpot.
    """

    records: RecordReader
    reference: ReferenceReader
    properties: PropertyReader
    streams: StreamReader
    activities: ActivityReader
    campaigns: CampaignReader
    reconciliation: Reconciler
    closed_won: ClosedWonReader
    sources: SourceReader


def readers(warehouse: Warehouse, hubspot: HubSpotClient, clock: Clock, rules: Rules, inbox: Path) -> Readers:
    """The readers of a portal into a warehouse."""
    readings = Readings(warehouse, clock)
    store = RecordStore(warehouse, hubspot, clock, rules)
    completeness = Completeness(warehouse, hubspot, clock, rules, store)
    rotation = AssociationRotation(warehouse, hubspot, clock, rules)
    return Readers(
        records=RecordReader(readings, hubspot, rules, store, completeness, rotation),
        reference=ReferenceReader(readings, hubspot),
        properties=PropertyReader(readings, hubspot, rules),
        streams=StreamReader(readings, hubspot, rules),
        activities=ActivityReader(readings, hubspot, rules),
        campaigns=CampaignReader(readings, hubspot, rules),
        reconciliation=Reconciler(readings, hubspot, rules, completeness),
        closed_won=ClosedWonReader(readings, hubspot),
        sources=SourceReader(readings, inbox),
    )
