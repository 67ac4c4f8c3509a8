"""A small portal written by hand, as it lies in the warehouse before the marts are made.

Acme (company 10) comes by paid search, is won over midnight and renews; Birk (20) clicks a moment after HubSpot dated
its first contact, holds an open deal and a win that was reopened; deal 502 has no company and pays in yen; one person
has only touches from later on; one is internal. Every free text that could name a person carries CANARY.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from crm_attribution.attribution.rules.spend_campaigns import spend_campaigns as campaigns_of_spend
from crm_attribution.events.rules.values import CREDITED
from crm_attribution.layers import FIGURES, run
from crm_attribution.mapping import Rules, load
from crm_attribution.mapping.spend import FIELDS
from crm_attribution.marts.models import SqlModel, discover, materialize, order
from crm_attribution.money import split
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import at

ROOT = Path(__file__).parents[2] / "dbt_like_sql"
CANARY = "canary.person@private.example"
BEGINNING = "1970-01-01T00:00:00Z"

Row = dict[str, Any]
Tables = dict[str, list[Row]]


@cache
def models() -> tuple[SqlModel, ...]:
    return tuple(order(discover(ROOT)))


def fill(session: Session, tables: Mapping[str, Sequence[Row]]) -> None:
    """Write rows; those of events.milestone with their events (`linked_event_ids`, the carrier first)."""
    for name, rows in tables.items():
        given = [{key: value for key, value in row.items() if key != "linked_event_ids"} for row in rows]
        session[name].upsert(pl.DataFrame(given, infer_schema_length=None))
        if name == "events.milestone" and rows:
            _link(session, rows)


def _link(session: Session, milestones: Sequence[Row]) -> None:
    links = [
        {**{name: row[name] for name in ("milestone", "milestone_id")}, "event_id": event,
         "role": "linked" if place else "carrier", "reason": "repeated" if place else "first"}
        for row in milestones for place, event in enumerate(row["linked_event_ids"])
    ]  # fmt: skip
    frame = pl.DataFrame(links)
    session["events.milestone_event"].replace(frame, frame.select("milestone", "milestone_id"))


def remember(session: Session) -> None:
    """Record what the figures are made of, as the layer after credit does."""
    run(FIGURES, session, load(), at("2026-07-01T00:00:00Z"))


def build(session: Session, *wanted: str) -> int:
    """Record what the figures are made of and materialize every model, or those that are wanted with what they and
    their tests read; how many rows changed."""
    remember(session)
    asked = [model for model in models() if model.key in wanted or not wanted]
    needed = {name for model in asked for name in (model.key, *(n for test in model.tests for n in test.depends))}
    for model in reversed(models()):
        needed |= set(model.depends) if model.key in needed else set()
    return sum(materialize(session.connection, model).changed_rows for model in models() if model.key in needed)


def record(number: str, **columns: Any) -> Row:
    stamp = at("2026-03-01T08:00:00Z")
    properties = f'{{"firstname": "{CANARY}", "phone": "{CANARY}"}}'
    common = {"created_at": stamp, "modified_at": stamp, "archived": False, "extracted_at": stamp}
    return {"id": number, "properties": properties, "merged_ids": [], **common, **columns}


def deal(number: str, stage: str, currency: str = "EUR", amount: int | None = None, **columns: Any) -> Row:
    given = {"dealname": CANARY, "pipeline": "default", "dealstage": stage, "dealtype": "newbusiness"}
    won = str(stage == "closedwon").lower()
    properties = f'{{"hubspot_owner_id": "{CANARY}", "hs_is_closed_won": "{won}"}}'
    money = {"currency": currency, "amount": amount}
    return record(number, **{"properties": properties, "hubspot_owner_id": "7", **given, **money, **columns})


def stage(name: str, position: int, probability: float, closed: bool = False) -> Row:
    pipeline = {"object_type": "deals", "pipeline_id": "default", "pipeline_label": "Sales"}
    here = {"stage_id": name, "stage_label": name.title(), "display_order": position, "probability": probability}
    return {**pipeline, **here, "is_closed": closed, "archived": False}


def merge(object_type: str, absorbed: str, survivor: str) -> Row:
    return {
        "object_type": object_type,
        "absorbed_id": absorbed,
        "survivor_id": survivor,
        "merged_at": None,
        "source": "hs_merged_object_ids",
    }


def click(number: str, moment: str, **columns: Any) -> Row:
    named = {"click_id": number, "clicked_at": at(moment), "received_at": at(moment), "extracted_at": at(moment)}
    private = {
        "destination_url": f"https://{CANARY}:80/demo?email={CANARY}",
        "referrer": f"https://mail.example/{CANARY}",
        "user_agent": CANARY,
        "ip_hash": CANARY,
        "utm_term": CANARY,
        "utm_content": CANARY,
        "gclid": CANARY,
    }
    return {**named, **private, "link_slug": "demo", "link_tags": ["ads"], "is_bot": False, **columns}


def touch(
    number: str, moment: str, person: str, account: str | None, channel: str, *utm: str | None, rule: int | None = 1
) -> Row:
    source, medium, campaign = utm
    kind = "link_click" if number.startswith("click") else "form_submission"
    labels = {"channel": channel, "channel_rule": rule, "source": source, "medium": medium, "campaign": campaign}
    who = {"person_id": person, "contact_id": "1", "account_id": account}
    return {"touch_id": number, "touched_at": at(moment), "kind": kind, **who, **labels,
            "click_id_kinds": [], "origin": "raw"}  # fmt: skip


def spend(campaign: str, name: str, amount: int, currency: str = "EUR", clicks: int | None = 10, **columns: Any) -> Row:
    where = {"date": date(2026, 3, 2), "platform": "google_ads", "ad_account": "1", "currency": currency}
    figures = {"campaign_id": campaign, "campaign_name": name, "amount": amount, "clicks": clicks}
    stamp = at("2026-03-03T06:00:00Z")
    return {**where, **figures, "impressions": 1_000, "told_at": stamp, "extracted_at": stamp, **columns}


def cost(kind: str, amount: int, currency: str = "EUR") -> Row:
    stamp = at("2026-04-03T06:00:00Z")
    told = {"told_at": stamp, "extracted_at": stamp}
    return {"month": date(2026, 3, 1), "kind": kind, "currency": currency, "amount": amount, **told}


def milestone(
    name: str,
    number: str,
    moment: str,
    *,
    person: str | None = None,
    account: str | None = None,
    deal: str | None = None,
    booked: date | None = None,
    money: tuple[str, int | None, int | None, int | None] | None = None,
    at_event: int | None = None,
    **columns: Any,
) -> Row:
    """`money` is currency, amount, MRR and ARR of now; `at_event` the amount of then."""
    currency, amount, mrr, arr = money or (None, None, None, None)
    then = at(moment)
    return {
        "milestone": name,
        "milestone_id": number,
        "subject": "deal" if deal else "person",
        "group_key": f"account:{account}" if account else f"person:{person}",
        "event_id": number,
        "linked_event_ids": [number],
        "rule": "first_entry",
        "occurred_at": then,
        "observed_at": then,
        "ready_from": then,
        "booked_on": booked or then.date(),
        "imported": False,
        "person_id": person,
        "account_id": account,
        "deal_id": deal,
        "currency": currency,
        "currency_at_event": currency,
        "amount_at_event": at_event,
        "amount_current": amount,
        "mrr_current": mrr,
        "arr_current": arr,
        "mrr_new": mrr,
        "arr_new": arr,
        "state": "live",
        **columns,
    }


RATES = {"EUR": ("1", "home", Fraction(1)), "USD": ("0.9", "table", Fraction(9, 10))}
"""What the sample's currencies are worth in EUR; no one knows a rate of the yen."""


