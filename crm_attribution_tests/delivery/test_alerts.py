"""Alerts: every event that a rule wants is told once, in words that Slack takes, to the route the rule names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution import configuration, mapping
from crm_attribution.clock import FixedClock
from crm_attribution.contracts import CONTRACTS
from crm_attribution.conversions import plan
from crm_attribution.conversions.recipients import resolver
from crm_attribution.delivery.deliver import deliver
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.destinations import destinations
from crm_attribution.destinations.alerts import _shown
from crm_attribution.destinations.base import Answer
from crm_attribution.errors import ConfigurationError
from crm_attribution.ledger.store import Ledger
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.mapping.alerts import Filter
from crm_attribution.sandbox.platforms.alerts import FURTHER
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution_tests.delivery.slack_blocks import Message
from crm_attribution_tests.destinations import conformance
from crm_attribution_tests.helpers import at, new_warehouse
from crm_attribution_tests.sandbox_process import Sandbox

ALERTS = destinations()["alerts"]
NOW = at("2026-03-10T12:00:00Z")

# --- filters

NEWS = {"event": "deal_won", "stage": "closedwon", "pipeline": "default"}


@pytest.mark.parametrize(
    ("given_", "holds"),
    [
        ({"field": "event", "equals": "deal_won"}, True),
        ({"field": "event", "equals": "deal"}, False),
        ({"field": "event", "starts_with": "deal_"}, True),
        ({"field": "stage", "in": ["closedwon", "closedlost"]}, True),
        ({"field": "owner_id", "starts_with": ""}, False),
        ({"changed": "stage"}, True),
        ({"changed": "amount"}, False),
        ({"and": [{"changed": "stage"}, {"field": "pipeline", "equals": "renewals"}]}, False),
        ({"or": [{"changed": "amount"}, {"and": [{"field": "pipeline", "equals": "default"}]}]}, True),
    ],
)
def test_a_filter_is_what_it_says(given_: dict[str, Any], holds: bool):
    assert Filter.model_validate(given_).holds(NEWS, frozenset({"stage"})) is holds


atoms = st.sampled_from([{"field": "event", "equals": "deal_won"}, {"field": "event", "equals": "x"},
                         {"changed": "stage"}, {"changed": "amount"}])  # fmt: skip
trees = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda ones: {"and": ones}),
        st.lists(inner, min_size=1, max_size=3).map(lambda ones: {"or": ones}),
    ),
    max_leaves=8,
)


@given(tree=trees)
def test_and_and_or_are_those_of_logic(tree: dict[str, Any]):
    def truth(one: dict[str, Any]) -> bool:
        if "and" in one:
            return all(map(truth, one["and"]))
        if "or" in one:
            return any(map(truth, one["or"]))
        return one in ({"field": "event", "equals": "deal_won"}, {"changed": "stage"})

    assert Filter.model_validate(tree).holds(NEWS, frozenset({"stage"})) is truth(tree)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{name: x, on: event, to: SLACK_URL, template: won}", "ALERT_WEBHOOK_URL"),
        ("{name: x, on: event, to: ALERT_WEBHOOK_URL, template: none}", "there is no template none"),
        ("{name: x, on: delivery, to: ALERT_WEBHOOK_URL, template: won}", "there is no {deal_name}"),
        ("{name: x, on: event, to: ALERT_WEBHOOK_URL, template: won, filter: {field: colour, equals: x}}",
         "event has no field colour"),
        ("{name: x, on: event, to: ALERT_WEBHOOK_URL, template: won, filter: {changed: owner}}", "stage, amount is"),
        ("{name: x, on: event, to: ALERT_WEBHOOK_URL, template: won, filter: {field: event}}", "write {field: …"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_named(tmp_path: Path, rule: str, said: str):
    file = tmp_path / "mapping.yaml"
    file.write_text(f"alerts: {{rules: [{rule}]}}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as wrong:
        mapping.load(file)
    assert said in str(wrong.value)


# --- messages

words = st.text(st.characters(codec="utf-8"), max_size=200).map(lambda text: text * 40) | st.text(max_size=20)


@given(title=words, text=words, size=st.integers(1, ALERTS.limits.batch))
def test_every_message_is_one_that_slack_takes(title: str, text: str, size: int):
    details = {name: given_ for name, given_ in (("title", title.strip()), ("text", text.strip())) if given_}
    rows = [conformance.ready(ALERTS, number, details=details) for number in range(size)]
    message = ALERTS.build(rows, conformance.settings(ALERTS), {}).json
    Message.model_validate(message)
    assert len(message["attachments"]) == size
    shown = str(message["attachments"][0]["blocks"][1:])
    assert "<!channel>" not in shown


def test_the_address_of_a_route_is_shown_nowhere():
    given_ = {"ALERT_WEBHOOK_URL": "https://hooks.example/services/T0/B0/abcdefgh"}
    request = ALERTS.build([conformance.ready(ALERTS)], given_, {})
    assert request.path == "/***"
    assert ALERTS.address(given_) == ("https://hooks.example", "/services/T0/B0/abcdefgh")
    assert "abcdefgh" not in ALERTS.account(given_)
    assert "/services/T0/B0/abcdefgh" in configuration.load(given_).secrets()
    with pytest.raises(ConfigurationError, match="ALERT_WEBHOOK_URL: must be the whole address"):
        configuration.load({"ALERT_WEBHOOK_URL": "hooks.slack.com"})


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, "ok", "accepted"), (204, None, "accepted"), (200, {"ok": True}, "accepted"), (200, "<html>", "uncertain"),
        (400, "invalid_payload", "rejected"), (404, "no_service", "stopped"), (429, None, "throttled"),
        (400, "Bad Request", "transient"), (500, "server_error", "uncertain"), (410, "channel_is_archived", "stopped"),
        (200, " OK\n", "accepted"), (200, {"status": "OK"}, "accepted"), (200, {"result": "Accepted"}, "accepted"),
        (200, {"success": True}, "accepted"), (200, {"ok": False}, "uncertain"), (200, {"count": 1}, "uncertain"),
    ],
)  # fmt: skip
def test_plain_words_are_read(status: int, body: Any, verdict: str):
    readable = not isinstance(body, str)
    (outcome,) = ALERTS.read(Answer(status, {}, body, readable), [conformance.ready(ALERTS)])
    assert outcome.verdict == verdict


@pytest.mark.parametrize(
    ("text", "longest", "shown"),
    [
        ("abcd", 4, "abcd"),
        ("abcd", 3, "abc"),
        ("a&b", 6, "a&amp;"),
        ("a&b", 5, "a"),
        ("<x>", 99, "&lt;x&gt;"),
        ("", 0, ""),
    ],
)
def test_a_text_is_cut_between_two_signs(text: str, longest: int, shown: str):
    assert _shown(text, longest) == shown


def test_the_other_format_is_a_list():
    rows = [conformance.ready(ALERTS, number, details={"title": "A <b>"}) for number in range(2)]
    given_ = {**conformance.settings(ALERTS), "ALERT_WEBHOOK_FORMAT": "json"}
    assert ALERTS.build(rows, given_, {}).json == {
        "alerts": [
            {"id": row.conversion_id, "rule": row.action, "occurred_at": "2026-03-10T11:22:33.456Z", "title": "A <b>"}
            for row in rows
        ]
    }


def test_a_route_without_its_address_is_named_and_stops_no_other(tmp_path: Path):
    file = tmp_path / "mapping.yaml"
    file.write_text(RULES, encoding="utf-8")
    given_ = configuration.load({"ALERT_WEBHOOK_URL": "https://hooks.example/a"})
    first, second = plan.accounts_of(ALERTS, mapping.load(file), given_)
    assert (first.missing, first.name) == (None, "")
    assert str(second.missing).startswith("not configured: ALERT_WEBHOOK_URL__SALES (Slack: ")
    assert plan.why_not(ALERTS, mapping.load(file), given_) is None
    assert "no rules under alerts" in str(plan.why_not(ALERTS, mapping.load(), given_))


# --- the whole way

RULES = """
alerts:
  rules:
    - {name: new_deals, on: event, to: ALERT_WEBHOOK_URL, template: new_deal,
       filter: {and: [{field: object_type, equals: deals}, {field: began, equals: "yes"}]}}
    - {name: moves, on: event, to: ALERT_WEBHOOK_URL__SALES, template: stage_change,
       filter: {and: [{changed: stage}, {field: began, equals: "no"}]}}
    - {name: won, on: event, to: ALERT_WEBHOOK_URL, template: won, filter: {field: event, equals: deal_won}}
    - {name: hooks, on: webhook, to: ALERT_WEBHOOK_URL, template: hook,
       filter: {or: [{changed: dealstage}, {field: subscription_type, starts_with: "deal.crea"}]}}
    - {name: refused, on: delivery, to: ALERT_WEBHOOK_URL, template: failed_delivery}
    - {name: restated, on: restatement, to: ALERT_WEBHOOK_URL, template: restatement,
       filter: {field: measure, equals: arr}}
    - {name: quiet, on: silence, to: ALERT_WEBHOOK_URL, template: silent_webhooks}
  templates:
    hook: {title: "{subscription_type} {object_id}", text: "{property_name} = {stage_label}", color: stage}
