"""Which scope a call needs: https://developers.hubspot.com/docs/api/scopes. Where HubSpot takes one of several, the one
that an app that only reads is told to have.
"""

from __future__ import annotations

from crm_attribution.sandbox.portal.kinds import find_kind

_BY_PATH = {
    "/crm/owners": "crm.objects.owners.read",
    "/marketing/v3/forms": "forms",
    "/form-integrations/v1/submissions": "forms",
    "/email/public/v1/events": "content",
    "/marketing/v3/marketing-events": "crm.objects.marketing_events.read",
    "/marketing/v3/campaigns": "marketing.campaigns.read",
    "/marketing/campaigns/": "marketing.campaigns.read",
}
_EVENTS = {
    "send": "analytics.behavioral_events.send",
    "event-definitions": "behavioral_events.event_definitions.read_write",
}
_OBJECTS = ("contacts", "companies", "deals")
"""Others (meetings, calls) are read with the scope of contacts."""


def scope_of(path: str) -> str | None:
    """The scope of a call by its path without a version; None for one that needs none."""
    family, _, rest = path.removeprefix("/crm/").partition("/")
    kind = find_kind(rest.partition("/")[0])
    if path.startswith("/crm/") and kind is not None:
        name = kind.name if kind.name in _OBJECTS else "contacts"
        if path.endswith(("/batch/update", "/batch/upsert", "/batch/create")):
            return f"crm.objects.{name}.write"
        if family == "properties":
            return f"crm.schemas.{name}.read"
        if family in ("objects", "associations", "pipelines"):
            return f"crm.objects.{name}.read"
    if path.startswith("/crm/objects/notes"):  # they are only written here
        return "crm.objects.contacts.write"
    if path.endswith("/reports/revenue"):
        return "marketing.campaigns.revenue.read"
    if path.startswith("/events/"):
        return _EVENTS["event-definitions" if "event-definitions" in path else "send"]
    return next((scope for start, scope in _BY_PATH.items() if path.startswith(start)), None)