def home_value(fact: Row) -> Row:
    """What a milestone is worth in EUR."""
    rate, source, exact = RATES.get(fact["currency"], (None, None, None))
    values = {f"{measure}_home": fact.get(column) for measure, column in CREDITED.items()}
    return {
        **{name: fact[name] for name in ("milestone", "milestone_id", "currency")},
        **{"home_currency": "EUR", "rate": rate, "rate_source": source},
        "rate_on": fact["booked_on"] if source == "table" else None,
        **{name: round(value * exact) for name, value in values.items() if value is not None and exact is not None},
    }


def home_spend(row: Row) -> Row:
    """What a row of spend or costs is worth in EUR."""
    rate, source, exact = RATES.get(row["currency"], (None, None, None))
    period, starts_on = ("month", row["month"]) if "month" in row else ("day", row["date"])
    return {
        **{"period": period, "starts_on": starts_on, "currency": row["currency"], "amount": row["amount"]},
        **{"home_currency": "EUR", "rate": rate, "rate_source": source},
        "rate_on": starts_on if source == "table" else None,
        "amount_home": None if exact is None else round(row["amount"] * exact),
    }


def spend_campaigns(spends: Sequence[Row], rules: Rules | None = None) -> list[Row]:
    """What the campaigns of spend may be called in touches, as shipped or by rules."""
    utm = {row["campaign_id"]: row["utm_campaign"] for row in CAMPAIGNS}
    frame = pl.DataFrame(spends, infer_schema_length=None).select(FIELDS).unique(maintain_order=True)
    frame = frame.with_columns(pl.col("campaign_id").replace_strict(utm, default=None).alias("utm_campaign"))
    return campaigns_of_spend(frame, rules or load()).to_dicts()


