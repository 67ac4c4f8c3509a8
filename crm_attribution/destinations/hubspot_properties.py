"""Properties of HubSpot contacts and deals, by their newest touch.

https://developers.hubspot.com/docs/api-reference/2026-03/crm/objects/contacts/batch/update-contacts
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

from crm_attribution.destinations.base import Asked, Limits, Question, Source
from crm_attribution.destinations.hubspot_records import HubSpotRecords


class HubSpotProperties(HubSpotRecords):
    """What records are given. `action` is the object type; what is written is the state of the record when it is sent,
    so that a second send, or one that comes late, writes what holds and nothing older.
    """

    name: ClassVar[str] = "hubspot_properties"
    plans_from: ClassVar[Source] = "records"
    example_action: ClassVar[str] = "contacts"
    limits: ClassVar[Limits] = Limits(
        batch=100, max_age=timedelta(days=90), dedupe=timedelta(days=365), actions=1, calls_per_minute=300
    )
    scopes: ClassVar[Sequence[str]] = ("crm.objects.contacts.write", "crm.objects.deals.write")
    documentation: ClassVar[str] = (
        "https://developers.hubspot.com/docs/api-reference/2026-03/crm/objects/contacts/guide"
    )

    def questions(self, asked: Asked) -> list[Question]:
        own = [scope for scope in self.scopes if scope.split(".")[2] in asked.actions]
        return [one for one in super().questions(asked) if one.about.removeprefix("scope ") in own]


DESTINATION = HubSpotProperties()
