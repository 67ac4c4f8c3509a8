"""What a portal and a credential are asked before anything is read: the account, the scopes, small reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from crm_attribution.errors import Rejected
from crm_attribution.http.answers import Answer, missing_scopes
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.access import VERSION, Credential
from crm_attribution.hubspot.paths import Paths
from crm_attribution.hubspot.records import record_path
from crm_attribution.hubspot.settings import CLIENT_ID, CLIENT_SECRET, uses_oauth
from crm_attribution.settings import Settings

_NOBODY = "00000000-0000-4000-8000-000000000000"
"""A campaign that nobody has: HubSpot answers 404 where it may be read."""


@dataclass(frozen=True)
class Refused:
    """A read that HubSpot does not allow, and the scopes its answer names, any of which would do."""

    scopes: list[str]


@dataclass(frozen=True)
class Inspection:
    """Calls of a check: one of each, nothing paged."""

    transport: Transport
    version: str = VERSION

    @property
    def _paths(self) -> Paths:
        return Paths.of(self.version)

    def account(self) -> Answer:
        """Account details, with the headers of the answer."""
        return self.transport.request("GET", self._paths.account)

    def granted(self, given: Settings, who: Credential) -> list[str] | None:
        """The scopes of the token; None where HubSpot does not tell them.

        https://developers.hubspot.com/docs/api/private-apps, for an OAuth app
        https://developers.hubspot.com/docs/api-reference/2026-03/authentication/manage-oauth-tokens
        """
        token = who.headers()["Authorization"].removeprefix("Bearer ")
        asked: dict[str, Any] = {"json": {"tokenKey": token}}
        path = self._paths.private_app
        if uses_oauth(given):
            form = {"token": token, "token_type_hint": "access_token"}
            form |= {"client_id": given[CLIENT_ID], "client_secret": given[CLIENT_SECRET]}
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            asked = {"content": urlencode(form).encode(), "headers": headers}
            path = f"{self._paths.token}/introspect"
        try:
            body = self.transport.request("POST", path, **asked).body
        except Rejected:
            return None
        scopes = body.get("scopes") if isinstance(body, dict) else None
        return [str(scope) for scope in scopes] if isinstance(scopes, list) else None

    def refused(self, scope: str) -> Refused | None:
        """Try the smallest read that needs a scope; None where HubSpot answers it."""
        path, params = self._probes()[scope]
        answer = self.transport.request("GET", path, params=params, expected=(200, 403, 404))
        return None if answer.status != 403 else Refused(missing_scopes(answer.body))

    def deals_in(self, pipeline: str) -> int:
        """Unarchived deals of a pipeline."""
        filters = [{"propertyName": "pipeline", "operator": "EQ", "value": pipeline}]
        body = {"filterGroups": [{"filters": filters}], "limit": 1}
        path = f"{record_path(self._paths.objects, 'deals')}/search"
        return int(self.transport.request("POST", path, json=body, budget="search").body["total"])

    def _probes(self) -> Mapping[str, tuple[str, dict[str, str]]]:
        """Scope -> path and query of a read that needs it."""
        paths, one = self._paths, {"limit": "1"}
        objects = {name: record_path(paths.objects, name) for name in ("contacts", "companies", "deals")}
        return {
            **{f"crm.objects.{name}.read": (path, one) for name, path in objects.items()},
            **{f"crm.schemas.{name}.read": (f"{paths.properties}/{name}", {}) for name in objects},
            "crm.objects.owners.read": (paths.owners, one),
            "forms": (paths.forms, one),
            "content": (paths.email_events, {**one, "eventType": "CLICK"}),
            "crm.objects.marketing_events.read": (paths.marketing_events, one),
            "marketing.campaigns.read": (paths.campaigns, one),
            "marketing.campaigns.revenue.read": (f"{paths.campaigns}/{_NOBODY}/reports/revenue", {}),
        }
