"""The list of layers says what the steps do: the tables their SQL names while they run over the sample stories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import utime
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from crm_attribution import configuration, layers
from crm_attribution.clock import FixedClock
from crm_attribution.contracts import CONTRACTS, topics
from crm_attribution.conversions import plan, traits
from crm_attribution.conversions.recipients import resolver
from crm_attribution.conversions.tellers import TELLERS
from crm_attribution.delivery.deliver import deliver
from crm_attribution.destinations import destinations
from crm_attribution.layers import ALERTING, COMPUTING, LAYERS, PLANNING, SENDING, TELLING, Step
from crm_attribution.sources.costs import SOURCE as COSTS
from crm_attribution.sources.spend import SOURCE as SPEND
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import RULES, Chain, rules
from crm_attribution_tests.flow.stories import portal
from crm_attribution_tests.flow.story import LAST_DAY, SETUP, Story
from crm_attribution_tests.helpers import at
from crm_attribution_tests.marts import sample_rows
from crm_attribution_tests.operations.test_dry_run import SEND
from crm_attribution_tests.sandbox.lines import create, email_click, join, update
from crm_attribution_tests.sandbox_process import Line

pytestmark = pytest.mark.sandbox

STOPS = ("2026-03-05T09:00:00Z", "2026-03-14T09:00:00Z", "2026-04-20T09:02:00Z", LAST_DAY)
HUBSPOT = ("hubspot_events", "hubspot_identify", "hubspot_properties", "hubspot_stages")
PLATFORMS = [destinations()[name] for name in ("meta", "google", *HUBSPOT)]
"""One that says at once what became of a request, one that says it later, and HubSpot."""
GOOGLE = """  google: {conversions: [{milestone: customer_won, action: "7081230002", value: arr}]}
"""
MAPPING = (
    RULES.replace("markov]", "markov, self_reported]")
    + SEND
    + GOOGLE
    + """write_back:
  properties: {contacts: {last_link: "{link_slug}"}, deals: {last_link: "{link_slug}"}}
  identify: {tell: [contacts, companies], traits: [link_clicks_30_days, quiet_account]}
  stages:
    rules:
      - {name: any, link: "*", days: 30, count: 1, pipeline: default, from_stage: appointmentscheduled,
         to_stage: qualifiedtobuy, mode: act, send_from: "2026-03-01T00:00:00Z"}
"""
    + """alerts:
  rules:
    - {name: won, on: event, to: ALERT_WEBHOOK_URL, template: won, filter: {field: event, equals: deal_won}}
    - {name: posted, on: webhook, to: ALERT_WEBHOOK_URL, template: posted}
    - {name: refused, on: delivery, to: ALERT_WEBHOOK_URL, template: failed_delivery}
    - {name: restated, on: restatement, to: ALERT_WEBHOOK_URL, template: restatement}
    - {name: quiet, on: silence, to: ALERT_WEBHOOK_URL, template: silent_webhooks}
  templates: {posted: {title: "{subscription_type}"}}
