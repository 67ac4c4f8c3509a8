"""Events through the whole chain: a merge, in either of HubSpot's regimes, adds none and renames none."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_attribution_tests.flow.chain import Chain, differences
from crm_attribution_tests.sandbox.lines import create, day, join, merge, update
from crm_attribution_tests.sandbox_process import Line

pytestmark = pytest.mark.sandbox

BEFORE, AFTER = day(19), day(21)


def _lines(third: bool) -> list[Line]:
    """Contacts 1 and 2 merge, then with 3; companies 1 and 2; deals 1 and 2, which HubSpot merges into one of them."""
    into = [11, 12, 13] if third else [None, None, None]
    chain = 11 if third else 1
    return [
        *(create(day(1), "companies", n, name=f"C{n}", domain="ufer.example") for n in (1, 2)),
        *(
            create(day(2, f"09:0{n}:00"), "contacts", n, "FORM", email=f"c{n}@ufer.example", lifecyclestage="lead")
            for n in (1, 2, 3)
        ),
        *(join(day(2, "10:00:00"), ("contacts", n), ("companies", n)) for n in (1, 2)),
        update(day(3), "contacts", 1, lifecyclestage="marketingqualifiedlead"),
        update(day(4), "contacts", 2, lifecyclestage="Customer"),
        update(day(5), "companies", 2, lifecyclestage="opportunity"),
        *(
            create(day(6, f"09:0{n}:00"), "deals", n, dealname=f"D{n}", dealstage="qualifiedtobuy", amount=n)
            for n in (1, 2)
        ),
        *(join(day(6, "10:00:00"), ("deals", n), ("companies", n)) for n in (1, 2)),
        update(day(7), "deals", 2, dealstage="closedwon"),
        update(day(8), "contacts", 1, lifecyclestage="salesqualifiedlead"),
        merge(day(20), "contacts", 1, 2, into[0]),
        merge(day(20, "09:10:00"), "contacts", 3, chain, into[1]),
        merge(day(20, "09:20:00"), "companies", 1, 2, into[2]),
        merge(day(20, "09:30:00"), "deals", 1, 2),
    ]


@pytest.mark.parametrize("third", [False, True], ids=["primary survives", "third record"])
def test_a_merge_adds_no_event_and_changes_no_id(tmp_path: Path, third: bool):
    with Chain.start(tmp_path, _lines(third), BEFORE) as chain:
        chain.run()
        before = {row["event_id"]: row["event"] for row in chain.table("events.event")}
        won = [row["milestone_id"] for row in chain.table("events.milestone") if row["milestone"] == "customer_won"]
        chain.advance(AFTER, since=None)
        assert {row["event_id"]: row["event"] for row in chain.table("events.event")} == before
        after = chain.table("events.milestone")
        linked = chain.table("events.milestone_event")
        assert {row["milestone_id"] for row in after} | {row["event_id"] for row in linked} <= set(before)
        assert [row["milestone_id"] for row in after if row["milestone"] == "customer_won"] == won
        leads = [row["reason"] for row in linked if row["milestone"] == "lead_captured"]
        assert sorted(leads) == ["first", *["later_entry_of_person"] * 2], "one person, one lead, of three records"
        assert len({row["record_id"] for row in chain.table("events.event") if row["object_type"] == "contacts"}) == 1
        told = chain.dump()
        chain.rebuild()
        assert differences(told, chain.dump()) == []


def test_without_a_company_the_domain_is_null(tmp_path: Path):
    lines = [
        create(day(1), "contacts", 1, lifecyclestage="lead"),
        create(day(2), "deals", 1, dealname="D", dealstage="contractsent"),
        create(day(3), "contacts", 2, "FORM", lifecyclestage="lead", email="b@ufer.example"),
        create(day(3), "companies", 2, name="Ufer", domain="https://www.Ufer.example/de", hs_is_target_account="true"),
        join(day(3), ("contacts", 2), ("companies", 2)),
    ]
    with Chain.start(tmp_path, lines, BEFORE) as chain:
        chain.run()
        told = {f"{row['object_id']}{row['object_type']}": row for row in chain.table("events.event")}
    assert [told[key]["company_domain"] for key in ("1contacts", "1deals")] == [None, None]
    assert (told["2contacts"]["company_domain"], told["2contacts"]["target_account"]) == ("ufer.example", True)
