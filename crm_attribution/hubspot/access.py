"""How we may ask HubSpot: which credential the settings name, and a transport that uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol

from crm_attribution.clock import Clock
from crm_attribution.findings import ApiVersion
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.limits import Limits
from crm_attribution.hubspot.oauth import OAuth, TokenEndpoint
from crm_attribution.hubspot.paths import UNDATED, VERSIONING, Paths
from crm_attribution.hubspot.refreshes import FILE, Counted, Refreshes
from crm_attribution.hubspot.settings import (
    ACCESS_TOKEN,
    BASE_URL,
    CLIENT_ID,
    CLIENT_SECRET,
    OAUTH,
    TOKEN_FILE,
    needed,
    uses_oauth,
)
from crm_attribution.hubspot.token_file import TokenFile
from crm_attribution.settings import Settings

VERSION = "2026-09"
API_VERSIONS = (ApiVersion("HubSpot CRM API", VERSION, date(2028, 3, 1), VERSIONING), *UNDATED)
"""A dated version is supported for 18 months."""


class Credential(Protocol):
    """The credential of the calls. Messages name `setting`; `hub_id` is the account if the credential names it."""

    @property
    def kind(self) -> str: ...

    @property
    def setting(self) -> str: ...

    @property
    def hub_id(self) -> str | None: ...

    def headers(self) -> dict[str, str]: ...

    def figures(self) -> dict[str, int | str | float]: ...

    def recent(self) -> Counted: ...


@dataclass(frozen=True)
class AccessToken:
    """A service key or private-app token: it does not expire by itself."""

    token: str = field(repr=False)
    kind: str = "service key or private app"
    setting: str = ACCESS_TOKEN.name
    hub_id: str | None = None

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def figures(self) -> dict[str, int | str | float]:
        return {"authentication": self.kind}

    def recent(self) -> Counted:
        """It is never renewed."""
        return Counted(0, 0)


def credential(given: Settings, clock: Clock) -> Credential:
    """The credential the settings name.

    Raises:
        ConfigurationError: when settings are missing, or name two credentials.
    """
    given.require(needed(given))
    if not uses_oauth(given):
        return AccessToken(given[ACCESS_TOKEN])
    return OAuth(token_file(given), token_endpoint(given), clock, Refreshes(given.data_dir / FILE))


def token_file(given: Settings) -> TokenFile:
    """The file of HUBSPOT_TOKEN_FILE."""
    given.require(OAUTH)
    return TokenFile(Path(given[TOKEN_FILE]))


def token_endpoint(given: Settings, version: str = VERSION) -> TokenEndpoint:
    """HubSpot's token endpoint, with the app's id and secret.

    Raises:
        ConfigurationError: when one of the app's settings is missing.
    """
    given.require(OAUTH)
    transport = Transport(
        given[BASE_URL],
        service="hubspot",
        secrets=given.secrets(),
        credential=CLIENT_SECRET.name,
        attempts=3,
        deadline_seconds=60,
    )
    return TokenEndpoint(transport, Paths.of(version).token, given[CLIENT_ID], given[CLIENT_SECRET])


def open_transport(
    given: Settings, who: Credential, limits: Limits, *, attempts: int = 6, deadline_seconds: float = 300
) -> Transport:
    """Calls to HubSpot as `who`, inside `limits`."""
    renew: Callable[[], bool] | None = who.renew if isinstance(who, OAuth) else None
    return Transport(
        given[BASE_URL],
        service="hubspot",
        headers=who.headers,
        secrets=given.secrets(),
        renew=renew,
        budgets=limits.budgets,
        watch=limits,
        credential=who.setting,
        attempts=attempts,
        deadline_seconds=deadline_seconds,
    )
