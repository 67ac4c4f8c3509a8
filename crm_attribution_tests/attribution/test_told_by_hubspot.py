"""A portal whose contacts have only what their properties tell: no link service, no forms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from crm_attribution import configuration
from crm_attribution.clock import iso, to_millis
from crm_attribution.conversions import plan
from crm_attribution.conversions.recipients import resolver
from crm_attribution.destinations import destinations
from crm_attribution.layers import TOUCHES, run
from crm_attribution_tests.flow.chain import Chain, differences, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import create, join, merge, update
from crm_attribution_tests.sandbox_process import Line

pytestmark = pytest.mark.sandbox

WON = at("2026-03-20T12:00:00Z")
END = "2026-03-20T13:00:00Z"
PEOPLE = range(1, 25)
MAPPING = """
values: {arr: {property: null, line_items: null}}
attribution: {models: [first_touch, last_touch, linear, self_reported], collapse_minutes: 0}
touches: {self_reported: {property: heard, channels: {Podcast: ["*podcast*"]}}}
destinations:
  linkedin: {conversions: [{milestone: customer_won, action: "1"}]}
"""
ENVIRONMENT = {
    "META_ACCESS_TOKEN": "token",
    "META_DATASET_ID": "dataset",
    "LINKEDIN_ACCESS_TOKEN": "token",
    "CRM_ATTRIBUTION_START": "2026-01-01T00:00:00Z",
}
Click = tuple[datetime, str, str]
"""When it was, the kind of its id, the id."""


class Portal:
    """Lines, and what they imply: an account of the log that shares no code with the product."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.clicks: dict[int, list[Click]] = defaultdict(list)
        chance = Random(10)
        for person in PEOPLE:
            born = WON - timedelta(days=120, minutes=chance.randrange(50))
            moments = sorted(
                WON - timedelta(days=ago, minutes=1 + chance.randrange(58))
                for ago in chance.sample((100, 40, 2), person % 4)
            )
            self.lines.append(create(iso(born), "contacts", person, email=f"c{person}@firm{person}.example"))
            for number, moment in enumerate(moments):
                self._tell(person, moment, chance.randrange(8), f"id-{person}-{number}")
            self._win(person)
            if person % 3 == 0:
                answer = update(
                    iso(born), "contacts", person, "FORM", heard="Your Podcast" if person % 2 else "a friend"
                )
                self.lines.append(answer)
        self.lines.append(merge(iso(WON), "contacts", 4, 9))
        self.clicks[4] += self.clicks.pop(9)
        self.lines.sort(key=lambda line: str(line["at"]))

    def _tell(self, person: int, moment: datetime, way: int, name: str) -> None:
        cookie = moment - timedelta(hours=5)
        google, meta, linkedin = "hs_google_click_id", "hs_facebook_click_id", "li_fat_id"
        prop, value, click = {
            0: (google, name, (moment, "gclid", name)),
            1: (google, name, (moment, "gclid", name)),
            2: (meta, name, (moment, "fbclid", name)),
            3: (meta, f"fb.1.{to_millis(cookie)}.{name}", (cookie, "fbclid", name)),
            4: (linkedin, name, (moment, "li_fat_id", name)),
            5: (google, f"{{{{{name}}}}}", None),
            6: (meta, f"{name}%2B", None),
            7: (linkedin, f"{name}...", None),
        }[way]
        self.lines.append(update(iso(moment), "contacts", person, "ANALYTICS", **{prop: value}))
        if click is not None:
            self.clicks[person].append(click)

    def _win(self, person: int) -> None:
        """A deal without a company: its account is its contact's."""
        deal = {"dealname": f"D{person}", "dealstage": "closedwon", "amount": "10", "closedate": iso(WON)}
        self.lines.append(create(iso(WON), "deals", 100 + person, **deal))
        self.lines.append(join(iso(WON), ("deals", 100 + person), ("contacts", 4 if person == 9 else person)))

    def share(self, kind: str | None = None, days: int = 365) -> Fraction:
        """Of the deals: with a click (of a kind) within the days before the win."""
        near = [
            person
            for person in PEOPLE
            if any(
                kind in (None, of) and WON - timedelta(days=days) <= moment <= WON
                for moment, of, _ in self.clicks[4 if person == 9 else person]
            )
        ]
        return Fraction(len(near), len(PEOPLE))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Portal, Chain]]:
    """The portal followed hour by hour."""
    portal, folder = Portal(), tmp_path_factory.mktemp("told")
    ends = sorted({at(str(line["at"])).replace(minute=0, second=0) + timedelta(hours=1) for line in portal.lines})
    with Chain.start(folder, portal.lines, iso(ends[0]), rules(folder, MAPPING)) as chain:
        since = None
        for end in ends:
            chain.advance(iso(end), since)
            since = end - timedelta(hours=1)
        yield portal, chain


