"""How a portal is set up, as rows of `raw.*`: property definitions, owners, pipelines, the account, forms."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crm_attribution.hubspot.parsed import Record, frame_of
from crm_attribution.hubspot.texts import blank, number


def properties(object_type: str, results: Iterable[Record]) -> pl.DataFrame:
    """raw.property rows. https://developers.hubspot.com/docs/api/crm/properties"""
    rows = [
        {
            "object_type": object_type,
            "name": str(result["name"]),
            "label": blank(result.get("label")),
            "type": blank(result.get("type")),
            "field_type": blank(result.get("fieldType")),
            "options": sorted({str(one["value"]) for one in result.get("options") or ()}) or None,
            "archived": bool(result.get("archived")),
        }
        for result in results
    ]
    return frame_of("raw.property", rows)


def owners(results: Iterable[Record]) -> pl.DataFrame:
    """raw.owner rows. https://developers.hubspot.com/docs/api/crm/owners"""
    rows = [
        {
            "id": str(result["id"]),
            "email": result.get("email"),
            "first_name": result.get("firstName"),
            "last_name": result.get("lastName"),
            "archived": bool(result.get("archived")),
        }
        for result in results
    ]
    return frame_of("raw.owner", rows).unique("id", keep="last", maintain_order=True)


def stages(object_type: str, pipelines: Iterable[Record]) -> pl.DataFrame:
    """raw.pipeline_stage rows; isClosed and probability are text on the wire."""
    rows = []
    for pipeline in pipelines:
        for stage in pipeline.get("stages") or []:
            metadata = stage.get("metadata") or {}
            probability = number(metadata.get("probability"))
            closed = str(metadata.get("isClosed", "")).lower()
            rows.append(
                {
                    "object_type": object_type,
                    "pipeline_id": str(pipeline["id"]),
                    "pipeline_label": str(pipeline.get("label", "")),
                    "stage_id": str(stage["id"]),
                    "stage_label": str(stage.get("label", "")),
                    "display_order": int(stage.get("displayOrder", 0)),
                    "probability": probability,
                    "is_closed": closed == "true" if closed else probability in (0.0, 1.0),
                    "archived": bool(pipeline.get("archived")) or bool(stage.get("archived")),
                }
            )
    return frame_of("raw.pipeline_stage", rows)


def account(details: Record) -> pl.DataFrame:
    """The raw.account row. https://developers.hubspot.com/docs/api-reference/account-account-info-v3/guide"""
    row = {
        "portal_id": str(details["portalId"]),
        "time_zone": str(details["timeZone"]),
        "company_currency": details.get("companyCurrency"),
        "additional_currencies": list(details.get("additionalCurrencies") or []),
    }
    return frame_of("raw.account", [row])


def forms(results: Iterable[Record]) -> pl.DataFrame:
    """raw.form rows."""
    rows = [
        {"id": str(result["id"]), "name": result.get("name"), "archived": bool(result.get("archived"))}
        for result in results
    ]
    return frame_of("raw.form", rows).unique("id", keep="last", maintain_order=True)
