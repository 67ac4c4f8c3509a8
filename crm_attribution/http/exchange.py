"""One HTTP exchange over `requests`: the call, its body, and what went wrong without the library's words."""

from __future__ import annotations

import io
import ipaddress
import json as jsonlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from crm_attribution.errors import ConfigurationError
from crm_attribution.http.answers import route

Params = Mapping[str, Any] | Sequence[tuple[str, Any]]


class Unreadable(Exception):
    """An answer that is too large or too slow; its text says which."""


@dataclass(frozen=True)
class Call:
    """What is asked of a service, without its address."""

    method: str
    path: str
    params: Params | None = field(repr=False)
    body: bytes | None = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    is_json: bool

    def __post_init__(self) -> None:
        # Appended to the base URL, so anything but an absolute path could change the host.
        if not self.path.startswith("/") or self.path.startswith("//"):
            raise ConfigurationError("a call's path must begin with one slash")

    @property
    def route(self) -> str:
        return route(self.method, self.path)


class Body(io.BytesIO):
    """Knows whether any of it was taken for sending, which is after connecting, TLS and the headers."""

    touched = False

    def read(self, size: int | None = -1, /) -> bytes:
        self.touched = True
        return super().read(size)


def new_session() -> requests.Session:
    """Connections without cookies, retries, or proxies and credentials of the environment."""
    session = requests.Session()
    # The environment could otherwise replace our Authorization header (netrc) or choose a proxy.
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=8, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def checked_base(base_url: str, service: str) -> str:
    """The base URL without a slash at its end.

    Raises:
        ConfigurationError: when it is neither https nor http to a loopback address, or holds a user name or query.
    """
    parts = urlsplit(base_url)
    if parts.scheme == "https" and parts.hostname and not parts.username and not parts.query:
        return base_url.rstrip("/")
    if parts.scheme == "http" and _is_loopback(parts.hostname or "") and not parts.username:
        return base_url.rstrip("/")
    raise ConfigurationError(f"{service}: the base URL must be https://host (http only to a loopback address)")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def encoded(json: object, content: bytes | None) -> bytes | None:
    """The body: JSON, else the content as it is; None for an empty one."""
    if json is None:
        return content or None
    return jsonlib.dumps(json, separators=(",", ":"), allow_nan=False).encode()


def before_sending(error: Exception) -> bool:
    """Whether the call failed before any byte of it left."""
    return isinstance(error, requests.ConnectTimeout) or "NewConnectionError" in repr(error)


def problem_of(error: Exception) -> str:
    """What went wrong, without the library's text."""
    if isinstance(error, requests.ConnectTimeout):
        return "no connection within the time-out"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer within the time-out"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS failure (certificate or protocol)"
    text = repr(error)
    for mark, plain in (("NameResolution", "host name not found"), ("NewConnection", "connection refused")):
        if mark in text:
            return plain
    return f"connection broken ({type(error).__name__})"
