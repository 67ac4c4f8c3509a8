"""What the portal's own settings say: what its stages mean, its time zone, its home currency. A change of them derives
again what depends on it, and ends in what a rebuild gives."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crm_attribution_tests.flow.chain import Chain, differences, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.sandbox.lines import create, day, join, update
from crm_attribution_tests.sandbox_process import Line

pytestmark = pytest.mark.sandbox


def pipeline(when: str, *stages: tuple[str, bool, str], name: str = "default", archived: bool = False) -> Line:
    made = [{"id": key, "label": key, "displayOrder": place,
             "metadata": {"isClosed": str(closed).lower(), "probability": chance}}
            for place, (key, closed, chance) in enumerate(stages)]  # fmt: skip
    told = {"id": name, "label": name, "archived": archived, "stages": made}
    return {"at": when, "op": "pipeline", "pipeline": told}


def account(when: str, zone: str = "UTC", currency: str = "EUR") -> Line:
    return {"at": when, "op": "account", "account": {"portalId": 7, "timeZone": zone, "companyCurrency": currency}}


def deal(number: int, when: str, stage: str, **more: Any) -> list[Line]:
    return [
        create(when, "companies", number, name=f"C{number}"),
        create(when, "deals", number, dealname=f"D{number}", dealstage=stage, **more),
        join(when, ("deals", number), ("companies", number)),
    ]


def wins(chain: Chain) -> dict[str, tuple[str, Any]]:
    """deal -> state of its win and its day."""
    found = [row for row in chain.table("events.milestone") if row["milestone"] == "customer_won"]
    return {str(row["deal_id"]): (row["state"], row["booked_on"]) for row in found}


def events(chain: Chain, number: int) -> list[str]:
    """Canonical names of a deal's entries, in their order."""
    mine = [
        row
        for row in chain.table("events.event")
        if (row["object_type"], str(row["record_id"])) == ("deals", str(number)) and row["event"] != "stage_skipped"
    ]
    return [row["event"] for row in sorted(mine, key=lambda row: (row["observed_at"], row["event_id"]))]


RELABELLED = [
    pipeline(day(1), ("open", False, "0.4"), ("closedwon", True, "0.0"), ("closedlost", True, "1.0"),
             ("contractsent", False, "0.9")),
    *deal(1, day(2), "open"),
    *deal(2, day(2), "open"),
    *deal(3, day(2), "contractsent"),
    update(day(3), "deals", 1, dealstage="closedwon"),
    update(day(3), "deals", 2, dealstage="closedlost"),
]  # fmt: skip
"""Built-in stages that an admin gave other meanings."""


def test_won_and_lost_come_from_the_stages_own_metadata(tmp_path: Path):
    with Chain.start(tmp_path, RELABELLED, day(5)) as chain:
        chain.run()
        assert events(chain, 1)[-1] == "deal_lost"
        assert events(chain, 2)[-1] == "deal_won"
        assert events(chain, 3) == ["proposal_sent"]
        assert wins(chain) == {"2": ("live", date(2026, 3, 3))}


def test_a_stage_named_by_the_user_outranks_the_metadata(tmp_path: Path):
    own = rules(tmp_path, "deals:\n  stages: {closedwon: deal_won}\n")
    with Chain.start(tmp_path / "chain", RELABELLED, day(5), own) as chain:
        chain.run()
        assert set(wins(chain)) == {"1", "2"}
        meant = {row["stage_id"]: (row["meaning"], row["decided_by"]) for row in chain.table("events.stage")}
        assert meant == {
            "open": ("open", "hubspot"),
            "contractsent": ("open", "hubspot"),
            "closedwon": ("won", "mapping"),
            "closedlost": ("won", "hubspot"),
        }


def test_a_stage_means_what_it_meant_when_a_deal_left_it(tmp_path: Path):
    """The deal that went on before the stage became a won one is not won; the one that waits in it is."""
    first = (("open", False, "0.4"), ("signed", False, "0.9"), ("closedlost", True, "0.0"))
    later = (("open", False, "0.4"), ("signed", True, "1.0"), ("closedlost", True, "0.0"))
    lines = [
        pipeline(day(1), *first),
        *(line for number in (1, 2) for line in deal(number, day(2), "signed")),
        update(day(3), "deals", 1, dealstage="closedlost"),
        pipeline(day(10), *later),
    ]
    with Chain.start(tmp_path, lines, day(5)) as chain:
        chain.run()
        assert wins(chain) == {}
        chain.advance(day(11), since=at(day(10)))
        assert wins(chain) == {"2": ("live", date(2026, 3, 2))}
        step_by_step = chain.dump()
        chain.rebuild()
        assert differences(step_by_step, chain.dump()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (account(day(10), zone="Pacific/Auckland"), ("EUR", 1000, date(2026, 3, 3))),
        (account(day(10), currency="JPY"), ("JPY", 10, date(2026, 3, 2))),
    ],
    ids=["time zone", "home currency"],
)
def test_a_changed_setting_of_the_account_derives_again_what_depends_on_it(
    tmp_path: Path, change: Line, told: tuple[str, int, date]
):
    lines = [
        account(day(1)),
        *deal(1, "2026-03-02T20:00:00Z", "closedwon", amount="10"),
        *deal(2, "2026-03-02T20:00:00Z", "closedwon", amount="10", deal_currency_code="USD"),
        change,
    ]
    with Chain.start(tmp_path, lines, day(5)) as chain:
        chain.run()
        chain.advance(day(11), since=at(day(10)))
        won = [row for row in chain.table("events.milestone") if row["milestone"] == "customer_won"]
        rows = {str(row["deal_id"]): row for row in won}
        assert (rows["1"]["currency"], rows["1"]["amount_current"], rows["1"]["booked_on"]) == told
        assert (rows["2"]["currency"], rows["2"]["amount_current"]) == ("USD", 1000)
        step_by_step = chain.dump()
        chain.rebuild()
        assert differences(step_by_step, chain.dump()) == []


