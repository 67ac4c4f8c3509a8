"""Clicks in marketing e-mails: whose they are, and which of them a tracked link has reported already.

HubSpot wraps every link of its e-mails, tracked ones too, so one act often comes twice: from the link service and from
HubSpot. Same person, same page, a few seconds apart is one act: the link service's click is kept.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crm_attribution.contracts.raw import OBSOLETED
from crm_attribution.mapping import Clicks

KEY = ["created_at", "id"]


def settle(links: pl.DataFrame, emails: pl.DataFrame, rules: Clicks) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decide which clicks count, from both sources together.

    A click whose nearest counterpart is a bot click by its own rules is one too, for the same reason: HubSpot knows its
    filter and the time of the send, the link service the method and the address. A click in an e-mail with a
    counterpart that counts is its duplicate.

    Args:
        links: click_id String, clicked_at UTC, destination_url String, link_slug String, person_id String (null:
            not known), suspicion String (null: a person).
        emails: raw.email_click columns with person_id String, representative (the person's contact), suspicion String.
        rules: thresholds in seconds.

    Returns:
        click_id and reason of the bot clicks among links; identity.email_click rows of emails.
    """
    pairs = _pairs(links, emails, rules)
    by_email = _nearest(pairs, ["click_id"], KEY).select("click_id", _by_counterpart="suspicion_email")
    judged = links.join(by_email, on="click_id", how="left", maintain_order="left").with_columns(
        reason=pl.coalesce("suspicion", "_by_counterpart")
    )
    bots = judged.filter(pl.col("reason").is_not_null()).select("click_id", "reason")
    by_link = _nearest(pairs, KEY, ["clicked_at", "click_id"]).select(*KEY, _by_counterpart="suspicion")
    kept = _nearest(pairs.join(bots, on="click_id", how="anti"), KEY, ["clicked_at", "click_id"])
    rows = emails.join(by_link, on=KEY, how="left", maintain_order="left").join(
        kept.select(*KEY, link_click_id="click_id"), on=KEY, how="left", maintain_order="left"
    )
    return bots, _answers(rows)


def _answers(rows: pl.DataFrame) -> pl.DataFrame:
    reason = pl.coalesce("suspicion", "_by_counterpart")
    decided = rows.with_columns(
        status=pl.when(reason.is_not_null())
        .then(pl.lit("suspect"))
        .when(pl.col("person_id").is_null())
        .then(pl.lit("unresolved"))
        .when(pl.col("link_click_id").is_not_null())
        .then(pl.lit("duplicate"))
        .otherwise(pl.lit("resolved")),
        reason=pl.when(reason.is_not_null())
        .then(reason)
        .when(pl.col("address").is_null())
        .then(pl.lit("no_recipient"))
        .when(pl.col("person_id").is_null())
        .then(pl.lit("recipient_names_no_person"))
        .when(pl.col("link_click_id").is_not_null())
        .then(pl.lit("link_click"))
        .otherwise(pl.lit("recipient")),
    )
    is_bot = pl.col("status") == "suspect"
    return decided.select(
        *KEY,
        "status",
        "reason",
        contact_id=pl.when(~is_bot).then("representative"),
        person_id=pl.when(~is_bot).then("person_id"),
        link_click_id=pl.when(pl.col("status") == "duplicate").then("link_click_id"),
    )


def _pairs(links: pl.DataFrame, emails: pl.DataFrame, rules: Clicks) -> pl.DataFrame:
    """Return all pairs of clicks of one person on one page within `same_click_seconds`, with their `distance`."""
    reach = timedelta(seconds=rules.same_click_seconds)
    slot = pl.col("_at").dt.epoch("us") // (rules.same_click_seconds * 1_000_000)
    left = links.drop_nulls("person_id").select(
        *("click_id", "clicked_at", "link_slug", "person_id", "suspicion"),
        _at="clicked_at",
        _page=page("destination_url"),
    )
    right = (
        emails.filter(pl.col("suspicion").ne_missing(OBSOLETED))
        .drop_nulls("person_id")
        .select(*KEY, "person_id", _at="created_at", suspicion_email="suspicion", _page=page("url"))
    )
    slots = right.with_columns(_slot=pl.concat_list(slot - 1, slot, slot + 1)).explode("_slot")
    pairs = left.with_columns(_slot=slot).join(slots, on=["person_id", "_slot"], suffix="_email")
    distance = (pl.col("clicked_at") - pl.col("created_at")).abs()
    same_page = pl.col("_page") == pl.col("_page_email")
    the_link_itself = pl.col("_page_email").str.extract(r"/([^/]+)$") == pl.col("link_slug")
    return pairs.with_columns(distance=distance).filter(
        pl.col("distance") <= reach, same_page.fill_null(False) | the_link_itself.fill_null(False)
    )


def page(column: str) -> pl.Expr:
    """Host and path of a URL, without `www.`, port and last slash; null where it is not a URL."""
    text = pl.col(column)
    host = text.str.extract(r"(?i)^https?://(?:[^/?#@]*@)?(?:www\.)?([^/?#:]+)").str.to_lowercase()
    path = text.str.extract(r"(?i)^https?://[^/?#]*([^?#]*)").str.strip_chars_end("/")
    return host + path


def _nearest(pairs: pl.DataFrame, one: list[str], others: list[str]) -> pl.DataFrame:
    """Return the nearest counterpart of each; among equally near ones, the first by `others`."""
    return pairs.sort("distance", *others).unique(one, keep="first", maintain_order=True)
