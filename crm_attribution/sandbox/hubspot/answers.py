"""HubSpot's error envelope.

https://developers.hubspot.com/docs/api-reference/error-handling; every field but category, correlationId and message
is optional there. Messages of validation errors are the sandbox's own words.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from crm_attribution.sandbox.api import Answer, ApiError, Json
from crm_attribution.sandbox.faults import Fault
from crm_attribution.sandbox.instants import MINUTE_MS, SECOND, iso
from crm_attribution.sandbox.portal.kinds import Kind, find_kind
from crm_attribution.sandbox.portal.records import Store
from crm_attribution.sandbox.world import World

POLICY_MESSAGES = {
    "DAILY": "You have reached your daily limit.",
    "TEN_SECONDLY_ROLLING": "You have reached your ten_secondly_rolling limit.",
    "SECONDLY": "You have reached your secondly limit.",
}


def world_of(request: Request) -> World:
    world: World = request.app.state.world
    return world


def error(request: Request, status: int, category: str, message: str, **extra: Any) -> ApiError:
    """The exception that ends a request with HubSpot's error envelope."""
    body = {"status": "error", "message": message, "correlationId": world_of(request).trace_id(), "category": category}
    return ApiError(status, {**body, **extra})


def invalid(request: Request, message: str, **extra: Any) -> ApiError:
    return error(request, 400, "VALIDATION_ERROR", message, **extra)


def missing(request: Request) -> ApiError:
    return error(request, 404, "OBJECT_NOT_FOUND", "resource not found")


def kind_in_path(request: Request, name: str = "kind") -> Kind:
    """The object type a path names."""
    spelling = request.path_params[name]
    kind = find_kind(spelling)
    if kind is None:
        raise invalid(request, f"Unable to infer object type from: {spelling}")
    return kind


def store_in_path(request: Request) -> Store:
    return world_of(request).portal.stores[kind_in_path(request).name]


def integer(request: Request, name: str, default: int, most: int) -> int:
    """A query parameter between 1 and `most`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdigit() or not 0 < int(text) <= most:
        raise invalid(request, f"{name} must be a number between 1 and {most}", context={name: [text]})
    return int(text)


async def json_body(request: Request) -> Json:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise invalid(request, "Invalid input JSON: the body is not a JSON object")
    return body


def next_page(request: Request, after: str) -> Json:
    """The `paging` of an answer that has a next page; the link has the version that was asked for."""
    link = request.url.replace(path=request.state.asked).include_query_params(after=after)
    return {"next": {"after": after, "link": str(link)}}


def refusal_body(world: World, status: int, fault: Fault | None, policy: str | None = None) -> Json:
    """The body of an answer without a result, by its status."""
    body: Json = {"status": "error", "correlationId": world.trace_id()}
    if status == 429:
        policy = policy or (fault.policy if fault else None) or "TEN_SECONDLY_ROLLING"
        message = POLICY_MESSAGES.get(policy, f"You have reached your {policy.lower()} limit.")
        extra = {"errorType": "RATE_LIMIT", "policyName": policy, "requestId": world.trace_id()}
        return {**body, "message": message, **extra}
    if status == 401 and fault is not None and fault.kind == "401_expired":
        return expired_body(world, world.portal.now - MINUTE_MS)
    if status == 401:
        message = "Authentication credentials not found. This API supports OAuth 2.0 authentication."
        return {**body, "message": message, "category": "INVALID_AUTHENTICATION"}
    if status == 403:
        return unscoped_body(world, (fault.scope if fault else None) or "crm.objects.contacts.read")
    return {**body, "message": "internal error"}


def unscoped_body(world: World, scope: str) -> Json:
    """The body of a 403 for a scope that was not granted."""
    required = {
        "message": "One or more of the following scopes are required.",
        "context": {"requiredScopes": [scope]},
    }
    message = "This app hasn't been granted all required scopes to make this call."
    return {
        "status": "error",
        "correlationId": world.trace_id(),
        "message": message,
        "category": "MISSING_SCOPES",
        "errors": [required],
    }


def expired_body(world: World, expired: int) -> Json:
    """The body of a 401 for an access token that ended then."""
    ago = (world.portal.now - expired) // SECOND
    message = f"The OAuth token used to make this call expired {ago} second(s) ago."
    return {
        "status": "error",
        "message": message,
        "correlationId": world.trace_id(),
        "category": "EXPIRED_AUTHENTICATION",
        "context": {"expire time": [iso(expired)]},
    }


def answer(content: Any, status: int = 200) -> Answer:
    return Answer(content, status)
