"""The tokens of one OAuth app installed in the account, the private app's token, and the scopes both have. The ages of
the former follow the sandbox's clock.

https://developers.hubspot.com/docs/api-reference/2026-03/authentication/manage-oauth-tokens. Taking a refresh token
away leaves access tokens valid until they expire. That a refresh returns a new refresh token is not HubSpot's present
behaviour and can be asked for.
"""

from __future__ import annotations

import hashlib
from typing import Any

from crm_attribution.sandbox.instants import SECOND

CLIENT_ID = "6f0a1c52-4d7b-4b7e-9c55-2f1f9d0e7a31"
CLIENT_SECRET = "b1d2f9c4-93f5-4a5e-8f0c-6a7e21c0d4aa"  # noqa: S105 - the sandbox's own
REDIRECT_URI = "https://app.example/oauth/callback"
SCOPES = (
    "oauth",
    "crm.objects.contacts.read",
    "crm.objects.companies.read",
    "crm.objects.deals.read",
    "crm.objects.owners.read",
    "crm.schemas.contacts.read",
    "crm.schemas.companies.read",
    "crm.schemas.deals.read",
    "forms",
    "content",
    "crm.objects.marketing_events.read",
    "marketing.campaigns.read",
    "marketing.campaigns.revenue.read",
    "crm.objects.contacts.write",
    "crm.objects.companies.write",
    "crm.objects.deals.write",
    "analytics.behavioral_events.send",
    "behavioral_events.event_definitions.read_write",
)
PRIVATE_TOKEN = "pat-na1-sandbox-7c1d2b3a-0000-4000-8000-5a4db0c0ffee"  # noqa: S105 - the sandbox's own
LIFETIME = 1800


class Grants:
    """What was issued and what is still good.

    Attributes:
        rotate: every refresh returns a new refresh token and ends the old one.
        revoked: the refresh token is refused.
        expires_in: seconds an access token lives from its issue.
        code: an unused authorization code.
        without: scopes both apps lack.
        told: whether HubSpot tells the scopes of a token.
    """

    def __init__(self) -> None:
        self.without: list[str] = []
        self.told = True
        self.rotate, self.revoked, self.expires_in = False, False, LIFETIME
        self._issued = 0
        self._access: dict[str, int] = {}
        self.refresh_token = self._new("na1", 24)
        self.code = self._new("na1", 24)

    @property
    def scopes(self) -> list[str]:
        return [scope for scope in SCOPES if scope not in self.without]

    def _new(self, start: str, length: int) -> str:
        """A new token, the same in every run."""
        self._issued += 1
        digest = hashlib.sha512(f"sandbox token {self._issued}".encode()).hexdigest()
        return f"{start}-{(digest * 3)[:length]}"

    def access(self, now: int) -> str:
        """Issue an access token. Real ones have some 300 characters."""
        token = self._new("CNa1", 290)
        self._access[token] = now + self.expires_in * SECOND
        return token

    def expiry(self, token: str) -> int | None:
        """When an access token ends or ended; None for one that was never issued."""
        return self._access.get(token)

    def exchange(self, code: str) -> bool:
        """Use an authorization code: it works once, and installs the app again."""
        if code != self.code:
            return False
        self.code = self._new("na1", 24)
        self.refresh_token, self.revoked = self._new("na1", 24), False
        return True

    def refresh(self, token: str) -> bool:
        """Use a refresh token."""
        if self.revoked or token != self.refresh_token:
            return False
        if self.rotate:
            self.refresh_token = self._new("na1", 24)
        return True

    def change(self, raw: Any) -> None:
        """Set `rotate`, `revoked`, `expires_in`, `without` and `told`, all or none.

        Raises:
            ValueError: naming the field that is not understood.
        """
        kinds: dict[str, type] = {"rotate": bool, "revoked": bool, "expires_in": int, "without": list, "told": bool}
        if not isinstance(raw, dict) or not set(raw) <= set(kinds):
            raise ValueError(f"the body is an object of {', '.join(kinds)}")
        for name, value in raw.items():
            if type(value) is not kinds[name]:
                raise ValueError(f"`{name}` has the wrong type")
        unknown = set(raw.get("without", ())) - set(SCOPES)
        if unknown:
            raise ValueError(f"`without` names {min(unknown)}; known are {', '.join(SCOPES)}")
        if raw.get("expires_in", 1) < 1:
            raise ValueError("`expires_in` must be at least 1")
        for name, value in raw.items():
            setattr(self, name, value)

    def shown(self) -> dict[str, Any]:
        """What a client needs, and the settings."""
        return {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uri": REDIRECT_URI,
            "refresh_token": self.refresh_token,
            "code": self.code,
            "rotate": self.rotate,
            "revoked": self.revoked,
            "expires_in": self.expires_in,
            "without": self.without,
            "told": self.told,
        }