def query(chain: Chain, sql: str) -> list[tuple[Any, ...]]:
    with chain.warehouse.session() as session:
        return session.query(sql).rows()


def test_the_share_of_outcomes_with_a_touch_is_what_the_log_implies(told: tuple[Portal, Chain]):
    portal, chain = told
    credited = query(
        chain,
        "SELECT model, sum(credit) FILTER (touch_id <> '')::BIGINT, sum(credit)::BIGINT FROM attribution.credit"
        " WHERE measure = 'count' AND milestone = 'customer_won' AND superseded_at IS NULL"
        " AND model <> 'self_reported' GROUP BY 1 ORDER BY 1",
    )
    whole = len(PEOPLE) * 1_000_000
    assert 0 < portal.share() < 1
    assert credited == [(model, portal.share() * whole, whole) for model in ("first_touch", "last_touch", "linear")]


def test_every_click_of_the_log_is_a_touch_with_its_time_and_nothing_else_is(told: tuple[Portal, Chain]):
    portal, chain = told
    found = query(chain, "SELECT touched_at, click_id_kinds[1] FROM attribution.touch ORDER BY ALL")
    assert found == sorted((moment, kind) for clicks in portal.clicks.values() for moment, kind, _ in clicks)
    marks = ("{{", "%2B", "...")
    refused = {at(str(line["at"])) for line in portal.lines if any(mark in str(line) for mark in marks)}
    counted = query(chain, "SELECT DISTINCT told_at FROM attribution.telling WHERE touch_id IS NULL")
    assert {moment for (moment,) in counted} == refused != set()
    rules_of = dict(query(chain, "SELECT rule, count(*) FROM attribution.telling GROUP BY rule"))
    with chain.warehouse.session() as session:
        shown = run(TOUCHES, session, chain.mapping, at("2026-01-01")).figures
    assert {name: n for name, n in shown.items() if ": " in name} == {
        f"not a touch of its own: {rule}": n for rule, n in rules_of.items()
    }


def test_what_people_say_is_a_model_of_its_own(told: tuple[Portal, Chain]):
    """Every third said something; person 9 is merged into 4, who then says it."""
    _, chain = told
    credited = query(
        chain,
        "SELECT channel, coalesce(unattributed_reason, ''), sum(credit)::BIGINT FROM attribution.credit"
        " LEFT JOIN attribution.self_reported USING (touch_id) WHERE measure = 'count' AND milestone = 'customer_won'"
        " AND superseded_at IS NULL AND model = 'self_reported' GROUP BY ALL ORDER BY ALL",
    )
    said = [person for person in PEOPLE if person % 3 == 0 or person == 4]
    podcast = sum(1 for person in said if (9 if person == 4 else person) % 2)
    silent = ("no_touch", (len(PEOPLE) - len(said)) * 1_000_000)
    assert credited == [
        ("Other", "", (len(said) - podcast) * 1_000_000),
        ("Podcast", "", podcast * 1_000_000),
        (None, *silent),
    ]
    names = query(chain, "SELECT count(*) FROM attribution.touch WHERE starts_with(touch_id, 'said:')")
    assert names == [(0,)]


@pytest.mark.parametrize(("destination", "kind"), [("meta", "fbclid"), ("linkedin", "li_fat_id")])
def test_the_share_of_conversions_with_a_click_id_is_what_the_log_implies(
    told: tuple[Portal, Chain], destination: str, kind: str
):
    portal, chain = told
    with chain.warehouse.session() as session:
        plan.update(session, chain.ledger, chain.mapping, configuration.load(ENVIRONMENT), at(END))
        rows = session.read("conversions.conversion", f"milestone = 'customer_won' AND destination = '{destination}'")
        found = resolver(destinations()[destination], chain.mapping)(session, rows)
    assert rows.height == len(PEOPLE)
    carried = [one for one in found.values() if one.click_id is not None]
    assert Fraction(len(carried), rows.height) == portal.share(kind, days=90) > 0
    latest = {max(click for click in clicks if click[1] == kind)[::2] for clicks in portal.clicks.values()
              if any(click[1] == kind for click in clicks)}  # fmt: skip
    assert {(one.clicked_at, str(one.click_id).split(".")[-1]) for one in carried} <= latest


def test_hour_by_hour_ends_where_deriving_everything_again_does(told: tuple[Portal, Chain]):
    _, chain = told
    before = chain.dump()
    chain.rebuild()
    assert differences(before, chain.dump()) == []
