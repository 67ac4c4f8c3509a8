"""The ledger of an account's revenue against a plain recount, and each kind of step by an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.events.rules.revenue import Change, _Ledger, movements
from crm_attribution_tests.laws import TIMES

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
What = tuple[str, int, int | None]


def change(what: str, deal: int, day: int, arr: int | None = None, **more: Any) -> Change:
    at = START + timedelta(days=day)
    cause = {"ended": "lost_after_won", "churned": "churn_property"}.get(what, what)
    given: dict[str, Any] = {
        "what": what, "cause": cause, "at": at, "booked_on": at.date(), "event_id": f"e{day}", "deal_id": deal,
        "subtype": "new", "win": ("customer_won", f"w{deal}"), "currency": "EUR",
        "money": {"amount": None, "mrr": None, "arr": arr, "tcv": None},
    }  # fmt: skip
    return Change(**given | more)


def told(*changes: Change) -> list[tuple[str, str, int | None]]:
    """milestone, the win it is about, and ARR of each movement."""
    return [(row["milestone"], row["of_milestone_id"], row["arr"]) for row in movements(changes)]


def test_a_first_win_is_new_a_later_one_expands_and_a_loss_takes_back_what_was_won():
    story = [change("won", 1, 0, 100), change("won", 2, 1, 50), change("priced", 2, 2, 30), change("ended", 2, 3)]
    assert told(*story) == [
        ("revenue_new", "w1", 100),
        ("revenue_expanded", "w2", 50),
        ("revenue_contracted", "w2", -20),
        ("revenue_churned", "w2", -30),
    ]


@pytest.mark.parametrize(
    ("price", "name"), [(120, "revenue_expanded"), (100, "revenue_renewed"), (70, "revenue_contracted")]
)
def test_of_a_renewal_only_the_change_moves_and_a_flat_one_expands_nothing(price: int, name: str):
    story = [change("won", 1, 0, 100), change("won", 2, 9, price, subtype="renewal"), change("churned", 2, 20)]
    assert told(*story) == [("revenue_new", "w1", 100), (name, "w2", price - 100), ("revenue_churned", "w2", -price)]


def test_a_first_win_in_a_renewal_pipeline_is_new_and_one_without_a_value_keeps_what_was_paid():
    assert told(change("won", 1, 0, 100, subtype="renewal")) == [("revenue_new", "w1", 100)]
    assert told(change("won", 1, 0, 100), change("won", 2, 9, None, subtype="renewal"), change("ended", 2, 10)) == [
        ("revenue_new", "w1", 100), ("revenue_renewed", "w2", 0), ("revenue_contracted", "w2", 0),
    ]  # fmt: skip


def test_a_renewal_that_is_lost_gives_back_what_it_replaced():
    story = [change("won", 1, 0, 100), change("won", 2, 9, 130, subtype="renewal"), change("ended", 2, 10)]
    assert told(*story, change("churned", 1, 11)) == [
        ("revenue_new", "w1", 100),
        ("revenue_expanded", "w2", 30),
        ("revenue_contracted", "w2", -30),
        ("revenue_churned", "w1", -100),
    ]


def test_a_price_in_another_currency_ends_the_old_one():
    rows = list(movements([change("won", 1, 0, 100), change("priced", 1, 1, 90, currency="USD")]))
    assert [(row["milestone"], row["currency"], row["arr"]) for row in rows] == [
        ("revenue_new", "EUR", 100), ("revenue_contracted", "EUR", -100), ("revenue_expanded", "USD", 90),
    ]  # fmt: skip


def test_a_loss_takes_back_what_was_booked_too():
    money = {"amount": 7, "mrr": 8, "arr": 96, "tcv": 9}
    rows = list(movements([change("won", 1, 0, money=money), change("ended", 1, 1)]))
    assert [(row["amount"], row["mrr"], row["arr"], row["tcv"]) for row in rows] == [(7, 8, 96, 9), (-7, -8, -96, -9)]


def test_a_value_is_not_carried_into_another_currency():
    story = [change("won", 1, 0, 100), change("priced", 1, 1, None, currency="USD"),
             change("priced", 1, 2, 90, currency="USD")]  # fmt: skip
    assert told(*story) == [
        ("revenue_new", "w1", 100),
        ("revenue_contracted", "w1", -100),
        ("revenue_expanded", "w1", 90),
    ]
    kept = [change("won", 1, 0, 100), change("priced", 1, 1, None), change("priced", 1, 2, 90)]
    assert told(*kept) == [("revenue_new", "w1", 100), ("revenue_contracted", "w1", -10)]


def test_a_renewal_in_another_currency_ends_the_old_one():
    rows = list(movements([change("won", 1, 0, 100), change("won", 2, 1, 90, currency="USD", subtype="renewal")]))
    assert [(row["milestone"], row["currency"], row["arr"]) for row in rows] == [
        ("revenue_new", "EUR", 100), ("revenue_churned", "EUR", -100), ("revenue_new", "USD", 90),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "ends"),
    [(60, [("w2", -50), ("w1", -10)]), (None, [("w2", -50), ("w1", -100)]), (900, [("w2", -50), ("w1", -100)])],
)
def test_a_cancellation_ends_as_much_as_it_says_the_newest_first(value: int | None, ends: list[tuple[str, int]]):
    cancelled = change("churned", 9, 5, value, whole_account=True)
    found = told(change("won", 1, 0, 100), change("won", 2, 1, 50), cancelled)
    assert found[2:] == [("revenue_churned", win, arr) for win, arr in ends]


def test_churn_leaves_what_was_booked():
    money = {"amount": 12, "mrr": 1, "arr": 12, "tcv": 12}
    *_, last = movements([change("won", 1, 0, money=money), change("churned", 1, 3)])
    assert [last[name] for name in money] == [None, -1, -12, None]


steps = st.lists(
    st.tuples(
        st.sampled_from(["won", "renewed", "priced", "ended", "churned"]),
        st.integers(1, 4),
        st.integers(0, 1000),
    ),
    max_size=14,
)


def history(steps: Iterable[tuple[str, int, int]]) -> list[Change]:
    """A possible history: a deal is won before anything else happens to it, and again only when it was lost."""
    found: list[Change] = []
    standing: set[int] = set()
    for day, (what, deal, value) in enumerate(steps):
        wins = what in ("won", "renewed")
        if wins == (deal in standing):
            continue
        (standing.add if wins else standing.discard if what == "ended" else standing.__contains__)(deal)
        more = {"subtype": "renewal"} if what == "renewed" else {}
        found.append(
            change("won" if wins else what, deal, day, None if what in ("ended", "churned") else value, **more)
        )
    return found


def recount(changes: list[Change]) -> dict[int, int]:
    """Deal -> what the account pays for it after these changes, told anew from the list alone."""
    won: dict[int, tuple[int, Change]] = {}
    for place, step in enumerate(changes):
        if step.what == "won":
            won[step.deal_id] = (place, step)
        elif step.what == "ended":
            won.pop(step.deal_id)
    renewals = [place for place, step in won.values() if step.subtype == "renewal"]
    held = {deal: place for deal, (place, _) in won.items() if place >= max(renewals, default=0)}
    value = {}
    for deal, place in held.items():
        prices = [
            step.money["arr"] for step in changes[place:] if step.deal_id == deal and step.what in ("won", "priced")
        ]
        value[deal] = prices[-1] or 0
    gone: set[int] = set()
    for place, step in enumerate(changes):
        if step.what == "churned" and step.deal_id in recount(changes[:place]):
            at = max(at for at, one in enumerate(changes[:place]) if one.what == "won" and one.deal_id == step.deal_id)
            renewed = changes[at].subtype == "renewal"  # with a renewal ends what it replaced: the loss of it later too
            gone |= {deal for deal, won_at in held.items() if won_at == at or (renewed and won_at < at)}
    return {deal: value for deal, value in value.items() if deal not in gone}


@settings(max_examples=300 * TIMES)
@given(steps=steps)
def test_the_bridge_closes_with_what_accounts_pay_for(steps: Any):
    """opening + new + expansion - contraction - churn = closing, after every step, against a plain recount; each
    movement has the sign of its name."""
    changes = history(steps)
    rows = list(movements(changes))
    for place, step in enumerate(changes):
        moved = sum(row["arr"] or 0 for row in rows if row["occurred_at"] <= step.at)
        assert moved == sum(recount(changes[: place + 1]).values())
    signs = {
        "revenue_new": 1,
        "revenue_expanded": 1,
        "revenue_renewed": 0,
        "revenue_contracted": -1,
        "revenue_churned": -1,
    }
    for row in rows:
        assert (row["arr"] or 0) * signs[row["milestone"]] >= 0
        assert row["arr"] in (None, 0) or signs[row["milestone"]] != 0


values = st.one_of(st.none(), st.integers(0, 100))
anything = st.lists(
    st.tuples(
        st.sampled_from(["won", "priced", "ended", "churned", "cancelled"]), st.integers(1, 3), values, values,
        st.sampled_from(["EUR", "USD"]), st.sampled_from(["new", "expansion", "renewal"]), st.sampled_from("ab"),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=300 * TIMES)
@given(steps=anything)
def test_movements_add_up_to_what_is_held_whatever_comes(steps: Any):
    """In any order, with unknown values, currencies that change, deals held in two parts: per currency, to the unit."""
    ledger, moved = _Ledger(), Counter[tuple[str | None, str]]()
    ids = []
    for day, (what, deal, mrr, arr, currency, subtype, part) in enumerate(steps):
        money = {"amount": arr, "mrr": mrr, "arr": arr, "tcv": None}
        kind = {"whole_account": True, "what": "churned"} if what == "cancelled" else {"what": what}
        step = change(what, deal, day, currency=currency, subtype=subtype, part=part, money=money)
        if (what == "won") == ((deal, part) in ledger.held) and what in ("won", "ended"):
            continue
        for row in ledger.play(Change(**{**step.__dict__, **kind})):
            ids.append((row["milestone"], row["milestone_id"]))
            for name in ("mrr", "arr"):
                moved[row["currency"], name] += row[name] or 0
    held = Counter[tuple[str | None, str]]()
    for item in ledger.held.values():
        for name in ("mrr", "arr"):
            held[item.currency, name] += item.money.get(name) or 0
    assert {key: value for key, value in moved.items() if value} == {key: value for key, value in held.items() if value}
    assert len(ids) == len(set(ids))