def as_outcome(change: Row) -> Row:
    """A movement of revenue as a milestone, of the day of its win."""
    return {
        **change,
        "booked_on": change["rated_on"],
        **{column: change.get(measure) for measure, column in CREDITED.items()},
    }


def moved_home(change: Row) -> Row:
    """What a movement of revenue is worth in EUR."""
    return home_value(as_outcome(change))


def credited(outcome: Row, first: Sequence[str], linear: Sequence[str]) -> list[Row]:
    """Current credit of an outcome in two models."""
    totals = {"count": 1_000_000} | {
        name: outcome[column] for name, column in CREDITED.items() if outcome.get(column) is not None
    }
    home = home_value(outcome)
    return [
        {
            "milestone": outcome["milestone"],
            "milestone_id": outcome["milestone_id"],
            "model": model,
            "scope": "account",
            "measure": measure,
            "currency": "" if measure == "count" else outcome["currency"],
            "touch_id": touch_id,
            "credit": share,
            "home_currency": None if at_home is None else "EUR",
            "credit_home": at_home,
            "unattributed_reason": None if touch_id else "no_touch",
            "recorded_at": at("2026-06-01T00:00:00Z"),
        }
        for model, touched in (("first_touch", first), ("linear", linear))
        for measure, total in totals.items()
        for touch_id, share, at_home in zip(
            touched,
            split(total, [1] * len(touched)),
            _split(home.get(f"{measure}_home"), len(touched)),
            strict=True,
        )
    ]


def _split(total: int | None, parts: int) -> Sequence[int | None]:
    return [None] * parts if total is None else split(total, [1] * parts)


def conversion(number: str, action: str, fact: Row, state: str, reason: str | None = None) -> Row:
    return {
        "conversion_id": number,
        "destination": "meta",
        "account": "dataset-1",
        "action": action,
        "milestone": fact["milestone"],
        "milestone_id": fact["milestone_id"],
        "event_id": fact["event_id"],
        "kind": "conversion",
        "revision": 0,
        "occurred_at": fact["occurred_at"],
        "ready_at": at("2026-03-11T00:00:00Z"),
        "expires_at": at("2026-03-18T00:00:00Z"),
        "person_id": fact["person_id"],
        "state": state,
        "reason": reason,
        "attempts": 0,
        "planned_at": at("2026-03-11T00:00:00Z"),
        "updated_at": at("2026-03-11T00:00:00Z"),
    }


def receipt(batch: str, status: str, conversions: int, **told: str) -> Row:
    moment = at("2026-03-11T03:00:00Z")
    return {"destination": "meta", "receipt": f"r-{batch}", "batch_id": batch, "conversions": conversions,
            "accepted_at": moment, "asked": 1, "asked_at": moment, "status": status, **told}  # fmt: skip


def attempt(batch: str, conversion_id: str, number: int, started: str, outcome: str | None) -> Row:
    moment = at(started)
    return {
        "batch_id": batch,
        "conversion_id": conversion_id,
        "destination": "meta",
        "attempt": number,
        "payload_hash": "0" * 64,
        "started": moment,
        "left_at": moment,
        "finished": None if outcome is None else moment,
        "http_status": 200,
        "outcome": outcome,
    }


