"""Which deals a threshold moves: pure rules over frames of deals and of the clicks of their contacts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crm_attribution.conversions.told_rules import holds
from crm_attribution.mapping.stages import StageRule
from crm_attribution.mapping.write_back import Condition

DEALS = {"deal_id": pl.Int64, "pipeline": pl.String, "dealstage": pl.String, "currency": pl.String, "amount": pl.Int64}


def unusable(rule: StageRule, stages: pl.DataFrame) -> str | None:
    """Why the portal has no such move; None where it has.

    Args:
        stages: of raw.pipeline_stage: pipeline_id, stage_id, display_order, is_closed, archived.
    """
    known = {
        row["stage_id"]: row
        for row in stages.filter((pl.col("pipeline_id") == rule.pipeline) & ~pl.col("archived")).iter_rows(named=True)
    }
    if not known:
        return f"there is no pipeline {rule.pipeline}"
    for stage in (rule.from_stage, rule.to_stage):
        if stage not in known:
            return f"pipeline {rule.pipeline} has no stage {stage}"
    if known[rule.to_stage]["is_closed"]:
        return f"{rule.to_stage} is a closed stage: clicks win and lose no deal"
    if known[rule.to_stage]["display_order"] <= known[rule.from_stage]["display_order"]:
        return f"{rule.to_stage} does not come after {rule.from_stage}: a deal is never moved back"
    return None


def matching(rule: StageRule, deals: pl.DataFrame) -> pl.DataFrame:
    """The deals that a rule may move, however often was clicked: in its stage, and worth enough."""
    there = deals.filter((pl.col("pipeline") == rule.pipeline) & (pl.col("dealstage") == rule.from_stage))
    enough = [rule.is_enough(amount, code) for amount, code in there.select("amount", "currency").iter_rows()]
    return there.filter(pl.Series(enough, dtype=pl.Boolean))


def crossings(rule: StageRule, clicks: pl.DataFrame) -> pl.DataFrame:
    """The clicks with which the clicks of a deal reach the rule's count: at least `count` in the `days` up to and with
    the click, and fewer at the click before.

    Args:
        clicks: deal_id, touch_id, contact_id, touched_at, link_slug, link_tags; a click is of each of its deals.

    Returns:
        the same rows with `clicks` Int64, how many they are; by deal and time.
    """
    counted = _counted(rule, clicks).sort("deal_id", "touched_at", "touch_id")
    if counted.is_empty():
        return counted.with_columns(clicks=pl.lit(None, pl.Int64))
    window = counted.rolling("touched_at", period=f"{rule.days * 24}h", group_by="deal_id", closed="right")
    known = counted.with_columns(clicks=window.agg(n=pl.len())["n"].cast(pl.Int64))
    before = pl.col("clicks").shift(1).over("deal_id").fill_null(0)
    return known.filter((pl.col("clicks") >= rule.count) & (before < rule.count))


def crossed(
    rule: StageRule, deals: pl.DataFrame, clicks: pl.DataFrame, since: datetime, until: datetime
) -> pl.DataFrame:
    """The deals that a rule moves, each with its first crossing after `since` and up to `until`.

    Args:
        deals: columns of `DEALS`; those that are not archived.
        clicks: of their contacts, as in `crossings`.

    Returns:
        as `crossings`, one row for each deal.
    """
    may = matching(rule, deals)
    found = crossings(rule, clicks.join(may.select("deal_id"), on="deal_id", how="semi"))
    inside = found.filter((pl.col("touched_at") > since) & (pl.col("touched_at") <= until))
    return inside.unique("deal_id", keep="first", maintain_order=True)


@dataclass(frozen=True)
class Standing:
    """How a deal stands to a rule at a moment.

    Attributes:
        clicks: in the days up to then.
        touch: the newest of them, as in `crossings`; None where there is none.
        several: another deal that the rule may move has a contact whose clicks are counted.
    """

    clicks: int
    touch: dict[str, Any] | None
    several: bool


def standing(rule: StageRule, deals: pl.DataFrame, clicks: pl.DataFrame, deal: int, at: datetime) -> Standing:
    """See `Standing`.

    Args:
        deals, clicks: as in `crossed`, with all deals of the contacts whose clicks are counted.
    """
    recent = (pl.col("touched_at") <= at) & (pl.col("touched_at") > at - timedelta(days=rule.days))
    counted = _counted(rule, clicks).filter(recent).sort("touched_at", "touch_id")
    mine = counted.filter(pl.col("deal_id") == deal)
    others = matching(rule, deals).filter(pl.col("deal_id") != deal).select("deal_id")
    theirs = counted.join(others, on="deal_id", how="semi")
    shared = theirs.join(mine.select("contact_id").unique(), on="contact_id", how="semi")
    touch = next(mine.with_columns(clicks=pl.lit(mine.height)).tail(1).iter_rows(named=True), None)
    return Standing(mine.height, touch, not shared.is_empty())


def _counted(rule: StageRule, clicks: pl.DataFrame) -> pl.DataFrame:
    condition = Condition(tags=[rule.tag]) if rule.tag is not None else Condition(links=[str(rule.link)])
    return clicks.filter(holds(condition))
