"""Self-reported attribution: answers of contacts. They are not touches and are never counted among them."""

from __future__ import annotations

from fnmatch import fnmatchcase

import polars as pl

from crm_attribution.identity.rules.memberships import account_at
from crm_attribution.mapping import Touches


def answers(contacts: pl.DataFrame, history: pl.DataFrame, membership: pl.DataFrame, rules: Touches) -> pl.DataFrame:
    """attribution.self_reported rows: the present answer of each contact, at the time of its first one.

    Args:
        contacts: raw.contact rows with `person_id`, absorbed ones left out.
        history: raw.property_history rows with `person_id`; read are those of the answer's property.
        membership: identity.membership of these persons.
        rules: the property, and what answers mean.
    """
    name = rules.self_reported.property
    if name is None:
        return pl.DataFrame()
    answered = (
        history.filter((pl.col("property") == name) & (pl.col("value").str.strip_chars() != ""))
        .group_by(id="object_id")
        .agg(_first=pl.col("timestamp").min())
    )
    rows = (
        contacts.with_columns(answer=pl.col("properties").str.json_path_match(f"$.{name}").str.strip_chars())
        .filter(pl.col("answer") != "")
        .join(answered, on="id", how="left")
        .select(
            "person_id",
            "answer",
            touch_id=pl.format("said:{}", "id"),
            touched_at=pl.coalesce("_first", "created_at"),
            contact_id="id",
        )
    )
    channels = {text: _channel(text, rules) for text in rows["answer"].unique()}
    named = rows.with_columns(channel=pl.col("answer").replace_strict(channels, default=None, return_dtype=pl.String))
    return account_at(named, "touched_at", membership).sort("touch_id")


def _channel(answer: str, rules: Touches) -> str:
    """The first channel one of whose patterns the answer is, in any case; else the other channel."""
    text = " ".join(answer.lower().split())
    for channel, patterns in rules.self_reported.channels.items():
        if any(fnmatchcase(text, pattern.lower()) for pattern in patterns):
            return channel
    return rules.other_channel