ACME, BIRK = "company:10", "company:20"


def entry(deal_id: str, name: str, to: str, moment: str, left: str | None = None, after: str | None = None) -> Row:
    """A deal's entry into a stage, of the person who sells it."""
    then = at(moment)
    return {"event_id": f"e{deal_id}{to}{moment}", "event": name, "occurred_at": then, "observed_at": then,
            "time_basis": "history", "object_type": "deals", "object_id": deal_id, "record_id": deal_id, "to_stage": to,
            "pipeline": "default", "hubspot_label": to.title(), "left_at": at(left) if left else None,
            "next_stage": after, "undone": False, "owner_id": "7", "mapping_version": "1"}  # fmt: skip


def journey(outcome: Row, *channels: str, why: str | None = None) -> Row:
    return {"milestone": outcome["milestone"], "milestone_id": outcome["milestone_id"], "scope": "account",
            "touches": len(channels), "channels": list(channels), "unattributed_reason": why}  # fmt: skip


FACTS = {
    "acme_lead": milestone("lead_captured", "m1", "2026-03-01T10:00:00Z", person="p1", account=ACME),
    "acme_mql": milestone("qualified_lead", "m2", "2026-03-03T10:00:00Z", person="p1", account=ACME),
    "acme_opportunity": milestone(
        "opportunity_created", "m3", "2026-03-06T09:00:00Z", account=ACME, deal="501", subtype="new",
        money=("EUR", 120_001, 10_000, 120_001), at_event=100_000,
    ),
    "acme_won": milestone(
        "customer_won", "m4", "2026-03-31T22:30:00Z", account=ACME, deal="501", subtype="new",
        booked=date(2026, 4, 1), money=("EUR", 120_001, 10_000, 120_001), at_event=120_001,
    ),
    "acme_renewed": milestone(
        "customer_expanded", "m5", "2026-05-02T10:00:00Z", account=ACME, deal="505", subtype="renewal",
        money=("EUR", 60_000, 6_000, 60_000), at_event=60_000, mrr_new=-4_000, arr_new=-60_001,
    ),
    "birk_lead": milestone("lead_captured", "m6", "2026-03-10T09:00:00Z", person="p2", account=BIRK),
    "birk_opportunity": milestone(
        "opportunity_created", "m7", "2026-03-12T09:00:00Z", account=BIRK, deal="503", subtype="new",
        money=("USD", 50_000, None, None), at_event=50_000,
    ),
    "birk_reopened": milestone(
        "customer_won", "m8", "2026-03-20T09:00:00Z", account=BIRK, deal="504", subtype="new",
        money=("USD", 70_000, None, None), at_event=70_000, state="reversed", reason="reopened",
    ),
    "late_lead": milestone("lead_captured", "m9", "2026-03-02T09:00:00Z", person="p3"),
    "yen_opportunity": milestone(
        "opportunity_created", "m10", "2026-03-15T09:00:00Z", account="deal:502", deal="502", subtype="new",
        money=("JPY", 900_000, None, None), at_event=900_000,
    ),
    "internal_lead": milestone(
        "lead_captured", "m11", "2026-03-02T09:00:00Z", person="p9", account="company:30", suppressed_by="email_domain"
    ),
}  # fmt: skip


def movement(name: str, number: str, moment: str, of: Row, arr: int | None, cause: str = "won", **columns: Any) -> Row:
    """A step of the revenue of a win's account, in the win's currency."""
    win = {"of_milestone": of["milestone"], "of_milestone_id": of["milestone_id"], "group_key": of["group_key"]}
    same = {key: of[key] for key in ("account_id", "deal_id", "subtype", "currency")}
    when = {"occurred_at": at(moment), "booked_on": at(moment).date(), "rated_on": of["booked_on"]}
    return {"milestone": name, "milestone_id": number, "cause": cause, **win, **same, **when, "arr": arr, **columns}


