"""Whose click was it: link clicks resolved to contacts, and scanners told from people."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from crm_attribution.identifiers import CLICK_ID_PARAMETERS
from crm_attribution.mapping import Identity

KNOWN_AGENTS = (
    r"(?i)(^|[^u]|[^c]u)bot\b|crawler|spider|curl/|wget/|python-requests|headless|preview|scanner"
    r"|proofpoint|mimecast|barracuda|safelinks"
)
"""Programs that follow links by themselves. Cubot is a maker of telephones."""

_FORM_CLICK_IDS = ("gclid", "fbclid", "li_fat_id", "msclkid")


def suspects(clicks: pl.DataFrame) -> pl.DataFrame:
    """Set is_bot and bot_reason from what a click alone tells: HEAD requests and known agents.

    Rules over several clicks (a contact opening three links within 10 seconds) are applied in `bursts`.
    """
    agent = pl.col("user_agent").fill_null("")
    reason = (
        pl.when(pl.col("method").str.to_uppercase() == "HEAD")
        .then(pl.lit("method_head"))
        .when(agent.str.contains(KNOWN_AGENTS))
        .then(pl.lit("known_agent"))
    )
    return clicks.with_columns(bot_reason=reason).with_columns(is_bot=pl.col("bot_reason").is_not_null())


def bursts(clicks: pl.DataFrame) -> pl.DataFrame:
    """Click ids of contacts that followed three or more distinct links within 10 seconds.

    Args:
        clicks: click_id, clicked_at, contact_id, destination_url; complete for every contact in it.

    Returns:
        One column, click_id.
    """
    named = clicks.drop_nulls("contact_id").select("click_id", "clicked_at", "contact_id", "destination_url")
    pairs = named.join(named, on="contact_id", suffix="_near").filter(
        (pl.col("clicked_at_near") - pl.col("clicked_at")).is_between(timedelta(0), timedelta(seconds=10))
    )
    starts = pairs.group_by("click_id").agg(links=pl.col("destination_url_near").n_unique())
    guilty = starts.filter(pl.col("links") >= 3).select("click_id")
    return pairs.join(guilty, on="click_id").select(click_id="click_id_near").unique().sort("click_id")


def resolve(
    clicks: pl.DataFrame,
    submissions: pl.DataFrame,
    contacts_by_email: pl.DataFrame,
    persons: pl.DataFrame,
    rules: Identity,
    as_of: datetime,
) -> pl.DataFrame:
    """identity.click rows.

    Order: the contact the link carried (`eid`); else the latest submission with the same click id (or our own)
    within [click - 14 days, click + 72 hours] whose e-mail names one contact; else pending for 72 hours; else
    unresolved with its reason.

    Args:
        clicks: raw.link_click rows.
        submissions: raw.form_submission rows that may name them, with `email_normalised`.
        contacts_by_email: email, contact_id; e-mails that name exactly one contact.
        persons: contact_id, person_id.
        rules: windows.
        as_of: the watermark that ends waiting.
    """
    found = clicks.join(_by_submission(clicks, submissions, contacts_by_email, rules), on="click_id", how="left")
    known = persons.select("contact_id", "person_id")
    found = found.join(
        known.rename({"person_id": "_eid_person"}), on="contact_id", how="left", maintain_order="left"
    ).join(
        known.rename({"contact_id": "form_contact_id", "person_id": "_form_person"}),
        on="form_contact_id",
        how="left",
        maintain_order="left",
    )
    by_eid = pl.col("_eid_person").is_not_null()
    by_form = ~by_eid & pl.col("_form_person").is_not_null()
    same = by_form | (pl.col("_form_person") == pl.col("_eid_person")).fill_null(False)
    waiting = pl.lit(as_of) < pl.col("clicked_at") + timedelta(hours=rules.click_forward_hours)
    return found.select(
        "click_id",
        "clicked_at",
        status=pl.when("is_bot")
        .then(pl.lit("suspect"))
        .when(by_eid | by_form)
        .then(pl.lit("resolved"))
        .when(waiting)
        .then(pl.lit("pending"))
        .otherwise(pl.lit("unresolved")),
        reason=pl.when("is_bot")
        .then("bot_reason")
        .when(by_eid)
        .then(pl.lit("contact_id"))
        .when(by_form)
        .then(pl.lit("form_submission"))
        .when(pl.col("contact_id").is_not_null())
        .then(pl.lit("contact_unknown"))
        .when(pl.col("form_id").is_not_null())
        .then(pl.lit("email_names_no_single_contact"))
        .otherwise(pl.lit("no_submission_with_click_id")),
        contact_id=pl.when(by_form).then("form_contact_id").when(by_eid).then("contact_id"),
        person_id=pl.when("is_bot").then(None).otherwise(pl.coalesce("_eid_person", "_form_person")),
        form_id=pl.when(same).then("form_id"),
        conversion_id=pl.when(same).then("conversion_id"),
    )


def _by_submission(
    clicks: pl.DataFrame, submissions: pl.DataFrame, contacts_by_email: pl.DataFrame, rules: Identity
) -> pl.DataFrame:
    """click_id, form_id, conversion_id, form_contact_id of the latest submission that names each click."""
    named = submissions.join(contacts_by_email, left_on="email_normalised", right_on="email", how="left").select(
        "form_id", "conversion_id", "submitted_at", *_FORM_CLICK_IDS, "link_click_id", form_contact_id="contact_id"
    )
    keys = [("click_id", "link_click_id"), *((name, name) for name in _FORM_CLICK_IDS)]
    ids = [column for column in CLICK_ID_PARAMETERS if column in clicks.columns]
    hits = [
        clicks.select("click_id", "clicked_at", *ids)
        .with_columns(_key=pl.col(left))
        .drop_nulls("_key")
        .join(named.with_columns(_key=pl.col(right)).drop_nulls("_key"), on="_key")
        .select("click_id", "clicked_at", "submitted_at", "form_id", "conversion_id", "form_contact_id")
        for left, right in keys
    ]
    back, ahead = timedelta(days=rules.click_back_days), timedelta(hours=rules.click_forward_hours)
    return (
        pl.concat(hits)
        .filter((pl.col("submitted_at") - pl.col("clicked_at")).is_between(-back, ahead))
        .sort(pl.col("form_contact_id").is_null(), -pl.col("submitted_at").dt.epoch("us"), "form_id", "conversion_id")
        .unique("click_id", keep="first", maintain_order=True)
        .select("click_id", "form_id", "conversion_id", "form_contact_id")
    )