"""
    + "streams: {meetings: on, campaigns: on}\nchurn: {company: {date_property: ends_on}}\n"
)


@dataclass
class Traced:
    """Tables that statements read and wrote."""

    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)

    def add(self, sql: str) -> None:
        for statement in sqlglot.parse(sql, dialect="duckdb"):
            if statement is None:
                continue
            target = statement.this if isinstance(statement, exp.Insert | exp.Update | exp.Delete) else None
            for table in statement.find_all(exp.Table):
                name = f"{table.db}.{table.name}"
                if name in CONTRACTS:
                    (self.writes if table is target else self.reads).add(name)


@dataclass
class Recorder:
    """A connection that notes what it is asked."""

    connection: Any
    traced: Traced

    def execute(self, sql: str, *more: Any) -> Any:
        self.traced.add(sql)
        return self.connection.execute(sql, *more)

    def sql(self, sql: str, **more: Any) -> Any:
        self.traced.add(sql)
        return self.connection.sql(sql, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@contextmanager
def recorded(session: Session, traced: Traced) -> Iterator[None]:
    connection = session.connection
    session.connection = Recorder(connection, traced)  # type: ignore[assignment]
    try:
        yield
    finally:
        session.connection = connection


class Watched(Warehouse):
    """A warehouse whose sessions are recorded."""

    def __init__(self, directory: Path, traced: Traced) -> None:
        super().__init__(directory)
        object.__setattr__(self, "traced", traced)

    @contextmanager
    def session(self) -> Iterator[Session]:
        with super().session() as session, recorded(session, self.traced):  # type: ignore[attr-defined]
            yield session


def lines() -> list[Line]:
    """The sample stories, and a person with a click of each kind, submissions and an e-mail click."""
    more = Story("a form names a click", 900, [])
    more.company(1)
    more.contact(1, company=1, lifecyclestage="lead", ad_consent="granted")
    more.deal(1, "06-25T09:00:00", "closedwon", 1, [1], amount=100)
    for hour in ("02-20T09", "03-10T09"):
        more.click(f"{hour}:00:00", 1, contact_id=None, gclid=f"G{hour}")
        more.submit(f"{hour}:10:00", 1, gclid=f"G{hour}")
        meeting = {"hs_timestamp": f"2026-{hour}:30:00Z", "hs_meeting_outcome": "COMPLETED"}
        more.lines.append(create(f"2026-{hour}:30:00Z", "meetings", int(hour[:2] + hour[3:5]), **meeting))
        ends = ("meetings", int(hour[:2] + hour[3:5])), ("contacts", int(more.id(1)))
        more.lines.append(join(f"2026-{hour}:30:00Z", *ends))
        more.lines.append(email_click(f"2026-{hour}:20:00Z", f"m{hour}", f"c{more.id(1)}@buyer.example"))
    more.contact(3)
    more.deal(3, "04-18T09:00:00", "appointmentscheduled", contacts=[3])
    more.click("04-19T09:00:00", 3)
    by_app = update("2026-03-12T09:00:00Z", "contacts", more.id(1), "INTEGRATION", lifecyclestage="opportunity")
    more.lines.append(by_app)
    told = {"id": "g1", "name": "Spring", "utm": "spring", "spend": [{"id": 1, "amount": 5}]}
    more.lines.append({"at": "2026-03-01T00:00:00Z", "op": "campaign", "campaign": told})
    everything: list[Line] = [*portal()[len(SETUP) :], *more.lines]
    return [*SETUP, *sorted(everything, key=lambda line: str(line["at"]))]


@dataclass
class Run:
    """What happened when the stories were read and derived: by step what it read and wrote, and what was journalled."""

    traced: dict[str, Traced]
    journalled: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything at first, then hour by hour what changed."""
    folder = tmp_path_factory.mktemp("layers")
    (folder / "inbox" / "touches").mkdir(parents=True)
    fair = "touched_at,act,email\n2026-02-20T12:00:00Z,fair,c90001@buyer.example\n"
    file = folder / "inbox" / "touches" / "fair.csv"
    file.write_text(fair, encoding="utf-8")
    utime(file, (at("2026-02-21").timestamp(),) * 2)
    (folder / "inbox" / "identify").mkdir()
    said = "happened_at,email,website,firstname\n2026-02-20T12:00:00Z,c90001@buyer.example,firm.example,Ann\n"
    (folder / "inbox" / "identify" / "people.csv").write_text(said, encoding="utf-8")
    found = {step.name: Traced() for step in (*LAYERS, PLANNING, COMPUTING, TELLING, ALERTING, SENDING)}
    with Chain.start(folder, lines(), STOPS[0], rules(folder, MAPPING)) as chain:
        chain.rates("2026-03-05,USD,EUR,0.9")
        chain.drop(SPEND, "date,platform,ad_account,currency,campaign_id,amount", "2026-03-05,google,1,USD,7,10.00")
        chain.drop(COSTS, "month,kind,currency,amount", "2026-03,tools,USD,10.00")
        env = {**chain.sandbox.env, "CRM_ATTRIBUTION_START": "2026-01-01T00:00:00Z"}
        given = configuration.load({name: text for name, text in env.items() if name != "ALERT_WEBHOOK_URL"})
        telling = configuration.load({**env, "CRM_ATTRIBUTION_WRITE_BACK": "on"})
        for before, stop in zip((None, *STOPS), STOPS, strict=False):
            chain.sandbox.set_clock(stop)
            chain.read(at(before) if before else None)
            with chain.warehouse.session() as session:
                for layer in LAYERS:
                    with recorded(session, found[layer.name]):
                        layers.run(layer, session, chain.mapping, at(stop))
                with recorded(session, found[PLANNING.name]):
                    plan.update(session, chain.ledger, chain.mapping, given, at(stop))
                with recorded(session, found[COMPUTING.name]):
                    traits.update(session, traits.usable(chain.mapping, telling)[0], at(stop), at(stop))
                with recorded(session, found[ALERTING.name]):
                    alerts = destinations()["alerts"]
                    (route,) = plan.accounts_of(alerts, chain.mapping, telling)
                    plan.plan_told(session, chain.ledger, route, chain.mapping, telling, at(stop), {})
                    rows = session.read("conversions.conversion", "destination = 'alerts'")
                    resolver(alerts, chain.mapping)(session, rows)
                with recorded(session, found[TELLING.name]):
                    used, _ = traits.usable(chain.mapping, telling)
                    for platform in map(destinations().__getitem__, HUBSPOT):
                        (account,) = plan.accounts_of(platform, chain.mapping, telling)
                        plan.plan_told(session, chain.ledger, account, chain.mapping, telling, at(stop), used)
        for platform in PLATFORMS:
            now = at(STOPS[2] if platform.is_hubspot else LAST_DAY)
            sent = deliver(
                platform,
                settings=telling,
                rules=chain.mapping,
                warehouse=Watched(chain.warehouse.directory, found[SENDING.name]),
                ledger=chain.ledger,
                clock=FixedClock(now),
                window_end=now,
                resolve=resolver(platform, chain.mapping),
            )
            assert sent.requests > 0
        with chain.warehouse.session() as session:
            journalled = set(session.query("SELECT DISTINCT topic FROM meta.change")["topic"])
    return Run(found, journalled)


