"""The clock that CRM_ATTRIBUTION_CLOCK names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlsplit

from crm_attribution.clock import Clock, FixedClock, WallClock, parse_instant
from crm_attribution.errors import ConfigurationError
from crm_attribution.http.transport import Transport
from crm_attribution.settings import CLOCK, Settings


@dataclass(frozen=True)
class HttpClock:
    """The sandbox's clock, read over HTTP."""

    transport: Transport
    path: str
    is_wall: ClassVar[bool] = False

    def now(self) -> datetime:
        return parse_instant(str(self.transport.request("GET", self.path).body["now"]))


def make_clock(given: Settings) -> Clock:
    """The clock that CRM_ATTRIBUTION_CLOCK names: `wall`, a timestamp, or the sandbox's clock address."""
    named = given[CLOCK]
    if named == "wall":
        return WallClock()
    if named.startswith(("http://", "https://")):
        parts = urlsplit(named)
        return HttpClock(Transport(f"{parts.scheme}://{parts.netloc}", service="clock"), parts.path)
    try:
        return FixedClock(parse_instant(named))
    except ValueError:
        raise ConfigurationError(
            "CRM_ATTRIBUTION_CLOCK: expected wall, an ISO 8601 timestamp or the sandbox's clock address"
        ) from None