def converted(chain: Chain) -> dict[str, tuple[Any, ...]]:
    """deal -> home currency, rate, where it comes from, and the amount in it, of its win."""
    shown = ("home_currency", "rate", "rate_source", "amount_home")
    wins = {row["milestone_id"]: str(row["deal_id"]) for row in chain.table("events.milestone")}
    values = [row for row in chain.table("events.home_value") if row["milestone"] == "customer_won"]
    return {wins[row["milestone_id"]]: tuple(row[name] for name in shown) for row in values}


def test_values_follow_rates_and_the_home_currency(tmp_path: Path):
    """A rate told late, a rate told again, a deal's own rate corrected, another home currency: each derives again what
    depends on it, and what no rate converts is a gap."""
    dollars = {"amount": "10.01", "deal_currency_code": "USD"}
    lines = [
        account(day(1)),
        *deal(1, day(2), "closedwon", **dollars),
        *deal(2, day(2), "closedwon", **dollars, hs_exchange_rate="0.8"),
        *deal(3, day(2), "closedwon", amount="5"),
        update(day(10), "deals", 2, hs_exchange_rate="0.7"),
        account(day(20), currency="JPY"),
    ]
    with Chain.start(tmp_path, lines, day(5)) as chain:
        chain.run()
        own = {"2": ("EUR", "0.8", "deal", 801), "3": ("EUR", "1", "home", 500)}
        assert converted(chain) == own | {"1": ("EUR", None, None, None)}
        gaps = [(row["gap"], row["subject"], row["records"]) for row in chain.table("events.gap")]
        assert gaps == [("rate_missing", "USD", 2)]  # the opportunity and the win of the first deal
        chain.rates("2026-02-28,USD,EUR,0.5", "2026-03-03,USD,EUR,9")
        chain.run(at(day(5)))
        assert converted(chain)["1"] == ("EUR", "0.5", "table_earlier", 500)
        assert chain.table("events.gap") == []
        credit = [row for row in chain.table("attribution.credit") if row["superseded_at"] is None]
        shown = {(row["milestone_id"], row["currency"], row["credit"], row["home_currency"], row["credit_home"])
                 for row in credit if (row["milestone"], row["measure"]) == ("customer_won", "amount")}  # fmt: skip
        assert {row[1:] for row in shown} == {
            ("USD", 1001, "EUR", 500), ("USD", 1001, "EUR", 801), ("EUR", 500, "EUR", 500),
        }  # fmt: skip
        chain.rates("2026-02-28,USD,EUR,0.6")
        chain.advance(day(11), since=at(day(5)))
        assert converted(chain) == {
            "1": ("EUR", "0.6", "table_earlier", 601), "2": ("EUR", "0.7", "deal", 701), "3": own["3"],
        }  # fmt: skip
        chain.rates("2026-03-02,JPY,USD,0.01")
        chain.advance(day(21), since=at(day(11)))
        assert converted(chain) == {
            "1": ("JPY", "100", "table", 1001), "2": ("JPY", "100", "table", 1001), "3": ("JPY", "1", "home", 5),
        }  # fmt: skip
        step_by_step = chain.dump()
        chain.rebuild()
        assert differences(step_by_step, chain.dump()) == []


def test_stages_no_list_names_are_told_by_hubspots_is_closed_history(tmp_path: Path):
    """The pipeline was deleted before the first reading: HubSpot's own properties say what its stages were."""
    gone = {"pipeline": "gone"}
    lines = [
        *deal(1, day(2), "g_open", **gone, hs_is_closed="false", hs_is_closed_won="false"),
        *deal(2, day(2), "g_won", **gone, hs_is_closed="true", hs_is_closed_won="true"),
        update(day(4), "deals", 1, dealstage="g_won", hs_is_closed="true", hs_is_closed_won="true", **gone),
        update(day(6), "deals", 2, dealstage="g_lost", hs_is_closed="true", hs_is_closed_won="false", **gone),
    ]
    with Chain.start(tmp_path, lines, day(8), rules(tmp_path, "deals:\n  pipelines: {gone: new}\n")) as chain:
        chain.run()
        assert events(chain, 1) == ["crm_stage_changed", "deal_won"]
        assert events(chain, 2) == ["deal_won", "deal_lost"]
        assert wins(chain) == {"1": ("live", date(2026, 3, 4)), "2": ("reversed", date(2026, 3, 2))}
