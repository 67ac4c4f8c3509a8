"""Which touch is told to HubSpot as what: pure rules over frames of touches."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from crm_attribution.clock import iso
from crm_attribution.mapping.texts import FIELDS
from crm_attribution.mapping.write_back import TOLD_KINDS, Condition, EventRule, Events

_COLUMNS = {
    "links": "link_slug",
    "channels": "channel",
    "sources": "source",
    "mediums": "medium",
    "campaigns": "campaign",
    "events": "said",
}
"""List of a condition -> column of a touch; `said` is the event of a row of the kind track. `tags` has several values
for each."""


@dataclass(frozen=True)
class Plan:
    """What one destination is told.

    Attributes:
        events: rules of the mapping.
        since: (kind of touch, name of the event) -> from when on it is told.
        action_of: name of an event -> what HubSpot calls it in this account.
        oldest: a touch that is not after it is not told.
    """

    events: Events
    since: dict[tuple[str, str], datetime]
    action_of: Callable[[str], str]
    oldest: datetime


def rule_of(events: Events, touches: pl.DataFrame) -> pl.DataFrame:
    """The touches with `rule` (place in `events.rules`; null: none holds) and `event` (its name, also where it is
    skipped)."""
    rule, event = pl.lit(None, pl.Int64), pl.lit(None, pl.String)
    for place, one in reversed(list(enumerate(events.rules))):
        kinds = list(TOLD_KINDS) if one.on == "*" else [one.on]
        mine = pl.col("kind").is_in(kinds) & holds(one.condition)
        rule = pl.when(mine).then(pl.lit(place, pl.Int64)).otherwise(rule)
        event = pl.when(mine).then(pl.col("kind") if one.event is None else pl.lit(one.event)).otherwise(event)
    return touches.with_columns(rule=rule, event=event)


def holds(condition: Condition) -> pl.Expr:
    """Whether a touch meets a condition; what it does not have meets none."""
    found = [pl.lit(True)]
    for name, column in _COLUMNS.items():
        if (wanted := getattr(condition, name)) is not None:
            found.append(pl.col(column).str.contains(_pattern(wanted)).fill_null(False))
    if condition.tags is not None:
        tags = pl.col("link_tags").list.eval(pl.element().str.contains(_pattern(condition.tags)))
        found.append(tags.list.any().fill_null(False))
    return pl.all_horizontal(found)


def _pattern(wanted: Sequence[str]) -> str:
    parts = (".*".join(re.escape(part) for part in one.strip().split("*")) for one in wanted)
    return f"(?is)^(?:{'|'.join(parts)})$"


def plan(plan_: Plan, touches: pl.DataFrame, existing: pl.DataFrame) -> pl.DataFrame:
    """What is new, for `Work.insert`: one row for each touch that a rule names and that has none yet, whatever it was
    planned as.

    A touch before its rule was in use is suppressed, as is one of a rule that skips. One that is too old has no row at
    all.

    Args:
        plan_: the destination.
        touches: of `told.touches`.
        existing: milestone_id of this destination's rows, of these touches.
    """
    named = rule_of(plan_.events, touches).filter(pl.col("rule").is_not_null())
    new = named.filter(pl.col("touched_at") > plan_.oldest).join(
        existing, left_on="touch_id", right_on="milestone_id", how="anti", maintain_order="left"
    )
    if new.is_empty():
        return pl.DataFrame()
    actions = [plan_.action_of(event) for event in new["event"]]
    begins = [plan_.since.get(pair) for pair in new.select("kind", "event").iter_rows()]
    skipped = pl.col("rule").is_in([place for place, one in enumerate(plan_.events.rules) if one.skip])
    reason = pl.when(skipped).then(pl.lit("skipped_by_rule")).when(
        (pl.coalesce("noted_at", "touched_at") < pl.col("_begin")).fill_null(False)
    ).then(pl.lit("before_activation"))  # fmt: skip
    return new.with_columns(_begin=pl.Series(begins, dtype=pl.Datetime("us", "UTC"))).select(
        action=pl.Series(actions, dtype=pl.String),
        milestone="kind",
        milestone_id="touch_id",
        occurred_at="touched_at",
        ready_at=pl.max_horizontal("touched_at", "received_at"),
        reason=reason,
    )


def details(events: Events, rule: EventRule, touch: dict[str, Any]) -> dict[str, str]:
    """The texts of an event of this touch; what is empty is left out."""
    texts = {"text": events.note} if events.told_as == "note" else events.texts(rule)
    made = {name: rendered(text, touch) for name, text in texts.items()}
    return {name: text for name, text in made.items() if text}


def rendered(text: str, touch: dict[str, Any]) -> str:
    """A text of the mapping with what it names of a touch."""
    fields: dict[str, Any] = {name: _text(touch.get(name)) for name in FIELDS}
    fields["event"] = _text(touch.get("said"))
    fields["properties"] = _Properties(json.loads(touch.get("properties") or "{}"))
    return " ".join(text.format_map(fields).split())


class _Properties(dict[str, str]):
    """What is not there is the empty text."""

    def __missing__(self, name: str) -> str:
        return ""


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return iso(value)
    return ";".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def begins(events: Events, name: str, kind: str, default: str) -> str:
    """`send_from` of the first rule that names an event of this kind."""
    own = (rule.send_from for rule in events.rules if not rule.skip and (kind, name) in rule.names())
    return next(own, None) or default