"""


_FILLED: Mapping[Any, Any] = {pl.String: "x", pl.Int64: 0, pl.Boolean: False, pl.Float64: 0.0, pl.Date: NOW.date()}


def rows_for(table: str, rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Rows with something in every column that must have a value."""
    contract = CONTRACTS[table]
    filled = {
        one.name: [] if isinstance(one.dtype, pl.List) else _FILLED.get(type(one.dtype), NOW)
        for one in contract.columns
        if not one.nullable
    }
    given_ = [{**filled, **row} for row in rows]
    return pl.DataFrame(given_, schema={name: contract.polars_schema[name] for name in given_[0]})


@dataclass
class Telling:
    """A warehouse with rows of ours, and a route in the sandbox."""

    warehouse: Warehouse
    sandbox: Sandbox
    rules: mapping.Rules
    env: dict[str, str] = field(default_factory=dict)

    def write(self, table: str, *rows: dict[str, Any]) -> None:
        filled = rows_for(table, rows)
        with self.warehouse.session() as session, session.transaction():
            session[table].append(filled)

    def hour(self, now: datetime, **options: Any) -> DeliveryReport:
        further = f"{self.sandbox.base_url}/alerts/services/{FURTHER}"
        start = {"CRM_ATTRIBUTION_START": "2026-03-01T00:00:00Z"}
        env = {**self.sandbox.env, **start, "ALERT_WEBHOOK_URL__SALES": further, **self.env}
        env["CRM_ATTRIBUTION_DATA_DIR"] = str(self.warehouse.directory)
        settings, ledger = configuration.load(env), Ledger(self.warehouse.directory)
        with self.warehouse.session() as session:
            plan.update(session, ledger, self.rules, settings, now)
        return deliver(
            ALERTS, settings=settings, rules=self.rules, warehouse=self.warehouse, ledger=ledger,
            clock=FixedClock(now), window_end=now, resolve=resolver(ALERTS, self.rules), **options,
        )  # fmt: skip

    def told(self) -> list[str]:
        return [one["blocks"][0]["text"]["text"] for one in self.sandbox.received("alerts")["counted"]]


