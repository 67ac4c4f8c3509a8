"""Properties HubSpot sets by itself when another one is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crm_attribution.emulators.instants import iso
from crm_attribution.emulators.portal.records import Record


def implied(
    record: Record, properties: Mapping[str, str], at: int, stages: Mapping[str, tuple[str, dict[str, Any]]]
) -> dict[str, str]:
    """What follows from `properties`, without what they give themselves or what was entered before.

    `stages` maps a deal stage's id, unique in the account, to its pipeline and its metadata. The became-a-stage dates
    tell the first entry; that HubSpot clears them when a person moves a record back is left out.
    """
    if "lifecyclestage" not in properties and "dealstage" not in properties:
        return {}
    found: dict[str, str] = {}
    life = properties.get("lifecyclestage")
    if life and record.kind.name != "deals":
        found[f"hs_v2_date_entered_{life}"] = found[f"hs_lifecyclestage_{life}_date"] = iso(at)
    stage = properties.get("dealstage")
    if stage and record.kind.name == "deals":
        found[f"hs_v2_date_entered_{stage}"] = iso(at)
        pipeline, metadata = stages.get(stage, ("", {}))
        if pipeline and not record.value("pipeline"):
            found["pipeline"] = pipeline
    found = {name: value for name, value in found.items() if name not in properties and not record.value(name)}
    if stage and record.kind.name == "deals" and stage in stages:
        closed = metadata.get("isClosed", "false") == "true"
        probability = metadata.get("probability", "")
        won = closed and probability != "" and float(probability) == 1.0
        calculated = {
            "hs_is_closed": str(closed).lower(),
            "hs_is_closed_won": str(won).lower(),
            "hs_deal_stage_probability": probability,
        }
        found.update((name, value) for name, value in calculated.items() if name not in properties)
    return found
