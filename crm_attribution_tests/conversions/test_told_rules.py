"""Which touch is told to HubSpot as what, from when on, and in which words: frames in, rows out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from crm_attribution.conversions.told_rules import Plan, begins, details, holds, plan, rendered, rule_of
from crm_attribution.mapping import load
from crm_attribution.mapping.write_back import Condition, EventRule, Events
from crm_attribution_tests.helpers import at

NOW, HOUR = at("2026-03-10T12:00:00Z"), timedelta(hours=1)
TOUCH: dict[str, Any] = {
    **{"touch_id": "click:1", "kind": "link_click", "touched_at": NOW, "received_at": NOW, "link_slug": "q3/Spring+1"},
    **{
        "channel": "Paid Social",
        "source": "meta",
        "medium": None,
        "campaign": None,
        "said": None,
        "act": None,
        "noted_at": None,
    },
    **{"link_tags": ["Ads", "b2b"], "properties": None},
}
SCHEMA: dict[str, Any] = {
    "link_tags": pl.List(pl.String),
    "noted_at": pl.Datetime("us", "UTC"),
    **dict.fromkeys(("medium", "campaign", "said", "properties", "act", "link_slug", "source"), pl.String),
}
SHIPPED = load().write_back.events


def touches(*changes: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{**TOUCH, **one} for one in changes], schema_overrides=SCHEMA)


def events(*rules: EventRule, **more: Any) -> Events:
    return SHIPPED.model_copy(update={"rules": list(rules), **more})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, True),
        ({"links": ["q3/spring+1"]}, True),
        ({"links": ["q3/spring"]}, False),
        ({"links": ["spring+1"]}, False),
        ({"links": [" q3/* "]}, True),
        ({"links": ["q4/*", "*+1"]}, True),
        ({"links": ["q3.spring+1"]}, False),
        ({"links": ["q3/sprin*1"]}, True),
        ({"channels": ["paid social"]}, True),
        ({"sources": ["meta"], "channels": ["Direct"]}, False),
        ({"mediums": ["*"]}, False),
        ({"campaigns": ["*"]}, False),
        ({"events": ["*"]}, False),
        ({"tags": ["ads"]}, True),
        ({"tags": ["b2"]}, False),
        ({"tags": ["x", "b*"]}, True),
        ({"tags": ["b2b"], "sources": ["google"]}, False),
    ],
)
def test_every_list_of_a_condition_has_a_match(condition: dict[str, list[str]], expected: bool):
    assert touches({}).select(holds(Condition(**condition))).to_series().to_list() == [expected]


def test_what_a_touch_has_not_meets_no_condition():
    bare = touches({"link_tags": None, "link_slug": None, "source": None})
    for name in ("tags", "links", "sources"):
        assert not bare.select(holds(Condition(**{name: ["*"]}))).item()


def test_the_first_rule_that_holds_is_the_touch_s():
    told = events(
        EventRule(on="link_click", condition=Condition(channels=["paid*"]), skip=True),
        EventRule(on="link_click", condition=Condition(links=["special"]), event="special"),
        EventRule(on="*"),
        EventRule(on="track", event="signed_up", condition=Condition(events=["Sign up"])),
        EventRule(on="audience_entered"),
    )
    found = rule_of(
        told,
        touches(
            {"link_slug": "special"},
            {"channel": "Direct", "link_slug": "special"},
            {"channel": "Direct"},
            {"kind": "offline_touch"},
            {"kind": "track", "said": "sign up"},
            {"kind": "track", "said": "other"},
            {"kind": "audience_entered"},
            {"kind": "audience_exited"},
        ),
    )
    assert found.select("rule", "event").rows() == [
        (0, "link_click"), (1, "special"), (2, "link_click"), (2, "offline_touch"), (3, "signed_up"), (None, None),
        (4, "audience_entered"), (None, None)]  # fmt: skip


def test_a_touch_is_planned_once_and_only_from_its_rule_on():
    told = events(EventRule(on="link_click", condition=Condition(sources=["own"]), skip=True), EventRule(on="*"))
    planned = Plan(told, {("link_click", "link_click"): NOW}, lambda name: f"pe1_{name}", NOW - 5 * HOUR)
    found = plan(
        planned,
        touches(
            {"touch_id": "just then", "received_at": NOW + HOUR},
            {"touch_id": "before", "touched_at": NOW - HOUR},
            {"touch_id": "noted before", "noted_at": NOW - HOUR},
            {"touch_id": "noted then", "noted_at": NOW, "touched_at": NOW - HOUR},
            {"touch_id": "there already"},
            {"touch_id": "too old", "kind": "offline_touch", "touched_at": NOW - 5 * HOUR},
            {"touch_id": "not yet", "kind": "offline_touch", "touched_at": NOW - 5 * HOUR + timedelta(microseconds=1)},
            {"touch_id": "own", "source": "own", "touched_at": NOW - HOUR},
            {"touch_id": "no rule", "kind": "track"},
        ),
        pl.DataFrame({"milestone_id": ["there already", "another"]}),
    )
    columns = ("milestone_id", "action", "milestone", "occurred_at", "ready_at", "reason")
    assert found.select(columns).rows() == [
        ("just then", "pe1_link_click", "link_click", NOW, NOW + HOUR, None),
        ("before", "pe1_link_click", "link_click", NOW - HOUR, NOW, "before_activation"),
        ("noted before", "pe1_link_click", "link_click", NOW, NOW, "before_activation"),
        ("noted then", "pe1_link_click", "link_click", NOW - HOUR, NOW, None),
        ("not yet", "pe1_offline_touch", "offline_touch", NOW - 5 * HOUR + timedelta(microseconds=1), NOW, None),
        ("own", "pe1_link_click", "link_click", NOW - HOUR, NOW, "skipped_by_rule"),
    ]
    assert plan(planned, touches({}), pl.DataFrame({"milestone_id": ["click:1"]})).is_empty()


def test_an_event_begins_with_the_first_rule_that_makes_it():
    told = events(
        EventRule(on="link_click", skip=True, send_from="2026-01-01T00:00:00Z"),
        EventRule(on="offline_touch", send_from="2026-02-01T00:00:00Z"),
        EventRule(on="link_click", event="other", send_from="2026-03-01T00:00:00Z"),
        EventRule(on="*"),
        EventRule(on="link_click", send_from="2026-04-01T00:00:00Z"),
    )
    assert begins(told, "offline_touch", "offline_touch", "start").startswith("2026-02-01")
    assert begins(told, "other", "link_click", "start").startswith("2026-03-01")
    assert begins(told, "link_click", "link_click", "start") == "start", "the first of its rules says nothing"
    assert begins(told, "nobody", "link_click", "start") == "start"


def test_words_name_what_the_touch_has_and_are_left_out_where_it_has_nothing():
    rule = EventRule(on="link_click", properties={"when": "{touched_at}", "what": " {link_slug}  by {source} "})
    told = events(rule, properties={"what": "default", "none": "{campaign}", "tags": "{link_tags}"}, note="A {channel}")
    touch = {**TOUCH, "properties": '{"plan": "Pro"}', "said": "Signed up"}
    assert details(told, rule, touch) == {
        "when": "2026-03-10T12:00:00Z", "what": "q3/Spring+1 by meta", "tags": "Ads;b2b"}  # fmt: skip
    assert details(events(rule, told_as="note", note="A {channel}"), rule, touch) == {"text": "A Paid Social"}
    assert rendered("{event}: {properties[plan]}{properties[seats]}", touch) == "Signed up: Pro"
    assert rendered("{event}{properties[plan]}", TOUCH) == ""
