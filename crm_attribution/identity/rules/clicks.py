"""Resolve link clicks to contacts and persons."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from crm_attribution.identifiers import CLICK_ID_PARAMETERS
from crm_attribution.mapping import Identity

FORM_CLICK_IDS = ("gclid", "fbclid", "li_fat_id", "msclkid", "ttclid")
"""Click ids of one click only. gbraid and wbraid are aggregate identifiers, so they name no click.
https://support.google.com/analytics/answer/16973975"""


def resolve(
    clicks: pl.DataFrame,
    submissions: pl.DataFrame,
    contacts_by_email: pl.DataFrame,
    persons: pl.DataFrame,
    rules: Identity,
    as_of: datetime,
) -> pl.DataFrame:
    """Return identity.click rows; bot clicks are not separated yet (`withheld` does).

    Order: the contact the link carried (`eid`); else the latest submission with the same click id (or our own)
    within [click - 14 days, click + 72 hours] whose e-mail names one contact; else pending for 72 hours; else
    unresolved with its reason, until the first submission with the same click id within 90 days names one after all.
    A click whose link carried one person and whose submission names another is a forwarded mail: it stays with the
    contact of the link, flagged. A click that names no contact keeps the submission it came with: the account may
    still be known.

    Args:
        clicks: raw.link_click rows.
        submissions: raw.form_submission rows that may name them, with `email_normalised`.
        contacts_by_email: email String, contact_id; e-mails that name exactly one contact.
        persons: contact_id, person_id String.
        rules: windows in days and hours.
        as_of: the watermark, UTC; later than a click's window ends its waiting.
    """
    found = clicks.join(_by_submission(clicks, submissions, contacts_by_email, rules), on="click_id", how="left")
    found = _with_persons(found, persons)
    by_eid = pl.col("_eid_person").is_not_null()
    by_form = ~by_eid & pl.col("_form_person").is_not_null()
    same = ~by_eid | (pl.col("_form_person") == pl.col("_eid_person")).fill_null(False)
    waiting = pl.lit(as_of) < pl.col("clicked_at") + timedelta(hours=rules.click_forward_hours)
    return found.select(
        "click_id",
        "clicked_at",
        status=pl.when(by_eid | by_form)
        .then(pl.lit("resolved"))
        .when(waiting)
        .then(pl.lit("pending"))
        .otherwise(pl.lit("unresolved")),
        reason=_reason(by_eid, by_form),
        contact_id=pl.when(by_form).then("form_contact_id").when(by_eid).then("contact_id"),
        person_id=pl.coalesce("_eid_person", "_form_person"),
        form_id=pl.when(same).then("form_id"),
        conversion_id=pl.when(same).then("conversion_id"),
        forwarded=by_eid & (pl.col("_form_person") != pl.col("_eid_person")).fill_null(False),
    )


def _with_persons(found: pl.DataFrame, persons: pl.DataFrame) -> pl.DataFrame:
    """Add `_eid_person` and `_form_person`: the persons of `contact_id` and of `form_contact_id`."""
    known = persons.select("contact_id", "person_id")
    of_form = known.rename({"contact_id": "form_contact_id", "person_id": "_form_person"})
    return found.join(
        known.rename({"person_id": "_eid_person"}), on="contact_id", how="left", maintain_order="left"
    ).join(of_form, on="form_contact_id", how="left", maintain_order="left")


def _reason(by_eid: pl.Expr, by_form: pl.Expr) -> pl.Expr:
    """What named the contact, or why nothing did."""
    return (
        pl.when(by_eid)
        .then(pl.lit("contact_id"))
        .when(by_form & pl.col("late"))
        .then(pl.lit("later_form_submission"))
        .when(by_form)
        .then(pl.lit("form_submission"))
        .when(pl.col("contact_id").is_not_null())
        .then(pl.lit("contact_unknown"))
        .when(pl.col("form_id").is_not_null())
        .then(pl.lit("email_names_no_single_contact"))
        .otherwise(pl.lit("no_submission_with_click_id"))
    )


def withheld(answers: pl.DataFrame, bots: pl.DataFrame) -> pl.DataFrame:
    """Return the same identity.click rows; bot clicks belong to no person and keep their reason.

    Args:
        answers: identity.click rows of `resolve`.
        bots: click_id String, reason String of bot clicks.
    """
    found = answers.join(
        bots.rename({"reason": "_bot"}), on="click_id", how="left", maintain_order="left"
    ).with_columns(
        status=pl.when(pl.col("_bot").is_not_null()).then(pl.lit("suspect")).otherwise("status"),
        reason=pl.coalesce("_bot", "reason"),
        person_id=pl.when(pl.col("_bot").is_null()).then("person_id"),
    )
    return found.drop("_bot")


def _by_submission(
    clicks: pl.DataFrame, submissions: pl.DataFrame, contacts_by_email: pl.DataFrame, rules: Identity
) -> pl.DataFrame:
    """click_id, form_id, conversion_id, form_contact_id, late of the submission that names each click: the latest
    within the windows, else the earliest later one."""
    named = submissions.join(contacts_by_email, left_on="email_normalised", right_on="email", how="left").select(
        "form_id", "conversion_id", "submitted_at", *FORM_CLICK_IDS, "link_click_id", form_contact_id="contact_id"
    )
    keys = [("click_id", "link_click_id"), *((name, name) for name in FORM_CLICK_IDS)]
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
    after = pl.col("submitted_at") - pl.col("clicked_at")
    late = after > ahead
    moment = pl.col("submitted_at").dt.epoch("us")
    return (
        pl.concat(hits)
        .filter(after.is_between(-back, max(ahead, timedelta(days=rules.click_reopen_days))))
        .with_columns(late=late)
        .sort(
            pl.col("form_contact_id").is_null(),
            "late",
            pl.when("late").then(moment).otherwise(-moment),
            "form_id",
            "conversion_id",
        )
        .unique("click_id", keep="first", maintain_order=True)
        .select("click_id", "form_id", "conversion_id", "form_contact_id", "late")
    )
