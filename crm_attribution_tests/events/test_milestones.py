"""What happened in the business, once: every story ends in the milestones written beside it."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.clock import iso
from crm_attribution.layers import LAYERS
from crm_attribution_tests.flow.chain import Chain, differences, in_no_order
from crm_attribution_tests.flow.stories import STORIES, portal
from crm_attribution_tests.flow.stories import money_and_moves as moves
from crm_attribution_tests.flow.story import LAST_DAY, SETUP, Story
from crm_attribution_tests.helpers import at

pytestmark = pytest.mark.sandbox


def _told(row: dict[str, Any], contacts: dict[str, str]) -> tuple[int, str]:
    """The story a milestone belongs to, and the milestone as the stories write it."""
    if row["deal_id"]:
        kind, number = "deal", row["deal_id"]
    elif row["subject"] == "account":
        kind, number = "company", row["account_id"].removeprefix("company:")
    else:
        kind, number = "contact", contacts[row["person_id"]]
    fate = "" if row["state"] == "live" else f" {row['state']}:{row['reason']}"
    text = f"{row['milestone']} {kind} {int(number) % 100} {iso(row['occurred_at'])[5:16]}{fate}"
    return int(number) // 100, text


@pytest.fixture(scope="module")
def told(stories: Chain) -> dict[int, list[str]]:
    contacts = {row["person_id"]: row["root_contact_id"] for row in stories.table("identity.person")}
    found = defaultdict(list)
    for row in stories.table("events.milestone"):
        number, text = _told(row, contacts)
        found[number].append(text)
    return {number: sorted(texts) for number, texts in found.items()}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_a_story_ends_in_its_milestones(told: dict[int, list[str]], story: Story):
    assert told.get(story.number, []) == story.expected


def _of(chain: Chain, story: Story, *names: str) -> list[tuple[Any, ...]]:
    """Columns of a story's wins, in the order they happened."""
    rows = [
        row for row in chain.table("events.milestone") if row["deal_id"] and int(row["deal_id"]) // 100 == story.number
    ]
    rows = [row for row in rows if row["milestone"] in ("customer_won", "customer_expanded")]
    return [
        tuple(row[name] for name in names) for row in sorted(rows, key=lambda row: (row["occurred_at"], row["deal_id"]))
    ]


def test_money_and_day_of_a_win_follow_what_is_typed_later(stories: Chain):
    money = ("amount_at_event", "amount_current", "arr_current", "arr_new", "currency")
    assert _of(stories, moves.amount_typed_later, *money) == [(None, 150050, 150050, 150050, "EUR")]
    assert _of(stories, moves.currency_corrected, *money) == [(100000, 100000, None, None, "USD")]
    assert _of(stories, moves.close_date_typed_back, "booked_on") == [(date(2026, 3, 31),)]


def test_of_a_renewal_only_the_change_is_new(stories: Chain):
    assert _of(stories, moves.renewed_at_another_price, "subtype", "arr_current", "arr_new") == [
        ("new", 1200000, 1200000),
        ("new", 300000, 300000),
        ("renewal", 1800000, 300000),
        ("renewal", 9900000, 8100000),
        ("renewal", 1700000, -100000),
    ]
    fact = {(row["milestone"], row["milestone_id"]): row["arr_new"] for row in stories.table("events.milestone")}
    fact |= {(row["milestone"], row["milestone_id"]): row["arr"] for row in stories.table("events.revenue")}
    credit: dict[tuple[str, str], int] = defaultdict(int)
    for row in stories.table("attribution.credit"):
        about = (row["model"], row["scope"], row["measure"])
        if row["superseded_at"] is None and about == ("linear", "account", "arr"):
            credit[row["milestone"], row["milestone_id"]] += row["credit"]
    assert credit == {key: fact[key] for key in credit}
    assert {-100000, 8100000} <= set(credit.values())
    assert _of(stories, moves.moved_into_renewals, "subtype", "rule", "arr_new") == [
        ("new", "earliest_standing_win_of_account", None), ("renewal", "renewal_of_account", None),
    ]  # fmt: skip
    assert _of(stories, moves.existing_business, "deal_id", "subtype")[0][1] == "expansion"


