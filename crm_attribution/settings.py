"""Everything from the environment, read once. Missing names are reported together, with where to get them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from crm_attribution.clock import parse_instant
from crm_attribution.errors import ConfigurationError

DEFAULT_START = "2026-01-01T00:00:00Z"

DAILY_RESERVE = 2
"""Percent of the daily quota of API calls that is left to the account's other apps."""
BACKFILL_SHARE = 50
"""Percent of the daily quota of API calls that one backfill may plan with."""
_LIMITS = {
    "HUBSPOT_BURST_LIMIT": 100_000,
    "HUBSPOT_DAILY_LIMIT": 1_000_000_000,
    "HUBSPOT_DAILY_RESERVE": 90,
    "HUBSPOT_BACKFILL_SHARE": 100,
}
"""Setting -> the most it can be. Figures of an installation, not rules of the business: they stand by the token."""

HUBSPOT_SETTINGS = {
    "HUBSPOT_ACCESS_TOKEN": "HubSpot: Development > Keys > Service keys (or a private app's token;"
    " an OAuth app has HUBSPOT_CLIENT_ID, HUBSPOT_CLIENT_SECRET and HUBSPOT_TOKEN_FILE instead)",
}
OAUTH_SETTINGS = {
    "HUBSPOT_CLIENT_ID": "the app's Auth page",
    "HUBSPOT_CLIENT_SECRET": "the app's Auth page",
    "HUBSPOT_TOKEN_FILE": "a path for the app's tokens; crm-attribution authorize makes the file",
}
"""Instead of HUBSPOT_ACCESS_TOKEN, for an OAuth app."""
CLICKS_SETTINGS = {
    "CLICKS_TOKEN": "your link service's API settings (needed with CLICKS_BASE_URL)",
}

INGEST_TOKEN_LENGTH = 16
BODY_LIMIT = 8 * 1024 * 1024
"""Bytes. HubSpot sends up to 100 events at a time, and a property's value may have 65,536 characters."""

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|_KEY")
_OURS = re.compile(r"^CRM_ATTRIBUTION_|_(TOKEN|ID|SECRET|URL|KEY|VERSION|FILE)$")


@dataclass(frozen=True)
class ReceiverSettings:
    """What the receiver of webhooks goes by. A secret or token may be two, separated by a comma, while the one
    replaces the other."""

    secrets: tuple[str, ...] = field(repr=False)
    url: str
    signatures: tuple[str, ...]
    tokens: tuple[str, ...] = field(repr=False)
    body_limit: int

    @property
    def takes_hubspot(self) -> bool:
        return bool(self.secrets)


