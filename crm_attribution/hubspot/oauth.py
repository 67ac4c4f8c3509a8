"""An OAuth app's tokens: got with an authorization code, renewed before they expire, shared between processes.

https://developers.hubspot.com/docs/api-reference/2026-03/authentication/manage-oauth-tokens. HubSpot is reported to
return the same refresh token every time; the returned one is stored, changed or not.

Whoever renews holds the file's lock and reads the file again first: where another process has put a new pair there,
that pair is used and nothing is asked. A process that dies after HubSpot answered and before the pair was on disk
loses that pair. With a refresh token that stays the same nothing is lost by it, the next process asks again; had the
refresh token changed, HubSpot would refuse the old one and the app would have to be authorized again. The file then
shows an attempt that is `unfinished`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from crm_attribution.clock import Clock, iso
from crm_attribution.errors import (
    ClientRefused,
    CodeRefused,
    CrmAttributionError,
    OtherAccount,
    RefreshRefused,
    Retryable,
    TokenFileRestored,
    Unauthorized,
)
from crm_attribution.http.transport import Transport
from crm_attribution.hubspot.refreshes import DAYS, Counted, Refreshes
from crm_attribution.hubspot.token_file import Held, TokenFile, Tokens

MARGIN = 90.0
"""Seconds before its end that an access token is renewed; half its lifetime where that is less."""

AUTHORIZE = "https://app.hubspot.com/oauth/authorize"

_REFUSALS: dict[str, tuple[type[Unauthorized], str]] = {
    "BAD_REFRESH_TOKEN": (
        RefreshRefused,
        "the refresh token is not valid any more: the app was uninstalled or its access revoked; install it again and"
        " run crm-attribution authorize",
    ),
    "BAD_CLIENT_ID": (ClientRefused, "HUBSPOT_CLIENT_ID is not the id of an app; see the app's Auth page"),
    "BAD_CLIENT_SECRET": (
        ClientRefused,
        "HUBSPOT_CLIENT_SECRET does not fit HUBSPOT_CLIENT_ID; see the app's Auth page (it changes when rotated)",
    ),
    "BAD_AUTH_CODE": (
        CodeRefused,
        "the authorization code is wrong, was used before, or was given for another app or redirect address; open the"
        " authorization page again",
    ),
    "EXPIRED_AUTH_CODE": (CodeRefused, "the authorization code is too old; open the authorization page again"),
    "BAD_REDIRECT_URI": (
        CodeRefused,
        "--redirect-uri is not one of the app's redirect addresses, or not the one the code was asked for with",
    ),
    "BAD_HUB": (OtherAccount, "the token is for another HubSpot account; authorize the app in the right one"),
    "BAD_GRANT_TYPE": (Unauthorized, "this version of HubSpot's token endpoint does not know the grant"),
}
"""HubSpot's `status` -> what it means and what to do."""

_STANDARD = {
    "invalid_client": "BAD_CLIENT_SECRET",
    "unauthorized_client": "BAD_CLIENT_ID",
    "unsupported_grant_type": "BAD_GRANT_TYPE",
}
"""RFC 6749's `error`, where HubSpot's own `status` is missing."""


