"""Properties HubSpot sets by itself when another one is written."""

from __future__ import annotations

from collections.abc import Mapping

from crm_attribution.sandbox.instants import iso
from crm_attribution.sandbox.portal.records import Record


def implied(
    record: Record, properties: Mapping[str, str], at: int, stages: Mapping[str, tuple[str, dict[str, str]]]
) -> dict[str, str]:
    """What follows from `properties`, without what they give themselves or what was entered before.

    `stages` maps a deal stage's id, unique in the account, to its pipeline and its metadata. The became-a-stage dates
    hold the first entry; that HubSpot clears them when a person moves a record back is left out.
    """
    name = "dealstage" if record.kind.name == "deals" else "lifecyclestage"
    stage = properties.get(name)
    if not stage or stage == record.value(name):
        return {}
    once = {f"hs_v2_date_entered_{stage}": iso(at)}
    always: dict[str, str] = {}
    if name == "lifecyclestage":
        once[f"hs_lifecyclestage_{stage}_date"] = iso(at)
    elif stage in stages:
        once["pipeline"], metadata = stages[stage]
        always = _closed(metadata)
    found = {key: value for key, value in once.items() if not record.value(key)} | always
    return {key: value for key, value in found.items() if key not in properties}


def _closed(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a deal's stage says about it: closed, won, how likely."""
    closed = metadata.get("isClosed") == "true"
    probability = metadata.get("probability", "")
    return {
        "hs_is_closed": str(closed).lower(),
        "hs_is_closed_won": str(closed and probability in ("1", "1.0")).lower(),
        "hs_deal_stage_probability": probability,
    }
