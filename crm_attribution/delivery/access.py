"""Access tokens of a destination whose requests need one that does not last: got before a batch is claimed.

https://www.rfc-editor.org/rfc/rfc6749#section-6
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from crm_attribution.destinations import values
from crm_attribution.destinations.base import Destination, Grant
from crm_attribution.errors import CrmAttributionError, Retryable
from crm_attribution.http.transport import Transport
from crm_attribution.settings import Settings

MARGIN = 120.0
"""Seconds before its end that a token is asked for anew: longer than a request lasts."""


@dataclass(frozen=True)
class Refused:
    """Why there is no token: `person` where somebody must act, else it may work later."""

    reason: str
    person: bool


class Access:
    """The token of one delivery."""

    def __init__(self, grant: Grant, transport: Transport, now: Callable[[], float] = time.monotonic) -> None:
        self._grant, self._transport, self._now = grant, transport, now
        self._token = ""
        self._until = float("-inf")

    def renew(self) -> Refused | None:
        """Have a token that outlasts the next request."""
        if self._now() < self._until:
            return None
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = self._transport.request(
                "POST", self._grant.path, content=urlencode(self._grant.form).encode(), headers=form
            )
        except Retryable as error:
            return Refused(f"no access token: {error}", person=False)
        except CrmAttributionError as error:
            return Refused(f"the platform gives no access token: {error}", person=True)
        body = answer.body if isinstance(answer.body, dict) else {}
        token, seconds = body.get("access_token"), body.get("expires_in")
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{1,8192}", token):
            return Refused("the answer to the request for an access token holds none", person=False)
        lasts = float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else 0.0
        self._token, self._until = token, self._now() + max(lasts - MARGIN, 0.0)
        return None

    def headers(self) -> Mapping[str, str]:
        """Of a request, after `renew`."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


def access_to(destination: Destination, settings: Settings) -> Access | None:
    """None where the settings hold all that a request needs."""
    grant = destination.grant(values(destination, settings))
    if grant is None:
        return None
    transport = Transport(
        grant.base_url,
        service=destination.name,
        secrets=settings.secrets(),
        credential=destination.credential,
        attempts=3,
        deadline_seconds=30,
    )
    return Access(grant, transport)
