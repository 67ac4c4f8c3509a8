"""Touches: link clicks, e-mail clicks and form submissions of known persons. A submission that names a click is that
click."""

from __future__ import annotations

import polars as pl

from crm_attribution.identifiers import CLICK_ID_PARAMETERS, url_parameters
from crm_attribution.mapping import ChannelRule, Touches
from crm_attribution.transforms.accounts import account_at

_UTM = ["utm_source", "utm_medium", "utm_campaign"]


def touches(
    clicks: pl.DataFrame,
    email_clicks: pl.DataFrame,
    submissions: pl.DataFrame,
    membership: pl.DataFrame,
    rules: Touches,
) -> pl.DataFrame:
    """attribution.touch rows.

    Args:
        clicks: raw.link_click columns with `person_id`, `resolved_contact_id`, `form_id`, `conversion_id` of
            resolved clicks.
        email_clicks: raw.email_click columns with `person_id` and `contact_id` of resolved clicks.
        submissions: raw.form_submission columns with `person_id` and `contact_id`.
        membership: identity.membership of these persons.
        rules: channel rules.
    """
    same = clicks.select("form_id", "conversion_id").drop_nulls()
    alone = submissions.join(same, on=["form_id", "conversion_id"], how="anti")
    rows = pl.concat([_of_clicks(clicks), _of_emails(email_clicks), _of_forms(alone)])
    rows = account_at(rows, "touched_at", membership)
    lowered = rows.with_columns(
        source=pl.col("source").str.to_lowercase().str.strip_chars(),
        medium=pl.col("medium").str.to_lowercase().str.strip_chars(),
    )
    return lowered.with_columns(channel=channel(rules)).sort("touch_id")


def channel(rules: Touches) -> pl.Expr:
    """The channel of a touch: the first rule whose every condition holds, else the other channel."""
    chosen = pl.lit(rules.other_channel)
    for rule in reversed(rules.channels):
        chosen = pl.when(_holds(rule)).then(pl.lit(rule.channel)).otherwise(chosen)
    return chosen


def _holds(rule: ChannelRule) -> pl.Expr:
    conditions = [
        pl.col(name).str.to_lowercase().is_in([value.lower() for value in values]).fill_null(False)
        for name, values in (
            ("kind", rule.kind),
            ("source", rule.source),
            ("medium", rule.medium),
            ("campaign", rule.campaign),
        )
        if values is not None
    ]
    if rule.click_id is not None:
        conditions.append(pl.col("click_id_kinds").list.set_intersection(rule.click_id).list.len() > 0)
    return pl.all_horizontal(conditions) if conditions else pl.lit(False)


def _kinds(names: list[str]) -> pl.Expr:
    return pl.concat_list(pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in names).list.drop_nulls()


def _of_clicks(clicks: pl.DataFrame) -> pl.DataFrame:
    return clicks.select(
        touch_id=pl.lit("click:") + pl.col("click_id"),
        touched_at="clicked_at",
        kind=pl.lit("link_click"),
        person_id="person_id",
        contact_id="resolved_contact_id",
        source="utm_source",
        medium="utm_medium",
        campaign="utm_campaign",
        click_id_kinds=_kinds(list(CLICK_ID_PARAMETERS)),
        origin=pl.lit("raw.link_click:") + pl.col("click_id"),
    )


def _of_emails(clicks: pl.DataFrame) -> pl.DataFrame:
    urls = clicks["url"].unique().drop_nulls()
    told = [{"url": url, **{name: url_parameters(url).get(name) for name in _UTM}} for url in urls]
    utm = pl.DataFrame(told, schema=dict.fromkeys(["url", *_UTM], pl.String))
    key = pl.col("created_at").dt.epoch("ms").cast(pl.String) + ":" + pl.col("id")
    return clicks.join(utm, on="url", how="left").select(
        touch_id=pl.lit("email:") + key,
        touched_at="created_at",
        kind=pl.lit("email_click"),
        person_id="person_id",
        contact_id="contact_id",
        source=pl.coalesce("utm_source", pl.lit("hubspot")),
        medium=pl.coalesce("utm_medium", pl.lit("email")),
        campaign=pl.coalesce("utm_campaign", "email_campaign_id"),
        click_id_kinds=pl.lit([], pl.List(pl.String)),
        origin=pl.lit("raw.email_click:") + key,
    )


def _of_forms(submissions: pl.DataFrame) -> pl.DataFrame:
    key = pl.col("form_id") + ":" + pl.col("conversion_id")
    return submissions.select(
        touch_id=pl.lit("form:") + key,
        touched_at="submitted_at",
        kind=pl.lit("form_submission"),
        person_id="person_id",
        contact_id="contact_id",
        source="utm_source",
        medium="utm_medium",
        campaign="utm_campaign",
        click_id_kinds=_kinds(list(CLICK_ID_PARAMETERS)),
        origin=pl.lit("raw.form_submission:") + key,
    )
