"""The stories of `flow/stories/truth.py` end in these rows: whose account, which moment, which amount."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crm_attribution_tests.flow.chain import Chain, differences
from crm_attribution_tests.flow.stories import truth
from crm_attribution_tests.flow.story import LAST_DAY, SETUP, Story
from crm_attribution_tests.helpers import at

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Two stories with merges, read before and after: afterwards HubSpot no longer shows which record was what."""
    told = [truth.history_that_a_merge_copied, truth.domains_a_company_has_besides]
    lines = sorted((line for story in told for line in story.lines), key=lambda line: str(line["at"]))
    first, *stops = ["2026-01-20T00:00:00Z", "2026-04-15T00:00:00Z", LAST_DAY]
    with Chain.start(tmp_path_factory.mktemp("lived"), [*SETUP, *lines], first) as chain:
        chain.run()
        for stop in stops:
            chain.advance(stop, since=at("2026-01-01"))
        yield chain


def rows(chain: Chain, story: Story, sql: str) -> list[tuple[Any, ...]]:
    """The answer of a query in which `{n}` is the id of the story's record n."""
    ids = [story.id(local) for local in range(10)]
    with chain.warehouse.session() as session:
        return session.query(sql.format(*ids)).rows()


TOUCHES = (
    "SELECT split_part(origin, ':', 1), account_id FROM attribution.touch WHERE contact_id::VARCHAR IN ('{1}', '{2}')"
    " ORDER BY touched_at"
)


def test_a_touch_belongs_to_the_account_of_the_contact_that_acted(stories: Chain, lived: Chain):
    apart, merged = truth.one_person_with_a_contact_in_each_of_two_companies, truth.history_that_a_merge_copied
    for chain, story in ((stories, apart), (lived, merged)):
        assert rows(chain, story, TOUCHES) == [
            ("raw.link_click", f"company:{story.id(1)}"),
            ("raw.link_click", f"company:{story.id(2)}"),
        ], story.name
    before = lived.dump()
    lived.rebuild()
    assert differences(before, lived.dump()) == []


@pytest.mark.parametrize(
    ("story", "contacts"), [(truth.deleted_and_created_again, [2]), (truth.address_with_an_invisible_character, [1, 2])]
)
def test_a_submission_is_of_the_person_its_address_names(stories: Chain, story: Story, contacts: list[int]):
    sql = (
        "SELECT DISTINCT a.identifier FROM attribution.touch t JOIN identity.alias a USING (person_id)"
        " WHERE t.kind = 'form_submission' AND a.identifier_type = 'contact' AND a.identifier IN ('{1}', '{2}')"
        " ORDER BY 1"
    )
    assert set(rows(stories, story, sql)) >= {(story.id(local),) for local in contacts}


def test_every_domain_a_company_has_leads_to_it(lived: Chain):
    story = truth.domains_a_company_has_besides
    sql = (
        "SELECT DISTINCT a.identifier, m.account_id FROM identity.membership m JOIN identity.alias a USING (person_id)"
        " WHERE a.identifier_type = 'contact' AND a.identifier IN ('{1}', '{2}', '{3}', '{4}', '{5}') ORDER BY 1"
    )
    home = [1, 1, 1, 1, 4]
    assert rows(lived, story, sql) == [
        (story.id(local), f"company:{story.id(home[local - 1])}") for local in range(1, 6)
    ]


def test_a_win_won_again_is_of_one_moment(stories: Chain):
    sql = (
        "SELECT strftime(occurred_at, '%m-%d'), strftime(observed_at, '%m-%d'), amount_at_event, currency_at_event"
        " FROM events.milestone WHERE deal_id::VARCHAR = '{1}' AND milestone = 'customer_won'"
    )
    assert rows(stories, truth.won_lost_and_won_again, sql) == [("03-12", "03-12", 30000, "EUR")]


def test_a_win_before_its_deals_creation_is_backdated(stories: Chain):
    sql = (
        "SELECT milestone, time_basis FROM events.milestone WHERE deal_id::VARCHAR = '{1}'"
        " AND milestone IN ('customer_won', 'opportunity_created') ORDER BY 1"
    )
    assert rows(stories, truth.imported_closed, sql) == [
        ("customer_won", "closedate"), ("opportunity_created", "createdate"),
    ]  # fmt: skip
    assert rows(stories, truth.entered_after_its_close, sql) == [
        ("customer_won", "closedate"), ("opportunity_created", "backdated"),
    ]  # fmt: skip


def test_values_of_a_multiple_choice_are_a_set(stories: Chain):
    story = truth.several_values_in_one_property
    sql = (
        "SELECT subtype, arr_current FROM events.milestone WHERE deal_id::VARCHAR IN ('{1}', '{2}')"
        " AND milestone LIKE 'customer%' ORDER BY occurred_at"
    )
    assert rows(stories, story, sql) == [("expansion", None), ("new", 120000)]
    sql = "SELECT count(*) FROM events.event WHERE contact_id::VARCHAR = '{1}' AND event = 'lead_recycled'"
    assert rows(stories, story, sql) == [(1,)]


def test_what_cannot_be_read_of_a_deal_is_null_and_told(stories: Chain):
    story = truth.unreadable_fields
    sql = "SELECT id::VARCHAR, amount, closedate FROM raw.deal WHERE id::VARCHAR IN ('{1}', '{2}') ORDER BY 1"
    assert rows(stories, story, sql) == [(story.id(1), None, None), (story.id(2), None, None)]
    sql = "SELECT key, reasons, stored FROM quarantine.deal WHERE key IN ('{1}', '{2}') AND NOT resolved ORDER BY 1"
    assert rows(stories, story, sql) == [
        (story.id(1), "amount:not_a_number; closedate:not_a_time", True),
        (story.id(2), "amount:not_a_number", True),
    ]
