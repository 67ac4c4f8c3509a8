"""Deals that move to a stage when their contacts have clicked often enough: once for each rule and deal.

A row is planned with the click that reaches the count. Whether the deal is still in the stage, worth enough and the
only one meant is looked up at the moment of claiming, by what was read last: HubSpot has no write that depends on the
stage a deal is in. A row that may have been sent waits for the next reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl

from crm_attribution.contracts.topics import DEALS, TOUCH_PERSON
from crm_attribution.conversions import stage_rules, told_rules
from crm_attribution.conversions.teller import OF_CLICK, OF_TOUCH, Resolver, Teller, Work
from crm_attribution.destinations.base import Destination, Resolved
from crm_attribution.destinations.hubspot import RECORD, STAGE
from crm_attribution.ledger import entries
from crm_attribution.ledger.store import Book
from crm_attribution.mapping import Rules
from crm_attribution.mapping.stages import StageRule
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session

KIND = "stage"

_SURVIVORS = "LEFT JOIN raw.merge m ON m.object_type = 'contacts' AND m.absorbed_id = t.contact_id"
_SIBLINGS = """
SELECT DISTINCT o.from_id AS id FROM raw.association a SEMI JOIN ids ON a.from_id = ids.id
JOIN raw.association o ON o.to_id = a.to_id AND o.from_type = 'deals' AND o.to_type = 'contacts' AND o.valid_to IS NULL
WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL
UNION SELECT id FROM ids
"""
_CLICKS = f"""
SELECT a.from_id AS deal_id, t.touch_id, a.to_id AS contact_id, {OF_TOUCH}, {OF_CLICK}
FROM attribution.touch t {_SURVIVORS}
JOIN raw.association a ON a.to_id = coalesce(m.survivor_id, t.contact_id)
JOIN raw.link_click k ON t.touch_id = 'click:' || k.click_id
SEMI JOIN ids ON a.from_id = ids.id
WHERE t.kind = 'link_click' AND a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL
"""
_OF_PERSONS = f"""
SELECT DISTINCT a.from_id AS id FROM attribution.touch t {_SURVIVORS}
JOIN raw.association a ON a.to_id = coalesce(m.survivor_id, t.contact_id)
SEMI JOIN persons ON t.person_id = persons.person_id
WHERE a.from_type = 'deals' AND a.to_type = 'contacts' AND a.valid_to IS NULL
"""


def plan(work: Work) -> list[str]:
    """Plan the moves of changed deals, and of those whose contacts' clicks have changed; returns the new conversion
    ids."""
    usable, _ = usable_rules(work.session, work.rules)
    ids = _changed(work.session, usable, work.changes) if usable else pl.DataFrame()
    if ids.is_empty():
        return []
    deals, clicks = _state(work.session, ids)
    seen, new = work.seen(), list[str]()
    for rule in usable:
        wanted = rule.send_from or work.rules.write_back.send_from
        begin = work.begin(seen.get((KIND, rule.action)), wanted)
        since = max(begin - timedelta(microseconds=1), work.oldest)
        found = stage_rules.crossed(rule, deals, clicks, since, work.now)
        found = _not_of_absorbed(work.book, rule, found, deals, work.destination)
        several = [
            stage_rules.standing(rule, deals, clicks, deal, at).several
            for deal, at in found.select("deal_id", "touched_at").iter_rows()
        ]
        new += work.insert(_rows(rule, found.with_columns(several=pl.Series(several, dtype=pl.Boolean))))
    return new


def usable_rules(session: Session, rules: Rules) -> tuple[list[StageRule], dict[str, str]]:
    """The rules that the portal's pipelines allow; and of the others, by name, why not."""
    if not rules.write_back.stages.rules:
        return [], {}
    stages = session.query(
        "SELECT pipeline_id, stage_id, display_order, is_closed, archived FROM raw.pipeline_stage"
        " WHERE object_type = 'deals'"
    )
    wrong = {rule.name: stage_rules.unusable(rule, stages) for rule in rules.write_back.stages.rules}
    usable = [rule for rule in rules.write_back.stages.rules if wrong[rule.name] is None]
    return usable, {name: why for name, why in wrong.items() if why is not None}