@pytest.mark.parametrize("step", [*LAYERS, PLANNING, COMPUTING, TELLING, ALERTING, SENDING], ids=lambda step: step.name)
def test_a_step_reads_and_writes_what_it_declares(seen: Run, step: Step):
    traced = seen.traced[step.name]
    assert sorted(traced.writes) == sorted(step.writes)
    assert sorted(traced.reads - traced.writes) == sorted({*step.reads, *step.counts})


def test_every_topic_is_journalled_and_read(seen: Run):
    declared = {topic for topic in vars(topics).values() if isinstance(topic, topics.Topic)}
    by_contract = {topic for contract in CONTRACTS.values() for entry in contract.journal for topic in entry.topics}
    assert by_contract == declared
    assert seen.journalled == declared - {*topics.OF_MODELS}, "no model follows there"
    by_layers = {topic for layer in LAYERS for topic in layer.topics}
    by_tellers = {topic for teller in TELLERS.values() for topic in teller.topics}
    by_models = {follow.topic for model in sample_rows.models() for follow in model.follows} & declared
    others = by_layers | {*plan.TOPICS} | by_tellers
    assert others | by_models == declared
    assert by_models - others == {*topics.OF_MODELS}


def test_layers_read_only_what_stands_before_them():
    order = [*LAYERS, PLANNING, SENDING]
    for place, step in enumerate(order):
        later = {table for other in order[place + 1 :] for table in other.writes}
        assert not later & set(step.reads), step.name
        assert set(step.memory) <= set(step.writes)


def test_the_dry_run_derives_just_what_planning_needs():
    assert [layer.name for layer in layers.needed_by(PLANNING)] == ["identity", "events", "milestones"]
