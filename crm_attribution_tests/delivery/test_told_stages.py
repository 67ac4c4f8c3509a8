"""Thresholds: deals move once, forward, when their contacts have clicked often enough, and no others do."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspot_sdk import HubSpot as Sdk
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution import configuration, mapping
from crm_attribution.clock import FixedClock, iso
from crm_attribution.conversions import stage_rules
from crm_attribution.conversions.stages import _not_of_absorbed
from crm_attribution.destinations import destinations
from crm_attribution.mapping.stages import StageRule
from crm_attribution.preflight import platforms
from crm_attribution_tests.delivery.outbox import SMALL, Outbox
from crm_attribution_tests.delivery.telling import Telling
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import OPENED, click, create, join, update
from crm_attribution_tests.sandbox_process import Line

SANDBOX = [pytest.mark.sandbox, pytest.mark.slow]
RULE: dict[str, Any] = {"name": "x", "tag": "hot", "days": 2, "count": 3, "pipeline": "default",
                        "from_stage": "appointmentscheduled", "to_stage": "qualifiedtobuy"}  # fmt: skip
NOW = at("2026-03-02T00:00:00Z")


def rule(**changes: Any) -> StageRule:
    return StageRule.model_validate({**RULE, **changes})


# --- crossings, beside an oracle that counts for each click anew

moments = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200), st.booleans()), max_size=40)


@given(told=moments, count=st.integers(1, 6), days=st.integers(1, 3))
def test_a_crossing_is_the_click_that_reaches_the_count(told: list[tuple[int, int, bool]], count: int, days: int):
    clicks: list[dict[str, Any]] = [
        {"deal_id": deal, "touch_id": f"click:{place:03d}", "contact_id": deal,
         "touched_at": NOW + timedelta(hours=hour), "link_slug": "demo", "link_tags": ["other", "HOT"] if hot else []}
        for place, (deal, hour, hot) in enumerate(told)
    ]  # fmt: skip
    schema: dict[str, Any] = {
        **{"deal_id": pl.Int64, "touch_id": pl.String, "contact_id": pl.Int64, "link_slug": pl.String},
        **{"touched_at": pl.Datetime("us", "UTC"), "link_tags": pl.List(pl.String)},
    }
    found = stage_rules.crossings(rule(count=count, days=days), pl.DataFrame(clicks, schema=schema))
    hot = sorted((c for c in clicks if c["link_tags"]), key=lambda c: (c["deal_id"], c["touched_at"], c["touch_id"]))
    expected = []
    for deal in range(4):
        before = 0
        for one in (c for c in hot if c["deal_id"] == deal):
            since = one["touched_at"] - timedelta(days=days)
            number = sum(1 for c in hot if c["deal_id"] == deal and since < c["touched_at"] <= one["touched_at"])
            if number >= count > before:
                expected.append((one["touch_id"], number))
            before = number
    assert found.select("touch_id", "clicks").rows() == expected


@given(amount=st.integers(0, 10**9), least=st.integers(0, 10**7))
def test_the_least_amount_is_compared_in_minor_units(amount: int, least: int):
    one = rule(least_amount=least)
    assert one.is_enough(amount, "EUR") == (amount >= least * 100)
    assert one.is_enough(amount, "JPY") == (amount >= least)
    assert not one.is_enough(None, "EUR")
    assert not rule(least_amount={"USD": least}).is_enough(amount, "EUR")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"to_stage": "closedwon"}, "is a closed stage"),
        ({"from_stage": "contractsent"}, "does not come after"),
        ({"to_stage": "nowhere"}, "has no stage nowhere"),
        ({"to_stage": "of another pipeline"}, "has no stage of another pipeline"),
        ({"to_stage": "archived"}, "has no stage archived"),
        ({"pipeline": "880"}, "there is no pipeline 880"),
        ({}, None),
    ],
)
def test_a_rule_that_the_portal_has_no_move_for_is_named(changes: dict[str, str], said: str | None):
    names = ["appointmentscheduled", "qualifiedtobuy", "contractsent", "closedwon"]
    stages = pl.DataFrame({"pipeline_id": "default", "stage_id": names, "display_order": range(4),
                           "is_closed": [name == "closedwon" for name in names], "archived": False})  # fmt: skip
    last = {"display_order": 9, "is_closed": False}
    others = pl.DataFrame([
        {"pipeline_id": "other", "stage_id": "of another pipeline", **last, "archived": False},
        {"pipeline_id": "default", "stage_id": "archived", **last, "archived": True},
    ])  # fmt: skip
    wrong = stage_rules.unusable(rule(**changes), pl.concat([stages, others]))
    assert wrong is None if said is None else said in str(wrong)


# --- the whole way

TAGS, LINKS = 8, 14
DEALS = {21: (5000, [11]), 22: (4999, [12]), 23: (5000, [13]), 24: (5000, [14]), 25: (9000, [15]), 26: (9000, [15]),
         27: (7000, [17])}  # fmt: skip


def test_of_a_deal_that_reaches_the_count_twice_the_first_crossing_in_the_window_counts():
    hours = [0, 1, 2, 100, 101, 102, 200, 201, 202]
    clicks = pl.DataFrame(
        [{"deal_id": deal, "touch_id": f"click:{hour:03d}", "contact_id": deal, "link_slug": "demo",
          "touched_at": NOW + timedelta(hours=hour), "link_tags": ["hot"]} for deal in (1, 2, 3) for hour in hours]
    )  # fmt: skip
    there = {"pipeline": "default", "dealstage": "appointmentscheduled", "currency": "EUR", "amount": 5}
    deals = pl.DataFrame([{"deal_id": 1, **there}, {"deal_id": 2, **there}, {"deal_id": 3, **there, "pipeline": "x"}])

    def crossed(since: int, until: int) -> list[tuple[int, str]]:
        window = (NOW + timedelta(hours=since), NOW + timedelta(hours=until))
        found = stage_rules.crossed(rule(), deals, clicks, *window)
        return found.select("deal_id", "touch_id").sort("deal_id").rows()

    assert crossed(-1, 300) == [(1, "click:002"), (2, "click:002")]
    assert crossed(2, 300) == [(1, "click:102"), (2, "click:102")], "after the first moment"
    assert crossed(2, 102) == [(1, "click:102"), (2, "click:102")], "up to the last"
    assert crossed(2, 101) == []


def test_a_deal_that_absorbed_a_moved_one_is_not_moved_again_by_that_rule(tmp_path: Path):
    outbox = Outbox(tmp_path, {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "1"}, SMALL["meta"], tag="")
    outbox.plan("moved", "by another rule")
    outbox.change("moved", destination="hubspot_stages", milestone_id=f"stage:{rule().action}:90")
    outbox.change("by another rule", destination="hubspot_stages", milestone_id="stage:y:91")
    found = pl.DataFrame({"deal_id": [21, 22, 23, 24]})
    merged: list[list[int] | None] = [[89, 90], [91], [], None]
    deals = found.with_columns(merged_ids=pl.Series(merged, dtype=pl.List(pl.Int64)))
    with outbox.ledger.reading() as book:
        kept = _not_of_absorbed(book, rule(), found, deals, destinations()["hubspot_stages"])
    assert kept["deal_id"].to_list() == [22, 23, 24]


def ruled(mode: str) -> str:
    """8 rules about tags and 14 about links, each from 50 clicks on."""
    scopes = [f"tag: t{n}" for n in range(TAGS)] + [f"link: l{n}" for n in range(LINKS)]
    lines = [
        f"      - {{name: r{n}, {scope}, days: 30, count: 50, pipeline: default, from_stage: appointmentscheduled,"
        f" to_stage: qualifiedtobuy, least_amount: 5000, mode: {mode}, send_from: '2026-03-01T00:00:00Z',"
        ' requires: {next_step_of_deal: "{clicks} clicks on {link_slug}"}}'
        for n, scope in enumerate(scopes)
    ]
    return "write_back:\n  events: {rules: []}\n  stages:\n    rules:\n" + "\n".join(lines) + "\n"


def portal() -> list[Line]:
    lines: list[Line] = [{"at": OPENED, "op": "account", "account": {"portalId": 4242, "timeZone": "Europe/Berlin"}}]
    early = "2026-03-01T08:00:00Z"
    lines += [create(early, "contacts", who, email=f"c{who}@buyer{who}.example") for who in (11, 12, 13, 14, 15, 17)]
    for deal, (amount, contacts) in DEALS.items():
        stage = "contractsent" if deal == 27 else "appointmentscheduled"
        where = {"dealstage": stage, "pipeline": "default"}
        lines.append(create(early, "deals", deal, **where, amount=amount, deal_currency_code="EUR"))
        lines += [join(early, ("deals", deal), ("contacts", who)) for who in contacts]
    for who in (11, 12, 13, 14, 15, 17):
        lines += [clicked(who, n) for n in range(49)]
    for who in (11, 12, 15, 17):
        lines.append(clicked(who, 49))
    lines += [clicked(13, n, method="HEAD") for n in range(49, 60)]
    lines += [clicked(14, n, contact_id=None) for n in range(49, 60)]
    lines.append(update("2026-03-02T11:30:00Z", "deals", 22, amount=5000))
    lines.append(update("2026-03-02T14:30:00Z", "deals", 21, dealstage="appointmentscheduled"))
    lines += [clicked(11, n) for n in range(90, 95)]
    return sorted(lines, key=lambda line: str(line["at"]))


def clicked(who: int, number: int, **changes: Any) -> Line:
    """The n-th click of a contact, every ten minutes; the 50th at 09:20."""
    when = iso(at("2026-03-02T01:10:00Z") + timedelta(minutes=10 * number))
    fields = {"clicked_at": when, "received_at": when, "contact_id": str(who), "destination_url": "https://v.example",
              "link_slug": "l3", "link_tags": ["t5", "other"], **changes}  # fmt: skip
    return click(when, f"k{who}-{number}", **fields)


def stages(told: Telling) -> dict[int, str]:
    found = {}
    for deal in DEALS:
        _, record = told.chain.sandbox.hubspot("GET", f"/crm/objects/2026-03/deals/{deal}?properties=dealstage")
        found[deal] = record["properties"]["dealstage"]
    return found


class TestWhole:
    pytestmark = SANDBOX

    def test_the_fiftieth_click_moves_a_deal_once(self, tmp_path: Path):
        to = ("hubspot_stages",)
        unmoved = {deal: "contractsent" if deal == 27 else "appointmentscheduled" for deal in DEALS}
        with Telling.start(tmp_path, portal(), "2026-03-02T09:15:00Z", ruled("observe")) as told:
            told.chain.sandbox.set_properties("deals", add=[{"name": "next_step_of_deal", "type": "string"}])
            told.chain.sandbox.set_up("hubspot_stages", missing=["qualifiedtobuy:next_step_of_deal"])
            told.hour(to=to)
            assert told.rows() == {}
            assert told.hour("2026-03-02T10:00:00Z", to=to)["hubspot_stages"].requests == 0
            several = ("suppressed", "observed_several_deals")
            observed = {21: ("suppressed", "observed"), 25: several, 26: several}
            assert told.rows() == {f"stage:r{rule}:observed:{deal}": how for deal, how in observed.items()
                                   for rule in (5, TAGS + 3)}  # fmt: skip
            told.remap(ruled("act"))
            report = told.hour("2026-03-02T11:00:00Z", to=to)["hubspot_stages"]
            assert report.counts == {"accepted": 1, "held": 5}
            assert report.reasons == {"held: several_deals": 4, "held: moved_by_another_rule": 1}
            assert stages(told) == {**unmoved, 21: "qualifiedtobuy"}
            (written,) = told.counted("hubspot_stages")
            assert written["properties"] == {"dealstage": "qualifiedtobuy", "next_step_of_deal": "50 clicks on l3"}
            # an amount that is enough later; the answer is lost: no rule writes to the deal before it was read again
            route = "POST /crm/objects/2026-03/0-3/batch/update"
            told.chain.sandbox.faults([{"route": route, "kind": "drop_after_accept", "count": 1}])
            report = told.hour("2026-03-02T12:00:00Z", to=to)["hubspot_stages"]
            assert (report.requests, report.reasons["suppressed: already_there"]) == (1, 1)
            told.chain.sandbox.set_clock("2026-03-02T12:50:00Z")
            again = told.deliver("hubspot_stages")
            assert (again.requests, again.reasons["held: stage_not_read"]) == (0, 1)
            moved = {**unmoved, 21: "qualifiedtobuy", 22: "qualifiedtobuy"}
            told.hour("2026-03-02T14:00:00Z", to=to)
            assert stages(told) == moved
            assert [one["id"] for one in told.counted("hubspot_stages")] == ["21", "22"]
            wishes = told.replay("hubspot_stages")
            assert [one.refused for one in wishes] == [{"hubspot_stages": "not_done_twice"}] * 2
            # a person moves it back, and the contact clicks on
            assert told.hour("2026-03-02T18:00:00Z", to=to)["hubspot_stages"].requests == 0
            assert stages(told) == {**moved, 21: "appointmentscheduled"}
            self.preflight(told, tmp_path)
            sdk = Sdk(access_token=told.settings().value("HUBSPOT_WRITE_TOKEN"), base_url=told.chain.sandbox.base_url)
            change: Any = [{"id": "27", "properties": {"dealstage": "decisionmakerboughtin"}}]
            sdk.crm.objects.deals.batch.update(inputs=change)
            assert stages(told)[27] == "decisionmakerboughtin"

    def preflight(self, told: Telling, folder: Path) -> None:
        given, clock = configuration.load({**told.settings().texts}), FixedClock(at("2026-03-02T18:00:00Z"))
        destination = destinations()["hubspot_stages"]

        def wrong(text: str) -> dict[str, str]:
            file = folder / "other.yaml"
            file.write_text(text, encoding="utf-8")
            found = platforms.look(destination, mapping.load(file), given, clock)
            return {one.name: one.found for one in found if one.state != "ok"}

        assert wrong(ruled("act")) == {}
        found = wrong(ruled("act").replace("next_step_of_deal", "no_such").replace("qualifiedtobuy", "closedwon"))
        assert found["hubspot_stages: property deals.no_such"] == "deals have no such property"
        assert found["hubspot_stages: rule r0"] == "closedwon is a closed stage: clicks win and lose no deal"
