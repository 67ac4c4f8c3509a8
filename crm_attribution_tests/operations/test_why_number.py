"""`why number`: a row of a mart back to its source rows; every figure is the mart's, what is in no mart is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest
from click.testing import CliRunner

from crm_attribution.cli import main
from crm_attribution.errors import ConfigurationError, NotKnown
from crm_attribution.operations.why import Node, number
from crm_attribution.operations.why.tree import Context
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import Chain
from crm_attribution_tests.marts import sample_rows

pytestmark = pytest.mark.sandbox

LINEAR = ("model=linear", "scope=account", "measure=amount", "milestone=customer_won")


@pytest.fixture(scope="module")
def built(stories: Chain) -> Chain:
    with stories.warehouse.session() as session:
        sample_rows.build(session)
    return stories


@pytest.fixture
def world(built: Chain) -> Iterator[tuple[Session, Context]]:
    with built.warehouse.session() as session:
        yield session, Context(session, built.mapping, limit=1000)


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def test_a_channel_is_opened_down_to_its_source_rows(world: tuple[Session, Context]) -> None:
    session, context = world
    channel, month, currency = session.query(
        "SELECT channel, strftime(booked_month, '%Y-%m'), currency FROM marts.revenue_attribution"
        " WHERE model = 'linear' AND scope = 'account' AND measure = 'amount' AND milestone = 'customer_won'"
        " AND channel <> 'Unattributed' AND credit_minor > 0 ORDER BY ALL LIMIT 1"
    ).row(0)
    asked = (*LINEAR, f"channel='{channel}'", f"booked_month={month}", f"currency={currency}")
    tree = number.explain(context, "marts.revenue_attribution", asked)
    rows, opened = tree.children
    total = tree.facts["credit_minor"]
    assert total == sum(row.facts["credit_minor"] for row in rows.children)
    assert total == sum(row.facts["credit_minor"] for row in opened.children) == opened.facts["credit_minor"]
    for row in opened.children:
        known = session.query(
            "SELECT credit_minor, weight::VARCHAR::DOUBLE, position FROM marts.deal_attribution, key"
            " WHERE model = 'linear' AND scope = 'account' AND measure = 'amount'"
            " AND milestone_id = key.id AND touch_id = key.touch",
            key=pl_row(row),
        ).row(0)
        assert known == (row.facts["credit_minor"], float(row.facts["weight"]), row.facts["position"])
        below = [node.what for node in walk(row)]
        assert any(what.startswith("raw.") for what in below), "the source row"
        assert any(what.startswith("edges that join it") for what in below), "whose touch it is"
    json.dumps(tree.as_dict())


def pl_row(row: Node) -> pl.DataFrame:
    return pl.DataFrame({"id": [row.facts["milestone_id"]], "touch": [row.facts["touch_id"]]})


@pytest.mark.parametrize(
    ("table", "where", "of"),
    [
        ("arr_bridge", "basis = 'own' AND new_minor > 0", "revenue_movement"),
        ("reconciliation", "warehouse_minor > 0", "milestone"),
        ("funnel_value", "amount_minor > 0", "milestone"),
        ("pipeline_velocity", "won > 0", "milestone"),
    ],
)
def test_sums_are_opened_by_the_rows_they_add_up(
    world: tuple[Session, Context], table: str, where: str, of: str
) -> None:
    session, context = world
    month = {"arr_bridge": "month", "pipeline_velocity": "month"}.get(table, "booked_month")
    found = session.query(
        f"SELECT {month}::VARCHAR AS month, currency FROM marts.{table} WHERE {where} ORDER BY ALL LIMIT 1"
    ).row(0)
    tree = number.explain(context, table, (f"{month}={found[0]}", f"currency={found[1]}"))
    opened = tree.children[-1]
    assert opened.what == f"rows of marts.{of}"
    assert opened.facts["count"] == len(opened.children) > 0
    assert {row.facts["currency"] for row in opened.children} == {found[1]}
    if table == "reconciliation":
        assert sum(row.facts.get("amount_current_minor", 0) for row in opened.children) == tree.facts["warehouse_minor"]


def test_what_is_in_no_figure_is_answered_with_its_gap(world: tuple[Session, Context]) -> None:
    session, context = world
    (deal,) = session.query(
        "SELECT min(deal_id) FROM marts.known_gaps WHERE gap = 'deal_without_facts'"
        " AND deal_id NOT IN (SELECT deal_id FROM marts.deal_attribution WHERE deal_id IS NOT NULL)"
    ).row(0)
    tree = number.explain(context, "deal_attribution", (f"deal_id={deal}",))
    assert tree.what == "marts.deal_attribution has no such row"
    assert {child.facts["gap"] for child in tree.children} >= {"deal_without_facts"}


def test_what_cannot_be_asked_is_told_with_what_can(world: tuple[Session, Context]) -> None:
    context = replace(world[1], limit=1)
    with pytest.raises(ConfigurationError, match="there is no mart nothing; there are account_journey, "):
        number.explain(context, "nothing", ())
    with pytest.raises(ConfigurationError, match=r"'chanel=x' is no condition.*booked_on, booked_month"):
        number.explain(context, "revenue_attribution", ("chanel=x",))
    with pytest.raises(NotKnown, match=r"no row with model = circular; there are .*linear"):
        number.explain(context, "revenue_attribution", ("model=circular",))
    mixed = number.explain(context, "revenue_attribution", ("model=linear",))
    assert mixed.facts["not_added_up"] == "rows of several: scope, measure, milestone; name one of each"
    versions = number.explain(context, "milestone_history", ("milestone=customer_won",))
    assert "superseded_at" in versions.facts["not_added_up"], "versions of a figure are never one"
    balances = number.explain(context, "arr_bridge", ("basis=own",))
    assert "opening_minor" in balances.facts["not_added_up"], "nor are balances of several months"


@pytest.mark.parametrize(
    "table", ["milestone_history", "revenue_attribution", "pipeline", "arr_bridge", "stage_duration"]
)
def test_every_value_can_be_asked_for_as_it_is_shown(world: tuple[Session, Context], table: str) -> None:
    session, context = world
    row = session.query(f"FROM marts.{table} ORDER BY ALL LIMIT 1").row(0, named=True)
    shown = {name: str(value) for name, value in number._facts(row).items()}
    tree = number.explain(context, table, [f"{name}={value}" for name, value in shown.items()])
    assert tree.facts["rows"] == 1


def test_a_month_and_a_moment_may_be_written_in_any_way(world: tuple[Session, Context]) -> None:
    context = replace(world[1], limit=1)
    asked = [f"booked_month={month}" for month in ("2026-3", "2026-03", "2026-03-01", "2026-3-1")]
    assert len({number.explain(context, "milestone", [one]).facts["rows"] for one in asked}) == 1
    for condition, form in (
        ("booked_month=March", "is no DATE: write it as 2026-03-01, or 2026-03"),
        ("occurred_at=noon", "is no TIMESTAMP: write it as 2026-03-12T09:00:00Z"),
        ("is_counted=perhaps", "is no BOOLEAN: write it as true or false"),
        ("amount_current=much", r"is no DECIMAL.*: write it as a number"),
    ):
        with pytest.raises(ConfigurationError, match=form):
            number.explain(context, "milestone", [condition])


def test_the_command(built: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(built.warehouse.directory))
    done = CliRunner().invoke(main, ["why", "number", "marts.revenue_attribution", *LINEAR, "--limit", "2", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["what"] == "marts.revenue_attribution"