@dataclass(frozen=True)
class Settings:
    """The environment, typed. A destination asks for its own names by `value` and `require`."""

    data_dir: Path
    start: datetime
    clock: str
    mapping: Path | None
    send: bool
    alert_url: str | None = field(repr=False)  # whoever knows it may post
    lock_wait_seconds: float
    hubspot_base_url: str
    hubspot_burst_limit: int | None
    hubspot_daily_limit: int | None
    hubspot_daily_reserve: int
    hubspot_backfill_share: int
    clicks_base_url: str | None
    receiver: ReceiverSettings
    environment: Mapping[str, str] = field(repr=False)

    @property
    def inbox(self) -> Path:
        return self.data_dir / "inbox"

    @property
    def webhooks(self) -> Path:
        """Where the receiver writes."""
        return self.inbox / "webhooks"

    def value(self, name: str) -> str:
        """A setting by its name; empty where it is not set."""
        return self.environment.get(name, "")

    def missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if not self.environment.get(name)]

    def require(self, names: Mapping[str, str]) -> None:
        """Raise one error that lists every one of `names` that is not set.

        Args:
            names: setting -> where to get it.

        Raises:
            ConfigurationError: names and where to get each.
        """
        lines = [f"  {name}: {names[name]}" for name in self.missing(names)]
        if lines:
            raise ConfigurationError("these settings are missing (environment or --env-file):\n" + "\n".join(lines))

    @property
    def uses_oauth(self) -> bool:
        """Whether an OAuth app asks HubSpot, and not a service key or private app."""
        return any(self.value(name) for name in OAUTH_SETTINGS)

    def hubspot_names(self) -> Mapping[str, str]:
        """The settings HubSpot needs, for `require`: a token, or an OAuth app's three.

        Raises:
            ConfigurationError: when some of both are set.
        """
        given = [name for name in OAUTH_SETTINGS if self.value(name)]
        if given and self.value("HUBSPOT_ACCESS_TOKEN"):
            raise ConfigurationError(
                f"HUBSPOT_ACCESS_TOKEN and {', '.join(given)} are set: a service key or private app needs only the"
                " first, an OAuth app only the others; unset one of the two"
            )
        return OAUTH_SETTINGS if given else HUBSPOT_SETTINGS

    def secrets(self) -> list[str]:
        """Every secret value, for redaction."""
        named = [
            value
            for name, value in self.environment.items()
            if _SECRET_NAME.search(name) and not name.endswith("_FILE") and len(value) > 3
        ]
        parts = [part for value in named if "," in value for part in _parts(value) if len(part) > 3]
        return [*named, *parts, *([self.alert_url] if self.alert_url else [])]


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings; by default from the process's environment.

    Raises:
        ConfigurationError: listing every value that cannot be read.
    """
    env = os.environ if environment is None else environment
    problems: list[str] = []
    start = _instant(env, "CRM_ATTRIBUTION_START", DEFAULT_START, problems)
    if start.minute or start.second or start.microsecond:
        problems.append("CRM_ATTRIBUTION_START: must be a full hour, e.g. 2026-01-01T00:00:00Z")
    send = env.get("CRM_ATTRIBUTION_SEND", "on").lower()
    if send not in ("on", "off"):
        problems.append("CRM_ATTRIBUTION_SEND: must be on or off")
    wait = env.get("CRM_ATTRIBUTION_LOCK_WAIT", "900")
    if not (wait.isascii() and wait.isdigit()):
        problems.append("CRM_ATTRIBUTION_LOCK_WAIT: must be whole seconds")
    limits = {name: _number(env, name, most, problems) for name, most in _LIMITS.items()}
    receiver = _receiver(env, problems)
    if problems:
        raise ConfigurationError("settings that cannot be read:\n" + "\n".join(f"  {line}" for line in problems))
    mapping = env.get("CRM_ATTRIBUTION_MAPPING")
    return Settings(
        data_dir=Path(env.get("CRM_ATTRIBUTION_DATA_DIR", "data")).absolute(),
        start=start,
        clock=env.get("CRM_ATTRIBUTION_CLOCK", "wall"),
        mapping=Path(mapping).absolute() if mapping else None,
        send=send == "on",
        alert_url=env.get("CRM_ATTRIBUTION_ALERT_URL") or None,
        lock_wait_seconds=float(wait),
        hubspot_base_url=env.get("HUBSPOT_BASE_URL", "https://api.hubapi.com"),
        hubspot_burst_limit=limits["HUBSPOT_BURST_LIMIT"],
        hubspot_daily_limit=limits["HUBSPOT_DAILY_LIMIT"],
        hubspot_daily_reserve=_or(limits["HUBSPOT_DAILY_RESERVE"], DAILY_RESERVE),
        hubspot_backfill_share=_or(limits["HUBSPOT_BACKFILL_SHARE"], BACKFILL_SHARE),
        clicks_base_url=env.get("CLICKS_BASE_URL") or None,
        receiver=receiver,
        environment={name: value for name, value in env.items() if _OURS.search(name)},
    )


def _number(env: Mapping[str, str], name: str, most: int, problems: list[str]) -> int | None:
    text = env.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= most) or (int(text) == 0 and name.endswith("_LIMIT")):
        problems.append(f"{name}: must be a whole number up to {most}")
        return None
    return int(text)


def _or(given: int | None, default: int) -> int:
    return default if given is None else given


def _receiver(env: Mapping[str, str], problems: list[str]) -> ReceiverSettings:
    signatures = _parts(env.get("HUBSPOT_WEBHOOK_SIGNATURES") or "v3")
    if set(signatures) - {"v1", "v2", "v3"}:
        problems.append("HUBSPOT_WEBHOOK_SIGNATURES: expected some of v3, v2, v1, separated by commas")
    tokens = _parts(env.get("CRM_ATTRIBUTION_INGEST_TOKEN", ""))
    if any(len(token) < INGEST_TOKEN_LENGTH or not token.isascii() for token in tokens):
        problems.append(f"CRM_ATTRIBUTION_INGEST_TOKEN: must have {INGEST_TOKEN_LENGTH} ASCII characters or more")
    limit = _or(_number(env, "CRM_ATTRIBUTION_WEBHOOK_BODY_LIMIT", 2**30, problems), BODY_LIMIT)
    secrets = _parts(env.get("HUBSPOT_WEBHOOK_SECRET", ""))
    return ReceiverSettings(secrets, env.get("HUBSPOT_WEBHOOK_URL", ""), signatures, tokens, limit)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines; blank lines and `#` comments are skipped.

    Raises:
        ConfigurationError: naming the line that is neither.
    """
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().replace("_", "").isalnum():
            raise ConfigurationError(f"{path}, line {number}: expected NAME=value")
        found[name.strip()] = value.strip().strip("'\"")
    return found


def apply_env_file(path: Path) -> None:
    """Put a file's names into the process's environment; what is already set wins."""
    for name, value in read_env_file(path).items():
        os.environ.setdefault(name, value)


def set_environment(values: Mapping[str, str]) -> None:
    """Set names for this process and those it starts."""
    os.environ.update(values)


def _instant(env: Mapping[str, str], name: str, default: str, problems: list[str]) -> datetime:
    try:
        return parse_instant(env.get(name) or default)
    except ValueError:
        problems.append(f"{name}: not an ISO 8601 instant, e.g. {default}")
        return parse_instant(default)
