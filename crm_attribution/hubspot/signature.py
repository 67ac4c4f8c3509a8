"""Request signatures of HubSpot's webhooks, versions 1 to 3: pure, over the raw bytes, compared in constant time.

https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from crm_attribution.clock import to_millis
from crm_attribution.errors import Rejected

VERSIONS = ("v3", "v2", "v1")
OLDEST = timedelta(minutes=5)
"""HubSpot's own rule; a request of exactly this age still counts."""
NEWEST = timedelta(minutes=1)
"""How far a stamp may lie ahead: clocks differ, but a stamp of tomorrow would let a request be replayed until then."""

_DECODED = {
    f"%{ord(character):02X}": character for character in (":", "/", "?", "@", "!", "$", "'", "(", ")", "*", ",", ";")
}
_ESCAPE = re.compile("|".join(_DECODED))
_STAMP = re.compile(r"[0-9]{1,15}")


class SignatureRefused(Rejected):
    """The request does not carry a signature we can accept; the message names the header, never its value."""


@dataclass(frozen=True)
class Claim:
    """The signature headers of a request.

    Attributes:
        version: v1, v2 or v3.
        signature: the header's value.
        timestamp: the header's value as sent (epoch milliseconds); empty for v1 and v2.
    """

    version: str
    signature: str
    timestamp: str = ""


def signed_uri(uri: str) -> str:
    """The URI as version 3 signs it: exactly twelve escapes decoded, every other one as it is."""
    return _ESCAPE.sub(lambda found: _DECODED[found[0]], uri)


def sign(version: str, secret: str, *, method: str, uri: str, body: bytes, timestamp: str = "") -> str:
    """The signature HubSpot would send.

    Args:
        version: v1 (body only), v2 (method, URI, body; both hex SHA-256) or v3 (base64 HMAC-SHA256).
        secret: the app's client secret.
        method: HTTP method, upper case.
        uri: the full public address, query included.
        body: the raw body.
        timestamp: epoch milliseconds as sent, v3 only.

    Raises:
        ValueError: for another version.
    """
    if version == "v3":
        text = f"{method}{signed_uri(uri)}".encode() + body + timestamp.encode()
        return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()
    if version == "v2":
        return hashlib.sha256(f"{secret}{method}{uri}".encode() + body).hexdigest()
    if version == "v1":
        return hashlib.sha256(secret.encode() + body).hexdigest()
    raise ValueError(f"no such signature version: {version}")


def claim(headers: Iterable[tuple[bytes, bytes]], accepted: Collection[str], now: datetime) -> Claim:
    """The signature of a request, before its body is read. Where version 3 is accepted and sent, it alone decides.

    Args:
        headers: names in lower case and values, as the server got them.
        accepted: the versions that are accepted.
        now: the current time.

    Raises:
        SignatureRefused: missing, sent twice, of a version that is not accepted, or older than five minutes or more
            than one minute ahead.
    """
    found = [(name, value) for name, value in headers if name.startswith(b"x-hubspot-")]
    signature = _one(found, "x-hubspot-signature-v3")
    if "v3" in accepted and signature:
        timestamp = _one(found, "x-hubspot-request-timestamp")
        _check_age(timestamp, now)
        return Claim("v3", signature, timestamp)
    version, signature = _one(found, "x-hubspot-signature-version"), _one(found, "x-hubspot-signature")
    if signature and version in ("v1", "v2") and version in accepted:
        return Claim(version, signature)
    raise SignatureRefused("no signature of an accepted version")


def matches(given: Claim, secrets: Iterable[str], *, method: str, uri: str, body: bytes) -> bool:
    """Whether one of the secrets signed this. Two are valid at a time while a secret is being replaced."""
    sent = given.signature.encode("utf-8", "surrogateescape")
    valid = [
        hmac.compare_digest(
            sign(given.version, secret, method=method, uri=uri, body=body, timestamp=given.timestamp).encode(), sent
        )
        for secret in secrets
    ]
    return any(valid)


def _one(headers: Iterable[tuple[bytes, bytes]], name: str) -> str:
    values = [value for found, value in headers if found == name.encode()]
    if len(values) > 1:
        raise SignatureRefused(f"{name} is given more than once")
    return values[0].decode("latin-1").strip() if values else ""


def _check_age(timestamp: str, now: datetime) -> None:
    if not _STAMP.fullmatch(timestamp):
        raise SignatureRefused("x-hubspot-request-timestamp: missing or no epoch milliseconds")
    age = to_millis(now) - int(timestamp)
    if age > OLDEST / timedelta(milliseconds=1):
        raise SignatureRefused("x-hubspot-request-timestamp: more than five minutes old")
    if -age > NEWEST / timedelta(milliseconds=1):
        raise SignatureRefused("x-hubspot-request-timestamp: more than a minute ahead")
