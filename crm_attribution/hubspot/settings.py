"""The settings that reading HubSpot takes: one of two credentials, and figures of the account's limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crm_attribution.errors import ConfigurationError
from crm_attribution.settings import Group, Setting, Settings, secret, text, whole

ACCESS_TOKEN = secret(
    "HUBSPOT_ACCESS_TOKEN",
    "service key or private-app token",
    where="HubSpot: Development > Keys > Service keys (or a private app's token;"
    " an OAuth app has HUBSPOT_CLIENT_ID, HUBSPOT_CLIENT_SECRET and HUBSPOT_TOKEN_FILE instead)",
)
CLIENT_ID = text("HUBSPOT_CLIENT_ID", "an OAuth app instead of a token", where="the app's Auth page")
CLIENT_SECRET = secret("HUBSPOT_CLIENT_SECRET", "the OAuth app's client secret", where="the app's Auth page")
TOKEN_FILE = text(
    "HUBSPOT_TOKEN_FILE",
    "the OAuth app's tokens. Only its owner may read it, its folder must be writable; one installed app has one file,"
    " which several processes may share",
    where="a path for the app's tokens; crm-attribution authorize makes the file",
)
BASE_URL = text(
    "HUBSPOT_BASE_URL", "HubSpot's address; another one for a proxy or the sandbox", "https://api.hubapi.com"
)
BURST_LIMIT = whole(
    "HUBSPOT_BURST_LIMIT",
    "calls per 10 seconds: a ceiling, and the limit where HubSpot's headers name none (100, OAuth apps 110)",
    None,
    least=1,
    most=100_000,
)
DAILY_LIMIT = whole(
    "HUBSPOT_DAILY_LIMIT",
    "calls a day, where HubSpot's headers name none (OAuth apps)",
    None,
    least=1,
    most=1_000_000_000,
)
DAILY_RESERVE = whole(
    "HUBSPOT_DAILY_RESERVE", "percent of the daily calls that are left to the account's other apps", 2, most=90
)
BACKFILL_SHARE = whole(
    "HUBSPOT_BACKFILL_SHARE",
    "percent of the daily calls that one `backfill` may plan with, unless forced. Ranges up to a day are never refused,"
    " except the first hour",
    50,
    most=100,
)

OAUTH = (CLIENT_ID, CLIENT_SECRET, TOKEN_FILE)
"""Instead of ACCESS_TOKEN, for an OAuth app."""

GROUP = Group("HubSpot", (ACCESS_TOKEN, *OAUTH, BASE_URL, BURST_LIMIT, DAILY_LIMIT, DAILY_RESERVE, BACKFILL_SHARE))


def uses_oauth(given: Settings) -> bool:
    """Whether an OAuth app asks HubSpot, and not a service key or private app."""
    return any(setting.name in given.texts for setting in OAUTH)


def needed(given: Settings) -> Sequence[Setting[Any]]:
    """The settings HubSpot needs, for `Settings.require`: a token, or an OAuth app's three.

    Raises:
        ConfigurationError: when some of both are set.
    """
    of_oauth = [setting.name for setting in OAUTH if setting.name in given.texts]
    if given[ACCESS_TOKEN] and of_oauth:
        raise ConfigurationError(
            f"HUBSPOT_ACCESS_TOKEN and {', '.join(of_oauth)} are set: a service key or private app needs only the"
            " first, an OAuth app only the others; unset one of the two"
        )
    return OAUTH if of_oauth else (ACCESS_TOKEN,)