class TokenEndpoint:
    """HubSpot's token endpoint at `path`, for one app. Nothing goes into the query."""

    def __init__(self, transport: Transport, path: str, client_id: str, client_secret: str) -> None:
        self._transport, self._path = transport, path
        self._client = {"client_id": client_id, "client_secret": client_secret}

    def exchange(self, code: str, redirect_uri: str) -> dict[str, Any]:
        """The first pair, for an authorization code.

        Raises:
            Unauthorized: one of its kinds, by HubSpot's reason.
        """
        return self._ask({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri})

    def refresh(self, refresh_token: str) -> dict[str, Any]:
        """The next pair.

        Raises:
            Unauthorized: one of its kinds, by HubSpot's reason.
        """
        return self._ask({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def _ask(self, grant: Mapping[str, str]) -> dict[str, Any]:
        answer = self._transport.request(
            "POST",
            self._path,
            content=urlencode({**self._client, **grant}).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            expected=(200, 400, 401, 403),
        )
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.status != 200:
            raise refusal(body, answer.status, grant["grant_type"])
        if not all(isinstance(body.get(name), str) and body[name] for name in ("access_token", "refresh_token")):
            raise Retryable("hubspot oauth: the answer has no pair of tokens", sent=True)
        return body


def refusal(body: Mapping[str, Any], status: int, grant: str) -> Unauthorized:
    """The error for a refusal of the token endpoint."""
    reason = str(body.get("status", ""))
    if reason not in _REFUSALS:
        standard = str(body.get("error", ""))
        granted = "BAD_REFRESH_TOKEN" if grant == "refresh_token" else "BAD_AUTH_CODE"
        reason = granted if standard == "invalid_grant" else _STANDARD.get(standard, reason)
    kind, text = _REFUSALS.get(reason, (Unauthorized, "HubSpot gave no reason that is known here"))
    named = f" {reason}" if re.fullmatch(r"[A-Za-z_]{1,40}", reason) else ""
    return kind(f"hubspot oauth: {status}{named}: {text}")


def tokens_of(body: Mapping[str, Any], now: datetime, version: int) -> Tokens:
    """A pair as HubSpot hands it out, at `now`."""
    expires_in = body.get("expires_in")
    lifetime = float(expires_in) if isinstance(expires_in, int | float) and expires_in > 0 else Tokens.lifetime
    hub_id = body.get("hub_id")
    return Tokens(
        str(body["access_token"]),
        str(body["refresh_token"]),
        expires_at=now + timedelta(seconds=lifetime),
        lifetime=lifetime,
        version=version,
        hub_id=None if hub_id is None else str(hub_id),
        last_refresh_at=now,
        last_attempt_at=now,
    )


def authorization_url(client_id: str, redirect_uri: str, scopes: Sequence[str]) -> str:
    """Where a person installs the app; HubSpot then sends them to `redirect_uri` with a `code`."""
    asked = {"client_id": client_id, "redirect_uri": redirect_uri, "scope": " ".join(["oauth", *scopes])}
    return f"{AUTHORIZE}?{urlencode(asked)}"


def authorize(file: TokenFile, endpoint: TokenEndpoint, clock: Clock, code: str, redirect_uri: str) -> Tokens:
    """Make the token file, or put a new pair into it."""
    with file.locked() as held:
        there = file.read().version if file.path.exists() else 0
        version = max(there, file.version_seen()) + 1
        tokens = tokens_of(endpoint.exchange(code, redirect_uri), clock.now(), version)
        held.write(tokens)
    return tokens


class OAuth:
    """The credential of an installed app: headers for every call, with a token that is still valid."""

    kind = "OAuth app"
    setting = "HUBSPOT_TOKEN_FILE"

    def __init__(self, file: TokenFile, endpoint: TokenEndpoint, clock: Clock, refreshes: Refreshes) -> None:
        self._file, self._endpoint, self._clock, self._refreshes = file, endpoint, clock, refreshes
        self._tokens: Tokens | None = None

    def headers(self) -> dict[str, str]:
        """The Authorization header; renews the token first where it is due.

        Raises:
            Unauthorized: one of its kinds, when HubSpot refuses to renew it.
            ConfigurationError: when the token file cannot be used.
            Retryable: when HubSpot's token endpoint or another process keeps us waiting.
        """
        tokens = self._tokens or self._file.read()
        if self._due(tokens) or tokens.version < self._file.version_seen():
            tokens = self._renewed(tokens, refused=False)
        self._tokens = tokens
        return {"Authorization": f"Bearer {tokens.access_token}"}

    def renew(self) -> bool:
        """HubSpot called the token expired: get another one, another process's or a new one."""
        self._tokens = self._renewed(self._tokens or self._file.read(), refused=True)
        return True

    @property
    def hub_id(self) -> str | None:
        """The account the token file is for, if it names one."""
        return (self._tokens or self._file.read()).hub_id

    def figures(self) -> dict[str, int | str | float]:
        """The credential's state for metadata and `status`, without a token."""
        tokens = self._file.read()
        moments = {
            "token expires": tokens.expires_at,
            "token renewed": tokens.last_refresh_at,
            "last attempt to renew": tokens.last_attempt_at,
        }
        facts: dict[str, int | str | float] = {"authentication": self.kind}
        facts |= {name: iso(moment) for name, moment in moments.items() if moment is not None}
        counted = self.recent()
        facts |= {f"renewals of {DAYS} days": counted.attempts, "of them failed": counted.errors}
        return facts | ({"last attempt ended with": tokens.last_error} if tokens.last_error else {})

    def recent(self) -> Counted:
        """How often the token was renewed in the last days, and how often that failed."""
        return self._refreshes.recent(self._clock.now())

    def _due(self, tokens: Tokens) -> bool:
        margin = timedelta(seconds=min(MARGIN, tokens.lifetime / 2))
        return self._clock.now() >= tokens.expires_at - margin

    def _renewed(self, used: Tokens, *, refused: bool) -> Tokens:
        """The pair of another process where it has put one there, else a new one. `refused`: `used` is known bad."""
        with self._file.locked() as held:
            there = self._file.read()
            old = there.version < self._file.version_seen()
            bad = refused and there.access_token == used.access_token
            if not (old or bad or self._due(there)):
                held.see(there.version)
                return there
            return self._asked(held, there, old)

    def _asked(self, held: Held, there: Tokens, old: bool) -> Tokens:
        now, seen = self._clock.now(), self._file.version_seen()
        if there.last_error == "unfinished":
            self._refreshes.count("unfinished", there.last_attempt_at or now)
        there = held.note(there, now, "unfinished")
        try:
            fresh = tokens_of(self._endpoint.refresh(there.refresh_token), now, max(there.version, seen) + 1)
            if there.hub_id and fresh.hub_id and fresh.hub_id != there.hub_id:
                raise OtherAccount(
                    f"{self._file.path} is for HubSpot account {there.hub_id}, the renewed token is for"
                    f" {fresh.hub_id}: run crm-attribution authorize in the right account"
                )
        except CrmAttributionError as error:
            held.note(there, now, type(error).__name__)
            self._refreshes.count(_ended(error), now)
            if isinstance(error, RefreshRefused) and old:
                raise TokenFileRestored(
                    f"{self._file.path} holds version {there.version}, and version {seen} was used here: it came back"
                    " from a backup, and HubSpot does not take its refresh token any more; put the newest file back, or"
                    " run crm-attribution authorize"
                ) from None
            raise
        fresh = replace(fresh, hub_id=fresh.hub_id or there.hub_id)
        held.write(fresh)
        self._refreshes.count("success", now)
        return fresh


def _ended(error: CrmAttributionError) -> str:
    """One of `refreshes.RESULTS`."""
    if isinstance(error, Unauthorized | OtherAccount):
        return "refused"
    return "no_answer" if isinstance(error, Retryable) else "failed"