class TestWhole:
    pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

    @pytest.fixture(scope="class")
    def sandbox(self) -> Iterator[Sandbox]:
        with Sandbox.start([], NOW.isoformat()) as running:
            yield running

    def test_every_event_is_told_once_and_where_the_rule_says(self, sandbox: Sandbox, tmp_path: Path):
        file = tmp_path / "mapping.yaml"
        file.write_text(RULES, encoding="utf-8")
        telling = Telling(new_warehouse(tmp_path / "data"), sandbox, mapping.load(file))
        telling.write("raw.account", {"portal_id": "4242"})
        stages = [("appointmentscheduled", "Booked", 0.2, False), ("closedwon", "Won!", 1.0, True)]
        telling.write("raw.pipeline_stage", *(
            {"stage_id": name, "stage_label": label, "pipeline_id": "default", "pipeline_label": "Sales",
             "probability": chance, "is_closed": closed, "archived": False, "object_type": "deals", "display_order": n}
            for n, (name, label, chance, closed) in enumerate(stages)
        ))  # fmt: skip
        many = range(1, 46)
        telling.write("raw.deal", *({"id": n, "dealname": f"Deal <{n}>", "archived": False} for n in many))
        head = {"object_type": "deals", "source": "CRM_UI", "pipeline": "default", "undone": False, "currency": "EUR",
                "time_basis": "history", "amount": 500000, "occurred_at": NOW, "suppressed_by": None}  # fmt: skip
        recent = NOW - timedelta(hours=1)
        telling.write("events.event", *(
            {**head, "event_id": f"made_{n}", "event": "meeting_scheduled", "object_id": n, "record_id": n,
             "deal_id": n, "to_stage": "appointmentscheduled", "from_stage": None, "began": True, "observed_at": recent}
            for n in many
        ), {**head, "event_id": "won_1", "event": "deal_won", "object_id": 1, "record_id": 1, "deal_id": 1,
            "to_stage": "closedwon", "from_stage": "appointmentscheduled", "began": False, "observed_at": recent},
            {**head, "event_id": "test", "event": "deal_won", "object_id": 2, "record_id": 2, "deal_id": 2,
             "to_stage": "closedwon", "from_stage": "appointmentscheduled", "began": False, "observed_at": recent,
             "suppressed_by": "domains"})  # fmt: skip
        hook = {"source": "hubspot", "subscription_type": "deal.propertyChange", "object_type": "deals",
                "object_id": "7", "occurred_at": recent, "received_at": recent}  # fmt: skip
        telling.write(
            "raw.webhook_event",
            *({**hook, "event_key": f"h{n}", "property_name": "dealstage", "property_value": "closedwon"} for n in
              range(30)),
            {**hook, "event_key": "other", "property_name": "dealname", "property_value": "x"},
            {**hook, "event_key": "made", "subscription_type": "deal.creation", "property_name": None,
             "property_value": None},
        )  # fmt: skip
        report = telling.hour(NOW)
        told = telling.told()
        assert sorted(told) == sorted([
            *(f"New deal: Deal <{n}>" for n in many), "Won: Deal <1>", "Deal <1>: Won!",
            *["deal.propertyChange 7"] * 30, "deal.creation 7",
        ])  # fmt: skip
        assert report.counts == {"accepted": len(told)}
        with telling.warehouse.session() as session:
            routes = session.query("SELECT action, count(DISTINCT account) AS n, min(account) AS one"
                                   " FROM conversions.conversion GROUP BY action").rows()  # fmt: skip
        one_each = {action: account for action, n, account in routes if n == 1}
        assert {action for action, account in one_each.items() if account == one_each["won"]} == {
            "new_deals", "won", "hooks",
        }  # fmt: skip
        assert one_each["moves"] != one_each["won"]
        colors = {one["blocks"][0]["text"]["text"]: one["color"] for one in sandbox.received("alerts")["counted"]}
        assert (colors["Deal <1>: Won!"], colors["New deal: Deal <1>"]) == ("#2eb67d", "#36c5f0")
        assert telling.hour(NOW + timedelta(minutes=5)).requests == 0
        self.product_news(telling, len(told))

    def product_news(self, telling: Telling, before: int) -> None:
        """What went wrong: a refused delivery, a closed month that has changed, webhooks that stay away."""
        late = NOW + timedelta(hours=8)
        read = {"started": late, "finished": late, "window_end": late, "window_start": late, "calls": 1,
                "floor_calls": 1, "rows": 3, "quarantined": 0}  # fmt: skip
        telling.write("raw.extraction", {**read, "stream": "deals", "found": 3})
        month = NOW.date().replace(month=2, day=1)
        telling.write("finance.period", {"month": month, "state": "closed", "recorded_at": NOW, "changed_by": "ada",
                                         "reason": "x"})  # fmt: skip
        figure = {"basis": "own", "booked_month": month, "milestone": "customer_won", "model": "linear",
                  "scope": "account", "currency": "EUR", "cause": "amount", "cause_table": "x", "cause_key": "y",
                  "recorded_at": late}  # fmt: skip
        telling.write("finance.restatement", *(
            {**figure, "measure": measure, "milestone_id": "m1", "channel": channel, "old": 1000, "new": 2500,
             "delta": 1500} for measure in ("arr", "count") for channel in ("Paid Search", "Direct")
        ))  # fmt: skip
        rejected = {"destination": "google", "state": "rejected", "reason": "TOO_OLD", "updated_at": late,
                    "account": "1", "action": "a", "milestone": "customer_won", "kind": "conversion"}  # fmt: skip
        with Ledger(telling.warehouse.directory).writing() as book:
            rows = [{**rejected, "conversion_id": f"g{n}", "milestone_id": f"m{n}"} for n in range(3)]
            book.insert(CONVERSION, rows_for(CONVERSION, rows))
        for hours in range(2):
            telling.hour(late + timedelta(hours=hours))
        assert sorted(telling.told()[before:]) == [
            "2026-02 is closed and has changed: customer_won", "No webhooks for 9 hours", "google: 3 rejected",
        ]  # fmt: skip
        texts = [str(one["blocks"][1]) for one in telling.sandbox.received("alerts")["counted"][before:]]
        assert any("linear: 20.00 to 50.00 EUR" in one for one in texts)
        assert any("search has found 3 changes since" in one for one in texts)
