"""Names of touches: one spelling each, and the first channel rule that holds."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crm_attribution import mapping
from crm_attribution.attribution.rules.channels import joined, named, plain
from crm_attribution.mapping import ChannelRule, Touches

RULES = mapping.load(None).touches
COLUMNS: dict[str, Any] = {"kind": pl.String, "source": pl.String, "medium": pl.String, "campaign": pl.String,
           "click_id_kinds": pl.List(pl.String), "_referrer": pl.String}  # fmt: skip


def name(rules: Touches, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    full = [{"kind": "link_click", "click_id_kinds": []} | row for row in rows]
    return named(pl.DataFrame(full, schema=COLUMNS), rules).rows(named=True)


def changed(**values: Any) -> Touches:
    return Touches.model_validate(RULES.model_dump() | values)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("Spring_Launch 2026", "spring-launch-2026"),
        ("spring--launch.2026", "spring-launch-2026"),
        ("SPRING%20Launch+2026", "spring-launch-2026"),
        ("Herbst\u200baktion Süd", "herbstaktion-süd"),
        ("318400001", "318400001"),
        ("+++", None),
        ("!!!", "!!!"),
        ("C++ devs", "c-devs"),
        ("For Jane.Doe@Acme.test", "for jane.doe@acme.test"),
        ("(not set)", None),
        ("{{campaign.name}}", None),
        ("__CAMPAIGN_NAME__", None),
        ("{campaignid}", None),
        ("[CampaignName]", None),
        ("%campaign%", None),
        ("NULL", None),
        ("  ", None),
    ],
)
def test_a_campaign_has_one_spelling(text: str, spelled: str | None):
    assert joined(text) == spelled
    assert name(RULES, {"campaign": text})[0]["campaign"] == spelled


@given(st.text())
def test_a_spelling_is_its_own_spelling(text: str):
    for spell in (plain, joined):
        once = spell(text)
        if once is not None:
            assert spell(once) in (once, None)
            assert once.strip() == once


def test_names_that_are_spelled_in_several_ways_are_one():
    rules = changed(
        sources={"facebook": ["fb", "*.facebook.com"]},
        mediums={"cpc": ["ppc"]},
        campaigns={"Spring": ["Spring Launch*", "sl_26"]},
    )
    rows = name(
        rules,
        {"source": " FB", "medium": "PPC", "campaign": "spring_launch-de"},
        {"source": "m.facebook.com", "medium": "cpc", "campaign": "SL 26"},
        {"source": "facebook.com", "medium": "cpm", "campaign": "spring"},
        {"campaign": "slow"},
    )
    assert [(row["source"], row["medium"], row["campaign"]) for row in rows] == [
        ("facebook", "cpc", "Spring"),
        ("facebook", "cpc", "Spring"),
        ("facebook.com", "cpm", "Spring"),
        (None, None, "slow"),
    ]


def test_campaigns_as_told_differ_in_punctuation():
    rows = name(changed(campaign_spelling="as_told"), {"campaign": "A_b"}, {"campaign": "A-b"})
    assert [row["campaign"] for row in rows] == ["a_b", "a-b"]


@pytest.mark.parametrize(
    ("channel", "given"),
    [
        ("Paid Social", {"source": "fb", "medium": "cpc"}),
        ("Paid Search", {"source": "bing", "medium": "cpc"}),
        ("Organic Search", {"_referrer": "https://www.google.de/search?q=x"}),
        ("E-mail", {"_referrer": "https://mail.google.com/"}),
        ("Organic Social", {"_referrer": "https://l.facebook.com/"}),
        ("Referral", {"_referrer": "https://notgoogle.example/"}),
        ("Referral", {"_referrer": "https://google.evil-facebook.com.example"}),
        ("Other", {"_referrer": "about:blank"}),
        ("Direct", {"source": "(direct)", "medium": "(none)"}),
        ("Paid Search", {"click_id_kinds": ["gclid"], "_referrer": "https://www.google.de"}),
    ],
)
def test_the_shipped_rules(channel: str, given: dict[str, Any]):
    (row,) = name(RULES, given)
    assert row["channel"] == channel
    rule = row["channel_rule"]
    assert (RULES.other_channel if rule is None else RULES.channels[rule - 1].channel) == channel


def test_every_condition_of_a_rule_must_hold_and_the_first_rule_wins():
    rules = changed(
        sources={"x": ["twitter"]},
        channels=[
            {"channel": "Both", "source": ["twitter"], "medium": ["Y*"]},
            {"channel": "Campaign", "campaign": ["Spring_Launch"]},
            {"channel": "Here", "source": ["x"], "kind": ["form_submission"], "referrer": ["a.example"]},
        ],
    )
    rows = name(
        rules,
        {"source": "X", "medium": "yes", "campaign": "spring-launch"},
        {"source": "twitter", "campaign": "SPRING launch"},
        {"source": "x", "kind": "form_submission", "_referrer": "b.a.example"},
        {"source": "x", "_referrer": "a.example"},
        {"source": "x", "kind": "form_submission", "_referrer": "ba.example"},
    )
    assert [(row["channel"], row["channel_rule"]) for row in rows] == [
        ("Both", 1),
        ("Campaign", 2),
        ("Here", 3),
        ("Other", None),
        ("Other", None),
    ]


def test_rules_that_cannot_be_meant_are_refused():
    with pytest.raises(ValidationError, match="needs a condition"):
        ChannelRule(channel="Nothing")
    with pytest.raises(ValidationError, match="medium: an empty list never holds"):
        ChannelRule(channel="Nothing", medium=[])
    with pytest.raises(ValidationError, match="channel"):
        ChannelRule(channel="", medium=["x"])
    for names in ({"": ["x"]}, {"x": [" "]}):
        with pytest.raises(ValidationError, match="a name or spelling is empty"):
            changed(sources=names)
    with pytest.raises(ValidationError, match="fb is a spelling of facebook and of meta"):
        changed(sources={"facebook": ["FB"], "meta": ["fb"]})