def _changed(session: Session, usable: list[StageRule], changes: Changes) -> pl.DataFrame:
    """`id` of deals in a stage that a rule moves deals from, which have changed or whose contacts' touches have."""
    stages = ids_frame("stage", [rule.from_stage for rule in usable])
    there = "SELECT id FROM raw.deal SEMI JOIN stages ON dealstage = stages.stage WHERE NOT archived"
    if changes.everything:
        return session.query(there, stages=stages)
    of_persons = session.query(_OF_PERSONS, persons=changes.frame(TOUCH_PERSON))
    ids = pl.concat([of_persons, records_frame("id", changes.ids(DEALS))]).unique()
    return session.query(f"{there} AND id IN (SELECT id FROM ids)", stages=stages, ids=ids)


def _state(session: Session, ids: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The deals with all others of their contacts, none archived; and the link clicks of all their contacts."""
    wider = session.query(_SIBLINGS, ids=ids)
    deals = session.query(
        "SELECT id AS deal_id, pipeline, dealstage, currency, amount, merged_ids, properties FROM raw.deal"
        " SEMI JOIN ids USING (id) WHERE NOT archived",
        ids=wider,
    )
    clicks = session.query(_CLICKS, ids=deals.select(id="deal_id"))
    return deals, clicks.unique(["deal_id", "touch_id"], maintain_order=True)


def _not_of_absorbed(
    book: Book, rule: StageRule, found: pl.DataFrame, deals: pl.DataFrame, destination: Destination
) -> pl.DataFrame:
    """Without deals of which a merged one was moved by the rule."""
    absorbed = found.select("deal_id").join(deals.select("deal_id", "merged_ids"), on="deal_id").explode("merged_ids")
    absorbed = absorbed.drop_nulls().with_columns(
        key=pl.format("{}:{}:{}", pl.lit(KIND), pl.lit(rule.action), "merged_ids")
    )
    if absorbed.is_empty():
        return found
    known = entries.of_milestones(book, entries.Scope(destination.name), absorbed["key"])["milestone_id"].to_list()
    moved = absorbed.filter(pl.col("key").is_in(known))
    return found.join(moved.select("deal_id").unique(), on="deal_id", how="anti")


def _rows(rule: StageRule, found: pl.DataFrame) -> pl.DataFrame:
    observed = pl.when("several").then(pl.lit("observed_several_deals")).otherwise(pl.lit("observed"))
    return found.select(
        action=pl.lit(rule.action),
        milestone=pl.lit(KIND),
        milestone_id=pl.format("{}:{}:{}", pl.lit(KIND), pl.lit(rule.action), "deal_id"),
        occurred_at="touched_at",
        ready_at=pl.max_horizontal("touched_at", "received_at"),
        reason=observed if rule.mode == "observe" else pl.lit(None, pl.String),
    )


def resolver(destination: Destination, rules: Rules) -> Resolver:
    """Due rows -> the stage their deals are to be given, where everything still holds."""

    def resolve(session: Session, rows: pl.DataFrame) -> Mapping[str, Resolved]:
        mine = rows.with_columns(deal_id=pl.col("milestone_id").str.split(":").list.get(-1).cast(pl.Int64))
        deals, clicks = _state(session, records_frame("id", mine["deal_id"]))
        usable, _ = usable_rules(session, rules)
        by_action = {rule.action: rule for rule in usable if rule.mode == "act"}
        known = {row["deal_id"]: row for row in deals.iter_rows(named=True)}
        stale = _stale(session, destination.name)
        values = _values(session, deals, rules.write_back.stages.requires)
        found: dict[str, Resolved] = {}
        for (action,), of_rule in mine.group_by("action", maintain_order=True):
            rule = by_action.get(str(action))
            for row in of_rule.iter_rows(named=True):
                deal = known.get(row["deal_id"])
                if rule is None or deal is None:
                    reason = "no_rule_any_more" if rule is None else "deal_is_gone"
                    found[row["conversion_id"]] = Resolved("granted", held=reason)
                    continue
                told = stage_rules.standing(rule, deals, clicks, row["deal_id"], row["occurred_at"])
                unread = row["deal_id"] in stale
                found[row["conversion_id"]] = _resolved(row, rule, deal, told, unread, values[row["deal_id"]])
        return _one_of_each(mine, found)

    return resolve


def _stale(session: Session, destination: str) -> set[int]:
    """Deals that any rule has written to since deals were read last: their stage is not the one we know of."""
    found = session.query(
        "SELECT DISTINCT split_part(milestone_id, ':', -1)::BIGINT AS deal_id FROM conversions.conversion"
        " WHERE destination = ? AND first_sent_at >="
        " coalesce((SELECT max(started) FROM raw.extraction WHERE stream = 'deals'), '-infinity'::TIMESTAMPTZ)",
        [destination],
    )
    return set(found["deal_id"])


def _one_of_each(rows: pl.DataFrame, found: dict[str, Resolved]) -> dict[str, Resolved]:
    """Of several rules that move one deal the one whose count was reached first; the others wait for what becomes of
    it."""
    order = rows.sort(pl.col("payload_hash").is_null(), "occurred_at", "action", maintain_order=True)
    taken: set[int] = set()
    for key, deal in order.select("conversion_id", "deal_id").iter_rows():
        one = found[key]
        if one.suppressed or one.held:
            continue
        if deal in taken:
            found[key] = replace(one, held="moved_by_another_rule")
        taken.add(deal)
    return found


def _values(session: Session, deals: pl.DataFrame, names: list[str]) -> dict[int, dict[str, str | None]]:
    """Deal -> what HubSpot has of the properties that rules may set."""
    rows = session.query(
        "SELECT deal_id, coalesce(json_extract_string(properties, CAST(? AS VARCHAR[])), []) AS texts FROM deals",
        [[f'$."{name}"' for name in names]],
        deals=deals.select("deal_id", "properties"),
    )
    return {row["deal_id"]: dict(zip(names, row["texts"], strict=False)) for row in rows.iter_rows(named=True)}


def _resolved(
    row: dict[str, Any],
    rule: StageRule,
    deal: dict[str, Any],
    told: stage_rules.Standing,
    unread: bool,
    values: Mapping[str, str | None],
) -> Resolved:
    """A row that was sent before is sent again where the deal is in the stage it came from, or in that it goes to."""
    sent = row["payload_hash"] is not None
    suppressed = held = None
    if deal["pipeline"] != rule.pipeline or deal["dealstage"] not in (rule.from_stage, rule.to_stage):
        suppressed = "moved_meanwhile"
    elif deal["dealstage"] == rule.to_stage and not sent:
        suppressed = "already_there"
    elif unread:
        held = "stage_not_read"
    elif not rule.is_enough(deal["amount"], deal["currency"]):
        held = "amount_too_low"
    elif told.clicks < rule.count:
        held = "below_threshold"
    elif told.several:
        held = "several_deals"
    touch = told.touch or {}
    texts = {name: told_rules.rendered(text, touch) for name, text in rule.requires.items()}
    lacking = {name: text for name, text in texts.items() if text and not values.get(name)}
    return Resolved(
        consent="granted",
        suppressed=suppressed,
        held=held,
        touch_id=row["touch_id"] if sent else touch.get("touch_id"),
        details={RECORD: str(row["deal_id"]), STAGE: rule.to_stage, **lacking},
    )


def _unusable(session: Session, rules: Rules) -> dict[str, str]:
    return usable_rules(session, rules)[1]


TELLER = Teller(
    topics=(TOUCH_PERSON, DEALS),
    section="write_back",
    not_named="no rules under write_back.stages of the mapping",
    plan=plan,
    resolver=resolver,
    wrong=_unusable,
)
