"""Credit against an oracle in fractions, and the windows at their edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.attribution.models.base import Model
from crm_attribution.attribution.rules import journeys as journey_rules
from crm_attribution.attribution.rules import unattributed
from crm_attribution.attribution.rules.credits import COUNT_UNIT, credits
from crm_attribution.contracts import CONTRACTS
from crm_attribution.errors import ConfigurationError
from crm_attribution.events.rules.values import CREDITED
from crm_attribution.mapping import Attribution
from crm_attribution_tests.attribution import everything, oracle
from crm_attribution_tests.events.rules.histories import RULES
from crm_attribution_tests.helpers import at
from crm_attribution_tests.laws import TIMES

DAY = at("06-01T12:00:00")
Key = tuple[str, str, str, str]

UTC_TIME = pl.Datetime("us", "UTC")
FACT: dict[str, Any] = {
    **dict.fromkeys(("milestone", "account_id", "person_id"), pl.String),
    "deal_id": pl.Int64,
    "occurred_at": UTC_TIME,
}
OUTCOME: dict[str, Any] = {
    **FACT,
    **dict.fromkeys(("milestone_id", "currency", "home_currency"), pl.String),
    **dict.fromkeys(CREDITED.values(), pl.Int64),
    **dict.fromkeys((f"{measure}_home" for measure in CREDITED), pl.Int64),
}
TOUCH: dict[str, Any] = {
    **dict.fromkeys(("touch_id", "account_id", "person_id", "channel", "campaign"), pl.String),
    "touched_at": UTC_TIME,
    "contact_id": pl.Int64,
}


@dataclass
class Journeys:
    """What the rules are given, as rows."""

    outcomes: list[dict[str, Any]]
    touches: list[dict[str, Any]]
    facts: Sequence[dict[str, Any]] = ()
    born: Sequence[tuple[int, datetime]] = ()
    contacts: Sequence[tuple[int, str]] = ()
    bots: Sequence[tuple[str, str, datetime]] = ()

    def rows(self, rules: Attribution) -> pl.DataFrame:
        touches = pl.DataFrame(self.touches, schema=TOUCH)
        births = pl.DataFrame(list(self.born), schema={"contact_id": pl.Int64, "created_at": UTC_TIME}, orient="row")
        members = pl.DataFrame(list(self.contacts), schema={"deal_id": pl.Int64, "person_id": pl.String}, orient="row")
        bots = pl.DataFrame(
            list(self.bots),
            schema={"account_id": pl.String, "person_id": pl.String, "touched_at": UTC_TIME},
            orient="row",
        )
        facts = pl.DataFrame(list(self.facts), schema=FACT)
        outcomes = journey_rules.scoped(pl.DataFrame(self.outcomes, schema=OUTCOME), facts, rules)
        found = journey_rules.journeys(outcomes, members, touches, births, rules)
        reasons = unattributed.reasons(found, members, touches, births, bots)
        return credits(found, reasons, CONTRACTS["attribution.channel_effect"].empty(), rules)

    def credits(self, rules: Attribution = RULES.attribution, column: str = "credit") -> dict[Key, dict[str, int]]:
        """(outcome, model, scope, measure) -> touch -> credit, where it is known."""
        found: dict[Key, dict[str, int]] = {}
        for row in self.rows(rules).drop_nulls(column).iter_rows(named=True):
            key = (row["milestone_id"], row["model"], row["scope"], row["measure"])
            found.setdefault(key, {})[row["touch_id"]] = row[column]
        return found

    def touched(self, outcome: str, rules: Attribution = RULES.attribution, scope: str = "account") -> list[str]:
        """The touches that share the outcome."""
        return sorted(self.credits(rules)[outcome, "linear", scope, "count"])

    def reason(self, rules: Attribution = RULES.attribution, scope: str = "account") -> str | None:
        """Why the one outcome is unattributed."""
        rows = self.rows(rules).filter(pl.col("scope") == scope)
        (found,) = rows["unattributed_reason"].unique()
        return None if found is None else str(found)


def outcome(number: str = "o", name: str = "opportunity_created", account: str | None = "a", **more: Any):
    return {
        "milestone": name,
        "milestone_id": number,
        "account_id": account,
        "occurred_at": DAY,
        "currency": "EUR",
    } | more


def touch(number: str, when: datetime, account: str | None = "a", person: str = "p", contact: int = 1, **more: Any):
    row = {"touch_id": number, "touched_at": when, "account_id": account, "person_id": person, "contact_id": contact}
    return {**row, "channel": number, "campaign": number, **more}


def fact(name: str, when: datetime, account: str | None = "a", person: str | None = None, deal: int | None = None):
    return {"milestone": name, "occurred_at": when, "account_id": account, "person_id": person, "deal_id": deal}


def having(**changes: Any) -> Attribution:
    return RULES.attribution.model_copy(update=changes)


def days(count: float) -> datetime:
    return DAY - timedelta(days=count)


SECOND = timedelta(seconds=1)


# --- windows


def test_the_window_includes_both_its_ends():
    ends = [
        touch("first", days(90)),
        touch("last", DAY),
        touch("before", days(90) - SECOND),
        touch("after", DAY + SECOND),
    ]
    assert Journeys([outcome()], ends).touched("o") == ["first", "last"]


def test_wins_look_back_a_year():
    ends = [touch("old", days(365)), touch("older", days(365) - SECOND)]
    assert Journeys([outcome(name="customer_won")], ends).touched("o") == ["old"]


def test_an_expansion_looks_back_to_the_previous_win_and_no_further():
    path = [touch("before", days(40)), touch("at the win", days(30)), touch("since", days(30) + SECOND)]
    won = [("a", days(60)), ("a", days(30)), ("a", DAY), ("other", days(1))]
    wins = [fact("customer_won", when, account) for account, when in won]
    assert Journeys([outcome(name="customer_expanded")], path, wins).touched("o") == ["since"]
    assert Journeys([outcome(name="customer_won")], path, wins).touched("o") == ["at the win", "before", "since"]


def test_wins_of_a_week_are_one_decision():
    path = [touch("before", days(20)), touch("between", days(2))]
    for ago, found in (
        (days(7), ["before", "between"]),
        (days(7) - SECOND, ["between"]),
        (days(1), ["before", "between"]),
    ):
        wins = [fact("customer_won", ago, "a")]
        assert Journeys([outcome(name="customer_expanded")], path, wins).touched("o") == found, ago


def test_a_deal_without_a_company_takes_the_touches_of_its_contacts():
    path = [
        touch("member's", days(2), account="b", person="p"),
        touch("other's", days(1), account="b", person="q"),
    ]
    asked = outcome(account="deal:7", deal_id=7)
    assert Journeys([asked], path, contacts=[(7, "p")]).touched("o") == ["member's"]
    assert Journeys([asked], path).reason() == "no_contact_on_deal"


def test_contacts_created_after_the_close_are_left_out():
    path = [
        touch("in time", days(3), contact=1),
        touch("too late", days(2), contact=2),
        touch("?", days(1), contact=3),
    ]
    assert Journeys([outcome()], path, born=[(1, DAY), (2, DAY + SECOND)]).touched("o") == ["?", "in time"]


def test_only_touches_of_the_account_count_and_only_those_of_the_person_where_there_is_none():
    path = [touch("ours", days(1)), touch("theirs", days(1), account="b"), touch("nobody's", days(1), account=None)]
    assert Journeys([outcome()], path).touched("o") == ["ours"]
    alone = outcome(account=None, person_id="p")
    assert Journeys([alone], path).touched("o") == ["nobody's", "ours", "theirs"], "all that this person did"
    assert Journeys([outcome(account=None)], path).touched("o") == [""], "nobody to credit: unattributed"


# --- scopes, repeats and reasons

BOTH = having(scopes=["account", "deal_contacts"])


def test_a_deal_has_the_touches_of_its_contacts_wherever_they_were():
    path = [
        touch("contact's", days(3), person="c"),
        touch("colleague's", days(2), person="d"),
        touch("contact's elsewhere", days(1), person="c", account="b"),
        touch("mailbox's", days(1), person=None),  # type: ignore[arg-type]
    ]
    one = Journeys([outcome(deal_id=7)], path, contacts=[(7, "c"), (8, "d")])
    assert one.touched("o", BOTH) == ["colleague's", "contact's", "mailbox's"]
    assert one.touched("o", BOTH, "deal_contacts") == ["contact's", "contact's elsewhere"]


def test_repeats_of_one_person_channel_and_campaign_are_one():
    minutes = [timedelta(minutes=n) for n in (0, 10, 40, 71, 72, 73, 74)]
    start = days(3)
    same = [touch(f"t{n}", start + later, channel="E-mail", campaign=None) for n, later in enumerate(minutes)]
    same[4] |= {"channel": "Direct"}
    same[5] |= {"person_id": "q"}
    same[6] |= {"campaign": "spring"}
    half_an_hour = having(collapse_minutes=30)
    assert Journeys([outcome()], same).touched("o", half_an_hour) == ["t0", "t3", "t4", "t5", "t6"]
    assert len(Journeys([outcome()], same).touched("o")) == 7, "as shipped each counts"
    unknown = [row | {"person_id": None} for row in same[:3]]
    assert len(Journeys([outcome()], unknown).touched("o", half_an_hour)) == 3, "who that was is not known"


def test_a_repeat_counts_where_what_it_repeats_lies_before_the_window():
    pair = [touch("before", days(90) - SECOND, channel="E-mail", campaign="c"),
            touch("inside", days(90) + SECOND, channel="E-mail", campaign="c")]  # fmt: skip
    assert Journeys([outcome()], pair).touched("o", having(collapse_minutes=30)) == ["inside"]


LATE = DAY + timedelta(hours=1)


@pytest.mark.parametrize(
    ("reason", "given"),
    [
        ("no_touch", {}),
        ("outside_window", {"touches": [touch("t", days(400))]}),
        ("after_outcome", {"touches": [touch("t", LATE)]}),
        ("contact_created_later", {"touches": [touch("t", days(1)), touch("u", days(400))], "born": [(1, LATE)]}),
        ("before_previous_win", {"touches": [touch("t", days(9))], "facts": [fact("customer_won", days(8))]}),
        ("only_bot_clicks", {"touches": [touch("t", LATE)], "bots": [("a", "p", days(1))]}),
        ("outside_window", {"touches": [touch("t", days(400))], "bots": [("a", "p", days(399)), ("b", "p", days(1))]}),
    ],
)
def test_why_an_outcome_is_unattributed(reason: str, given: Any):
    path = Journeys([outcome(name="customer_expanded")], **{"touches": [], **given})
    assert path.reason() == reason


def test_why_nobody_can_be_credited():
    assert Journeys([outcome(account=None)], []).reason() == "no_account"
    alone = Journeys([outcome(deal_id=7)], [touch("t", days(1))])
    assert alone.reason() is None
    assert alone.reason(BOTH, "deal_contacts") == "no_contact_on_deal"
    assert Journeys([outcome(deal_id=7)], [], contacts=[(7, "p")]).reason(BOTH, "deal_contacts") == "no_touch"


# --- conservation

SHIPPED = RULES.attribution.model_copy(update={"lookback_days": {"default": 90}})
EVERYTHING = everything.rules(SHIPPED)
amounts = st.one_of(st.none(), st.integers(-(10**17), 10**17), st.integers(-20, 20))
CHANNELS = ["Direct", "E-mail", "Paid Search"]
acts = st.tuples(
    st.sampled_from("ab"), st.integers(0, 100), st.sampled_from("pq"), st.sampled_from(CHANNELS), st.integers(0, 1440)
)
moments = st.one_of(st.none(), st.integers(0, 110))


@pytest.mark.slow
@settings(max_examples=25 * TIMES)
@given(
    amounts=st.lists(st.tuples(st.sampled_from("abc"), amounts, amounts, amounts), min_size=1, max_size=3),
    path=st.lists(acts, max_size=9),
    lead=moments,
    deal=moments,
    chance=st.randoms(use_true_random=False),
)
def test_every_unit_is_credited_as_the_oracle_does(amounts: Any, path: Any, lead: Any, deal: Any, chance: Any):
    """In every model and scope, whatever the order of the rows; what learns knows nothing here. What an outcome is
    worth in the home currency is split as an outcome of that amount is."""
    outcomes = [
        outcome(f"o{n}", "customer_won", account, amount_current=amount, arr_new=arr, deal_id=n, home_currency="USD",
                amount_home=None if amount is None else home)
        for n, (account, amount, arr, home) in enumerate(amounts)
    ]  # fmt: skip
    touches = [
        touch(f"t{n}", days(ago) - timedelta(minutes=minutes), account, person, channel=channel, campaign=None)
        for n, (account, ago, person, channel, minutes) in enumerate(path)
    ]
    facts = [fact("customer_won", DAY, row["account_id"], deal=row["deal_id"]) for row in outcomes]
    facts += [fact("lead_captured", days(lead))] if lead is not None else []
    facts += [fact("opportunity_created", days(deal), deal=0)] if deal is not None else []
    given = Journeys(outcomes, touches, facts, contacts=[(0, "p"), (1, "p"), (1, "q")])
    found = given.credits(EVERYTHING)
    live = {"state": "live", "suppressed_by": None}
    milestones = [{**dict.fromkeys(OUTCOME), **row, **live} for row in [*outcomes, *facts] if "milestone_id" in row
                  or row["milestone"] != "customer_won"]  # fmt: skip
    wanted = oracle.credits(
        [row | {"born": None} for row in touches], milestones, {0: ["p"], 1: ["p", "q"]}, {},
        EVERYTHING.model_dump() | {"outcomes": ["customer_won"]},
    )  # fmt: skip
    assert {(*key, name): credit for key, shares in found.items() for name, credit in shares.items()} == {
        key[1:]: credit for key, credit in wanted.items()
    }
    for (number, _, _, measure), shares in found.items():
        row = outcomes[int(number[1:])]
        assert sum(shares.values()) == (COUNT_UNIT if measure == "count" else row[CREDITED[measure]])
    of_home = Journeys([row | {"amount_current": row["amount_home"]} for row in outcomes], touches, facts,
                       contacts=given.contacts).credits(EVERYTHING)  # fmt: skip
    assert given.credits(EVERYTHING, "credit_home") == {
        key: shares for key, shares in of_home.items() if key[3] == "amount"
    }
    chance.shuffle(outcomes)
    chance.shuffle(touches)
    assert Journeys(outcomes, touches, facts, contacts=given.contacts).credits(EVERYTHING) == found


def test_the_currency_of_a_credit_is_its_amounts_and_empty_where_there_is_none():
    known, unknown = outcome("o1", amount_current=7, currency="USD"), outcome("o2", amount_current=5, currency=None)
    rows = Journeys([known, unknown], [touch("t", days(1))]).rows(having(models=["linear"]))
    assert rows.select("milestone_id", "measure", "currency", "credit").sort(pl.all()).rows() == [
        ("o1", "amount", "USD", 7),
        ("o1", "count", "", COUNT_UNIT),
        ("o2", "amount", "", 5),
        ("o2", "count", "", COUNT_UNIT),
    ]


# --- models


def patched(monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    monkeypatch.setattr("crm_attribution.mapping.attribution.models", lambda: {model.name: model})


def test_a_model_may_take_parameters_and_leave_an_outcome_to_nobody(monkeypatch: pytest.MonkeyPatch):
    def young(journeys: pl.DataFrame, parameters: Mapping[str, int]) -> pl.Series:
        age = journeys["occurred_at"] - journeys["touched_at"]
        return (age <= timedelta(days=parameters["days"])).cast(pl.Int64)

    patched(monkeypatch, Model("young", "Touches of the last days only.", young, {"days": 1}))
    rules = having(models=["young"], parameters={"young": {"days": 5}})
    journeys = Journeys([outcome("o1"), outcome("o2", account="b")], [touch("t1", days(7)), touch("t2", days(5)),
        touch("t3", days(1)), touch("t4", days(8), account="b")])  # fmt: skip
    found = journeys.credits(rules)
    assert found["o1", "young", "account", "count"] == {"t2": 500_000, "t3": 500_000}
    assert found["o2", "young", "account", "count"] == {"": COUNT_UNIT}
    assert set(journeys.rows(rules)["unattributed_reason"].drop_nulls()) == {"no_weight"}


@pytest.mark.parametrize("wrong", [pl.lit(-1), pl.lit(None, pl.Int64), pl.lit(1 << 50)])
def test_a_model_with_impossible_weights_is_named(monkeypatch: pytest.MonkeyPatch, wrong: pl.Expr):
    patched(monkeypatch, Model("broken", "Wrong.", lambda *_: wrong))
    with pytest.raises(ConfigurationError, match="attribution model broken: "):
        Journeys([outcome()], [touch("t", days(1))]).credits(having(models=["broken"]))
