"""A world in which no two columns agree by luck: of several rows the first is not the last, a deal came by another
channel than its account, what is suppressed has a value, and every measure has an amount of its own.

Cora (company 40) entered the funnel before anybody of it clicked, so its own channel is unknown while its deals have
one; the greater touch id is the older one. Its deals: 601 won by a milestone while its stage is open, 602 internal, 603
open and moved, 604 reopened, 611 in a stage no list names. Two milestones have one id. Dino (company 50) has a win
without a deal.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import at, new_warehouse, rows, utc
from crm_attribution_tests.marts.sample_rows import (
    Tables,
    attempt,
    build,
    conversion,
    credited,
    deal,
    fill,
    milestone,
    record,
    stage,
    touch,
)

CORA, DINO = "company:40", "company:50"
OLD, NEW, TWIN = "click:z", "click:a", "click:b"
D = Decimal


def fact(name: str, number: str, moment: str, deal_id: str | None = None, **more: Any) -> dict[str, Any]:
    """A milestone of Cora; of a deal where one is given."""
    money = {
        f"{measure}_{when}": None for measure in ("amount", "mrr", "arr", "tcv") for when in ("at_event", "current")
    }
    given = milestone(name, number, moment, account=CORA, deal=deal_id)
    return {**given, **money, "mrr_new": None, "arr_new": None, **more}


WON = fact("customer_won", "w1", "2026-04-03T22:30:00Z", "601", booked_on=date(2026, 4, 4), currency="EUR",
           currency_at_event="EUR", amount_at_event=11, mrr_at_event=12, arr_at_event=13, tcv_at_event=14,
           amount_current=21, mrr_current=22, arr_current=23, tcv_current=24, mrr_new=32, arr_new=33)  # fmt: skip
FACTS = [
    fact("lead_captured", "l1", "2026-03-01T10:00:00Z", person_id="p1", subject="person"),
    fact("lead_captured", "l2", "2026-03-04T10:00:00Z", person_id="p2", subject="person"),
    fact("qualified_lead", "q1", "2026-03-06T10:00:00Z", person_id="p1", subject="person"),
    fact("qualified_lead", "q2", "2026-03-08T10:00:00Z", person_id="p2", subject="person"),
    fact("sales_qualified_lead", "w1", "2026-03-09T10:00:00Z", person_id="p1", subject="person"),
    fact("sales_qualified_lead", "s2", "2026-03-11T10:00:00Z", person_id="p2", subject="person"),
    fact("opportunity_created", "o1", "2026-03-12T10:00:00Z", "601", currency="EUR", currency_at_event="USD",
         amount_at_event=5, mrr_at_event=6, arr_at_event=7, tcv_at_event=8, amount_current=21, mrr_current=22,
         arr_current=23, tcv_current=24),
    fact("opportunity_created", "o2", "2026-03-14T10:00:00Z", "602", suppressed_by="email_domain", currency="EUR",
         currency_at_event="EUR", amount_current=900),
    fact("opportunity_created", "o3", "2026-03-16T10:00:00Z", "603", currency="EUR", currency_at_event="EUR",
         amount_current=41, mrr_current=42, arr_current=43, tcv_current=44),
    fact("proposal_sent", "r1", "2026-03-17T10:00:00Z", "603"),
    fact("proposal_sent", "r2", "2026-03-19T10:00:00Z", "604"),
    WON,
    fact("customer_won", "w2", "2026-04-08T09:00:00Z", "604", state="reversed", reason="reopened", currency="EUR",
         currency_at_event="EUR", amount_current=800),
    fact("customer_expanded", "e1", "2026-05-05T10:00:00Z", "605", subtype="expansion", currency="EUR",
         currency_at_event="EUR", amount_current=51, arr_current=53, arr_new=55),
    fact("customer_expanded", "e2", "2026-05-09T10:00:00Z", "606", subtype="renewal", currency="EUR",
         currency_at_event="EUR", amount_current=61, arr_current=63, arr_new=-7),
    fact("customer_expanded", "e3", "2026-05-10T10:00:00Z", "607", currency="USD", currency_at_event="USD",
         tcv_current=77),
    fact("customer_expanded", "e4", "2026-05-11T10:00:00Z", "608", currency="USD", currency_at_event="USD"),
    {**fact("customer_won", "d1", "2026-04-01T10:00:00Z", currency="USD", currency_at_event="USD", amount_current=70),
     "account_id": DINO, "group_key": f"account:{DINO}", "subject": "account"},
]  # fmt: skip


def sent(number: str, action: str, hour: int, state: str = "held", **more: Any) -> dict[str, Any]:
    """A conversion whose moments lie `hour` hours into their days."""
    moments = {"occurred_at": at(f"2026-03-10T{hour:02d}:00:00Z"), "ready_at": at(f"2026-03-11T{hour:02d}:00:00Z"),
               "expires_at": at(f"2026-03-18T{hour:02d}:00:00Z")}  # fmt: skip
    return {**conversion(number, action, FACTS[0], state, "no_identifier"), **moments, **more}


def tables() -> Tables:
    labels = ("paid_search", "google", "cpc", "brand"), ("organic_search", "bing", "organic", "none")
    won = {**FACTS[0], "milestone": "customer_won", "milestone_id": "w1", "currency": "EUR", "amount_current": 21}
    return {
        "raw.account": [
            {"portal_id": "1", "time_zone": "America/New_York", "company_currency": "EUR", "additional_currencies": []}
        ],
        "events.stage": [
            {"stage_id": stage_id, "meaning": meaning, "decided_by": "hubspot"}
            for stage_id, meaning in (
                ("started", "open"), ("late", "open"), ("lost", "lost"), ("closedwon", "won"), ("shut", "lost"),
            )
        ],
        "raw.pipeline_stage": [stage("started", 0, 0.2), stage("late", 1, 0.5), stage("lost", 2, 0.0, closed=True),
                               stage("closedwon", 3, 1.0, closed=True), stage("shut", 4, 0.5, closed=True)],
        "raw.company": [record("40", name="Cora", domain=" Cora.example "), record("50", name="Dino")],
        "raw.deal": [
            deal("601", "started", amount=101, closedate=at("2026-04-01T01:00:00Z")),
            deal("602", "started", amount=102),
            deal("603", "late", amount=103, created_at=at("2026-03-03T02:00:00Z")),
            deal("604", "lost", amount=104),
            deal("605", "shut", amount=105),
            deal("606", "started", amount=106),
            deal("609", "late", "EUR", 107),
            deal("610", "late", "USD", None),
            deal("611", "nowhere", amount=108),
        ],
        "identity.account": [
            {"account_id": CORA, "company_id": "40", "name": "Cora", "domain": "cora.example", "owner_id": "7"},
            {"account_id": DINO, "company_id": "50", "name": "Dino", "domain": "dino.example"},
        ],
        "identity.deal_account": [
            {"deal_id": number, "account_id": CORA, "basis": "primary"}
            for number in ("601", "602", "603", "604", "605", "606", "609", "610", "611")
        ],
        "attribution.touch": [
            touch(OLD, "2026-03-02T09:00:00Z", "p1", CORA, *labels[0]),
            touch(NEW, "2026-03-20T09:00:00Z", "p2", CORA, *labels[1]),
            touch(TWIN, "2026-03-02T09:00:00Z", "p3", DINO, *labels[1]),
            touch("click:c", "2026-03-02T09:00:00Z", "p3", DINO, *labels[0]),
        ],
        "events.milestone": FACTS,
        "attribution.credit": credited(won, [OLD], [OLD, NEW]),
        "conversions.conversion": [
            sent("c1", "Lead", 5), sent("c2", "Lead", 3), sent("c3", "Lead", 7),
            sent("c4", "Sale", 4, "accepted"), sent("c5", "Sale", 6, "accepted"),
            sent("c6", "Sale", 4, "accepted", account="dataset-2"),
            sent("c7", "Sale", 4, "accepted", kind="restatement", revision=1),
            *(sent(f"s-{state}", "State", 4, state) for state in ("pending", "in_flight", "retry", "unknown",
                                                                  "rejected", "expired", "suppressed")),
        ],
        "delivery.attempt": [
            {**attempt("b1", "c4", 1, "2026-03-12T01:00:00Z", "retry"), "finished": at("2026-03-12T09:00:00Z")},
            {**attempt("b2", "c4", 2, "2026-03-12T03:00:00Z", "accepted"), "finished": at("2026-03-12T04:00:00Z")},
            attempt("b3", "c5", 1, "2026-03-12T02:00:00Z", "accepted"),
            attempt("b4", "c1", 1, "2026-03-12T06:00:00Z", None),
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with new_warehouse(tmp_path_factory.mktemp("differing")).session() as session:
        fill(session, tables())
        build(session)
        yield session


def day(number: int, month: int = 3) -> date:
    return date(2026, month, number)


def test_a_deal_may_have_come_by_another_channel_than_its_account(world: Session) -> None:
    found = rows(world, "SELECT subject, subject_id, entry_touch_id, entry_channel, entry_source FROM"
                        " staging.funnel_entry WHERE subject <> 'person' ORDER BY ALL")  # fmt: skip
    deals = ("601", "603", "604", "605", "606", "607", "608")
    assert found == [
        ("account", CORA, None, "Unattributed", None),
        ("account", DINO, TWIN, "organic_search", "bing"),
        *(("deal", number, OLD, "paid_search", "google") for number in deals),
    ], "of two touches of one instant the smaller id, of two instants the earlier whatever its id"
    value = rows(world, "SELECT milestone, entry_channel, milestones, valued, amount_minor, mrr_minor, arr_minor,"
                        " tcv_minor FROM marts.funnel_value ORDER BY ALL")  # fmt: skip
    assert [row for row in value if row[0] == "customer_won"] == [
        ("customer_won", "organic_search", 1, 1, 70, None, None, None),
        ("customer_won", "paid_search", 1, 1, 21, 32, 33, 24),
    ]


def test_of_several_the_first_and_of_expansions_the_last(world: Session) -> None:
    found = rows(
        world,
        "SELECT account_id, entered_on, entry_touched_on, entry_channel, touches, lead_captured_on, qualified_lead_on,"
        " sales_qualified_lead_on, opportunity_created_on, proposal_sent_on, customer_won_on, last_expanded_on,"
        " days_touch_to_opportunity, days_lead_to_opportunity, days_opportunity_to_won, deals_open, deals_won,"
        " deals_lost FROM marts.account_progress ORDER BY 1",
    )
    assert found == [
        (CORA, day(1), None, "Unattributed", 2, day(1), day(6), day(9), day(12), day(17), day(4, 4), day(11, 5),
         None, 11, 23, 4, 3, 1),
        (DINO, day(1, 4), day(2), "organic_search", 2, None, None, None, None, None, day(1, 4), None,
         None, None, None, 0, 0, 0),
    ]  # fmt: skip


def test_what_is_suppressed_is_shown_as_such_and_counted_nowhere(world: Session) -> None:
    found = rows(
        world,
        "SELECT deal_id, status, is_suppressed, entry_channel, amount_minor, weighted_minor, mrr_minor, arr_minor,"
        " tcv_minor, created_on, close_on FROM marts.pipeline ORDER BY deal_id",
    )
    made, none = day(1), (None, None, None)
    assert found == [
        ("601", "won", False, "paid_search", 101, 20, 22, 23, 24, made, day(31)),
        ("602", "open", True, "Unattributed", 102, 20, *none, made, None),
        ("603", "open", False, "paid_search", 103, 52, 42, 43, 44, day(2), None),
        ("604", "lost", False, "paid_search", 104, 0, *none, made, None),
        ("605", "won", False, "paid_search", 105, 53, None, 53, None, made, None),
        ("606", "won", False, "paid_search", 106, 21, None, 63, None, made, None),
        ("609", "open", False, "Unattributed", 107, 54, *none, made, None),
        ("610", "open", False, "Unattributed", None, None, *none, made, None),
        ("611", "open", False, "Unattributed", 108, None, *none, made, None),
    ]
    value = rows(
        world,
        "SELECT account_id, currency, deals_open, wins, open_amount_minor, open_weighted_minor, won_amount_minor,"
        " won_arr_minor, renewed_amount_minor, open_amount, won_amount, won_arr FROM marts.account_value ORDER BY 1, 2",
    )
    assert value == [
        (CORA, "EUR", 3, 3, 318, 106, 133, 81, 61, D("3.18"), D("1.33"), D("0.81")),
        (CORA, "USD", 0, 1, 0, 0, 0, 0, 0, 0, 0, 0),
        (DINO, "USD", 0, 1, 0, 0, 70, 0, 0, 0, D("0.7"), 0),
    ]
    counted = rows(world, "SELECT milestone_id FROM marts.milestone WHERE NOT is_counted ORDER BY 1")
    assert counted == [("o2",), ("w2",)]


def test_every_measure_has_its_own_amount_then_and_now(world: Session) -> None:
    columns = [
        f"{measure}_{when}_minor" for when in ("at_event", "current") for measure in ("amount", "mrr", "arr", "tcv")
    ]
    found = rows(
        world,
        f"SELECT milestone_id, {', '.join(columns)}, mrr_new_minor, arr_new_minor, amount_current, mrr_current,"
        " arr_current, tcv_current, mrr_new, arr_new FROM marts.milestone"
        " WHERE milestone IN ('customer_won', 'opportunity_created') AND milestone_id IN ('w1', 'o1') ORDER BY 1",
    )
    now = (D("0.21"), D("0.22"), D("0.23"), D("0.24"))
    assert found == [
        ("o1", None, None, None, None, 21, 22, 23, 24, None, None, *now, None, None),
        ("w1", 11, 12, 13, 14, 21, 22, 23, 24, 32, 33, *now, D("0.32"), D("0.33")),
    ], "an amount of another currency's moment is not shown beside today's currency"


def test_steps_are_reached_once_and_told_as_often_as_they_happened(world: Session) -> None:
    found = rows(
        world,
        "SELECT subject, step, sum(reached)::BIGINT, sum(milestones)::BIGINT, min(booked_on) FILTER (reached > 0)"
        " FROM marts.funnel WHERE step IN ('lead_captured', 'opportunity_created', 'proposal_sent', 'customer_won')"
        " GROUP BY subject, step, step_number ORDER BY subject, step_number",
    )
    assert found == [
        ("account", "lead_captured", 2, 2, day(1)),
        ("account", "opportunity_created", 2, 2, day(12)),
        ("account", "proposal_sent", 2, 2, day(17)),
        ("account", "customer_won", 2, 2, day(1, 4)),
        ("deal", "opportunity_created", 6, 2, day(12)),
        ("deal", "proposal_sent", 6, 2, day(17)),
        ("deal", "customer_won", 4, 1, day(4, 4)),
        ("person", "lead_captured", 2, 2, day(1)),
    ]


def test_credit_is_shown_by_its_own_touch(world: Session) -> None:
    found = rows(
        world,
        "SELECT model, measure, channel, source, medium, campaign, credit_minor FROM marts.revenue_attribution"
        " WHERE measure = 'amount' ORDER BY ALL",
    )
    assert found == [
        ("first_touch", "amount", "paid_search", "google", "cpc", "brand", 21),
        ("linear", "amount", "organic_search", "bing", "organic", "none", 10),
        ("linear", "amount", "paid_search", "google", "cpc", "brand", 11),
    ]


def test_what_waits_longest_and_what_was_sent_last(world: Session) -> None:
    found = rows(
        world,
        "SELECT action, ad_account, kind, conversions, sends, oldest_waiting_since, next_expiry, newest_occurred_at,"
        " newest_send_at, newest_accepted_at, occurred_on FROM marts.upload_health"
        " WHERE action <> 'State' ORDER BY action, ad_account, kind, occurred_on DESC",
    )
    accepted = ("Sale", "dataset-1", "conversion", 2, 3, None, None, utc("2026-03-10T06:00:00Z"),
                utc("2026-03-12T03:00:00Z"), utc("2026-03-12T04:00:00Z"), day(10))  # fmt: skip
    never = (1, 0, None, None, utc("2026-03-10T04:00:00Z"), None, None, day(10))
    assert found == [
        ("Lead", "dataset-1", "conversion", 2, 1, utc("2026-03-11T05:00:00Z"), utc("2026-03-18T05:00:00Z"),
         utc("2026-03-10T07:00:00Z"), utc("2026-03-12T06:00:00Z"), None, day(10)),
        ("Lead", "dataset-1", "conversion", 1, 0, utc("2026-03-11T03:00:00Z"), utc("2026-03-18T03:00:00Z"),
         utc("2026-03-10T03:00:00Z"), None, None, day(9)),
        accepted,
        ("Sale", "dataset-1", "restatement", *never),
        ("Sale", "dataset-2", "conversion", *never),
    ]  # fmt: skip
    waiting = rows(world, "SELECT state FROM marts.upload_health WHERE action = 'State' AND is_waiting ORDER BY 1")
    assert waiting == [("in_flight",), ("pending",), ("retry",), ("unknown",)]
