"""Credit in the warehouse: only what differs is closed and opened, and what was known stays known."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest

from crm_attribution.contracts.topics import MILESTONE, TOUCH_ACCOUNT
from crm_attribution.layers import CREDITS, run
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import LOADED, Chain
from crm_attribution_tests.flow.stories import truth
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


def test_a_run_reports_what_holds_and_how_many_outcomes_are_attributed(credited: Session):
    touched(credited, sample_rows.touch("click:b", "2026-03-02T09:00:00Z", "p", "company:1", "Paid Search", *UTM))
    other = WON | {"milestone_id": "v", "account_id": "company:2", "deal_id": "2"}
    lost = WON | {"milestone_id": "x", "account_id": "company:3", "deal_id": "3", "state": "reversed", "reason": "lost"}
    sample_rows.fill(credited, {"events.milestone": [other, lost]})
    report = run(CREDITS, credited, LOADED, TUESDAY)
    assert report.rows == 2 * (1 + 1 + 2) + 2 * 3
    assert report.figures == {"account: attributed": 1, "account: no_touch": 1}


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


# --- models that learn

LEARNING = LOADED.model_copy(
    update={"attribution": LOADED.attribution.model_copy(update={"models": ["linear", "markov"]})}
)


def act(number: str, when: str, channel: str, account: str = "company:1") -> sample_rows.Row:
    return sample_rows.touch(f"click:{number}", when, f"p-{account}", account, channel, *UTM)


def markov(session: Session) -> dict[str, int]:
    """The credit of the win in March."""
    rows = session.query(
        "SELECT touch_id, credit FROM attribution.credit WHERE milestone_id = 'w' AND measure = 'count'"
        " AND model = 'markov' AND superseded_at IS NULL"
    )
    return dict(rows.iter_rows())


@pytest.fixture
def learned(session: Session) -> Session:
    """Two wins in February, one of them by E-mail alone, a visitor who did not buy; and a win in March by both
    channels. P(conversion) is 2/3, without E-mail 0, without Direct 1/3 (E-mail led on alone)."""
    february = [
        WON
        | {
            "milestone_id": f"w{n}",
            "account_id": f"company:{n}",
            "deal_id": str(n),
            "occurred_at": at("02-20T09:00:00"),
        }
        for n in (2, 3)
    ]
    sample_rows.fill(session, {"events.milestone": [WON, *february]})
    touched(
        session,
        act("a", "2026-03-01T09:00:00Z", "Direct"),
        act("b", "2026-03-02T09:00:00Z", "E-mail"),
        act("c", "2026-02-01T09:00:00Z", "Direct", "company:2"),
        act("d", "2026-02-02T09:00:00Z", "E-mail", "company:2"),
        act("e", "2026-02-02T09:00:00Z", "E-mail", "company:3"),
        act("f", "2026-02-02T09:00:00Z", "Direct", "company:4"),
    )
    run(CREDITS, session, LEARNING, MONDAY)
    return session


def test_a_month_is_shared_by_what_the_months_before_show(learned: Session):
    assert markov(learned) == {"click:a": 333_333, "click:b": 666_667}
    effects = learned.query("SELECT month::VARCHAR, channel, effect FROM attribution.channel_effect ORDER BY ALL")
    assert effects.rows() == [
        ("2026-02-01", "", 0),
        ("2026-03-01", "Direct", round(2**30 / 2)),
        ("2026-03-01", "E-mail", 2**30),
    ]


def test_what_happens_in_a_month_changes_no_other_outcome_of_it(learned: Session):
    more = WON | {"milestone_id": "v", "account_id": "company:5", "deal_id": "5"}
    sample_rows.fill(learned, {"events.milestone": [more]})
    touched(learned, act("g", "2026-03-03T09:00:00Z", "Direct", "company:5"))
    assert run(CREDITS, learned, LEARNING, TUESDAY).changed == 4, "its own rows: two models, count and amount"


def test_a_late_find_of_an_earlier_month_changes_the_months_after_it(learned: Session):
    touched(learned, act("h", "2026-02-05T09:00:00Z", "E-mail", "company:6"))
    run(CREDITS, learned, LEARNING, TUESDAY)
    # a second visitor who did not buy, by E-mail: P is (1/4 + 1/2) * 2/3, without Direct 1/2 * 2/3, without E-mail 0
    assert markov(learned) == {"click:a": 250_000, "click:b": 750_000}
    learned.journal.forget([CREDITS.name])
    assert run(CREDITS, learned, LEARNING, WEDNESDAY).changed == 0, "incremental equals everything anew"


def test_only_months_whose_touches_changed_are_read_again(learned: Session):
    """A touch that moves from one month to another, and one that goes, change the fingerprints of these months."""

    def prints() -> dict[str, str]:
        run(CREDITS, learned, LEARNING, TUESDAY)
        return learned.state.touch_prints.all()

    at_first = prints()
    touched(learned, act("h", "2026-02-05T09:00:00Z", "E-mail", "company:6"))
    found = prints()
    assert (set(found), found["2026-03-01"]) == ({"2026-02-01", "2026-03-01"}, at_first["2026-03-01"])
    assert found["2026-02-01"] != at_first["2026-02-01"]
    touched(learned, act("h", "2026-01-05T09:00:00Z", "E-mail", "company:6"))
    moved = prints()
    assert (moved.keys() - at_first.keys(), moved["2026-02-01"]) == ({"2026-01-01"}, at_first["2026-02-01"])
    assert markov(learned) == {"click:a": 250_000, "click:b": 750_000}
    learned.journal.forget([CREDITS.name])
    assert prints() == moved, "incremental equals everything anew"
    learned["attribution.touch"].delete(pl.DataFrame({"touch_id": ["click:h"]}))
    assert prints() == at_first
    assert markov(learned) == {"click:a": 333_333, "click:b": 666_667}


def test_what_a_model_learned_goes_with_it(learned: Session):
    run(CREDITS, learned, LOADED, TUESDAY)
    assert learned.scalar("SELECT count(*) FROM attribution.channel_effect") == 0
    assert learned.state.touch_prints.all() == {}


def _touches_of(chain: Chain, deal: str, milestone: str) -> list[str]:
    with chain.warehouse.session() as session:
        return session.query(
            "SELECT touch_id FROM attribution.credit JOIN events.milestone m USING (milestone, milestone_id)"
            " WHERE m.deal_id = ? AND milestone = ? AND model = 'linear' AND scope = 'account'"
            " AND measure = 'count' AND superseded_at IS NULL ORDER BY touch_id",
            [deal, milestone],
        )["touch_id"].to_list()


def test_a_win_that_was_taken_back_bounds_no_window(stories: Chain):
    number = wins.win_taken_back_between_two.number
    click = f"click:k{number}-03-0"
    found = _touches_of(stories, f"{number}03", "customer_expanded")
    assert found == [f"{click}3T09:00:00", f"{click}7T09:00:00"]


def test_a_deal_without_a_company_is_led_to_by_its_contacts(stories: Chain):
    story = truth.deal_of_contacts_without_a_company
    click = f"click:k{story.number}-03-01T0"
    assert _touches_of(stories, story.id(1), "customer_won") == [f"{click}1:00:00", f"{click}2:00:00"]


def test_a_merge_after_the_close_takes_no_touch_away(stories: Chain):
    (touch,) = _touches_of(stories, wins.form_of_a_merged_contact.id(1), "customer_won")
    assert touch.startswith("form:")
