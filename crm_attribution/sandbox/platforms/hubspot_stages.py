"""HubSpot's writes to deals by their object type, `POST /crm/objects/…/0-3/batch/update`: moves between stages.

https://developers.hubspot.com/docs/api/crm/deals. A stage that the deal's pipeline has not is refused. `setup` says
what a stage requires (`missing`: `STAGE:PROPERTY`): a move there without it is refused as HubSpot's later versions do,
https://developers.hubspot.com/changelog/crm-api-write-validation-enforcement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from crm_attribution.sandbox.hubspot.answers import invalid
from crm_attribution.sandbox.platforms.base import Inbox
from crm_attribution.sandbox.platforms.hubspot_properties import HubSpotProperties
from crm_attribution.sandbox.portal.records import Record
from crm_attribution.sandbox.world import World

Json = dict[str, Any]


def create(world: World) -> HubSpotStages:
    return HubSpotStages(world)


class HubSpotStages(HubSpotProperties):
    """Moves of deals. `counted` are those that changed something."""

    name = "hubspot_stages"
    prefix = "/crm/objects/2026-03/0-3/batch/update"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.inbox = Inbox()

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/crm/objects/0-3/batch/update", self._update, methods=["POST"])]

    def object_of(self, request: Request) -> str:
        del request
        return "deals"

    def check(self, request: Request, record: Record, given: Json) -> None:
        stage = given.get("dealstage")
        if stage is None:
            return
        pipeline = given.get("pipeline") or record.value("pipeline") or "default"
        known = {
            str(one["id"])
            for each in self._world.portal.pipelines.values()
            if str(each["id"]) == pipeline
            for one in each["stages"]
        }
        if stage not in known:
            raise invalid(request, f"{stage} is not a valid stage of pipeline {pipeline}")
        for need in self.setup.missing:
            of, _, name = need.partition(":")
            if of == stage and not (given.get(name) or record.value(name)):
                raise invalid(request, f"{name} is required in stage {stage}")
