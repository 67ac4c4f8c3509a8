"""Classification of HTTP answers, the same for every service we read from.

HubSpot's rules are the specific ones (https://developers.hubspot.com/docs/api-reference/error-handling and
https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines); the rest is plain HTTP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from crm_attribution.errors import (
    CrmAttributionError,
    Forbidden,
    QuotaExhausted,
    Rejected,
    Retryable,
    Terminal,
    TokenExpired,
    TokenInvalid,
    Unauthorized,
)

_VERSION = re.compile(r"v\d+(\.\d+)?|\d{4}-\d{2}(-beta)?|0-\d+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_:.-]*|v\d+")
_SAFE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_SCOPE = re.compile(r"\b[a-z_]+(?:\.[a-z_-]+)+\b|\b(?:oauth|forms|content|timeline|tickets|automation)\b")
_LONGEST_WAIT = 600.0
_PAUSED = frozenset({502, 503, 504, 521, 523, 524})
"""Answers after which HubSpot asks for a pause of a few seconds."""
_SUPPORT = frozenset({522, 525, 526})
"""Answers for which HubSpot refers to its support; they are retried like any failure."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `body` is decoded JSON, None when empty, the raw text when it is not JSON."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: Any = field(repr=False)
    readable: bool = True

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], raw: bytes) -> Answer:
        """Decode `raw`; `headers` are read case-insensitively when their mapping does so."""
        if not raw.strip():
            return cls(status, headers, None)
        try:
            return cls(status, headers, json.loads(raw, parse_constant=_no_constant))
        except (ValueError, RecursionError):
            return cls(status, headers, raw.decode("utf-8", "replace"), readable=False)


def _no_constant(name: str) -> object:
    raise ValueError(name)


def folded(path: str) -> str:
    """`path` without its query and with ids replaced, so that it can be counted and shown."""
    return "/".join(
        part if not part or _VERSION.fullmatch(part) or _WORD.fullmatch(part) else "{id}"
        for part in path.partition("?")[0].split("/")
    )


def route(method: str, path: str) -> str:
    """`METHOD path`, folded."""
    return f"{method.upper()} {folded(path)}"


def token_expired(answer: Answer) -> bool:
    """Whether the call was refused because the access token's time is over, which is not what every 401 means."""
    return answer.status == 401 and _category(answer.body) == "EXPIRED_AUTHENTICATION"


def failure(
    answer: Answer, *, service: str, route: str, credential: str, renewal: str | None = None
) -> CrmAttributionError:
    """The error for an unexpected answer. `renewal` says when a daily quota is renewed, where that is known."""
    status, where = answer.status, f"{service} {route}: {answer.status}{_facts(answer.body)}"
    if status == 429:
        return _throttled(answer, where, renewal or "at midnight of the account's time zone")
    if status == 423:
        # A high-volume lock lasts two seconds: https://developers.hubspot.com/docs/api-reference/error-handling
        return Retryable(f"{where}, locked", retry_after=max(2.0, _retry_after(answer) or 2.0))
    if status == 477:
        seconds = answer.headers.get("Retry-After", "")
        hint = f"after {seconds} s" if seconds.isdigit() else "later (it takes up to 24 hours)"
        return Terminal(f"{where}: the account is being moved to another data centre, run again {hint}")
    if status == 401:
        return _unauthorized(answer, where, credential)
    if status == 403:
        return _forbidden(answer, where, credential)
    if status >= 500 or status == 408:
        asked = _retry_after(answer) or (2.0 if status in _PAUSED else None)
        hint = "; if it persists, ask the support of the other side" if status in _SUPPORT else ""
        return Retryable(where + hint, retry_after=asked, sent=True)
    if 200 <= status < 300:
        what = "unexpected success status" if answer.readable else "answer is not JSON"
        return Retryable(f"{where}: {what}", sent=True)
    if 300 <= status < 400:
        return Terminal(f"{where}: redirects are not followed; check the base URL of {service}")
    return Rejected(where, status=status, body=answer.body)


def _throttled(answer: Answer, where: str, renewal: str) -> CrmAttributionError:
    body = answer.body if isinstance(answer.body, dict) else {}
    policy, message = str(body.get("policyName", "")), str(body.get("message", "")).lower()
    if policy == "DAILY" or "daily limit" in message:
        return QuotaExhausted(
            f"{where}: the account's daily quota of API calls is spent; it is renewed {renewal}, and the next run"
            " continues where this one stopped"
        )
    asked = _retry_after(answer)
    if asked is None:
        # HubSpot documents no Retry-After; its own Node client waits like this (and so do we, growing by 1 s).
        asked = 9.0 if policy == "TEN_SECONDLY_ROLLING" else 1.0
    return Retryable(f"{where}, rate limit", retry_after=max(1.0, asked))


def _retry_after(answer: Answer) -> float | None:
    """Seconds, when the header says a sane number of them; dates are not used for waiting."""
    text = answer.headers.get("Retry-After", "").strip()
    return float(text) if re.fullmatch(r"\d{1,4}(\.\d+)?", text) and float(text) <= _LONGEST_WAIT else None


def _category(body: object) -> str:
    return str(body.get("category", "")) if isinstance(body, dict) else ""


def _unauthorized(answer: Answer, where: str, credential: str) -> Unauthorized:
    if token_expired(answer):
        return TokenExpired(f"{where}: the access token has expired; renew it and set {credential}")
    return TokenInvalid(
        f"{where}: the access token was not accepted (wrong, revoked, or of another account or environment);"
        f" check {credential}"
    )


def _forbidden(answer: Answer, where: str, credential: str) -> Forbidden:
    scopes = missing_scopes(answer.body)
    if scopes:
        return Forbidden(f"{where}: missing scope {', '.join(scopes)}; add it to the app behind {credential}")
    return Forbidden(f"{where}: the token in {credential} may not do this (scope, product tier or disabled account)")


def missing_scopes(body: object) -> list[str]:
    """The scopes that the body of a 403 names."""
    return sorted(set(_scopes(body)))


def _scopes(body: object) -> Iterator[str]:
    """Scope names from `context`, `errors[].context`, else the message: only text that looks like a scope."""
    if not isinstance(body, dict):
        return
    details = [body, *(e for e in _listed(body.get("errors")) if isinstance(e, dict))]
    found = False
    for detail in details:
        context = detail.get("context")
        for key, values in context.items() if isinstance(context, dict) else ():
            if "scope" in str(key).lower():
                names = [name for value in _listed(values) for name in _SCOPE.findall(str(value))]
                found = found or bool(names)
                yield from names
    if not found and "scope" in str(body.get("message", "")).lower():
        yield from _SCOPE.findall(str(body["message"]))


def _listed(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _facts(body: object) -> str:
    """The parts of an error body that name the problem and cannot hold personal data."""
    if not isinstance(body, dict):
        return ""
    nested = body.get("error")
    sources = [body, nested] if isinstance(nested, dict) else [body]
    facts = [
        f"{name}={source[name]}"
        for source in sources
        for name in ("category", "subCategory", "policyName", "code", "error_subcode", "correlationId")
        if isinstance(source.get(name), str | int) and _SAFE.fullmatch(str(source[name]))
    ]
    return f" ({', '.join(facts)})" if facts else ""
