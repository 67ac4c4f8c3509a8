"""OAuth tokens: issue, refresh, introspect, revoke; and what a private app's token may do.

https://developers.hubspot.com/docs/api-reference/2026-03/authentication/manage-oauth-tokens. Errors carry the fields of
RFC 6749 in addition to HubSpot's own, with status 400: https://developers.hubspot.com/changelog/
new-oauth-v3-api-endpoints-and-standardized-error-responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import ApiError, Json, bearer
from crm_attribution.sandbox.grants import CLIENT_ID, CLIENT_SECRET, PRIVATE_TOKEN, REDIRECT_URI, Grants
from crm_attribution.sandbox.hubspot.answers import answer, invalid, json_body, missing, world_of
from crm_attribution.sandbox.hubspot.webhooks import APP_ID
from crm_attribution.sandbox.instants import SECOND

PREFIX = "/oauth/"
TOKEN_INFO = "/oauth/v2/private-apps/get/access-token-info"  # noqa: S105 - an address
USER_ID = 9001
VERSIONS = ("v1", "v3", "2026-03", "2026-09")
PROBLEMS = {
    "BAD_CLIENT_ID": ("invalid_client", "missing or unknown client id"),
    "BAD_CLIENT_SECRET": ("invalid_client", "missing or invalid client secret"),
    "BAD_REFRESH_TOKEN": ("invalid_grant", "missing or invalid refresh token"),
    "BAD_AUTH_CODE": ("invalid_grant", "missing or unknown auth code"),
    "BAD_REDIRECT_URI": ("invalid_grant", "redirect URI does not match initial auth code URI"),
    "BAD_GRANT_TYPE": ("unsupported_grant_type", "missing or unknown grant type"),
}


def routes() -> Sequence[BaseRoute]:
    return [
        Route(f"{PREFIX}{version}{path}", endpoint, methods=["POST"])
        for version in VERSIONS
        for path, endpoint in (("/token", token), ("/token/introspect", introspect), ("/token/revoke", revoke))
    ] + [Route(TOKEN_INFO, private_app, methods=["POST"])]


def _bad(request: Request, status: str) -> ApiError:
    code, message = PROBLEMS[status]
    trace = world_of(request).trace_id()
    return ApiError(
        400,
        {"status": status, "message": message, "correlationId": trace, "error": code, "error_description": message},
    )


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a form body from a known client; a JSON body and the query hold none."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return {}
    return dict(parse_qsl((await request.body()).decode("utf-8", errors="replace")))


def _check_client(request: Request, form: Mapping[str, str]) -> None:
    if form.get("client_id") != CLIENT_ID:
        raise _bad(request, "BAD_CLIENT_ID")
    if form.get("client_secret") != CLIENT_SECRET:
        raise _bad(request, "BAD_CLIENT_SECRET")


async def token(request: Request) -> Response:
    world, form = world_of(request), await _form(request)
    grants = world.grants
    if form.get("grant_type") not in ("authorization_code", "refresh_token"):
        raise _bad(request, "BAD_GRANT_TYPE")
    _check_client(request, form)
    if form["grant_type"] == "authorization_code":
        if form.get("redirect_uri") != REDIRECT_URI:
            raise _bad(request, "BAD_REDIRECT_URI")
        if not grants.exchange(form.get("code", "")):
            raise _bad(request, "BAD_AUTH_CODE")
    elif not grants.refresh(form.get("refresh_token", "")):
        raise _bad(request, "BAD_REFRESH_TOKEN")
    body: Json = {
        "token_type": "bearer",
        "refresh_token": grants.refresh_token,
        "access_token": grants.access(world.portal.now),
        "expires_in": grants.expires_in,
    }
    if "/v1/" not in request.url.path:
        hub = world.portal.account["portalId"]
        body |= {"token_use": "access_token", "hub_id": hub, "user_id": USER_ID, "scopes": grants.scopes}
    return answer(body)


def _use(grants: Grants, asked: str, now: int) -> tuple[str, int] | None:
    """What a token is good for and how many seconds longer; None for one that is good for nothing."""
    expiry = grants.expiry(asked)
    if expiry is not None and expiry > now:
        return "access_token", (expiry - now) // SECOND
    return ("refresh_token", 0) if asked == grants.refresh_token and not grants.revoked else None


async def introspect(request: Request) -> Response:
    world, form = world_of(request), await _form(request)
    _check_client(request, form)
    if not world.grants.told:
        raise missing(request)
    use = _use(world.grants, form.get("token", ""), world.portal.now)
    if use is None:
        return answer({"active": False})
    hub = world.portal.account["portalId"]
    return answer(
        {
            "active": True,
            "token_use": use[0],
            "token_type": "bearer",
            "expires_in": use[1],
            "client_id": CLIENT_ID,
            "app_id": APP_ID,
            "hub_id": hub,
            "hub_domain": f"portal-{hub}.example",
            "user_id": USER_ID,
            "scopes": world.grants.scopes,
            "is_private_distribution": True,
        }
    )


async def private_app(request: Request) -> Response:
    """https://developers.hubspot.com/docs/api/private-apps: the token stands in the body, and
    for an account in the EU in the header too."""
    world = world_of(request)
    body = await json_body(request)
    if not world.grants.told:
        raise missing(request)
    if body.get("tokenKey") != PRIVATE_TOKEN or bearer(request) != PRIVATE_TOKEN:
        raise invalid(request, "the token is not one of a private app")
    hub = world.portal.account["portalId"]
    return answer({"userId": USER_ID, "hubId": hub, "appId": APP_ID, "scopes": world.grants.scopes})


async def revoke(request: Request) -> Response:
    """Only a refresh token can be revoked; access tokens live on until they expire."""
    world, form = world_of(request), await _form(request)
    _check_client(request, form)
    if form.get("token") != world.grants.refresh_token:
        raise _bad(request, "BAD_REFRESH_TOKEN")
    world.grants.revoked = True
    return Response(status_code=204)
