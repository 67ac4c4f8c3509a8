"""What several raw contracts share: patterns, and descriptions of columns."""

from __future__ import annotations

from crm_attribution.hubspot import objects

OBJECT_TYPES = list(objects.OBJECT_TYPES)
HUBSPOT_ID = r"^[0-9]+$"
EMAIL = r"^[^@\s]+\s*@\s*[^@\s]+\.[^@\s]+$"
"""An address as people type it; what it means, `identifiers.normalise_email` says."""

COMPARED = "email as it is compared: lower case, no invisible characters or outer spaces, domain in IDNA form"
TOLD_AT = "when this was told, UTC: the file's own time, else when the file was last modified; the later telling stays"
