"""What HubSpot itself reports of a person's acts: ad clicks, visits and the first source, from a contact's properties.

Each telling (a report of one act) is a touch of its own, or repeats another: `acts.py` decides. Tellings have the
columns of `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from crm_attribution.events.rules.events import hubspot_time
from crm_attribution.identifiers import told_click_id

TEXTS = ("touch_id", "kind", "person_id", "source", "medium", "campaign", "click_id", "origin")
US = pl.Datetime("us", "UTC")
SCHEMA: dict[str, pl.DataType] = {
    **{name: pl.String() for name in TEXTS},
    "touched_at": US,
    "contact_id": pl.Int64(),
    "merged_at": US,
}
COLUMNS = list(SCHEMA)
"""`click_id` is `kind:id`; `merged_at` says when the contact was merged into another one, null where it was not. What a
merge copied has the same moment at both contacts: the absorbed one had it first."""

NOTHING = pl.DataFrame(schema=SCHEMA)
"""No tellings."""

LATEST = ("hs_latest_source", "hs_latest_source_data_1", "hs_latest_source_data_2", "hs_latest_source_timestamp")
ORIGINAL = "hs_analytics_source"
_FIRST = ("hs_analytics_source_data_1", "hs_analytics_source_data_2", "hs_analytics_first_timestamp")

NOT_A_CLICK_ID, URL_ENCODED, OFFLINE = "not_a_click_id", "url_encoded", "offline"

_BY_HAND = ("CRM_UI", "CRM_UI_BULK_ACTION", "IMPORT", "INTEGRATION", "API", "MOBILE_IOS", "MOBILE_ANDROID")
"""Who may write a source that is not what HubSpot saw (`sourceType` of a property's history).
https://knowledge.hubspot.com/properties/understand-source-properties"""


def ad_clicks(history: pl.DataFrame, properties: Mapping[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ad clicks, and the values that are no click id (with `rule`).

    A click has the time HubSpot recorded its id, or an earlier one that the value contains: an `_fbc` cookie.

    Args:
        history: raw.property_history rows of contacts with `person_id` and `merged_at`; read are those of
            `properties`.
        properties: contact property -> kind of click id.
    """
    told = history.filter(pl.col("property").is_in(list(properties)) & (pl.col("value").str.strip_chars() != ""))
    read = [(text, *(told_click_id(text) or (None, None))) for text in told["value"].unique()]
    texts = pl.DataFrame(read, schema={"value": pl.String, "_id": pl.String, "_clicked": US}, orient="row")
    kind = pl.col("property").replace_strict(dict(properties), return_dtype=pl.String)
    rows = told.join(texts, on="value").with_columns(
        click_id=kind + ":" + pl.col("_id"),
        touch_id=pl.format("ad:{}:{}:{}", "object_id", "property", pl.col("timestamp").dt.epoch("ms")),
        touched_at=pl.min_horizontal("timestamp", "_clicked"),
        kind=pl.lit("ad_click"),
        origin=pl.format("raw.property_history:contacts:{}:{}", "object_id", "property"),
    )
    # of several values of one millisecond one
    rows = rows.sort("touch_id", "click_id", "value", nulls_last=True).unique("touch_id", keep="first")
    refused = rows.filter(pl.col("click_id").is_null()).with_columns(
        rule=pl.when(pl.col("value").str.contains("%", literal=True))
        .then(pl.lit(URL_ENCODED))
        .otherwise(pl.lit(NOT_A_CLICK_ID))
    )
    return _shaped(rows.filter(pl.col("click_id").is_not_null())), _shaped(refused, "rule")


def latest_sources(history: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Visits, one for each moment at which HubSpot wrote one of `LATEST`; and those that are none: OFFLINE.

    A visit was when `hs_latest_source_timestamp` says that was written with it, else when HubSpot recorded it. Of each
    property the value holds that the contact had at that moment.
    """
    told = history.filter(pl.col("property").is_in(LATEST)).sort("timestamp", "ordinal")
    moments = told.select("object_id", "person_id", "merged_at", "timestamp").unique().sort("timestamp")
    for name in LATEST:
        values = (
            told.filter(pl.col("property") == name)
            .unique(["object_id", "timestamp"], keep="last", maintain_order=True)
            .select("object_id", "timestamp", pl.col("value").alias(name))
        )
        if name == LATEST[3]:
            moments = moments.join(values, on=["object_id", "timestamp"], how="left")
        else:
            moments = moments.sort("timestamp").join_asof(
                values.sort("timestamp"), on="timestamp", by="object_id", check_sortedness=False
            )
    rows = _named(moments, *LATEST[:3]).with_columns(
        touch_id=pl.format("latest:{}:{}", "object_id", pl.col("timestamp").dt.epoch("ms")),
        touched_at=pl.min_horizontal("timestamp", hubspot_time(pl.col(LATEST[3]))),
        kind=pl.lit("latest_source"),
        origin=pl.format("raw.property_history:contacts:{}:hs_latest_source", "object_id"),
    )
    return _online(rows)


def original_sources(contacts: pl.DataFrame, history: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first visit of each contact, by HubSpot's original source; and those that are none: OFFLINE.

    It was at `hs_analytics_first_timestamp`, else when the contact was created. Where a person has overwritten what
    HubSpot saw, HubSpot's value stays (the drill-downs are cleared then).

    Args:
        contacts: raw.contact rows with `person_id`.
        history: as for `ad_clicks`; read are those of `ORIGINAL`.
    """
    values = (
        history.filter((pl.col("property") == ORIGINAL) & (pl.col("value") != ""))
        .with_columns(_hubspot=~pl.col("source_type").is_in(_BY_HAND).fill_null(value=False))
        .sort("_hubspot", "timestamp", "ordinal")
        .unique("object_id", keep="last", maintain_order=True)
        .select(id="object_id", _told="value")
    )
    rows = contacts.join(values, on="id", how="left").with_columns(
        pl.col("properties").str.json_path_match(f"$.{name}").alias(name) for name in (ORIGINAL, *_FIRST)
    )
    rows = rows.with_columns(pl.coalesce("_told", ORIGINAL).alias(ORIGINAL)).rename({"id": "object_id"})
    rows = _named(rows, ORIGINAL, *_FIRST[:2]).with_columns(
        touch_id=pl.format("original:{}", "object_id"),
        touched_at=pl.coalesce(hubspot_time(pl.col(_FIRST[2])), "created_at"),
        kind=pl.lit("original_source"),
        origin=pl.format("raw.contact:{}", "object_id"),
        merged_at=pl.lit(None, US),
    )
    return _online(rows)


def _named(rows: pl.DataFrame, value: str, first: str, second: str) -> pl.DataFrame:
    """Add source, medium and campaign: HubSpot's category is the medium, and what its drill-downs are depends on it.

    https://knowledge.hubspot.com/reports/what-do-the-properties-original-source-data-1-and-2-mean
    """
    category = pl.col(value).str.strip_chars().str.to_lowercase()
    one, two = (
        pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name).str.strip_chars()) for name in (first, second)
    )
    utm = two.str.split_exact("/", 1)
    own = category == "other_campaigns"
    return rows.with_columns(
        source=pl.when(category.is_in(["referrals", "social_media", "paid_social"]))
        .then(one)
        .when(category == "organic_search")
        .then(two)
        .when(category == "email_marketing")
        .then(pl.lit("hubspot"))
        .when(category == "direct_traffic")
        .then(pl.lit("direct"))
        .when(own)
        .then(utm.struct.field("field_0")),
        medium=pl.when(own).then(pl.coalesce(utm.struct.field("field_1"), category)).otherwise(category),
        campaign=pl.when(category.is_in(["paid_search", "email_marketing", "other_campaigns"]))
        .then(one)
        .when(category.is_in(["social_media", "paid_social"]))
        .then(two),
        click_id=pl.lit(None, pl.String),
        _category=category,
    )


def _online(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    known = rows.filter(pl.col("_category").fill_null("") != "")
    offline = pl.col("_category") == "offline"
    refused = known.filter(offline).with_columns(rule=pl.lit(OFFLINE))
    return _shaped(known.filter(~offline)), _shaped(refused, "rule")


def _shaped(rows: pl.DataFrame, *more: str) -> pl.DataFrame:
    named = {name: pl.lit(None, pl.String).alias(name) for name in ("source", "medium", "campaign")}
    missing = [expression for name, expression in named.items() if name not in rows.columns]
    return rows.with_columns(*missing, contact_id="object_id").select(
        *(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()), *more
    )
