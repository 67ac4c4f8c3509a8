"""Where HubSpot's endpoints are, by API version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote

from crm_attribution.errors import ConfigurationError
from crm_attribution.findings import ApiVersion

VERSIONING = "https://developers.hubspot.com/docs/developer-tooling/platform/versioning"
UNDATED = (
    ApiVersion("HubSpot campaigns API", "2026-03", date(2027, 9, 1), VERSIONING),
    ApiVersion(
        "HubSpot APIs of forms, e-mail events, marketing events and account",
        "v1 to v3",
        date(2027, 9, 1),
        "https://developers.hubspot.com/docs/api-reference/legacy/migration-guide",
    ),
)
"""Versions of the paths that `Paths.of` does not date, and when they end."""


def segment(value: str) -> str:
    """`value` as one path segment, whatever is in it."""
    return quote(value, safe="")


@dataclass(frozen=True)
class Paths:
    """Path templates. Dated versions put the date behind the area, v3 in front of it
    (https://developers.hubspot.com/docs/developer-tooling/platform/versioning).

    Forms, form submissions, e-mail events, marketing events and account details have no dated path yet, campaigns have
    had one since 2026-03.
    """

    objects: str
    associations: str
    pipelines: str
    properties: str
    owners: str
    token: str
    campaigns: str = "/marketing/campaigns/2026-03"
    forms: str = "/marketing/v3/forms"
    submissions: str = "/form-integrations/v1/submissions/forms"
    email_events: str = "/email/public/v1/events"
    marketing_events: str = "/marketing/v3/marketing-events"
    account: str = "/account-info/v3/details"
    usage: str = "/account-info/v3/api-usage/daily/private-apps"
    private_app: str = "/oauth/v2/private-apps/get/access-token-info"

    @classmethod
    def of(cls, version: str) -> Paths:
        """The paths of `v3` (associations are v4 there) or of a dated version like `2026-09`."""
        if version == "v3":
            return cls(
                objects="/crm/v3/objects",
                associations="/crm/v4/associations",
                pipelines="/crm/v3/pipelines",
                properties="/crm/v3/properties",
                owners="/crm/v3/owners",
                campaigns="/marketing/v3/campaigns",
                token="/oauth/v3/token",  # noqa: S106 - an address
            )
        if not re.fullmatch(r"\d{4}-\d{2}(-beta)?", version):
            raise ConfigurationError(f"HubSpot API version must be v3 or look like 2026-09, not {version!r}")
        return cls(
            objects=f"/crm/objects/{version}",
            associations=f"/crm/associations/{version}",
            pipelines=f"/crm/pipelines/{version}",
            properties=f"/crm/properties/{version}",
            owners=f"/crm/owners/{version}",
            token=f"/oauth/{version}/token",
        )