MOVEMENTS = [
    movement("revenue_new", "m4", "2026-04-01T00:00:00Z", FACTS["acme_won"], 120_001, amount=120_001, mrr=10_000),
    movement("revenue_contracted", "m5", "2026-05-02T10:00:00Z", FACTS["acme_renewed"], -60_001, mrr=-4_000),
    movement("revenue_churned", "m5:1", "2026-07-02T10:00:00Z", FACTS["acme_renewed"], -60_000, "churn_date"),
    movement("revenue_new", "m8", "2026-03-20T09:00:00Z", FACTS["birk_reopened"], 70_000),
    movement("revenue_churned", "m8:1", "2026-03-25T09:00:00Z", FACTS["birk_reopened"], -70_000, "reopened"),
]

ENTRIES = [
    entry("501", "crm_stage_changed", "started", "2026-03-06T09:00:00Z", "2026-03-08T21:00:00Z", "contractsent"),
    entry("501", "proposal_sent", "contractsent", "2026-03-08T21:00:00Z", "2026-03-31T22:30:00Z", "closedwon"),
    entry("501", "deal_amount_changed", "contractsent", "2026-03-09T21:00:00Z"),
    entry("501", "deal_won", "closedwon", "2026-03-31T22:30:00Z"),
    entry("503", "proposal_sent", "contractsent", "2026-03-12T09:00:00Z", "2026-03-13T09:00:00Z", "started"),
    entry("503", "crm_stage_changed", "started", "2026-03-13T09:00:00Z"),
    entry("508", "crm_stage_changed", "started", "2026-03-14T09:00:00Z") | {"record_id": "503"},
]

SEARCH, LETTER, SOCIAL = "click:a", "form:f:1", "click:b"

SUPERSEDED = {
    **credited(FACTS["acme_won"], [LETTER], [LETTER])[0],
    "recorded_at": at("2026-05-01T00:00:00Z"),
    "superseded_at": at("2026-06-01T00:00:00Z"),
}

CAMPAIGNS = [
    {"campaign_id": number, "portal_id": "1", "name": name, "utm_campaign": utm, "currency": "EUR", "budget": budget,
     "revenue_currency": revenue and "EUR", "revenue": revenue, "revenue_deals": revenue and 1,
     "updated_at": at("2026-03-02"), "extracted_at": at("2026-03-03")}
    for number, name, utm, budget, revenue in (
        ("g1", "Spring", "brand", 50_000, 70_000), ("g2", "Fair", None, 10_000, None)
    )
]  # fmt: skip
SPEND = [
    spend("77", "Brand", 12_345),
    spend("78", "BRAND!", 5),
    spend("abm", "brand", 700, "USD", platform="linkedin"),
    spend("79", "Brand | Berlin", 1_000, "JPY", clicks=None),
    spend("", "", -250),
    spend("", "", 250, date=date(2026, 4, 1)),
    spend("g1", "Spring", 9_999, platform="hubspot"),
    spend("g2", "Fair", 4_000, platform="hubspot", clicks=None, impressions=None),
    spend("80", f"for-{CANARY}", 1, "KWD"),
    spend("80", f"or-{CANARY}", 2, "KWD"),
]
COSTS = [cost("salaries", 100_050), cost("salaries", 333, "USD"), cost("tools", -7), cost("fairs", 5_000, "JPY")]


