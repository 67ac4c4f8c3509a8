"""Access tokens of a destination whose requests need one that does not last: got before a batch is claimed.

https://www.rfc-editor.org/rfc/rfc6749#section-6
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from crm_attribution.clock import WallClock
from crm_attribution.delivery.refresh_tokens import RefreshTokens
from crm_attribution.destinations.accounts import Account
from crm_attribution.destinations.base import Grant
from crm_attribution.errors import ConfigurationError, CrmAttributionError, Retryable
from crm_attribution.http.transport import Transport
from crm_attribution.settings import Settings

MARGIN = 120.0
"""Seconds before its end that a token is asked for anew: longer than a request lasts."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")
_RENEWED = "refresh_token"


@dataclass(frozen=True)
class Refused:
    """Why there is no token: `person` where somebody must act, else it may work later."""

    reason: str
    person: bool


class Access:
    """The token of one delivery."""

    def __init__(
        self,
        grant: Grant,
        transport: Transport,
        kept: RefreshTokens | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._grant, self._transport, self._kept, self._now = grant, transport, kept, now
        self._token = ""
        self._until = float("-inf")

    def renew(self) -> Refused | None:
        """Have a token that outlasts the next request."""
        if self._now() < self._until:
            return None
        try:
            body = self._ask(self._grant.form(WallClock().now()))
        except Retryable as error:
            return Refused(f"no access token: {error}", person=False)
        except CrmAttributionError as error:
            if isinstance(error, ConfigurationError):
                return Refused(str(error), person=True)
            return Refused(f"the platform gives no access token: {error}", person=True)
        token, seconds = body.get("access_token"), body.get("expires_in")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            return Refused("the answer to the request for an access token holds none", person=False)
        lasts = float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else 0.0
        self._token, self._until = token, self._now() + max(lasts - MARGIN, 0.0)
        return None

    def _ask(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        """The answer to a form, and to that with the token of the settings where a renewed one is refused."""
        given = form.get(_RENEWED)
        if given is None or self._kept is None:
            return self._post(form)
        latest = self._kept.latest(given)
        try:
            body = self._post({**form, _RENEWED: latest})
        except Retryable:
            raise
        except CrmAttributionError:
            if latest == given:
                raise
            body = self._post(form)
        renewed = body.get(_RENEWED)
        if isinstance(renewed, str) and _TOKEN.fullmatch(renewed):
            self._kept.keep(given, renewed)
        return body

    def _post(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        answer = self._transport.request(
            "POST",
            self._grant.path,
            content=urlencode(form).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        return answer.body if isinstance(answer.body, dict) else {}

    def headers(self) -> Mapping[str, str]:
        """Of a request, after `renew`."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


def access_to(account: Account, settings: Settings) -> Access | None:
    """None where the settings hold all that a request needs."""
    grant = account.destination.grant(account.settings)
    if grant is None:
        return None
    transport = Transport(
        grant.base_url,
        service=account.destination.name,
        secrets=settings.secrets(),
        credential=account.credential,
        attempts=3,
        deadline_seconds=30,
    )
    return Access(grant, transport, RefreshTokens(settings.data_dir))
