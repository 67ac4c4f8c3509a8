"""One act told by several sources is one touch: what contact properties tell, and what becomes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.attribution.rules.acts import RANKS, Known, acts
from crm_attribution.attribution.rules.tellings import SCHEMA, ad_clicks, latest_sources, original_sources
from crm_attribution.clock import to_millis
from crm_attribution_tests.helpers import at
from crm_attribution_tests.laws import TIMES

NOON = at("2026-03-05T12:00:00Z")
MINUTE = timedelta(minutes=1)
US = pl.Datetime("us", "UTC")
PROPERTIES = {"hs_google_click_id": "gclid", "hs_facebook_click_id": "fbclid"}
TOUCH: dict[str, Any] = {
    **dict.fromkeys(
        ("touch_id", "kind", "person_id", "source", "medium", "campaign", "origin", "_referrer"), pl.String
    ),
    **{"touched_at": US, "contact_id": pl.Int64, "click_id_kinds": pl.List(pl.String)},
}
CARRIED: dict[str, Any] = {"touch_id": pl.String, "touched_at": US, "person_id": pl.String, "click_id": pl.String,
           "is_link": pl.Boolean}  # fmt: skip


def history(*rows: tuple[str, datetime, str | None], contact: int = 1, source: str = "ANALYTICS") -> pl.DataFrame:
    named = [{"object_id": contact, "person_id": "p", "property": name, "timestamp": when, "ordinal": 0, "value": value,
              "source_type": source, "merged_at": None} for name, when, value in rows]  # fmt: skip
    return pl.DataFrame(named, schema_overrides={"timestamp": US, "merged_at": US, "value": pl.String})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("IwAR0abc", (NOON, "fbclid:IwAR0abc")),
        (f"fb.1.{to_millis(NOON - MINUTE)}.IwAR0abc", (NOON - MINUTE, "fbclid:IwAR0abc")),
        (f"fb.1.{to_millis(NOON - MINUTE) // 1000}.IwAR0abc", (NOON - MINUTE, "fbclid:IwAR0abc")),
        (f"fb.1.{to_millis(NOON + MINUTE)}.IwAR0abc", (NOON, "fbclid:IwAR0abc")),
        ("{{fbclid}}", "not_a_click_id"),
        ("IwAR0ab...", "not_a_click_id"),
        ("fb.1.1772", "not_a_click_id"),
        ("IwAR0ab%2Dc", "url_encoded"),
    ],
)
def test_a_click_id_is_read_and_not_trusted(value: str, told: object):
    """A cookie tells its own time, but none after HubSpot had it; what is no click id is counted with its rule."""
    found, refused = ad_clicks(
        history(("hs_facebook_click_id", NOON, value), ("email", NOON, "a@b.example")), PROPERTIES
    )
    if isinstance(told, str):
        assert (found.height, refused["rule"].to_list()) == (0, [told])
    else:
        assert (found.select("touched_at", "click_id").rows(), refused.height) == ([told], 0)
        assert found["touch_id"].item() == f"ad:1:hs_facebook_click_id:{to_millis(NOON)}"


def test_a_visit_has_the_source_and_the_drill_downs_of_its_moment():
    later, names = NOON + timedelta(days=1), ("hs_latest_source", "hs_latest_source_data_1", "hs_latest_source_data_2")
    rows = history(
        *zip(names, [NOON] * 3, ["PAID_SEARCH", "spring", "crm"], strict=True),
        ("hs_latest_source_timestamp", NOON, (NOON - MINUTE).isoformat()),
        (names[1], later, "summer"),
        *zip(names, [later + MINUTE] * 3, ["OTHER_CAMPAIGNS", "fair", "badge/print"], strict=True),
        *zip(names, [later + 2 * MINUTE] * 3, ["OFFLINE", "IMPORT", "file.csv"], strict=True),
    )
    found, refused = latest_sources(rows)
    assert found.sort("touched_at").select("touched_at", "source", "medium", "campaign").rows() == [
        (NOON - MINUTE, None, "paid_search", "spring"),
        (later, None, "paid_search", "summer"),
        (later + MINUTE, "badge", "print", "fair"),
    ]
    assert refused.select("touched_at", "rule").rows() == [(later + 2 * MINUTE, "offline")]


def test_the_original_source_is_hubspots_word_and_not_a_users():
    contacts = pl.DataFrame(
        [(1, "p", NOON, '{"hs_analytics_source": "DIRECT_TRAFFIC", "hs_analytics_first_timestamp": "2026-03-01"}'),
         (2, "p", NOON, '{"hs_analytics_source": "REFERRALS", "hs_analytics_source_data_1": "news.example"}'),
         (3, "p", NOON, '{"hs_analytics_source": "OFFLINE", "hs_analytics_source_data_1": "CRM_UI"}'),
         (4, "p", NOON, "{}")],
        schema={"id": pl.Int64, "person_id": pl.String, "created_at": US, "properties": pl.String}, orient="row",
    )  # fmt: skip
    seen = history(("hs_analytics_source", NOON, "PAID_SOCIAL"))
    typed = history(("hs_analytics_source", NOON + MINUTE, "DIRECT_TRAFFIC"), source="CRM_UI")
    found, refused = original_sources(contacts, pl.concat([seen, typed]))
    assert found.sort("contact_id").select("touch_id", "touched_at", "source", "medium").rows() == [
        ("original:1", at("2026-03-01"), None, "paid_social"),
        ("original:2", NOON, "news.example", "referrals"),
    ]
    assert refused["touch_id"].to_list() == ["original:3"]


def touch(name: str, minutes: int, *ids: str, link: bool = False, **more: Any) -> tuple[dict[str, Any], list[Any]]:
    when = NOON + minutes * MINUTE
    row = {"touch_id": name, "touched_at": when, "kind": "form_submission", "person_id": "p",
           "click_id_kinds": [key.split(":")[0] for key in ids], **more}  # fmt: skip
    return row, [(name, when, row["person_id"], key, link) for key in ids]


def telling(name: str, kind: str, minutes: int, **more: Any) -> dict[str, Any]:
    return {"touch_id": name, "kind": kind, "person_id": "p", "touched_at": NOON + minutes * MINUTE, **more}


def decided(
    touches: list[tuple[dict[str, Any], list[Any]]], tellings: list[dict[str, Any]], *bots: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """touch -> source, medium, campaign, kinds of click ids; telling -> touch, rule."""
    found = acts(
        Known(
            pl.DataFrame([row for row, _ in touches], schema=TOUCH),
            pl.DataFrame([row for _, ids in touches for row in ids], schema=CARRIED, orient="row"),
            pl.DataFrame(tellings, schema=SCHEMA),
            bots,
        ),
        timedelta(hours=72),
        timedelta(minutes=30),
    )
    words = found.touches.select("touch_id", "source", "medium", "campaign", pl.col("click_id_kinds").list.join(" "))
    return {name: rest for name, *rest in words.rows()}, {
        name: rest for name, *rest in found.folded.select("touch_id", "into", "rule").rows()
    }


def test_a_click_id_is_one_click():
    """Of a link click whenever it is told, of a submission near it; of nothing else it is a touch, the first time."""
    touches, folded = decided(
        [touch("click:k", -90_000, "gclid:A", link=True), touch("form:1", 60, "gclid:B"),
         touch("form:2", 0, "gclid:C")],
        [telling("ad:a", "ad_click", 0, click_id="gclid:A"), telling("ad:b", "ad_click", 0, click_id="gclid:B"),
         telling("ad:c", "ad_click", -72 * 60 - 1, click_id="gclid:C"),
         telling("ad:d", "ad_click", 7, click_id="gclid:D"),
         telling("ad:d2", "ad_click", 9_000, click_id="gclid:D"), telling("ad:e", "ad_click", 7, click_id="fbclid:D"),
         telling("ad:f", "ad_click", 7, click_id="gclid:F"),
         telling("ad:q", "ad_click", 0, click_id="gclid:A", person_id="q")], "gclid:F",
    )  # fmt: skip
    assert folded == {"ad:a": ["click:k", "same_click_id"], "ad:b": ["form:1", "same_click_id"],
                      "ad:d2": ["ad:d", "same_click_id"], "ad:f": [None, "bot_click"]}  # fmt: skip
    assert {name for name in touches if name.startswith("ad")} == {"ad:c", "ad:d", "ad:e", "ad:q"}
    assert touches["ad:e"] == [None, None, None, "fbclid"]


def test_what_a_copy_of_a_merge_tells_stays_with_the_contact_that_had_it_first():
    gone = {"contact_id": 9, "merged_at": NOON}
    _, folded = decided([], [telling("ad:1", "ad_click", 0, click_id="gclid:A", contact_id=1),
                             telling("ad:9", "ad_click", 0, click_id="gclid:A", **gone)])  # fmt: skip
    assert folded == {"ad:1": ["ad:9", "same_click_id"]}


def test_a_visit_near_a_stronger_telling_is_that_act_and_says_what_it_does_not():
    paid = {"medium": "paid_social", "source": "linkedin"}
    touches, folded = decided(
        [touch("form:bare", 0), touch("form:ids", 300, "gclid:A"), touch("form:utm", 600, source="x")],
        [telling("latest:1", "latest_source", -30, **paid), telling("latest:2", "latest_source", -31, **paid),
         telling("latest:3", "latest_source", 310, **paid), telling("latest:4", "latest_source", 600, **paid),
         telling("original:1", "original_source", -45, medium="organic_search"),
         telling("original:2", "original_source", 2_000, medium="organic_search"),
         telling("ad:1", "ad_click", 10, click_id="fbclid:Z"), telling("latest:5", "latest_source", 12, **paid)],
    )  # fmt: skip
    assert folded == {
        "latest:1": ["form:bare", "same_visit"],
        "latest:3": ["form:ids", "same_visit"],
        "latest:4": ["form:utm", "same_visit"],
        "latest:5": ["ad:1", "same_visit"],
        "original:1": ["latest:2", "same_visit"],
    }
    assert touches["form:bare"] == ["linkedin", "paid_social", None, ""]
    assert touches["form:ids"] == [None, None, None, "gclid"]
    assert touches["form:utm"] == ["x", None, None, ""]
    assert touches["original:2"] == [None, "organic_search", None, ""]


def test_of_two_reports_as_near_the_stronger_is_the_act_and_the_strongest_with_words_gives_them():
    visit = {"medium": "paid_social"}
    touches, folded = decided(
        [touch("z:form", 10), touch("form:b", 990), touch("form:a", 1_010), touch("form:c", 2_000)],
        [telling("ad:1", "ad_click", -10, click_id="fbclid:Z"), telling("latest:1", "latest_source", 0),
         telling("original:1", "original_source", 20, **visit), telling("latest:2", "latest_source", 1_000, **visit),
         telling("latest:4", "latest_source", 1_995, medium="b"),
         telling("latest:3", "latest_source", 2_005, medium="a")],
    )  # fmt: skip
    assert folded == {
        "latest:1": ["z:form", "same_visit"],
        "original:1": ["z:form", "same_visit"],
        "latest:2": ["form:a", "same_visit"],
        "latest:3": ["form:c", "same_visit"],
        "latest:4": ["form:c", "same_visit"],
    }
    assert touches["form:c"] == [None, "a", None, ""], "of two as strong and near the one with the smaller id"
    assert touches["z:form"] == [None, "paid_social", None, ""]


MOMENTS = st.integers(0, 8).map(lambda step: step * 20)
IDS = st.sampled_from(["gclid:A", "gclid:B", "fbclid:A"])
PERSONS = st.sampled_from(["p", "q"])


@pytest.mark.slow
@settings(max_examples=80 * TIMES)
@given(
    forms=st.lists(st.tuples(MOMENTS, IDS, PERSONS, st.booleans()), max_size=3),
    told=st.lists(st.tuples(MOMENTS, st.sampled_from(sorted(RANKS)), IDS, PERSONS), max_size=8),
    bots=st.sets(IDS, max_size=1),
    chance=st.randoms(use_true_random=False),
)
def test_every_telling_ends_once_and_the_order_of_arrival_decides_nothing(
    forms: Any, told: Any, bots: set[str], chance: Random
):
    """Each telling is a touch, or another word about a touch that is there and as strong or stronger, or a bot's."""
    touches = [
        touch(f"form:{n}", when, key, link=link, person_id=who) for n, (when, key, who, link) in enumerate(forms)
    ]
    tellings = [telling(f"{kind}:{n}", kind, when, person_id=who, merged_at=NOON if n % 3 else None,
                        **({"click_id": key} if kind == "ad_click" else {"medium": key}))
                for n, (when, kind, key, who) in enumerate(told)]  # fmt: skip
    found, folded = decided(touches, tellings, *bots)
    names = {row["touch_id"]: row for row in tellings}
    assert {*found} == {row["touch_id"] for row, _ in touches} | {*names} - {*folded}
    for name, (into, rule) in folded.items():
        assert (into in found) if rule != "bot_click" else (into is None and names[name]["click_id"] in bots)
        if into in names:
            assert names[into]["person_id"] == names[name]["person_id"]
            assert RANKS[names[into]["kind"]] <= RANKS[names[name]["kind"]]
    alone = [
        (row["person_id"], row["click_id"]) for name, row in names.items() if name in found and row.get("click_id")
    ]
    assert len(alone) == len(set(alone)), "a click id is one click"
    chance.shuffle(touches)
    chance.shuffle(tellings)
    assert decided(touches, tellings, *bots) == (found, folded)
