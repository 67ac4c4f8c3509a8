"""Lifecycle stages that HubSpot was told by us and tells back: no news, and so no events."""

from __future__ import annotations

import polars as pl

from crm_attribution.mapping import Rules
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

_STAGE = "lifecyclestage"
_BY_APPS = ("INTEGRATION", "API")
"""`sourceType` of what an app writes: https://developers.hubspot.com/docs/api/webhooks"""


def without_own(session: Session, object_type: str, history: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """History without the lifecycle stages that we wrote: by source (an app's; where the mapping names ours, that one)
    and by value (a stage that this record was told).

    Args:
        object_type: contacts or companies.
        history: raw.property_history rows of it.
    """
    staged = history.filter((pl.col("property") == _STAGE) & pl.col("source_type").is_in(_BY_APPS))
    if staged.is_empty():
        return history
    told = session.query(
        "SELECT DISTINCT record_id AS object_id, unnest(list_concat(coalesce(stages_told, []),"
        f" CASE WHEN wanted_key IS NULL THEN [] ELSE [json_extract_string(wanted, '$.{_STAGE}')] END)) AS value"
        " FROM conversions.told_record WHERE object_type = ? AND record_id IN (SELECT id FROM ids)",
        [object_type],
        ids=records_frame("id", staged["object_id"]),
    )
    own = (pl.col("property") == _STAGE) & pl.col("source_type").is_in(_BY_APPS)
    if rules.lifecycle.own_sources:
        own &= pl.col("source_id").is_in(rules.lifecycle.own_sources)
    known = told.drop_nulls().with_columns(_told=pl.lit(True))
    marked = history.join(known, on=["object_id", "value"], how="left", maintain_order="left")
    return marked.filter(~(own & pl.col("_told")).fill_null(False)).drop("_told")
