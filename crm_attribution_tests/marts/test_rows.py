"""What the tables show for the hand-made rows, row by row."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from crm_attribution.marts.models import run_test
from crm_attribution.money import _EXPONENTS, exponent
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import at, rows, undone, utc
from crm_attribution_tests.marts import sample_rows
from crm_attribution_tests.marts.sample_rows import ACME, BIRK

D = Decimal
MARCH = date(2026, 3, 1)


def day(number: int, month: int = 3) -> date:
    return date(2026, month, number)


def test_milestones_carry_finance_day_flags_and_money_then_and_now(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT milestone_id, booked_on, booked_month, is_counted, account_name, currency, amount_at_event_minor,"
        " amount_current_minor, amount_current, arr_current, tcv_current FROM marts.milestone"
        " WHERE milestone_id IN ('m3', 'm4', 'm8', 'm10', 'm11') ORDER BY milestone_id",
    )
    assert found == [
        ("m10", day(15), MARCH, True, None, "JPY", 900_000, 900_000, D("900000"), None, None),
        ("m11", day(2), MARCH, False, None, None, None, None, None, None, None),
        ("m3", day(6), MARCH, True, "Acme", "EUR", 100_000, 120_001, D("1200.01"), D("1200.01"), None),
        ("m4", day(1, 4), day(1, 4), True, "Acme", "EUR", 120_001, 120_001, D("1200.01"), D("1200.01"), None),
        ("m8", day(20), MARCH, False, "Birk", "USD", 70_000, 70_000, D("700"), None, None),
    ]


def test_first_touch_may_come_an_hour_late_and_not_later(marts: Session) -> None:
    found = rows(
        marts, "SELECT subject, subject_id, entry_touch_id, entry_channel FROM staging.funnel_entry ORDER BY ALL"
    )
    assert found == [
        ("account", ACME, "click:a", "Paid Search"),
        ("account", BIRK, "click:b", "Paid Social"),
        ("account", "deal:502", None, "Unattributed"),
        ("deal", "501", "click:a", "Paid Search"),
        ("deal", "502", None, "Unattributed"),
        ("deal", "503", "click:b", "Paid Social"),
        ("deal", "505", "click:a", "Paid Search"),
        ("person", "p1", "click:a", "Paid Search"),
        ("person", "p2", "click:b", "Paid Social"),
        ("person", "p3", None, "Unattributed"),
    ]


def test_a_deal_that_jumps_to_won_has_reached_every_step(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT step, booked_on, reached, milestones FROM marts.funnel WHERE subject = 'deal' AND subtype = 'new'"
        " AND entry_channel = 'Paid Search' ORDER BY step_number, booked_on",
    )
    first = day(1, 4)
    between = ["meeting_scheduled", "opportunity_qualified", "demo_completed", "negotiation_started", "proposal_sent"]
    assert found == [
        ("opportunity_created", day(6), 1, 1),
        *((step, first, 1, 0) for step in between),
        ("customer_won", first, 1, 1),
    ], "the renewal of 505 is no step of a funnel"


def test_a_deal_has_one_subtype_for_all_its_steps(marts: Session) -> None:
    """That of its newest fact: a deal that is moved into another pipeline is not new business and expansion at once."""
    (model,) = (one for one in sample_rows.models() if one.key == "marts.funnel")
    with undone(marts):
        marts.connection.execute(
            "UPDATE events.milestone SET subtype = 'expansion' WHERE deal_id = 501 AND milestone = 'customer_won'"
        )
        marts.connection.execute(f"CREATE TEMP TABLE moved AS {model.sql}")
        found = rows(marts, "SELECT subject, subtype, sum(milestones)::INT FROM moved GROUP BY ALL ORDER BY ALL")
    assert found == [("account", None, 7), ("deal", "expansion", 2), ("deal", "new", 2), ("person", None, 4)]


def test_the_funnel_of_persons_ends_before_deals_and_leaves_out_internal_traffic(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT step, booked_on, entry_channel, reached, milestones FROM marts.funnel WHERE subject = 'person'"
        " ORDER BY step_number, booked_on",
    )
    assert found == [
        ("lead_captured", day(1), "Paid Search", 1, 1),
        ("lead_captured", day(2), "Unattributed", 1, 1),
        ("lead_captured", day(10), "Paid Social", 1, 1),
        ("qualified_lead", day(3), "Paid Search", 1, 1),
    ]


def test_the_funnel_of_accounts_has_all_steps_and_forgets_the_reopened_win(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT step, sum(reached)::BIGINT, sum(milestones)::BIGINT FROM marts.funnel WHERE subject = 'account'"
        " GROUP BY step_number, step ORDER BY step_number",
    )
    assert found == [
        ("lead_captured", 3, 2),
        ("qualified_lead", 3, 1),
        ("sales_qualified_lead", 3, 0),
        ("opportunity_created", 3, 3),
        ("meeting_scheduled", 1, 0),
        ("opportunity_qualified", 1, 0),
        ("demo_completed", 1, 0),
        ("negotiation_started", 1, 0),
        ("proposal_sent", 1, 0),
        ("customer_won", 1, 1),
    ]


def test_the_funnels_value_stands_per_currency(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT booked_on, milestone, subtype, entry_channel, currency, milestones, amount_minor, amount, arr"
        " FROM marts.funnel_value ORDER BY booked_on",
    )
    acme = (1, 120_001, D("1200.01"), D("1200.01"))
    assert found == [
        (day(6), "opportunity_created", "new", "Paid Search", "EUR", *acme),
        (day(12), "opportunity_created", "new", "Paid Social", "USD", 1, 50_000, D("500"), None),
        (day(15), "opportunity_created", "new", "Unattributed", "JPY", 1, 900_000, D("900000"), None),
        (day(1, 4), "customer_won", "new", "Paid Search", "EUR", *acme),
        (day(2, 5), "customer_expanded", "renewal", "Paid Search", "EUR", 1, 60_000, D("600"), D("-600.01")),
    ]


def test_attributed_revenue_is_exact_and_current(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT measure, model, channel, source, campaign, currency, credit_minor, credit"
        " FROM marts.revenue_attribution WHERE milestone = 'customer_won' AND measure IN ('count', 'amount')"
        " ORDER BY ALL",
    )
    assert found == [
        ("amount", "first_touch", "Paid Search", "google", "brand", "EUR", 120_001, D("1200.01")),
        ("amount", "linear", "E-mail", "newsletter", "(withheld)", "EUR", 60_000, D("600")),
        ("amount", "linear", "Paid Search", "google", "brand", "EUR", 60_001, D("600.01")),
        ("count", "first_touch", "Paid Search", "google", "brand", None, 1_000_000, D("1")),
        ("count", "linear", "E-mail", "newsletter", "(withheld)", None, 500_000, D("0.5")),
        ("count", "linear", "Paid Search", "google", "brand", None, 500_000, D("0.5")),
    ]


def test_what_no_touch_explains_has_its_reason(marts: Session) -> None:
    shown = rows(
        marts,
        "SELECT DISTINCT channel = 'Unattributed', unattributed_reason, scope FROM marts.revenue_attribution"
        " ORDER BY ALL",
    )
    assert shown == [(False, None, "account"), (True, "no_touch", "account")]


def test_of_a_renewal_only_the_change_is_credited(marts: Session) -> None:
    shown = rows(marts, "SELECT mrr_new_minor, mrr_new, arr_new FROM marts.milestone WHERE milestone_id = 'm5'")
    credit = rows(
        marts,
        "SELECT measure, sum(credit) FROM marts.revenue_attribution WHERE subtype = 'renewal' AND model = 'linear'"
        " AND milestone = 'customer_expanded' AND measure <> 'count' GROUP BY measure ORDER BY measure",
    )
    assert shown == [(-4_000, D("-40"), D("-600.01"))]
    assert credit == [("amount", D("600")), ("arr", D("-600.01")), ("mrr", D("-40"))]


def test_unattributed_is_a_channel_of_its_own(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT booked_on, milestone, subtype, currency, credit_minor, credit FROM marts.revenue_attribution"
        " WHERE channel = 'Unattributed' AND model = 'linear' AND measure = 'amount' ORDER BY booked_on",
    )
    assert found == [
        (day(15), "opportunity_created", "new", "JPY", 900_000, D("900000")),
        (day(2, 5), "customer_expanded", "renewal", "EUR", 60_000, D("600")),
    ]


def test_the_pipeline_shows_live_deals_only(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT deal_id, status, stage_label, close_on, account_id, account_name, entry_channel, currency,"
        " amount_minor, weighted_minor, amount, weighted FROM marts.pipeline ORDER BY deal_id",
    )
    won = ("won", "Closedwon")
    eur = ("EUR", 120_001, 120_001, D("1200.01"), D("1200.01"))
    assert found == [
        ("501", *won, day(1, 4), ACME, "Acme", "Paid Search", *eur),
        ("502", "open", "Started", None, "deal:502", None, "Unattributed", "JPY", 900_000, 180_000, 900_000, 180_000),
        ("503", "open", "Contractsent", None, BIRK, "Birk", "Paid Social", "USD", 50_005, 45_005, D("500.05"),
         D("450.05")),
        ("504", "open", "Started", day(20), BIRK, "Birk", "Unattributed", "USD", 70_000, 14_000, 700, 140),
        ("505", *won, day(2, 5), ACME, "Acme", "Paid Search", "EUR", 60_000, 60_000, 600, 600),
        ("506", "lost", "Closedlost", None, BIRK, "Birk", "Unattributed", "EUR", 1_000, 0, 10, 0),
    ]  # fmt: skip


def test_how_far_an_account_came(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT account_id, account_name, is_target_account, entered_on, entry_touched_on, entry_channel, touches,"
        " lead_captured_on, opportunity_created_on, customer_won_on, last_expanded_on, days_touch_to_opportunity,"
        " days_opportunity_to_won, deals_open, deals_won, deals_lost FROM marts.account_progress ORDER BY account_id",
    )
    acme = (day(1), day(1), "Paid Search", 2, day(1), day(6), day(1, 4), day(2, 5), 5, 26, 0, 2, 0)
    birk = (day(10), day(10), "Paid Social", 1, day(10), day(12), None, None, 2, None, 2, 0, 1)
    yen = (day(15), None, "Unattributed", 0, None, day(15), None, None, None, None, 1, 0, 0)
    assert found == [(ACME, "Acme", True, *acme), (BIRK, "Birk", None, *birk), ("deal:502", None, None, *yen)]


def test_an_accounts_value_per_currency(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT account_id, currency, deals_open, wins, open_amount_minor, open_weighted_minor, won_amount_minor,"
        " won_arr_minor, renewed_amount_minor, won_amount FROM marts.account_value ORDER BY account_id",
    )
    assert found == [
        (ACME, "EUR", 0, 2, 0, 0, 180_001, 60_000, 60_000, D("1800.01")),
        (BIRK, "USD", 2, 0, 120_005, 59_005, 0, 0, 0, 0),
        ("deal:502", "JPY", 1, 0, 900_000, 180_000, 0, 0, 0, 0),
    ]


def test_upload_health(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT action, state, reason, occurred_on, conversions, sends, oldest_waiting_since, next_expiry,"
        " newest_accepted_at FROM marts.upload_health ORDER BY action, state",
    )
    waiting = (utc("2026-03-11T00:00:00Z"), utc("2026-03-18T00:00:00Z"), None)
    assert found == [
        ("Lead", "accepted", None, day(1), 1, 2, None, None, utc("2026-03-11T02:00:00Z")),
        ("Lead", "held", "consent_unknown", day(10), 1, 0, *waiting),
        ("Purchase", "pending", None, day(1, 4), 1, 0, *waiting),
        ("Renewal", "not_adjustable", "lost", day(1, 4), 1, 0, None, None, None),
        ("Renewal", "processed", None, day(1, 4), 1, 1, None, None, utc("2026-03-11T03:00:00Z")),
    ]


def test_each_conversion_with_its_fact_click_and_value(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT conversion_id, kind, adjusts, cause, state, is_waiting, is_counted, sends, value, deal_id, account_id,"
        " has_click, click_channel FROM marts.conversion ORDER BY 1",
    )
    assert found == [
        ("c1", "conversion", None, None, "accepted", False, True, 2, None, None, "company:10", False, None),
        ("c2", "conversion", None, None, "held", True, False, 0, None, None, "company:20", False, None),
        ("c3", "conversion", None, None, "pending", True, False, 0, None, "501", "company:10", False, None),
        ("c4", "conversion", None, None, "processed", False, True, 1, Decimal("120.00"), "501", "company:10", True,
         "Paid Social"),
        ("c5", "retraction", "c4", "lost", "not_adjustable", False, False, 0, Decimal("0.00"), "501", "company:10",
         False, None),
    ]  # fmt: skip


def test_what_a_platform_believes_wrongly(marts: Session) -> None:
    found = rows(marts, "SELECT * EXCLUDE (destination, ad_account) FROM marts.delivery_exposure")
    assert found == [("Renewal", "EUR", "lost", False, 1, 120_00, 0, 120_00, Decimal("120.00"))]


def test_absorbed_records_are_left_out_and_chains_followed(marts: Session) -> None:
    assert rows(marts, "SELECT contact_id, company_id, has_email, is_archived FROM staging.contact ORDER BY 1") == [
        ("1", "10", True, False),
        ("3", None, False, True),
    ]
    assert rows(marts, "SELECT company_id, domain, absorbed_records FROM staging.company ORDER BY 1") == [
        ("10", "acme.example", 1),
        ("20", "birk.example", 0),
    ]
    assert rows(marts, "SELECT absorbed_id, live_id FROM staging.merge WHERE object_type = 'deals' ORDER BY 1") == [
        ("508", "503"),
        ("509", "503"),
    ]
    assert rows(marts, "SELECT deal_id, is_won, is_closed FROM staging.deal WHERE is_closed ORDER BY 1") == [
        ("501", True, True),
        ("505", True, True),
        ("506", False, True),
    ]
    assert rows(marts, "SELECT to_id FROM staging.association") == [("1",)]


def test_addresses_are_cut_to_their_host(marts: Session) -> None:
    found = rows(
        marts, "SELECT destination_host, referrer_host, click_id_kinds FROM staging.link_click ORDER BY click_id"
    )
    assert found == [("private.example", "mail.example", ["gclid"])] * 2
    assert rows(marts, "SELECT page_host, click_id_kinds FROM staging.form_submission") == [
        ("www.acme.example", ["gclid"])
    ]


def test_minor_units_are_those_of_the_money_module(empty: Session) -> None:
    codes = sorted({*_EXPONENTS, "EUR", "USD", "GBP", "CHF"})
    deals = [sample_rows.deal(str(number), "started", code, 1) for number, code in enumerate(codes, 1)]
    sample_rows.fill(empty, {"raw.deal": deals})
    sample_rows.build(empty, "staging.currency")
    found = rows(empty, "SELECT currency, digits, unit FROM staging.currency ORDER BY currency")
    assert found == [(code, exponent(code), D(1).scaleb(-exponent(code))) for code in codes]


def test_an_account_without_a_row_of_its_own_keeps_its_id_and_figures(empty: Session) -> None:
    won = sample_rows.milestone("customer_won", "w", "2026-03-05T10:00:00Z", account="company:99", deal="9",
                                subtype="new", money=("EUR", 1000, None, 1000))  # fmt: skip
    sample_rows.fill(empty, {"events.milestone": [won]})
    sample_rows.build(empty, "marts.account_value")
    columns = "account_id, account_name, currency, wins, won_amount_minor"
    assert rows(empty, f"SELECT {columns} FROM marts.account_value") == [("company:99", None, "EUR", 1, 1000)]


def test_spend_shows_the_campaign_of_the_touches_or_that_there_is_none(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT spent_on, spent_month, platform, campaign_id, campaign_name, campaign, match, currency, amount_minor,"
        " amount, clicks FROM marts.spend WHERE platform <> 'hubspot'"
        " ORDER BY spent_on, currency, campaign_id NULLS FIRST",
    )
    assert found == [
        (day(2), MARCH, "google_ads", None, None, None, "none", "EUR", -250, D("-2.50"), 10),
        (day(2), MARCH, "google_ads", "77", "Brand", "brand", "name", "EUR", 12_345, D("123.45"), 10),
        (day(2), MARCH, "google_ads", "78", "BRAND!", "brand", "name", "EUR", 5, D("0.05"), 10),
        (day(2), MARCH, "google_ads", "79", "Brand | Berlin", None, "none", "JPY", 1_000, D("1000"), None),
        (day(2), MARCH, "google_ads", "80", "(withheld)", None, "none", "KWD", 3, D("0.003"), 20),
        (day(2), MARCH, "linkedin", "abm", "brand", "abm", "id", "USD", 700, D("7.00"), 10),
        (day(1, 4), day(1, 4), "google_ads", None, None, None, "none", "EUR", 250, D("2.50"), 10),
    ]


def test_the_arr_bridge_carries_a_month_in_which_nothing_moved(marts: Session) -> None:
    columns = "month, opening_minor, new_minor, expansion_minor, contraction_minor, churn_minor, closing_minor"
    found = rows(marts, f"SELECT currency, {columns} FROM marts.arr_bridge WHERE basis = 'own' ORDER BY ALL")
    assert found == [
        ("EUR", day(1, 4), 0, 120_001, 0, 0, 0, 120_001),
        ("EUR", day(1, 5), 120_001, 0, 0, 60_001, 0, 60_000),
        ("EUR", day(1, 6), 60_000, 0, 0, 0, 0, 60_000),
        ("EUR", day(1, 7), 60_000, 0, 0, 0, 60_000, 0),
        ("USD", MARCH, 0, 70_000, 0, 0, 70_000, 0),
    ]
    at_home = rows(marts, f"SELECT {columns} FROM marts.arr_bridge WHERE basis = 'home' AND month = '2026-03-01'")
    assert at_home == [(MARCH, 0, 63_000, 0, 0, 63_000, 0)]


def test_money_spent_and_its_value_at_home_stand_side_by_side(marts: Session) -> None:
    columns = "currency, amount_minor, home_currency, rate, amount_home_minor, amount_home"
    assert rows(marts, f"SELECT {columns} FROM marts.spend WHERE campaign_id IN ('77', '79', 'abm') ORDER BY 1") == [
        ("EUR", 12_345, "EUR", "1", 12_345, D("123.45")),
        ("JPY", 1_000, "EUR", None, None, None),
        ("USD", 700, "EUR", "0.9", 630, D("6.30")),
    ]
    assert rows(marts, f"SELECT kind, amount, rate_source, {columns} FROM marts.cost ORDER BY kind, currency") == [
        ("fairs", D("5000"), None, "JPY", 5_000, "EUR", None, None, None),
        ("salaries", D("1000.50"), "home", "EUR", 100_050, "EUR", "1", 100_050, D("1000.50")),
        ("salaries", D("3.33"), "table", "USD", 333, "EUR", "0.9", 300, D("3.00")),
        ("tools", D("-0.07"), "home", "EUR", -7, "EUR", "1", -7, D("-0.07")),
    ]


def test_hubspots_spend_counts_where_no_platform_tells_spend_of_the_campaign(marts: Session) -> None:
    columns = "campaign_id, campaign, match, is_counted, amount_minor"
    assert rows(marts, f"SELECT {columns} FROM marts.spend WHERE platform = 'hubspot' ORDER BY 1") == [
        ("g1", "brand", "id", False, 9_999),
        ("g2", None, "none", True, 4_000),
    ]
    columns = "campaign_name, utm_campaign, currency, budget, spent, counted"
    assert rows(marts, f"SELECT {columns} FROM marts.campaign_budget ORDER BY campaign_id") == [
        ("Spring", "brand", "EUR", D("500"), D("99.99"), D("0")),
        ("Fair", None, "EUR", D("100"), D("40"), D("40")),
    ]
    assert rows(marts, "SELECT sum(amount) FROM marts.spend WHERE is_counted AND campaign = 'brand'") == [
        (D("123.50"),)
    ]


def test_funnel_and_accounts_are_worth_something_at_home_too_or_visibly_nothing(marts: Session) -> None:
    found = rows(
        marts,
        "SELECT milestone, currency, home_currency, amount_home_minor, arr_home FROM marts.funnel_value"
        " ORDER BY booked_on",
    )
    assert found == [
        ("opportunity_created", "EUR", "EUR", 120_001, D("1200.01")),
        ("opportunity_created", "USD", "EUR", 45_000, None),
        ("opportunity_created", "JPY", None, None, None),
        ("customer_won", "EUR", "EUR", 120_001, D("1200.01")),
        ("customer_expanded", "EUR", "EUR", 60_000, D("-600.01")),
    ]
    found = rows(
        marts,
        "SELECT account_id, home_currency, open_amount_home_minor, open_weighted_home_minor, won_amount_home,"
        " won_arr_home_minor, renewed_amount_home_minor FROM marts.account_value ORDER BY account_id",
    )
    assert found == [
        (ACME, "EUR", 0, 0, D("1800.01"), 60_000, 60_000),
        (BIRK, None, None, None, None, None, None),
        ("deal:502", None, None, None, None, None, None),
    ]


def test_open_deals_are_converted_by_the_rate_of_their_opportunity(empty: Session) -> None:
    tables = sample_rows.tables()
    fact = {**sample_rows.FACTS["birk_opportunity"], "amount_current": 50_005}
    sample_rows.fill(
        empty,
        {
            **tables,
            "raw.deal": [row for row in tables["raw.deal"] if row["id"] == "503"],
            "events.milestone": [fact],
            "events.home_value": [sample_rows.home_value(fact)],
        },
    )
    sample_rows.build(empty, "marts.account_value")
    columns = "home_currency, open_amount_minor, open_amount_home_minor, open_weighted_home_minor, open_amount_home"
    found = rows(empty, f"SELECT {columns} FROM marts.account_value WHERE account_id = '{BIRK}'")
    assert found == [("EUR", 50_005, 45_004, 40_504, D("450.04"))]


def test_spend_of_a_campaign_in_several_spellings_is_one_row_with_the_one_of_most_touches(empty: Session) -> None:
    touches = [
        ("a", "de_brand"),
        ("b", "DE Brand"),
        ("c", "DE Brand"),
        ("d", "DE-Markt"),
        ("e", "de markt"),
        ("f", "!"),
    ]
    sample_rows.fill(
        empty,
        {
            "attribution.touch": [
                sample_rows.touch(
                    f"click:{n}", "2026-03-01T09:00:00Z", "p1", ACME, "Paid Search", "google", "cpc", name
                )
                for n, name in touches
            ],
            "raw.ad_spend": [
                sample_rows.spend(*given)
                for given in (("1", "DE | Brand", 1), ("2", "de_brand", 2), ("3", "de.markt", 4), ("4", "?", 8))
            ],
        },
    )
    sample_rows.build(empty, "marts.spend")
    found = rows(empty, "SELECT campaign_id, campaign, match, amount_minor FROM marts.spend ORDER BY 1")
    assert found == [
        ("1", "DE Brand", "name", 1),
        ("2", "de_brand", "name", 2),
        ("3", "DE-Markt", "name", 4),
        ("4", None, "none", 8),
    ]


def test_what_weakens_the_figures_is_told_in_touches_and_in_money(empty: Session) -> None:
    touches = [
        ("click:a", "Other", "google", "cpx", "brand", None),
        ("click:b", "Other", "google", "cpx", None, None),
        ("click:c", "Other", sample_rows.CANARY, None, None, None),
        ("click:d", "Other", None, None, None, None),
        ("click:e", "Paid Search", "google", "cpc", "brand", 1),
        ("click:f", "Paid Search", "google", "cpc", "nobody-paid", 1),
        ("click:g", "Paid Search", "google", "cpc", None, 1),
        ("click:h", "Referral", "friend", "referral", None, 7),
        ("click:i", "Organic Social", "x", "social", "thread", 8),
    ]
    credits = [
        (touch, "linear", measure, currency, credit, None)
        for touch, *_ in touches
        for measure, currency, credit in (("amount", "EUR", 100), ("mrr", "EUR", 7), ("count", "", 111_111))
    ]
    closed = ("click:a", "linear", "amount", "EUR", 999, at("2026-03-20"))
    sample_rows.fill(
        empty,
        {
            "attribution.touch": [
                sample_rows.touch(number, "2026-03-01T09:00:00Z", "p1", ACME, channel, *utm, rule=rule)
                for number, channel, *utm, rule in touches
            ],
            "events.milestone": [sample_rows.FACTS["acme_won"]],
            "attribution.credit": [
                {"milestone": sample_rows.FACTS["acme_won"]["milestone"],
                 "milestone_id": sample_rows.FACTS["acme_won"]["milestone_id"], "scope": "account", "touch_id": touch,
                 "model": model, "measure": measure, "currency": currency, "credit": credit,
                 "recorded_at": at("2026-03-12"), "superseded_at": until}
                for touch, model, measure, currency, credit, until in (*credits, closed)
            ],
            "raw.ad_spend": [sample_rows.spend("1", "Brand", 500), sample_rows.spend("2", "Unseen", 300)],
        },
    )  # fmt: skip
    sample_rows.build(empty, "marts.hygiene")
    found = rows(
        empty,
        "SELECT problem, subject, model, touches, amount FROM marts.hygiene"
        " ORDER BY problem, subject, model NULLS FIRST",
    )
    assert found == [
        ("spend_without_touches", "google_ads: Unseen", None, None, D("3.00")),
        ("touches_without_spend", "Paid Search: nobody-paid", None, 1, None),
        ("touches_without_spend", "Paid Search: nobody-paid", "linear", None, D("1.00")),
        ("unknown_medium", "cpx", None, 2, None),
        ("unknown_medium", "cpx", "linear", None, D("2.00")),
        ("untagged", "(none)", None, 1, None),
        ("untagged", "(none)", "linear", None, D("1.00")),
        ("untagged", "(withheld)", None, 1, None),
        ("untagged", "(withheld)", "linear", None, D("1.00")),
        ("without_campaign", "Paid Search", None, 1, None),
        ("without_campaign", "Paid Search", "linear", None, D("1.00")),
    ]
    for test in (test for model in sample_rows.models() if model.key == "marts.hygiene" for test in model.tests):
        assert run_test(empty.connection, test).passed, test.name
