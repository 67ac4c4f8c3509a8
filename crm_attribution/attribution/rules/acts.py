"""One act reported by several sources is one touch: which report stays, and what becomes of the others.

A link click, a click in a marketing e-mail and a form submission are touches of their own. What HubSpot's contact
properties report may be one of these acts again. The strongest source stays and gives the touch its id and time;
the others are rows of attribution.telling with the rule that joins them. Strongest first: a click of the link service,
a submission, an ad click, the latest source, the original source. The result depends on the set of tellings alone,
never on the order in which they came.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from crm_attribution.attribution.rules.tellings import COLUMNS
from crm_attribution.identifiers import CLICK_ID_PARAMETERS

RANKS = {"ad_click": 1, "latest_source": 2, "original_source": 3}
"""Of tellings; touches of their own have 0."""

SAME_CLICK_ID, SAME_VISIT, REPEATED, BOT_CLICK = "same_click_id", "same_visit", "repeated", "bot_click"

_FIRST = ["touched_at", "_live", "merged_at", "touch_id"]
_WORDS = ["source", "medium", "campaign"]


@dataclass(frozen=True)
class Known:
    """What is known of some persons' acts.

    Attributes:
        touches: the touches of their own: touch_id, touched_at, kind, person_id, source, medium, campaign,
            click_id_kinds, `_referrer` and more.
        click_ids: touch_id, touched_at, person_id, click_id (`kind:id`) and `is_link` of link clicks and submissions;
            the ids of a submission that is a click count for that click.
        tellings: of `tellings.py`, all kinds.
        bots: click ids (`kind:id`) that only bot clicks of the link service carry.
    """

    touches: pl.DataFrame
    click_ids: pl.DataFrame
    tellings: pl.DataFrame
    bots: Collection[str]


@dataclass(frozen=True)
class Acts:
    """What came of it.

    Attributes:
        touches: as given, with what tellings add, and the tellings that are touches (`contact_id`, `origin`).
        folded: tellings that are none: the columns of tellings, `into` (the touch; null for bot clicks) and `rule`.
    """

    touches: pl.DataFrame
    folded: pl.DataFrame


def acts(known: Known, same_click: timedelta, same_visit: timedelta) -> Acts:
    """Every act once.

    Args:
        known: what the sources report.
        same_click: an ad click and a submission with its click id at most so far apart are one act.
        same_visit: a visit and a stronger telling of the same person at most so far apart are one act.
    """
    ranked = known.tellings.with_columns(
        _rank=pl.col("kind").replace_strict(RANKS, return_dtype=pl.Int64), _live=pl.col("merged_at").is_null()
    )
    clicks, latest, original = (ranked.filter(pl.col("_rank") == rank) for rank in (1, 2, 3))
    seen = known.touches.select("touch_id", "touched_at", "person_id", into="touch_id", _rank=pl.lit(0, pl.Int64))
    decided = [_clicks(clicks, known, same_click)]
    for tellings, alike in ((latest, ["person_id", *_WORDS]), (original, ["person_id"])):
        seen = pl.concat([seen, _seen(decided[-1])])
        near = _nearest(tellings, seen, same_visit)
        alone = tellings.join(near, on="touch_id", how="anti")
        joined = tellings.join(near, on="touch_id").with_columns(rule=pl.lit(SAME_VISIT))
        decided.append(pl.concat([joined, _runs(alone, alike, same_visit)]))
    every = pl.concat(decided)
    own = pl.col("into").eq_missing(pl.col("touch_id"))
    folded = every.filter(~own)
    return Acts(_kept(known.touches, every.filter(own), folded), folded.select(*COLUMNS, "into", "rule"))


def _seen(decided: pl.DataFrame) -> pl.DataFrame:
    """Tellings that a weaker one may repeat, by the touch they belong to."""
    return decided.drop_nulls("into").select("touch_id", "touched_at", "person_id", "into", "_rank")


def _clicks(clicks: pl.DataFrame, known: Known, limit: timedelta) -> pl.DataFrame:
    """Ad clicks with `into` and `rule`. A click id names one click: its first report counts."""
    key = ["person_id", "click_id"]
    first = clicks.sort(_FIRST, nulls_last=True).unique(key, keep="first", maintain_order=True)
    links = (
        known.click_ids.filter("is_link").sort("touched_at", "touch_id").unique(key, keep="first", maintain_order=True)
    )
    forms = (
        first.select(*key, "touched_at")
        .join(known.click_ids.filter(~pl.col("is_link")), on=key, suffix="_of")
        .with_columns(_apart=(pl.col("touched_at") - pl.col("touched_at_of")).abs())
        .filter(pl.col("_apart") <= limit)
        .sort("_apart", "touched_at_of", "touch_id")
        .unique(key, keep="first", maintain_order=True)
    )
    whose = (
        first.select(*key, _own="touch_id")
        .join(links.select(*key, _link="touch_id"), on=key, how="left")
        .join(forms.select(*key, _form="touch_id"), on=key, how="left")
    )
    bot = pl.col("click_id").is_in(list(known.bots))
    return clicks.join(
        whose.select(*key, into=pl.coalesce("_link", "_form", "_own")), on=key, how="left", maintain_order="left"
    ).with_columns(
        into=pl.when(~bot).then("into"), rule=pl.when(bot).then(pl.lit(BOT_CLICK)).otherwise(pl.lit(SAME_CLICK_ID))
    )


def _nearest(tellings: pl.DataFrame, seen: pl.DataFrame, limit: timedelta) -> pl.DataFrame:
    """touch_id of tellings that have a stronger one of the same person near, and the touch of that one (`into`)."""
    return (
        tellings.select("touch_id", "person_id", "touched_at")
        .join(seen.rename({"touch_id": "_of", "touched_at": "_at"}), on="person_id")
        .with_columns(_apart=(pl.col("touched_at") - pl.col("_at")).abs())
        .filter(pl.col("_apart") <= limit)
        .sort("_apart", "_rank", "_of")
        .unique("touch_id", keep="first", maintain_order=True)
        .select("touch_id", "into")
    )


def _runs(tellings: pl.DataFrame, alike: list[str], limit: timedelta) -> pl.DataFrame:
    """Tellings with `into` and `rule`: one that follows a like one at most `limit` later repeats the first of them."""
    ordered = tellings.sort(*alike, *_FIRST, nulls_last=True)
    new = (pl.col("touched_at") - pl.col("touched_at").shift(1)).over(alike) > limit
    numbered = ordered.with_columns(_run=new.fill_null(value=True).cum_sum())
    return numbered.with_columns(into=pl.col("touch_id").first().over("_run"), rule=pl.lit(REPEATED)).drop("_run")


def _kept(touches: pl.DataFrame, own: pl.DataFrame, folded: pl.DataFrame) -> pl.DataFrame:
    """The touches, each with the click ids of all its reports. A touch without source, medium, campaign and referrer
    takes them from its strongest report."""
    kind = pl.col("click_id").str.split_exact(":", 1).struct.field("field_0")
    made = own.with_columns(
        click_id_kinds=pl.when(kind.is_null()).then(pl.lit([], pl.List(pl.String))).otherwise(pl.concat_list(kind))
    )
    every = pl.concat([touches, made.select(touches.drop("_referrer").columns)], how="diagonal")
    parts = folded.join(every.select(into="touch_id", _at="touched_at"), on="into").with_columns(
        _apart=(pl.col("touched_at") - pl.col("_at")).abs(), _kind=kind
    )
    words = (
        parts.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in _WORDS))
        .sort("_rank", "_apart", "touch_id")
        .unique("into", keep="first", maintain_order=True)
        .select("into", **{f"_{name}": pl.col(name) for name in _WORDS})
    )
    kinds = parts.group_by("into").agg(_kinds=pl.col("_kind").drop_nulls().unique())
    silent = pl.all_horizontal(pl.col(name).is_null() for name in (*_WORDS, "_referrer"))
    silent &= pl.col("_all").list.len() == 0
    ordered = [pl.when(pl.col("_all").list.contains(name)).then(pl.lit(name)) for name in CLICK_ID_PARAMETERS]
    return (
        every.join(words, left_on="touch_id", right_on="into", how="left", maintain_order="left")
        .join(kinds, left_on="touch_id", right_on="into", how="left", maintain_order="left")
        .with_columns(
            _all=pl.col("click_id_kinds").list.set_union(pl.col("_kinds").fill_null(pl.lit([], pl.List(pl.String))))
        )
        .with_columns(pl.when(silent).then(f"_{name}").otherwise(name).alias(name) for name in _WORDS)
        .with_columns(click_id_kinds=pl.concat_list(ordered).list.drop_nulls())
        .select(every.columns)
    )


def reported_twice(
    files: pl.DataFrame, activities: pl.DataFrame, limit: timedelta
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Touches of files that HubSpot does not report too, and those it does (`into`, `rule`): the same person and kind
    of act (the file's `medium`), at most `limit` apart.

    Args:
        files: touches from files.
        activities: touches of HubSpot's meetings, calls and events.
        limit: how far apart two tellings of one act may be.
    """
    near = (
        files.select("touch_id", "touched_at", "person_id", "medium")
        .join(activities.select("person_id", "medium", into="touch_id", _at="touched_at"), on=["person_id", "medium"])
        .with_columns(_apart=(pl.col("touched_at") - pl.col("_at")).abs())
        .filter(pl.col("_apart") <= limit)
        .sort("_apart", "into")
        .unique("touch_id", keep="first", maintain_order=True)
    )
    folded = files.join(near.select("touch_id", "into"), on="touch_id").with_columns(rule=pl.lit(SAME_VISIT))
    return files.join(near, on="touch_id", how="anti"), folded.drop("click_id_kinds", "_referrer")
