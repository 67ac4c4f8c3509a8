"""Credit in the warehouse: only what differs is closed and opened, and what was known stays known."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from crm_attribution.attribution.models.base import Model
from crm_attribution.contracts.topics import MILESTONE, TOUCH_ACCOUNT
from crm_attribution.layers import CREDITS, run
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED, Chain
from crm_attribution_tests.flow.stories import wins_and_echoes as wins
from crm_attribution_tests.helpers import at
from crm_attribution_tests.marts import sample_rows

pytestmark = pytest.mark.sandbox

MONDAY, TUESDAY, WEDNESDAY = (at(f"2026-06-0{day}") for day in (1, 2, 3))
WON = sample_rows.milestone("customer_won", "w", "2026-03-31T09:00:00Z", account="company:1", deal="1",
                      money=("EUR", 1001, None, None))  # fmt: skip
UTM = ("google", "cpc", "brand")


def touched(session: Session, *touches: sample_rows.Row) -> None:
    sample_rows.fill(session, {"attribution.touch": touches})


def credit(session: Session, now: datetime) -> int:
    return run(CREDITS, session, LOADED, now).changed


def amounts(session: Session, as_of: datetime) -> dict[str, int]:
    """The linear credit of the amount as it was known at a moment."""
    rows = session.query(
        "SELECT touch_id, credit FROM attribution.credit WHERE model = 'linear' AND measure = 'amount'"
        " AND recorded_at <= ? AND (superseded_at IS NULL OR superseded_at > ?) ORDER BY touch_id",
        [as_of, as_of],
    )
    return dict(rows.iter_rows())


@pytest.fixture
def credited(session: Session) -> Session:
    """One win and one touch, credited on Monday."""
    sample_rows.fill(session, {"events.milestone": [WON]})
    touched(session, sample_rows.touch("click:a", "2026-03-01T09:00:00Z", "p", "company:1", "Paid Search", *UTM))
    assert credit(session, MONDAY) == 6, "three models, count and amount"
    return session


def test_a_run_reports_what_holds_and_how_many_outcomes_each_model_credits(credited: Session):
    touched(credited, sample_rows.touch("click:b", "2026-03-02T09:00:00Z", "p", "company:1", "Paid Search", *UTM))
    other = WON | {"milestone_id": "v", "account_id": "company:2", "deal_id": "2"}
    lost = WON | {"milestone_id": "x", "account_id": "company:3", "deal_id": "3", "state": "reversed", "reason": "lost"}
    sample_rows.fill(credited, {"events.milestone": [other, lost]})
    report = run(CREDITS, credited, LOADED, TUESDAY)
    assert report.rows == 2 * (1 + 1 + 2) + 2 * 3
    assert report.figures == {"first_touch": 2, "last_touch": 2, "linear": 2}


def test_a_second_touch_closes_and_opens_only_what_differs(credited: Session):
    touched(credited, sample_rows.touch("click:b", "2026-03-02T09:00:00Z", "p", "company:1", "Paid Search", *UTM))
    # last touch: one row goes, one comes; linear: one goes, two come; first touch stays; twice, for count and amount
    assert credit(credited, TUESDAY) == 2 * (2 + 3)
    assert amounts(credited, MONDAY) == {"click:a": 1001}
    assert amounts(credited, TUESDAY) == amounts(credited, WEDNESDAY) == {"click:a": 501, "click:b": 500}
    assert credited.scalar("SELECT count(*) FROM attribution.credit WHERE superseded_at IS NULL") == 8


def test_the_same_again_writes_nothing(credited: Session):
    before = credited.query("SELECT * FROM attribution.credit ORDER BY ALL").rows()
    credited.journal.add(MILESTONE, pl.DataFrame({"milestone": ["customer_won"], "milestone_id": ["w"]}))
    credited.journal.add(TOUCH_ACCOUNT, ["company:1"])
    assert credit(credited, TUESDAY) == 0
    assert credit(credited, WEDNESDAY) == 0
    credited.journal.forget([CREDITS.name])
    assert credit(credited, WEDNESDAY) == 0
    assert credited.query("SELECT * FROM attribution.credit ORDER BY ALL").rows() == before


def test_an_outcome_that_no_longer_holds_is_closed_not_deleted(credited: Session):
    sample_rows.fill(credited, {"events.milestone": [WON | {"state": "reversed", "reason": "reopened"}]})
    assert credit(credited, TUESDAY) == 6
    assert amounts(credited, TUESDAY) == {}
    assert amounts(credited, MONDAY) == {"click:a": 1001}


def test_knowledge_never_goes_backwards(credited: Session):
    """An old hour, run again with something new, records at the newest watermark."""
    touched(credited, sample_rows.touch("click:b", "2026-03-02T09:00:00Z", "p", "company:1", "Paid Search", *UTM))
    credit(credited, WEDNESDAY)
    touched(credited, sample_rows.touch("click:c", "2026-03-03T09:00:00Z", "p", "company:1", "Paid Search", *UTM))
    credit(credited, TUESDAY)
    assert amounts(credited, MONDAY) == {"click:a": 1001}
    assert amounts(credited, TUESDAY) == {"click:a": 1001}, "nothing is known before it was recorded"
    assert amounts(credited, WEDNESDAY) == {"click:a": 334, "click:b": 334, "click:c": 333}
    assert credited.read("attribution.credit").filter(pl.col("superseded_at") <= pl.col("recorded_at")).is_empty()


def test_a_touch_of_an_account_and_of_a_person_counts_once_for_each(credited: Session):
    """One outcome asks for it as the account's, the other as the person's: it is read once."""
    alone = sample_rows.milestone("opportunity_created", "o", "2026-03-05T09:00:00Z", person="p",
                                  money=("EUR", 10, None, None))  # fmt: skip
    sample_rows.fill(credited, {"events.milestone": [alone]})
    credited.journal.forget([CREDITS.name])
    credit(credited, TUESDAY)
    rows = credited.query(
        "SELECT milestone_id, touch_id, credit FROM attribution.credit WHERE model = 'linear' AND measure = 'amount'"
        " AND superseded_at IS NULL ORDER BY 1"
    ).rows()
    assert rows == [("o", "click:a", 10), ("w", "click:a", 1001)]


def test_a_model_over_all_journeys_is_computed_for_all_of_them(session: Session, monkeypatch: pytest.MonkeyPatch):
    """A touch of one account makes its channel more frequent: the credit of the other account's win moves with it."""
    frequent = Model("frequent", "By channel.", lambda *_: pl.len().over("channel"), over_all=True)
    monkeypatch.setattr("crm_attribution.attribution.rules.credits.models", lambda: {"frequent": frequent})
    rules = LOADED.model_copy(update={"attribution": LOADED.attribution.model_copy(update={"models": ["frequent"]})})
    other = WON | {"milestone_id": "v", "account_id": "company:2", "deal_id": "2"}
    sample_rows.fill(session, {"events.milestone": [WON, other]})
    touched(
        session,
        sample_rows.touch("click:a", "2026-03-01T09:00:00Z", "p", "company:1", "Paid Search", *UTM),
        sample_rows.touch("click:b", "2026-03-02T09:00:00Z", "p", "company:1", "Direct", *UTM),
    )
    run(CREDITS, session, rules, MONDAY)
    counted = "SELECT touch_id, credit FROM attribution.credit WHERE milestone_id = 'w' AND measure = 'count'"
    counted += " AND superseded_at IS NULL"
    assert dict(session.query(counted).iter_rows()) == {"click:a": 500_000, "click:b": 500_000}
    touch = sample_rows.touch("click:c", "2026-03-01T09:00:00Z", "q", "company:2", "Direct", *UTM)
    sample_rows.fill(session, {"attribution.touch": [touch]})
    run(CREDITS, session, rules, TUESDAY)
    assert dict(session.query(counted).iter_rows()) == {"click:a": 333_333, "click:b": 666_667}


def _touches_of(chain: Chain, deal: str, milestone: str) -> list[str]:
    with chain.warehouse.session() as session:
        return session.query(
            "SELECT touch_id FROM attribution.credit JOIN events.milestone m USING (milestone, milestone_id)"
            " WHERE m.deal_id = ? AND milestone = ? AND model = 'linear' AND measure = 'count'"
            " AND superseded_at IS NULL ORDER BY touch_id",
            [deal, milestone],
        )["touch_id"].to_list()


def test_a_win_that_was_taken_back_bounds_no_window(stories: Chain):
    number = wins.win_taken_back_between_two.number
    click = f"click:k{number}-03-0"
    found = _touches_of(stories, f"{number}03", "customer_expanded")
    assert found == [f"{click}3T09:00:00", f"{click}7T09:00:00"]


def test_a_merge_after_the_close_takes_no_touch_away(stories: Chain):
    (touch,) = _touches_of(stories, wins.form_of_a_merged_contact.id(1), "customer_won")
    assert touch.startswith("form:")
