"""Bot clicks: rules over one click, and over several clicks together.

No rule depends on the order of arrival. Thresholds are the mapping's section `clicks`.
"""

from __future__ import annotations

import polars as pl

from crm_attribution.contracts.raw import OBSOLETED
from crm_attribution.mapping import Clicks

KNOWN_AGENTS = (
    r"(?i)(^|[^u]|[^c]u)bot\b|crawler|spider|curl/|wget/|python-requests|headless|preview|scanner"
    r"|proofpoint|mimecast|barracuda|safelinks"
)
"""Programs that follow links. Cubot is a maker of telephones."""


def mark_bots(clicks: pl.DataFrame) -> pl.DataFrame:
    """Set is_bot and bot_reason of raw.link_click or raw.email_click rows by the rules that need one click only.

    A reason from the source stays; else a HEAD request (link clicks), else a user_agent that names a program.
    """
    head = pl.col("method").str.to_uppercase() == "HEAD" if "method" in clicks.columns else pl.lit(False)
    reason = (
        pl.when(pl.col("bot_reason").is_not_null())
        .then("bot_reason")
        .when(head)
        .then(pl.lit("method_head"))
        .when(pl.col("user_agent").fill_null("").str.contains(KNOWN_AGENTS))
        .then(pl.lit("known_agent"))
    )
    return clicks.with_columns(bot_reason=reason).with_columns(is_bot=pl.col("bot_reason").is_not_null())


def link_bot_clicks(clicks: pl.DataFrame, rules: Clicks) -> pl.DataFrame:
    """Return raw.link_click rows with suspicion String: the raw reason, scanner_network or burst; null for people.

    Args:
        clicks: complete for each `contact_id` within `burst_seconds` of the clicks in question.
        rules: thresholds.
    """
    followed = clicks.select(key="click_id", who="contact_id", at="clicked_at", link="destination_url")
    return _judged(clicks.with_columns(key="click_id"), followed, pl.lit(False), rules)


def email_bot_clicks(clicks: pl.DataFrame, rules: Clicks) -> pl.DataFrame:
    """Return raw.email_click rows with suspicion String: the raw reason, scanner_network, after_send or burst.

    Args:
        clicks: with address String, the normalised recipient; complete for each within `burst_seconds` of the clicks in
            question.
        rules: thresholds.
    """
    keyed = clicks.with_columns(key=pl.struct("created_at", "id"))
    own = keyed.filter(pl.col("bot_reason").ne_missing(OBSOLETED))
    followed = own.select("key", who="address", at="created_at", link=pl.coalesce("url", "link_id"))
    early = (pl.col("created_at") - pl.col("sent_at")) <= pl.duration(seconds=rules.after_send_seconds)
    return _judged(keyed, followed, early.fill_null(False), rules)


def bursts(followed: pl.DataFrame, rules: Clicks) -> pl.Series:
    """Return the keys of clicks that are among at least `burst_links` distinct links of one contact in `burst_seconds`.

    Args:
        followed: key, who (null: contact unknown), at UTC, link String.
        rules: thresholds.
    """
    span = f"{rules.burst_seconds}s"
    named = followed.drop_nulls("who").sort("at")
    ends = (
        named.sort("who", "at")
        .rolling("at", period=span, closed="both", group_by="who")
        .agg(links=pl.col("link").drop_nulls().n_unique())
        .filter(pl.col("links") >= rules.burst_links)
        .select("who", "at", end="at")
        .sort("at")
    )
    found = named.join_asof(ends, on="at", by="who", strategy="forward", tolerance=span, check_sortedness=False)
    return found.filter(pl.col("end").is_not_null())["key"]


def _judged(clicks: pl.DataFrame, followed: pl.DataFrame, early: pl.Expr, rules: Clicks) -> pl.DataFrame:
    burst = bursts(followed, rules)
    suspicion = (
        pl.when(pl.col("bot_reason").is_not_null())
        .then("bot_reason")
        .when(pl.col("ip_hash").str.to_lowercase().is_in(rules.scanner_ip_hashes).fill_null(False))
        .then(pl.lit("scanner_network"))
        .when(early)
        .then(pl.lit("after_send"))
        .when(pl.col("key").is_in(burst.implode()))
        .then(pl.lit("burst"))
    )
    return clicks.with_columns(suspicion=suspicion).drop("key")
