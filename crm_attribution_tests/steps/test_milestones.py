"""What happened in the business, once: every story ends in the milestones written beside it."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.clock import iso
from crm_attribution_tests.steps.cases import LAST_DAY, SETUP, STORIES, Story, portal
from crm_attribution_tests.steps.chain import Chain, at, differences


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


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_story_ends_in_its_milestones(told: dict[int, list[str]], story: Story):
    assert told.get(story.number, []) == story.expected


def _stops(seed: int) -> list[str]:
    """Moments of the half year at which runs take place, the last after everything."""
    chance = random.Random(seed)
    days = sorted(chance.sample(range(1, 31), 3))
    march = [f"2026-03-{day:02d}T{chance.randrange(24):02d}:{chance.randrange(60):02d}:00Z" for day in days]
    return [*march, "2026-04-20T09:02:00Z", LAST_DAY]


@pytest.mark.parametrize("seed", [1])
def test_increments_end_where_a_rebuild_does(tmp_path: Path, seed: int):
    """Runs at any moments, reading windows that overlap; then everything anew from raw: not one row differs."""
    first, *stops = _stops(seed)
    with Chain.start(tmp_path, portal(), first) as chain:
        chain.run()
        for stop in stops:
            chain.advance(stop, since=at("2026-01-01"))
        before = chain.dump()
        assert chain.run(since=at(first)) == [0] * 6
        assert chain.dump() == before
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
                session.journal("deals", ["101"])
            chain.derive()
            found = chain.table("events.milestone")
            assert {(row["state"], row["reason"]) for row in found} == {state}
            assert {row["milestone_id"] for row in found} == ids
            assert len(found) == 3
