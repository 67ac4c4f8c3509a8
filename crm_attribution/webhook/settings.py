"""The settings of the receiver of webhooks."""

from __future__ import annotations

from dataclasses import dataclass, field

from crm_attribution.settings import Group, Setting, Settings, listed, secret, text, whole

INGEST_TOKEN_LENGTH = 16
BODY_BYTES = 8 * 1024 * 1024
"""HubSpot sends up to 100 events at a time, and a property's value may have 65,536 characters."""


def _signatures(given: str) -> tuple[str, ...]:
    versions = listed(given)
    if not versions or set(versions) - {"v1", "v2", "v3"}:
        raise ValueError("expected some of v3, v2, v1, separated by commas")
    return versions


def _tokens(given: str) -> tuple[str, ...]:
    tokens = listed(given)
    if any(len(token) < INGEST_TOKEN_LENGTH or not token.isascii() for token in tokens):
        raise ValueError(f"must have {INGEST_TOKEN_LENGTH} ASCII characters or more")
    return tokens


SECRET = secret(
    "HUBSPOT_WEBHOOK_SECRET",
    "the app's client secret, which signs webhooks; two separated by a comma while one replaces the other",
)
URL = text(
    "HUBSPOT_WEBHOOK_URL",
    "the public address HubSpot posts to, exactly as in HubSpot's settings: signatures cover it",
)
SIGNATURES = Setting[tuple[str, ...]](
    "HUBSPOT_WEBHOOK_SIGNATURES",
    "accepted versions; `v3,v1` or `v3,v2` where something still signs the old way",
    _signatures,
    ("v3",),
    "`v3`",
)


def _bearer(name: str, route: str) -> Setting[tuple[str, ...]]:
    described = (
        f"bearer token of `{route}`, {INGEST_TOKEN_LENGTH} characters or more; two separated by a comma while one"
    )
    return Setting(name, f"{described} replaces the other", _tokens, (), secret=True)


INGEST_TOKEN = _bearer("CRM_ATTRIBUTION_INGEST_TOKEN", "/ingest/crm")
REPLAY_TOKEN = _bearer("CRM_ATTRIBUTION_REPLAY_TOKEN", "/v1/replay")
BODY_LIMIT = whole("CRM_ATTRIBUTION_WEBHOOK_BODY_LIMIT", "largest delivery in bytes", BODY_BYTES, most=2**30)

GROUP = Group("Receiver of webhooks", (SECRET, URL, SIGNATURES, INGEST_TOKEN, REPLAY_TOKEN, BODY_LIMIT))


@dataclass(frozen=True)
class ReceiverSettings:
    """The receiver's settings. A secret or token may have two values while one replaces the other."""

    secrets: tuple[str, ...] = field(repr=False)
    url: str
    signatures: tuple[str, ...]
    tokens: tuple[str, ...] = field(repr=False)
    body_limit: int
    replay_tokens: tuple[str, ...] = field(default=(), repr=False)

    @property
    def takes_hubspot(self) -> bool:
        return bool(self.secrets)


def receiver(given: Settings) -> ReceiverSettings:
    """The receiver's settings, typed."""
    limit = given[BODY_LIMIT]
    return ReceiverSettings(
        listed(given[SECRET]),
        given[URL],
        given[SIGNATURES],
        given[INGEST_TOKEN],
        BODY_BYTES if limit is None else limit,
        given[REPLAY_TOKEN],
    )
