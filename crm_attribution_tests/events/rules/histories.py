"""raw rows for the pure layers, written short: histories, records and stages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from crm_attribution.contracts import CONTRACTS
from crm_attribution.events.rules.events import Source
from crm_attribution.mapping import load
from crm_attribution_tests.helpers import at

RULES = load()
Change = tuple[str, str, str | None] | tuple[str, str, str | None, str | None]
"""(time, property, value) and, where it matters, HubSpot's sourceType; in HubSpot's order."""

STAGE = {"contacts": "lifecyclestage", "companies": "lifecyclestage", "deals": "dealstage"}


def frame(name: str, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    contract = CONTRACTS[name]
    known = {key for row in rows for key in row}
    schema = {
        column: dtype for column, dtype in contract.polars_schema.items() if column in known and dtype != pl.Int64
    }
    return contract.conform(pl.DataFrame(list(rows), schema_overrides=schema, infer_schema_length=None))


def history(object_type: str, changes: Mapping[str, Sequence[Change]]) -> pl.DataFrame:
    """raw.property_history; equal times of a property keep their order."""
    rows = []
    for number, told in changes.items():
        places: dict[tuple[str, str], int] = {}
        for when, name, value, *source in told:
            place = places[when, name] = places.get((when, name), -1) + 1
            rows.append({"object_type": object_type, "object_id": number, "property": name, "timestamp": at(when),
                         "value": value, "ordinal": place, "source_type": source[0] if source else "CRM_UI",
                         "history_truncated": False, "extracted_at": at("07-01T00:00:00")})  # fmt: skip
    return frame("raw.property_history", rows)


def records(object_type: str, properties: Mapping[str, Mapping[str, Any]], created: str = "01-01T00:00:00"):
    table = {"contacts": "raw.contact", "companies": "raw.company", "deals": "raw.deal"}[object_type]
    common = {"created_at": at(created), "modified_at": at(created), "archived": False, "extracted_at": at(created)}
    rows = [{"id": number, "properties": json.dumps(given), **common} for number, given in properties.items()]
    return frame(table, rows)


def source(
    object_type: str,
    changes: Mapping[str, Sequence[Change]],
    properties: Mapping[str, Mapping[str, Any]] | None = None,
    live: Mapping[int, int] | None = None,
) -> Source:
    given: dict[str, Mapping[str, Any]] = {number: {} for number in changes} | dict(properties or {})
    return Source(object_type, records(object_type, given), history(object_type, changes), dict(live or {}))


def stages() -> pl.DataFrame:
    """HubSpot's default pipeline, and one of the portal's own whose stages only metadata explains."""
    default = ["appointmentscheduled", "qualifiedtobuy", "presentationscheduled", "decisionmakerboughtin",
               "contractsent", "closedwon", "closedlost"]  # fmt: skip
    named = [("default", stage, order, chance) for order, (stage, chance) in enumerate(
        zip(default, [0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 0.0], strict=True))]  # fmt: skip
    own = [("own", "s1", 0, 0.5), ("own", "s2", 1, 1.0), ("own", "s3", 2, 0.0)]
    return frame(
        "raw.pipeline_stage",
        [
            {"object_type": "deals", "pipeline_id": pipeline, "pipeline_label": pipeline, "stage_id": stage,
             "stage_label": stage.title(), "display_order": order, "probability": chance,
             "is_closed": chance in (0.0, 1.0), "archived": False}
            for pipeline, stage, order, chance in [*named, *own]
        ],
    )  # fmt: skip
