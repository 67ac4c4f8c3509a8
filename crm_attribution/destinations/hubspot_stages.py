"""Deals of HubSpot that move to another stage when their contacts have clicked often enough.

https://developers.hubspot.com/docs/api/crm/deals
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import ClassVar

from crm_attribution.destinations.base import (
    Answer,
    Asked,
    Finding,
    Limits,
    Piece,
    Question,
    Ready,
    Request,
    Source,
    told_by_status,
)
from crm_attribution.destinations.hubspot import VERSION, HubSpot, headers
from crm_attribution.destinations.hubspot_records import PROPERTIES, HubSpotRecords
from crm_attribution.http.answers import missing_scopes

DEALS = "0-3"
"""Object type of deals: https://developers.hubspot.com/docs/api/crm/understanding-the-crm"""

PIPELINES = f"/crm/pipelines/{VERSION}/deals"


class HubSpotStages(HubSpotRecords):
    """What a deal is given: its stage, and what the stage requires. `action` is the rule. The answer has the stage that
    HubSpot keeps."""

    name: ClassVar[str] = "hubspot_stages"
    plans_from: ClassVar[Source] = "thresholds"
    example_action: ClassVar[str] = "pricing_looked_at"
    limits: ClassVar[Limits] = Limits(
        batch=100, max_age=timedelta(days=7), dedupe=timedelta(days=365), calls_per_minute=300, once=True
    )
    scopes: ClassVar[Sequence[str]] = ("crm.objects.deals.write", "crm.schemas.deals.read")
    documentation: ClassVar[str] = "https://developers.hubspot.com/docs/api-reference/2026-03/crm/objects/deals/guide"

    def object_of(self, ready: Ready) -> str:
        del ready
        return DEALS

    def questions(self, asked: Asked) -> list[Question]:
        """The scopes, and whether pipelines, stages and required properties are those of the mapping."""
        token, found = headers(asked.settings), HubSpot.questions(self, asked)
        for action in asked.actions:
            pipeline, start, end, *required = json.loads(asked.options[f"stage {action}"])
            look = Request("GET", f"{PIPELINES}/{pipeline}", token, {})
            found.append(Question(f"rule {action}", look, partial(_move, action, start, end)))
            for name in required:
                look = Request("GET", f"{PROPERTIES}/deals/{name}", token, {})
                found.append(Question(f"property deals.{name}", look, partial(_property, name)))
        return list({one.about: one for one in found}.values())

    def pieces(
        self, wanted: Mapping[str, Mapping[str, str]], settings: Mapping[str, str], options: Mapping[str, str]
    ) -> list[Piece]:
        """Pipelines are the portal's own."""
        del wanted, settings, options
        return []


def _answered(about: str, answer: Answer) -> Finding | None:
    if (told := told_by_status(about, answer, HubSpotStages.credential)) is not None:
        return told
    if answer.status == 403:
        lacking = ", ".join(missing_scopes(answer.body)) or "crm.schemas.deals.read"
        return Finding(about, "failed", f"403: missing scope {lacking}", "grant it to HUBSPOT_WRITE_TOKEN")
    return None


def _move(action: str, start: str, end: str, answer: Answer) -> Finding:
    about = f"rule {action}"
    if (told := _answered(about, answer)) is not None:
        return told
    fix = "correct write_back.stages of the mapping, by HubSpot's internal ids"
    body = answer.body if isinstance(answer.body, dict) else {}
    listed = body.get("stages")
    if answer.status != 200 or not isinstance(listed, list):
        return Finding(about, "failed", "the portal has no such pipeline", fix)
    known = {str(one.get("id")): one for one in listed if isinstance(one, dict) and not one.get("archived")}
    lacking = [stage for stage in (start, end) if stage not in known]
    if lacking:
        return Finding(about, "failed", f"the pipeline has no stage {', '.join(lacking)}", fix)
    if str((known[end].get("metadata") or {}).get("isClosed")).lower() == "true":
        return Finding(about, "failed", f"{end} is a closed stage: clicks win and lose no deal", fix)
    if known[end].get("displayOrder", 0) <= known[start].get("displayOrder", 0):
        return Finding(about, "failed", f"{end} does not come after {start}: a deal is never moved back", fix)
    if str(known[end].get("writePermissions")) in ("READ_ONLY", "INTERNAL_ONLY"):
        return Finding(about, "failed", f"{end} is not open to writes", fix)
    return Finding(about, "ok", f"{start} to {end}")


def _property(name: str, answer: Answer) -> Finding:
    about = f"property deals.{name}"
    if (told := _answered(about, answer)) is not None:
        return told
    if answer.status != 200:
        fix = "name a property of deals in the mapping (write_back.stages, requires)"
        return Finding(about, "failed", "deals have no such property", fix)
    return Finding(about, "ok", "it is there")


DESTINATION = HubSpotStages()
