"""Access tokens by the key of a service account: a JSON web token that is signed with it, posted.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime

from crm_attribution.errors import ConfigurationError

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LASTS = 3600
"""Seconds, the most there may be."""


def form(key: str, scope: str, audience: str, now: datetime) -> dict[str, str]:
    """What is posted for a token.

    Args:
        key: the file Google gives for a service account: JSON with `client_email`, `private_key`, `private_key_id`.
        audience: the token endpoint by its real name.
        now: the real time, UTC.

    Raises:
        ConfigurationError: when the key is none, or the library that signs is not installed.
    """
    try:
        given = json.loads(key)
        email, private, number = (str(given[name]) for name in ("client_email", "private_key", "private_key_id"))
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            "the key of the service account is not the JSON file that Google gives for it"
        ) from None
    issued = int(now.timestamp())
    claims: dict[str, str | int] = {"iss": email, "scope": scope, "aud": audience, "iat": issued, "exp": issued + LASTS}
    signed = f"{_encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': number})}.{_encoded(claims)}"
    return {"grant_type": GRANT_TYPE, "assertion": f"{signed}.{_signature(private, signed.encode())}"}


def _signature(private: str, content: bytes) -> str:
    """RS256: https://www.rfc-editor.org/rfc/rfc7518#section-3.3"""
    try:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError:
        raise ConfigurationError("a service account needs a library that signs: pip install cryptography") from None
    try:
        key = load_pem_private_key(private.encode(), None)
    except (ValueError, TypeError):
        raise ConfigurationError("private_key of the service account is no key in PEM form") from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError("private_key of the service account is no RSA key")
    return _base64(key.sign(content, PKCS1v15(), SHA256()))


def _encoded(part: Mapping[str, str | int]) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
