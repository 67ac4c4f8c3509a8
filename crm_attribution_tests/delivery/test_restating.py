"""What a platform believes of every deal is what it is now, after losses, re-prices, reopenings and merges."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crm_attribution import configuration, mapping
from crm_attribution.conversions import plan as conversions
from crm_attribution.delivery.replay import Wish, queue
from crm_attribution.destinations import destinations
from crm_attribution.identifiers import sha256
from crm_attribution.ledger import moves
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox, email_of, resolved, with_limits
from crm_attribution_tests.flow.chain import rules
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.marts import sample_rows
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

ACTION = {"google": "7081234567", "meta": "Purchase", "linkedin": "104001", "microsoft": "Purchase"}
HOUR = timedelta(hours=1)


@dataclass
class Deal:
    """A won deal as it is now."""

    name: str
    value: int
    live: bool = True
    into: str | None = None


@dataclass
class Office:
    """Deals that change, planned and delivered hour by hour."""

    outbox: Outbox
    rules: mapping.Rules
    sandbox: Sandbox
    deals: dict[str, Deal] = field(default_factory=dict)
    now: datetime = NOW

    def tell(self) -> None:
        """Write the milestones as they are now."""
        rows: list[dict[str, Any]] = []
        gone = []
        for deal in self.deals.values():
            if deal.into is not None:
                gone.append(("customer_won", deal.name))
                continue
            linked = [deal.name, *(other.name for other in self.deals.values() if other.into == deal.name)]
            state: dict[str, Any] = {} if deal.live else {"state": "reversed", "reason": "lost"}
            rows.append(sample_rows.milestone("customer_won", deal.name, (NOW - 5 * HOUR).isoformat(), account="a",
                                              deal=str(len(rows)), linked_event_ids=linked,
                                              money=("EUR", deal.value, None, deal.value), **state))  # fmt: skip
        keys = pl.DataFrame(gone, schema={"milestone": pl.String, "milestone_id": pl.String}, orient="row")
        with self.outbox.warehouse.session() as session, session.transaction():
            session["events.milestone"].delete(keys)
            session["events.milestone_event"].delete(keys)
            sample_rows.fill(session, {"events.milestone": rows})

    def hour(self) -> None:
        """What an hourly run does after deriving."""
        self.now += HOUR
        self.sandbox.set_clock(self.now.isoformat())
        self.outbox.now = self.now
        self.tell()
        given = configuration.load({**self.outbox.env, "CRM_ATTRIBUTION_START": "2026-01-01T00:00:00Z"})
        with self.outbox.warehouse.session() as session:
            session.state.watermark = self.now
            conversions.update(session, self.outbox.ledger, self.rules, given, self.now)
        self.outbox.deliver(rules=self.rules, window_end=self.now)

    def rows(self) -> pl.DataFrame:
        with self.outbox.ledger.reading() as book:
            return book.read(CONVERSION).sort("milestone_id", "revision")


@pytest.fixture
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    name = request.param
    text = (
        "consent: {when_absent: send}\ndestinations:\n"
        f"  {name}:\n    conversions: [{{milestone: customer_won, action: '{ACTION[name]}', value: arr}}]\n"
        + "".join(
            f"  {other}: {{conversions: []}}\n"
            for other, one in destinations().items()
            if other != name and one.plans_from == "milestones"
        )
    )
    with Sandbox.start([], NOW.isoformat()) as sandbox:
        outbox = Outbox(
            new_warehouse(tmp_path / "w").directory, sandbox.env, with_limits(SMALL[name], batch=20), tag=""
        )
        yield Office(outbox, rules(tmp_path, text), sandbox)


def believed(office: Office) -> Mapping[str, int]:
    """Deal -> its value in minor units as the platform has it, of its own conversion."""
    if office.outbox.destination.name == "microsoft":
        counted = office.sandbox.received("microsoft")["counted"]
        names = {sha256(f"{name}@example.com"): name for name in office.deals}
        assert len({email_of(event) for event in counted}) == len(counted), "counted twice"
        found = {names[email_of(event)]: round(event["ConversionValue"] * 100) for event in counted}
        return {**dict.fromkeys(office.deals, 0), **found}
    originals = office.rows().filter(pl.col("revision") == 0)
    bases = dict(originals.select("conversion_id", "milestone_id").iter_rows())
    counted = office.sandbox.received("google")["counted"]
    return {bases[event["transactionId"]]: round(event["conversionValue"] * 100) for event in counted}


@pytest.mark.parametrize("office", ["google"], indirect=True)
def test_a_re_price_is_told_when_the_original_is_processed_and_once_an_hour(office: Office):
    office.deals["a"] = Deal("a", 100_00)
    office.hour()
    office.deals["a"].value = 150_00
    office.hour()
    told = office.rows().select("kind", "state", "value", "cause").rows()
    assert told == [("conversion", "processed", 100_00, None)], "the platform said so only now"
    office.deals["a"].value = 170_00
    office.hour()
    told = office.rows().select("kind", "state", "value", "cause", "adjusts").rows()
    (key,) = office.rows().filter(pl.col("revision") == 0)["conversion_id"]
    assert told[1] == ("restatement", "accepted", 170_00, "amount", key)
    assert believed(office) == {"a": 170_00}
    for _ in range(2):
        office.hour()
    assert office.rows()["state"].to_list() == ["processed", "processed"]
    assert office.outbox.attempts()[-1]["conversion_id"] != key, "the original is not sent again"


@pytest.mark.parametrize("office", ["google"], indirect=True)
def test_what_the_platform_may_have_taken_is_told_again_but_nothing_is_made_of_what_it_may_not_have(office: Office):
    """Of several some failed, and it is not told which: the value of a win that stands is right either way."""
    office.deals = {name: Deal(name, 100_00) for name in ("kept", "lost", "bad")}
    identifiers = {"bad": resolved("bad", click_id="bad")}  # four letters are no gclid
    office.outbox.people.update(identifiers)
    for _ in range(2):
        office.hour()
    assert set(office.rows().select("state", "reason").rows()) == {("accepted", "partly_processed")}
    office.deals["kept"].value = 150_00
    office.deals["lost"].live = False
    office.hour()
    told = office.rows().filter(pl.col("adjusts").is_not_null())
    assert told.select("milestone_id", "kind", "state", "value", "reason").rows() == [
        ("kept", "restatement", "accepted", 150_00, None),
        ("lost", "restatement", "not_adjustable", 0, "partly_processed"),
    ]
    assert believed(office) == {"kept": 150_00, "lost": 100_00}
    with office.outbox.warehouse.session() as session:
        sample_rows.build(session, "marts.delivery_exposure")
        found = session.query("SELECT cause, is_waiting, exposure_minor FROM marts.delivery_exposure").rows()
    assert found == [("lost", False, 100_00)]
    office.hour()
    office.deals["kept"].value = 170_00
    for _ in range(2):
        office.hour()
    assert believed(office) == {"kept": 170_00, "lost": 100_00}


@pytest.mark.parametrize("office", ["google"], indirect=True)
def test_a_lost_win_is_worth_nothing_and_comes_back_with_its_value(office: Office):
    office.deals["a"] = Deal("a", 100_00)
    for live in (True, True, False, False, True, True):
        office.deals["a"].live = live
        office.hour()
    causes = office.rows().select("kind", "value", "cause").rows()
    assert causes == [("conversion", 100_00, None), ("restatement", 0, "lost"), ("restatement", 100_00, "reopened")]
    assert believed(office) == {"a": 100_00}


@pytest.mark.parametrize("office", ["microsoft"], indirect=True)
def test_a_lost_win_is_taken_back_and_counts_anew_when_it_is_won_at_the_same_time(office: Office):
    office.deals = {name: Deal(name, 100_00) for name in ("a", "b")}
    office.hour()
    office.deals["a"].live = False
    office.deals["b"].value = 150_00
    office.hour()
    assert believed(office) == {"a": 0, "b": 150_00}
    assert len(office.sandbox.received("microsoft")["counted"]) == 1
    office.deals["a"] = Deal("a", 120_00)
    office.hour()
    assert believed(office) == {"a": 120_00, "b": 150_00}
    assert office.rows().select("milestone_id", "kind", "state", "cause").rows() == [
        ("a", "conversion", "accepted", None), ("a", "retraction", "accepted", "lost"),
        ("a", "conversion", "accepted", "reopened"),
        ("b", "conversion", "accepted", None), ("b", "restatement", "accepted", "amount"),
    ]  # fmt: skip
    office.deals["a"].value = 130_00
    office.hour()
    assert believed(office) == {"a": 130_00, "b": 150_00}


@pytest.mark.parametrize("office", ["google", "microsoft"], indirect=True)
@pytest.mark.slow
def test_in_any_order_the_platform_s_value_of_every_deal_is_the_value_now(office: Office):
    rng = random.Random(20260310)
    names = [f"d{number:03}" for number in range(40 * TIMES)]
    office.deals = {name: Deal(name, rng.randrange(1, 500_00)) for name in names}
    office.hour()
    office.hour()
    for _ in range(9 * TIMES):
        for deal in office.deals.values():
            match rng.choice(["nothing", "nothing", "price", "lose", "reopen", "merge", "split"]):
                case "price":
                    deal.value = rng.randrange(1, 500_00)
                case "lose":
                    deal.live = False
                case "reopen":
                    deal.live = True
                case "merge" if deal.into is None and not any(o.into == deal.name for o in office.deals.values()):
                    into = office.deals[rng.choice(names)]
                    if into is not deal and into.into is None:
                        deal.into = into.name
                case "split":
                    deal.into = None
        office.hour()
    for _ in range(5):
        office.hour()
    for deal in office.deals.values():
        together = [one for one in (deal, *office.deals.values()) if deal.name in (one.name, one.into)]
        told = {one.name: believed(office)[one.name] for one in together}
        if deal.into is None:
            assert sum(told.values()) == (deal.value if deal.live else 0), (deal, told)
    waiting = office.rows().filter(pl.col("state").is_in(["pending", "held", "retry", "unknown"]))
    assert waiting.is_empty()
    assert set(office.rows()["cause"].drop_nulls()) >= {"amount", "lost", "reopened", "merged"}


@pytest.mark.parametrize("office", ["linkedin", "meta"], indirect=True)
def test_where_a_platform_takes_no_adjustment_it_is_said_what_it_believes_wrongly(office: Office):
    office.deals = {name: Deal(name, 100_00) for name in ("kept", "lost", "dear")}
    office.hour()
    assert set(office.rows()["state"]) == {"accepted"}
    office.deals["lost"].live = False
    office.deals["dear"].value = 150_00
    office.hour()
    rows = office.rows().filter(pl.col("adjusts").is_not_null())
    assert rows.select("milestone_id", "kind", "state", "value", "cause").rows() == [
        ("dear", "restatement", "not_adjustable", 150_00, "amount"),
        ("lost", "retraction", "not_adjustable", 0, "lost"),
    ]
    office.deals["dear"].value = 100_00
    office.hour()
    (dear,) = (
        office.rows().filter((pl.col("milestone_id") == "dear") & pl.col("adjusts").is_not_null()).rows(named=True)
    )
    assert (dear["value"], dear["state"]) == (100_00, "not_adjustable"), "the platform is right again"


@pytest.mark.parametrize("office", ["linkedin", "meta"], indirect=True)
@pytest.mark.slow
def test_in_any_order_the_exposure_is_what_was_sent_less_what_is_now(office: Office):
    rng = random.Random(20260310)
    names = [f"d{number:02}" for number in range(12)]
    office.deals = {name: Deal(name, rng.randrange(1, 500_00)) for name in names}
    office.hour()
    sent = {deal.name: deal.value for deal in office.deals.values()}
    for _ in range(6):
        for deal in office.deals.values():
            match rng.choice(["nothing", "price", "back", "lose", "reopen"]):
                case "price":
                    deal.value = rng.randrange(1, 500_00)
                case "back":
                    deal.value = sent[deal.name]
                case "lose":
                    deal.live = False
                case "reopen":
                    deal.live = True
        office.hour()
        with office.outbox.warehouse.session() as session:
            sample_rows.build(session, "marts.delivery_exposure")
            (found,) = session.query(
                "SELECT coalesce(sum(exposure_minor), 0)::BIGINT FROM marts.delivery_exposure"
            ).row(0)
        now = {deal.name: deal.value if deal.live else 0 for deal in office.deals.values()}
        assert found == sum(sent.values()) - sum(now.values())


@pytest.mark.parametrize("office", ["google"], indirect=True)
def test_a_conversion_that_was_restated_is_not_replayed_with_its_old_value(office: Office):
    office.deals["a"] = Deal("a", 100_00)
    office.hour()
    office.hour()
    office.deals["a"].value = 150_00
    office.hour()
    wish = Wish(["a"], ["google"], "again", "command")
    with office.outbox.warehouse.session() as session:
        (answer,) = queue(session, office.outbox.ledger, wish, office.now)
    assert answer.refused == {"google": "restated"}


@pytest.mark.parametrize("office", ["google", "microsoft"], indirect=True)
def test_what_the_warehouse_does_not_know_yet_is_not_gone(office: Office):
    """It was put back or begun anew: nothing is taken back because its milestones are not derived yet."""
    office.deals = {name: Deal(name, 100_00) for name in ("a", "b")}
    office.hour()
    office.hour()
    with office.outbox.warehouse.session() as session, session.transaction():
        session.truncate(["events.milestone", "events.milestone_event"])
        del session.state.restated[office.outbox.destination.name]
    kept, office.deals = office.deals, {}
    office.hour()
    assert office.rows()["kind"].to_list() == ["conversion"] * 2
    office.deals = kept
    office.deals["b"].value = 90_00
    office.hour()
    assert believed(office) == {"a": 100_00, "b": 90_00}


@pytest.mark.parametrize("office", ["google"], indirect=True)
def test_a_fact_that_is_gone_is_taken_back(office: Office):
    """Its event is there and tells of no milestone any more."""
    office.deals["a"] = Deal("a", 100_00)
    office.hour()
    office.hour()
    with office.outbox.warehouse.session() as session, session.transaction():
        keys = pl.DataFrame({"milestone": ["customer_won"], "milestone_id": ["a"]})
        session["events.milestone"].delete(keys)
        session["events.milestone_event"].delete(keys)
    office.deals = {}
    office.hour()
    assert office.rows().select("kind", "value", "cause").rows()[1:] == [("restatement", 0, "gone")]


@pytest.mark.parametrize("office", ["google"], indirect=True)
def test_a_correction_that_is_refused_is_told_once_and_again_only_when_a_person_says_so(office: Office):
    office.deals["a"] = Deal("a", 100_00)
    office.hour()
    office.hour()
    office.deals["a"].value = 150_00
    office.hour()
    told = office.rows().filter(pl.col("adjusts").is_not_null())
    with office.outbox.ledger.writing() as book:
        refused = {"conversion_id": told["conversion_id"][0], "state": "rejected", "reason": "INVALID"}
        book.update(CONVERSION, [refused])
    for _ in range(3):
        office.hour()
    assert office.rows()["revision"].to_list() == [0, 1], "not an hour after the other"
    with office.outbox.ledger.writing() as book:
        rejected = book.read(CONVERSION).filter(pl.col("state") == "rejected")
        assert moves.plan_again(book, rejected, "again: mended", office.now) == rejected["conversion_id"].to_list()
    again = office.rows().filter(pl.col("revision") == 2).row(0, named=True)
    first = told.row(0, named=True)
    same = ("kind", "adjusts", "cause", "value", "person_id", "contact_id", "touch_id")
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    office.hour()
    assert believed(office) == {"a": 150_00}
    office.deals["a"].value = 170_00
    for _ in range(2):
        office.hour()
    assert believed(office) == {"a": 170_00}, "another value is told"
