"""The account's set-up: pipelines, owners, properties, account details.

https://developers.hubspot.com/docs/api/crm/pipelines, .../owners, .../properties and
https://developers.hubspot.com/docs/api-reference/account-account-info-v3/guide
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.api import Json
from crm_attribution.sandbox.hubspot.answers import (
    answer,
    integer,
    kind_in_path,
    missing,
    next_page,
    store_in_path,
    world_of,
)
from crm_attribution.sandbox.instants import SECOND, iso
from crm_attribution.sandbox.portal import schema
from crm_attribution.sandbox.portal.records import Store

MOST_OWNERS, DEFAULT_OWNERS = 500, 100


def routes() -> Sequence[BaseRoute]:
    return [
        Route("/crm/pipelines/{kind}", list_pipelines),
        Route("/crm/pipelines/{kind}/{id}", read_pipeline),
        Route("/crm/pipelines/{kind}/{id}/stages", list_stages),
        Route("/crm/owners", list_owners),
        Route("/crm/owners/{id}", read_owner),
        Route("/crm/properties/{kind}", list_properties),
        Route("/crm/properties/{kind}/{name}", read_property),
        Route("/account-info/{version}/details", account_details),
        Route("/account-info/{version}/api-usage/daily/private-apps", private_app_usage),
    ]


def _pipelines(request: Request) -> list[Json]:
    kind = kind_in_path(request)
    if kind.name != "deals":
        return [schema.lifecycle_pipeline(kind)]
    return sorted(world_of(request).portal.pipelines.values(), key=lambda item: (item["displayOrder"], item["id"]))


async def list_pipelines(request: Request) -> Response:
    """Not paged."""
    return answer({"results": _pipelines(request)})


def _pipeline(request: Request) -> Json:
    found = next((item for item in _pipelines(request) if item["id"] == request.path_params["id"]), None)
    if found is None:
        raise missing(request)
    return found


async def read_pipeline(request: Request) -> Response:
    return answer(_pipeline(request))


async def list_stages(request: Request) -> Response:
    return answer({"results": _pipeline(request)["stages"]})


async def list_owners(request: Request) -> Response:
    """By id; `archived=true` lists only the archived ones."""
    asked = request.query_params
    archived = asked.get("archived", "false").lower() == "true"
    email = asked.get("email")
    owners = [item for item in world_of(request).portal.owners.values() if item["archived"] == archived]
    owners = sorted((item for item in owners if email in (None, item["email"])), key=lambda item: str(item["id"]))
    after = asked.get("after", "")
    rest = [item for item in owners if str(item["id"]) > after]
    limit = integer(request, "limit", DEFAULT_OWNERS, MOST_OWNERS)
    body: Json = {"results": rest[:limit]}
    if limit < len(rest):
        body["paging"] = next_page(request, str(rest[limit - 1]["id"]))
    return answer(body)


async def read_owner(request: Request) -> Response:
    owner = world_of(request).portal.owners.get(request.path_params["id"])
    archived = request.query_params.get("archived", "false").lower() == "true"
    if owner is None or owner["archived"] != archived:
        raise missing(request)
    return answer(owner)


def _options(request: Request, store: Store, name: str) -> list[Json]:
    """The options of an enumeration: stages and pipelines from the set-up, none for the others."""
    portal = world_of(request).portal
    if store.kind.type_of(name) != "enumeration" or name == "hubspot_owner_id":
        return []
    if name == "lifecyclestage":
        rows = [(item["id"], item["label"]) for item in schema.lifecycle_pipeline(store.kind)["stages"]]
    elif name == "pipeline":
        rows = [(item["id"], item["label"]) for item in portal.pipelines.values()]
    elif name == "dealstage":
        rows = [(item["id"], item["label"]) for pipeline in portal.pipelines.values() for item in pipeline["stages"]]
    else:
        return []
    return [
        {"value": value, "label": label, "displayOrder": order, "hidden": False, "description": ""}
        for order, (value, label) in enumerate(rows)
    ]


def _definition(request: Request, store: Store, name: str) -> Json:
    first = schema.property_definition(store.kind, name, _options(request, store, name))
    return store.properties.shown(first)


def _of_properties(request: Request, store: Store) -> Collection[str]:
    """The names of the living, or with `archived=true` of the archived alone."""
    archived = request.query_params.get("archived", "false").lower() == "true"
    return store.properties.archived if archived else store.properties.names


async def list_properties(request: Request) -> Response:
    """Every property the log writes exists in the account, in addition to HubSpot's own."""
    store = store_in_path(request)
    return answer({"results": [_definition(request, store, name) for name in sorted(_of_properties(request, store))]})


async def read_property(request: Request) -> Response:
    store, name = store_in_path(request), request.path_params["name"]
    if name not in _of_properties(request, store):
        raise missing(request)
    return answer(_definition(request, store, name))


async def account_details(request: Request) -> Response:
    portal = world_of(request).portal
    return answer(schema.account(portal.account, portal.now))


async def private_app_usage(request: Request) -> Response:
    """The day of the private apps; this call is counted in it."""
    world = world_of(request)
    day = world.limits.day
    ends = day.look(world.portal.now, world.portal.account["timeZone"])
    row = {
        "name": "private-apps-api-calls-daily",
        "usageLimit": day.most,
        "currentUsage": day.used,
        "collectedAt": iso(world.portal.now),
        "fetchStatus": "SUCCESS",
        "resetsAt": iso(int(ends.timestamp()) * SECOND),
    }
    return answer({"results": [row]})
