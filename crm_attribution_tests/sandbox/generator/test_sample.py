"""The committed sample: it is what the generator writes, it is busy where the demo looks, and it has every scenario."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

import pytest

from crm_attribution.sandbox.generate import main
from crm_attribution.sandbox.generator.scenarios import WRITERS
from crm_attribution_tests.sandbox.generator.conftest import SAMPLE
from crm_attribution_tests.sandbox.generator.validator import Reader, instant

Log = list[dict[str, Any]]
DEMO, DEMO_END = "2026-03-12T10:00:00Z", "2026-03-13T13:00:00Z"


def writes(sample: Log, kind: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (line, line["properties"]) for line in sample if line["op"] in ("create", "update") and line["object"] == kind
    ]


def business(sample: Log) -> dict[str, Counter[str]]:
    """What happens in each hour."""
    hours: dict[str, Counter[str]] = defaultdict(Counter)
    for line, properties in writes(sample, "contacts"):
        hour = hours[line["at"][:13]]
        hour["lead"] += line["op"] == "create" and line["source"] == "FORM"
        hour["qualified"] += properties.get("lifecyclestage", "").lower() == "marketingqualifiedlead"
    for line, properties in writes(sample, "deals"):
        hour = hours[line["at"][:13]]
        hour["opportunity"] += line["op"] == "create"
        hour["won"] += properties.get("dealstage") == "closedwon" and line["source"] != "IMPORT"
    for line in sample:
        hours[line["at"][:13]][line["op"]] += 1
    return hours


def history(sample: Log, kind: str, identifier: str, name: str) -> list[tuple[str, str]]:
    return [(p[name], line["source"]) for line, p in writes(sample, kind) if line["id"] == identifier and name in p]


def test_it_is_what_the_generator_writes(tmp_path: Any) -> None:
    out = tmp_path / "sample.jsonl"
    assert main(["--sample", "--out", str(out)]) == 0
    assert out.read_bytes() == SAMPLE.read_bytes(), (
        "regenerate with: python -m crm_attribution.sandbox.generate --sample --out data/sample_portal.jsonl"
    )


def test_it_is_valid_small_and_covers_the_fortnight(sample: Log, reader: Reader) -> None:
    assert reader.problems == []
    assert SAMPLE.stat().st_size < 1_500_000
    assert sample[0]["at"] == "2026-02-27T07:00:00Z"
    assert "2026-03-13T19:30" < sample[-1]["at"] <= "2026-03-13T20:00:00Z"
    assert [line["op"] for line in sample[:8]] == ["account", *["owner"] * 5, *["pipeline"] * 2]


def test_every_op_of_the_format_is_there(reader: Reader) -> None:
    at_least = {
        "create": 600,
        "update": 1000,
        "associate": 600,
        "click": 700,
        "submit": 350,
        "email_click": 40,
        "spend": 90,
    }
    at_least |= {
        "merge": 7,
        "archive": 3,
        "restore": 2,
        "privacy_delete": 1,
        "dissociate": 1,
        "owner": 5,
        "pipeline": 2,
    }
    assert {op: reader.ops[op] for op, count in at_least.items() if reader.ops[op] < count} == {}


def test_the_demo_has_plenty_of_business_and_every_later_hour_some(sample: Log) -> None:
    hours = business(sample)
    demo: Counter[str] = Counter()
    for hour, counts in hours.items():
        if DEMO[:13] <= hour < DEMO_END[:13]:
            demo += counts
    assert demo["lead"] >= 40
    assert demo["qualified"] >= 40
    assert demo["opportunity"] >= 20
    assert demo["won"] >= 12
    for clock in range(10, 20):
        counts = hours[f"2026-03-13T{clock}"]
        assert min(counts[kind] for kind in ("lead", "qualified", "opportunity", "won", "click", "submit")) >= 1, clock
        assert counts["lead"] + counts["qualified"] >= 4, clock


def test_weekends_are_quiet(sample: Log) -> None:
    days = Counter(line["at"][:10] for line in sample if line["op"] in ("click", "submit"))
    weekend = max(days[day] for day in ("2026-02-28", "2026-03-01", "2026-03-07", "2026-03-08"))
    assert weekend * 2 < min(days[f"2026-03-{day:02d}"] for day in (2, 3, 4, 5, 6, 9, 10, 11, 12, 13))


def test_most_wins_have_a_contact_with_an_ad_click(sample: Log) -> None:
    keys = ("hs_google_click_id", "hs_facebook_click_id", "li_fat_id")
    clicked = {line["id"] for line, p in writes(sample, "contacts") if any(p.get(key) for key in keys)}
    won = {
        line["id"]
        for line, p in writes(sample, "deals")
        if p.get("dealstage") == "closedwon" and line["source"] != "IMPORT"
    }
    people: dict[str, set[str]] = defaultdict(set)
    for line in sample:
        if line["op"] == "associate" and line["from"][0] == "deals" and line["to"][0] == "contacts":
            people[line["from"][1]].add(line["to"][1])
    assert len(won) >= 40
    assert sum(bool(people[deal] & clicked) for deal in won) > 0.75 * len(won)


def test_a_click_id_on_a_contact_came_with_a_click(sample: Log) -> None:
    seen = {
        line["click"].get(key) for line in sample if line["op"] == "click" for key in ("gclid", "fbclid", "li_fat_id")
    }
    for _, properties in writes(sample, "contacts"):
        for key in ("hs_google_click_id", "hs_facebook_click_id", "li_fat_id"):
            assert properties.get(key) is None or properties[key] in seen


def test_nobody_is_real(sample: Log) -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    domains = set(re.findall(r"[\w.+-]+@([\w.-]+)", text))
    assert {domain for domain in domains if not domain.lower().endswith(".example")} == set()
    assert all(p["domain"].endswith(".example") for _, p in writes(sample, "companies") if "domain" in p)


def test_every_scenario_is_described_and_its_ids_are_in_the_log(sample: Log) -> None:
    for number, write in WRITERS.items():
        first = (write.__doc__ or "").splitlines()[0]
        assert first.startswith(f"{number}: ")
    created = {line["id"] for line in sample if line["op"] == "create"}
    created |= {line["into"] for line in sample if "into" in line}
    for number, write in WRITERS.items():
        named = re.findall(r"\b[135]9\d{4}\b", write.__doc__ or "")
        assert set(named) <= created, number


def merges(sample: Log) -> list[tuple[str, str, str, str | None]]:
    return [(m["object"], m["primary"], m["merged"], m.get("into")) for m in sample if m["op"] == "merge"]


@pytest.mark.parametrize(
    "merge",
    [
        ("contacts", "190101", "190102", None),
        ("contacts", "190202", "190201", "190203"),
        ("contacts", "190301", "190302", "190303"),
        ("contacts", "190303", "190304", "190305"),
        ("companies", "390401", "390402", "390403"),
        ("deals", "590501", "590502", "590503"),
    ],
)
def test_merges_of_both_regimes(sample: Log, merge: tuple[str, str, str, str | None]) -> None:
    assert merge in merges(sample)


def test_echoes_follow_deals(sample: Log) -> None:
    for contact in ("192001", "192002", "192003"):
        stages = history(sample, "contacts", contact, "lifecyclestage")
        assert stages[-2:] == [("opportunity", "AUTOMATION_PLATFORM"), ("customer", "AUTOMATION_PLATFORM")]
    assert history(sample, "companies", "392001", "lifecyclestage")[-1] == ("customer", "AUTOMATION_PLATFORM")
    won = next(
        line["at"] for line, p in writes(sample, "deals") if line["id"] == "592101" and p["dealstage"] == "closedwon"
    )
    echo = [line["at"] for line, p in writes(sample, "contacts") if line["id"] == "192101"][-1]
    assert 2.5 < (instant(echo) - instant(won)).total_seconds() / 86400 < 4


def test_lifecycles_go_back_and_have_unusual_values(sample: Log) -> None:
    assert [stage for stage, _ in history(sample, "contacts", "192201", "lifecyclestage")] == [
        "lead", "marketingqualifiedlead", "", "lead", "marketingqualifiedlead",
    ]  # fmt: skip
    values = {p["lifecyclestage"] for _, p in writes(sample, "contacts") if "lifecyclestage" in p}
    assert {"", "128840771", "MarketingQualifiedLead", "evangelist", "other", "subscriber"} <= values
    consents = Counter(p.get("ad_consent") for line, p in writes(sample, "contacts") if line["op"] == "create")
    assert consents["granted"] > 5 * consents["denied"] > 0
    assert consents[None] > 50
    assert (
        Counter(line["at"] for line, _ in writes(sample, "contacts") if line["source"] == "IMPORT")[
            "2026-03-03T09:00:00Z"
        ]
        == 60
    )


@pytest.mark.parametrize(
    ("deal", "stages"),
    [
        ("593101", ["closedwon"]),
        ("593201", ["appointmentscheduled", "closedwon", "contractsent", "closedwon"]),
        ("593301", ["appointmentscheduled", "closedlost"]),
        ("593302", ["appointmentscheduled", "closedwon", "closedlost"]),
        ("593611", ["1180001", "1180002", "1180003"]),
        ("593612", ["1180001", "1180002", "1180004"]),
        ("596002", ["9999999"]),
    ],
)
def test_deals_take_unusual_ways(sample: Log, deal: str, stages: list[str]) -> None:
    assert [stage for stage, _ in history(sample, "deals", deal, "dealstage")] == stages


def test_deal_values_are_awkward(sample: Log) -> None:
    amounts = {
        deal: [a for a, _ in history(sample, "deals", deal, "amount")]
        for deal in ("593401", "593501", "596001", "594003")
    }
    assert amounts == {"593401": ["18000.00", "15600.00"], "593501": ["8280.00"], "596001": ["12 500,00"], "594003": []}
    assert {p["deal_currency_code"] for _, p in writes(sample, "deals") if "deal_currency_code" in p} == {"EUR", "USD"}
    old = [p for line, p in writes(sample, "deals") if line["source"] == "IMPORT" and p.get("dealstage") == "closedwon"]
    assert sum(p["closedate"] < "2026" for p in old) >= 7
    linked = {
        (line["from"][1], line["to"][0]) for line in sample if line["op"] == "associate" and line["from"][0] == "deals"
    }
    pairs = [("593801", "companies"), ("593802", "contacts"), ("593803", "contacts"), ("593803", "companies")]
    assert [pair for pair in pairs if pair in linked] == []


def test_clicks_are_awkward(sample: Log) -> None:
    clicks = [(line["at"], line["click"]) for line in sample if line["op"] == "click"]
    burst = [
        click["link_slug"]
        for at, click in clicks
        if click.get("contact_id") == "195001" and at[:18] == "2026-03-12T11:00:0"
    ]
    assert len(set(burst)) >= 4
    assert any(click["method"] == "HEAD" for _, click in clicks)
    assert sum("bot" in click["user_agent"].lower() for _, click in clicks) >= 3
    late = [at for at, click in clicks if "clicked_at" in click and instant(at) > instant(click["clicked_at"])]
    assert len(late) >= 4
    assert sum("destination_url" not in click for _, click in clicks) == 2
    assert any("@" not in p["email"] for _, p in writes(sample, "contacts") if "email" in p)
    events = Counter(line["event"]["filtered"] for line in sample if line["op"] == "email_click")
    assert events[True] >= 3
    assert events[False] >= 30


def test_a_forwarded_mail_and_a_shared_inbox(sample: Log) -> None:
    click = next(
        line["click"]["click_id"]
        for line in sample
        if line["op"] == "click" and line["click"].get("contact_id") == "190901"
    )
    forms = [line["submission"] for line in sample if line["op"] == "submit"]
    assert [form["email"] for form in forms if form.get("link_click_id") == click] == ["bo.lindahl@fenrik.example"]
    assert len({form["link_click_id"] for form in forms if form["email"] == "info@lauterbrok.example"}) == 4


def test_the_privacy_deletion_is_the_last_of_its_person(sample: Log) -> None:
    deleted = next(place for place, line in enumerate(sample) if line["op"] == "privacy_delete")
    assert sample[deleted]["id"] == "191001"
    assert not any("191001" in str(line) for line in sample[deleted + 1 :])


def test_every_paid_campaign_has_costs_for_every_day(sample: Log) -> None:
    days: dict[str, set[str]] = defaultdict(set)
    for line in sample:
        if line["op"] == "spend":
            days[line["spend"]["campaign"]].add(line["spend"]["date"])
    assert len(days) == 7
    assert {len(dates) for dates in days.values()} == {14}