def tables() -> Tables:
    """Everything the models read."""
    return {
        "raw.account": [
            {"portal_id": "1", "time_zone": "Europe/Berlin", "company_currency": "EUR", "additional_currencies": []}
        ],
        "finance.period": [
            {"month": date(2026, number, 1), "state": state, "recorded_at": at(f"2026-06-0{day}T00:00:00Z"),
             "changed_by": "Ida", "reason": "before all rows"}
            for number, state, day in ((1, "closed", 1), (2, "closed", 1), (2, "open", 2))
        ],
        "raw.owner": [{"id": "7", "email": CANARY, "first_name": CANARY, "last_name": CANARY, "archived": False}],
        "raw.form": [{"id": "f", "name": "Demo", "archived": False}],
        "raw.pipeline_stage": [
            stage("started", 0, 0.2),
            stage("contractsent", 1, 0.9),
            stage("closedwon", 2, 1.0, closed=True),
            stage("closedlost", 3, 0.0, closed=True),
        ],
        "raw.contact": [
            record("1", email=CANARY, additional_emails=[CANARY], lifecyclestage="customer", associatedcompanyid="11"),
            record("2", email=CANARY, lifecyclestage="lead"),
            record("3", lifecyclestage="lead", archived=True),
        ],
        "raw.company": [
            record("10", name="Acme", domain="Acme.example", merged_ids=["11"]),
            record("11", name="Acme Ltd"),
            record("20", name="Birk", domain="birk.example"),
        ],
        "raw.deal": [
            deal("501", "closedwon", amount=120_001, closedate=at("2026-03-31T22:30:00Z")),
            deal("502", "started", "JPY", 900_000),
            deal("503", "contractsent", "USD", 50_005, merged_ids=["508"]),
            deal("504", "started", "USD", 70_000, closedate=at("2026-03-20T09:00:00Z")),
            deal("505", "closedwon", amount=60_000, closedate=at("2026-05-02T10:00:00Z")),
            deal("506", "closedlost", amount=1_000),
            deal("507", "started", amount=1, archived=True),
            deal("508", "started", amount=1),
            deal("509", "started", amount=1),
        ],
        "raw.closed_won": [
            {"deal_id": number, "modified_at": at("2026-03-01T08:00:00Z"), "currency": "EUR", "amount": amount,
             "closedate": at(closed), "asked_at": at("2026-06-01T03:00:00Z")}
            for number, amount, closed in (
                ("501", 120_001, "2026-03-31T22:30:00Z"), ("505", 60_000, "2026-05-02T10:00:00Z"),
            )
        ],
        "raw.merge": [
            merge("contacts", "2", "1"),
            merge("companies", "11", "10"),
            merge("deals", "509", "508"),
            merge("deals", "508", "503"),
        ],
        "raw.association": [
            {
                "from_type": "deals", "from_id": "501", "to_type": "contacts", "to_id": to, "type_ids": ["3"],
                "labels": [], "is_primary": False, "position": 0, "valid_from": at(BEGINNING), "valid_to": until,
            }
            for to, until in (("1", None), ("3", at("2026-03-05T00:00:00Z")))
        ],
        "raw.form_submission": [
            {
                "form_id": "f", "conversion_id": "1", "submitted_at": at("2026-03-05T10:00:00Z"), "email": CANARY,
                "utm_source": "newsletter",
                "page_url": f"https://WWW.acme.example/demo?email={CANARY}", "gclid": CANARY,
                "extracted_at": at("2026-03-05T10:00:00Z"),
            }
        ],
        "raw.link_click": [click("a", "2026-03-01T09:00:00Z", contact_id="1"), click("b", "2026-03-10T09:00:30Z")],
        "raw.ad_spend": SPEND,
        "raw.campaign": CAMPAIGNS,
        "raw.cost": COSTS,
        "attribution.spend_campaign": spend_campaigns(SPEND),
        "events.home_spend": [home_spend(row) for row in (*SPEND, *COSTS)],
        "identity.account": [
            {"account_id": ACME, "company_id": "10", "name": "Acme", "domain": "acme.example", "owner_id": "7",
             "target_account": True},
            {"account_id": BIRK, "company_id": "20", "name": "Birk", "domain": "birk.example"},
            {"account_id": "deal:502", "name": CANARY},
        ],
        "identity.deal_account": [
            {"deal_id": number, "account_id": account, "basis": "own" if account.startswith("deal") else "primary"}
            for number, account in (
                ("501", ACME), ("502", "deal:502"), ("503", BIRK), ("504", BIRK), ("505", ACME), ("506", BIRK),
            )
        ],
        "attribution.touch": [
            touch(SEARCH, "2026-03-01T09:00:00Z", "p1", ACME, "Paid Search", "google", "cpc", "brand"),
            touch(LETTER, "2026-03-05T10:00:00Z", "p1", ACME, "E-mail", "newsletter", "email", f"for-{CANARY}"),
            touch(SOCIAL, "2026-03-10T09:00:30Z", "p2", BIRK, "Paid Social", "linkedin", "paid_social", "abm"),
            touch("click:c", "2026-03-20T09:00:00Z", "p3", None, "Direct", "direct", "", ""),
        ],
        "events.milestone": list(FACTS.values()),
        "events.revenue": MOVEMENTS,
        "events.home_value": [
            *(home_value(fact) for fact in FACTS.values() if fact["currency"] is not None),
            *map(moved_home, MOVEMENTS),
        ],
        "events.stage": [
            {"stage_id": stage_id, "meaning": meaning, "decided_by": "hubspot"}
            for stage_id, meaning in (
                ("started", "open"), ("contractsent", "open"), ("closedwon", "won"), ("closedlost", "lost"),
            )
        ],
        "events.gap": [{"gap": "stage_unknown", "subject": "9001", "records": 2, "first_at": at("2026-03-01")}],
        "attribution.credit": [
            *credited(FACTS["acme_opportunity"], [SEARCH], [SEARCH, LETTER]),
            *credited(FACTS["acme_won"], [SEARCH], [SEARCH, LETTER]),
            *credited(FACTS["acme_renewed"], [""], [""]),
            *credited(FACTS["birk_opportunity"], [SOCIAL], [SOCIAL]),
            *(row for change in MOVEMENTS if change["milestone"] == "revenue_churned"
              for row in credited(as_outcome(change), [""], [""])),
            *credited(as_outcome(MOVEMENTS[1]), [""], [""]),
            *credited(FACTS["yen_opportunity"], [""], [""]),
            SUPERSEDED,
        ],
        "attribution.journey": [
            journey(FACTS["acme_opportunity"], "Paid Search", "E-mail"),
            journey(FACTS["acme_won"], "Paid Search", "E-mail"),
            journey(FACTS["acme_renewed"], why="no_touch"),
            journey(FACTS["birk_opportunity"], "Paid Social"),
            journey(FACTS["yen_opportunity"], why="no_touch"),
            *(journey(as_outcome(change), why="no_touch") for change in MOVEMENTS[1:3]),
        ],
        "attribution.parameter": [
            {"name": "lookback_days", "subject": "opportunity_created", "value": 90},
            {"name": "lookback_days", "subject": "customer_won", "value": 365},
            {"name": "gross_margin_percent", "subject": "", "value": 80},
        ],
        "events.event": ENTRIES,
        "identity.edge": [
            {"node_type": "contact", "node": "1", "identifier_type": "email", "identifier": CANARY, "contact_id": "1",
             "rule": "primary_email", "source": "raw.contact:1"}
        ],
        "identity.click": [
            {"click_id": name, "clicked_at": at(moment), "status": status, "reason": reason}
            for name, moment, status, reason in (
                ("a", "2026-03-01T09:00:00Z", "resolved", "contact_id"),
                ("b", "2026-03-10T09:00:30Z", "pending", "contact_unknown"),
            )
        ],
        "conversions.conversion": [
            conversion("c1", "Lead", FACTS["acme_lead"], "accepted"),
            conversion("c2", "Lead", FACTS["birk_lead"], "held", "consent_unknown"),
            conversion("c3", "Purchase", FACTS["acme_won"], "pending"),
            {**conversion("c4", "Renewal", FACTS["acme_won"], "processed"), "value": 120_00, "currency": "EUR",
             "touch_id": SOCIAL},
            {**conversion("c5", "Renewal", FACTS["acme_won"], "not_adjustable", "lost"), "kind": "retraction",
             "revision": 1, "adjusts": "c4", "cause": "lost", "value": 0, "currency": "EUR"},
        ],
        "delivery.attempt": [
            attempt("b1", "c1", 1, "2026-03-11T01:00:00Z", "retry"),
            attempt("b2", "c1", 2, "2026-03-11T02:00:00Z", "accepted"),
            attempt("b3", "c4", 1, "2026-03-11T03:00:00Z", "accepted"),
        ],
        "delivery.receipt": [receipt("b2", "waiting", 1, warnings='{"KEK_PERMISSION_DENIED": 1}'),
                             receipt("b3", "partly", 3, errors='{"INVALID_GCLID": 1, "NO_CONSENT": 1}')],
        "delivery.quality": [{"destination": "meta", "account": "dataset", "read_on": "2026-03-11", "action": action,
                              "measure": measure, "hundredths": value, "read_at": at("2026-03-11T03:00:00Z")}
                             for action, measure, value in (("Lead", "match_quality", 620), ("", "not_told", None))],
    }  # fmt: skip