def _revenue(chain: Chain, story: Story) -> list[tuple[str, int, int | None, str]]:
    """milestone, deal, ARR (of deals without one the amount) and cause of a story's movements, in their order."""
    rows = [row for row in chain.table("events.revenue") if row["deal_id"] // 100 == story.number]
    rows.sort(key=lambda row: (row["occurred_at"], row["deal_id"], row["milestone"]))
    return [
        (row["milestone"], row["deal_id"] % 100, row["amount"] if row["arr"] is None else row["arr"], row["cause"])
        for row in rows
    ]


def test_revenue_moves_on_the_day_it_does_with_the_amounts_of_then(stories: Chain):
    assert _revenue(stories, moves.renewed_at_another_price) == [
        ("revenue_new", 1, 1200000, "won"),
        ("revenue_expanded", 2, 300000, "won"),
        ("revenue_expanded", 3, 300000, "won"),
        ("revenue_expanded", 4, 8100000, "won"),
        ("revenue_contracted", 4, -8100000, "lost_after_won"),
        ("revenue_contracted", 5, -100000, "won"),
    ]
    assert _revenue(stories, moves.amount_typed_later) == [
        ("revenue_new", 1, 120000, "won"), ("revenue_expanded", 1, 30050, "priced"),
    ]  # fmt: skip
    assert _revenue(stories, moves.currency_corrected) == [
        ("revenue_new", 1, 100000, "won"), ("revenue_contracted", 1, -100000, "priced"),
        ("revenue_expanded", 1, 100000, "priced"),
    ]  # fmt: skip
    assert _revenue(stories, moves.moved_into_renewals)[0][::2] == ("revenue_new", None)


def test_a_deal_of_internal_contacts_only_is_marked(stories: Chain):
    rows = [
        row
        for row in stories.table("events.milestone")
        if row["deal_id"] and int(row["deal_id"]) // 100 == moves.internal_deal.number
    ]
    assert {(int(row["deal_id"]) % 100, row["suppressed_by"]) for row in rows} == {(1, "deal_contacts"), (2, None)}


def _stops(seed: int) -> list[str]:
    """Moments of the half year at which runs take place, the last after everything."""
    chance = random.Random(seed)
    days = sorted(chance.sample(range(1, 31), 2))
    march = [f"2026-03-{day:02d}T{chance.randrange(24):02d}:{chance.randrange(60):02d}:00Z" for day in days]
    return [*march, "2026-04-20T09:02:00Z", LAST_DAY]


@pytest.mark.parametrize("seed", [1])
def test_increments_end_where_a_rebuild_does(tmp_path: Path, seed: int):
    """Runs at any moments, reading windows that overlap; then everything anew from raw, from rows in any order: not one
    row differs."""
    first, *stops = _stops(seed)
    with Chain.start(tmp_path, portal(), first) as chain:
        chain.run()
        for stop in stops:
            chain.advance(stop, since=at("2026-01-01"))
        before = chain.dump()
        assert chain.run(since=at(first)) == [0] * len(LAYERS)
        assert chain.dump() == before
        with in_no_order():
            chain.rebuild()
        assert differences(before, chain.dump()) == []


def test_an_archived_deal_is_reversed_and_restored_it_stands_again(tmp_path: Path):
    told = Story("archived", 1, [])
    told.company(1)
    told.deal(1, "03-01T09:00:00", "contractsent", 1)
    told.stage(1, "03-05T09:00:00", "closedwon")
    with Chain.start(tmp_path, [*SETUP, *told.lines], LAST_DAY) as chain:
        chain.run()
        ids = {row["milestone_id"] for row in chain.table("events.milestone")}
        for archived, state in ((True, ("reversed", "archived")), (False, ("live", None))):
            with chain.warehouse.session() as session:
                session.connection.execute("UPDATE raw.deal SET archived = ?", [archived])
                session.journal.add("deals", ["101"])
            chain.derive()
            found = chain.table("events.milestone")
            assert {(row["state"], row["reason"]) for row in found} == {state}
            assert {row["milestone_id"] for row in found} == ids
            assert len(found) == 3
