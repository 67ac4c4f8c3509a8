"""A process that uses a token file, hour after hour: `python -m … URL FILE FIRST HOURS`."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from crm_attribution.clock import FixedClock, parse_instant
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.oauth import OAuth, TokenEndpoint
from crm_attribution.hubspot.refreshes import Refreshes
from crm_attribution.hubspot.token_file import TokenFile

PATH = "/oauth/2026-09/token"


def credential(url: str, path: Path, now: str | None = None, clock: FixedClock | None = None) -> OAuth:
    """An OAuth app's credential at a fixed instant."""
    endpoint = TokenEndpoint(
        Transport(url, service="hubspot", sleep=lambda _: None, attempts=2), PATH, "app-id", "app-secret"
    )
    refreshes = Refreshes(path.with_name("hubspot_oauth.prom"))
    return OAuth(TokenFile(path), endpoint, clock or FixedClock(parse_instant(now or "")), refreshes)


if __name__ == "__main__":
    url, path, first, hours = sys.argv[1:]
    for hour in range(int(hours)):
        moment = parse_instant(first) + timedelta(hours=hour)
        user = credential(url, Path(path), clock=FixedClock(moment))
        calls = Transport(url, service="hubspot", headers=user.headers, renew=user.renew)
        calls.request("GET", f"/calls/{hour}")
