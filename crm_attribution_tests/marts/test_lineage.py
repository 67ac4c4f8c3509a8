"""Which columns a result column is computed from: hard cases, the repository's own files, and DuckDB as the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import TopologicalSorter

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.contracts import CONTRACTS
from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.lineage import Lineage, column_lineage
from crm_attribution.warehouse.schema import QUARANTINE_COLUMNS
from crm_attribution_tests.laws import TIMES
from crm_attribution_tests.marts import sample_rows

COLUMNS = {"raw.a": ["x", "y"], "raw.b": ["x", "z"]}


def written(lineage: Lineage) -> str:
    """`p: a.x b.z; n:` as the cases below have it."""
    return "; ".join(
        f"{column}: {' '.join(f'{table[4:]}.{name}' for table, name in sorted(sources))}".strip()
        for column, sources in lineage.items()
    )


CASES = [
    ("from raw.a", "x: a.x; y: a.y"),
    ("select x -- one\nfrom raw.a; -- done", "x: a.x"),
    ("select x as p, p || y as q from raw.a", "p: a.x; q: a.x a.y"),
    ("select a.*, b.* exclude (x) from raw.a a join raw.b b on true", "x: a.x; y: a.y; z: b.z"),
    ("select * replace (x || y as x) from raw.a", "x: a.x a.y; y: a.y"),
    ("select * rename (x as k) from raw.a", "k: a.x; y: a.y"),
    ("select * from raw.a join raw.b using (x)", "x: a.x b.x; y: a.y; z: b.z"),
    ("select * from raw.a semi join raw.b using (x)", "x: a.x; y: a.y"),
    ("select * from raw.a anti join raw.b on a.x = b.z", "x: a.x; y: a.y"),
    ("select b.*, a.x as ax from raw.a left join (from raw.b) b on a.x = b.x", "x: b.x; z: b.z; ax: a.x"),
    ("with c (p, q) as (from raw.a) select q, p from c", "q: a.y; p: a.x"),
    ("with c as (select y as x from raw.a), d as (select c.x from c) select d.x from d, raw.b", "x: a.y"),
    ("with a as (select z as x from raw.b) select x from a", "x: b.z"),
    ("select x from raw.a union all select z from raw.b", "x: a.x b.z"),
    ("select x, y from raw.a union all by name select z as y, x from raw.b", "x: a.x b.x; y: a.y b.z"),
    ("with recursive r as (select x, 1 as n from raw.a union all select x, n + 1 from r) from r", "x: a.x; n:"),
    ("select (select max(z) from raw.b where b.x = a.x) as m from raw.a", "m: b.z"),
    ("select exists (select 1 from raw.b where z = a.y) as e, count(*) as n from raw.a group by all", "e:; n:"),
    ("select l.w, k.x from raw.a k, lateral (select k.y || z as w from raw.b) l", "w: a.y b.z; x: a.x"),
    ("select u.k from raw.a, unnest([x, y]) u (k)", "k: a.x a.y"),
    ("with c as (select {'p': x} as s from raw.a) select s.p from c", "p: a.x"),
    ("select list_transform([x], lambda e: e || y) as l from raw.a", "l: a.x a.y"),
    ("select [e || y for e in [x]] as l from raw.a", "l: a.x a.y"),
    ("select max(x) over (partition by y) as w from raw.a", "w: a.x a.y"),
    ("select max(x) filter (where y = '') as f from raw.a", "f: a.x a.y"),
    ("select case when y = '' then x end as c, x from raw.a where y = '' order by y", "c: a.x a.y; x: a.x"),
    ("select * from raw.a unpivot (v for n in (x, y))", "n: a.x a.y; v: a.x a.y"),
    ("select * from (values (1, 'a')) v (i, j)", "i:; j:"),
    ('select s."Y" as c from (select x as "Y" from raw.a) s', "c: a.x"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), CASES, ids=[sql for sql, _ in CASES])
def test_columns_are_traced_to_the_tables(sql: str, expected: str) -> None:
    assert written(column_lineage(sql, COLUMNS)) == expected


def test_a_query_that_cannot_be_resolved_is_an_error_of_ours() -> None:
    with pytest.raises(ConfigurationError, match="cannot be traced"):
        column_lineage("select 1 as n from raw.a t, raw.b t", COLUMNS)


# --- the repository's own files

MODELS = sample_rows.models()
KNOWN = {name: [column.name for column in contract.columns] for name, contract in CONTRACTS.items()} | {
    model.key: [column.name for column in model.columns] for model in MODELS
}
KNOWN |= {
    f"quarantine.{name.removeprefix('raw.')}": list(QUARANTINE_COLUMNS) for name in CONTRACTS if name.startswith("raw.")
}
TRACED = {model.key: column_lineage(model.sql, {name: KNOWN[name] for name in model.depends}) for model in MODELS}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.key)
def test_every_column_of_a_model_is_traced_to_columns_that_exist(model) -> None:
    assert list(TRACED[model.key]) == KNOWN[model.key]
    sources = {source for found in TRACED[model.key].values() for source in found}
    assert {table for table, _ in sources} <= set(model.depends)
    assert [(table, column) for table, column in sources if column not in KNOWN[table]] == []


def ends() -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Every model column with the contract columns it comes from in the end."""
    direct = {(model, column): found for model, traced in TRACED.items() for column, found in traced.items()}
    reached: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for column in TopologicalSorter(direct).static_order():
        sources = direct.get(column)
        reached[column] = {column} if sources is None else {end for source in sources for end in reached[source]}
    return {column: reached[column] for column in direct}


def test_lineage_ends_at_tables_of_the_pipeline() -> None:
    assert {table.split(".")[0] for found in ends().values() for table, _ in found} <= {
        *("raw", "identity", "events", "attribution", "finance", "conversions", "delivery", "quarantine")
    }


def test_only_counts_and_labels_come_from_no_column() -> None:
    constant = {f"{model}.{column}" for (model, column), found in ends().items() if not found}
    assert constant == {
        *("staging.currency.digits", "staging.currency.unit", "staging.funnel_entry.subject"),
        *("staging.arr_bridge.months", "staging.arr_bridge.basis", "marts.arr_bridge_restated.basis"),
        *("marts.arr_bridge.basis", "marts.hygiene.problem", "marts.hygiene.touches"),
        *("marts.hygiene.what_to_do",),
        *("marts.funnel.subject", "marts.funnel.step_number", "marts.funnel.step"),
        *("marts.funnel.reached", "marts.funnel.milestones", "marts.funnel_value.milestones"),
        *("marts.upload_health.conversions", "marts.account_progress.touches", "marts.delivery_exposure.conversions"),
        *("marts.account_value.deals_open", "marts.account_value.wins", "marts.milestone.linked_events"),
        *("marts.account_journey.kind", "marts.campaign_roi.basis", "marts.campaign_roi.level"),
        *("marts.campaign_roi.measure", "marts.campaign_roi.cohort_accounts", "marts.identity_quality.figure"),
        *("marts.identity_quality.of_records", "marts.model_comparison.look_back_days"),
        *("marts.pipeline_velocity.opportunities", "marts.pipeline_velocity.won", "marts.pipeline_velocity.lost"),
        *("marts.pipeline_velocity.win_rate", "marts.reconciliation.warehouse_deals"),
        *("marts.reconciliation.asked_deals", "marts.campaign_reconciliation.step"),
        *("marts.campaign_reconciliation.class",),
    }


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("revenue_attribution.credit_minor", {"attribution.credit.credit"}),
        ("funnel.entry_channel", {"attribution.touch.channel"}),
        ("milestone.account_name", {"identity.account.name"}),
        ("pipeline.weighted_minor", {"raw.deal.amount", "raw.pipeline_stage.probability"}),
        ("upload_health.newest_accepted_at", {"delivery.attempt.finished", "delivery.attempt.outcome"}),
    ],
)
def test_columns_finance_asks_about_come_from_where_they_should(column: str, expected: set[str]) -> None:
    mart, _, name = column.partition(".")
    assert {f"{table}.{source}" for table, source in ends()[(f"marts.{mart}", name)]} == expected


# --- DuckDB as the oracle: every cell names its column, so what is concatenated says where it came from


@pytest.fixture(scope="module")
def tagged() -> Iterator[duckdb.DuckDBPyConnection]:
    """One row per table whose cells are `<table.column>`."""
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA raw")
        for table, columns in COLUMNS.items():
            cells = ", ".join(f"'<{table}.{column}>' AS {column}" for column in columns)
            connection.execute(f"CREATE TABLE {table} AS SELECT {cells}")
        yield connection


@st.composite
def queries(
    draw: st.DrawFn, depth: int = 0, scope: tuple[tuple[str, tuple[str, ...]], ...] = ()
) -> tuple[str, tuple[str, ...]]:
    """A random SELECT and its columns: WITH queries that hide tables, aliases, stars, joins, unions, subqueries."""
    ctes: list[str] = []
    inner = list(scope)
    for name in draw(st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True)) if depth < 2 else []:
        body, names = draw(queries(depth + 1, tuple(inner)))
        ctes.append(f"{name} AS ({body})")
        inner = [entry for entry in inner if entry[0] != name] + [(name, names)]
    sources: list[tuple[str, tuple[str, ...]]] = []
    for alias in draw(st.sampled_from([["p"], ["p", "q"]])):
        kind = draw(st.sampled_from(["table", "cte", "query"]))
        if kind == "query" and depth < 2:
            body, names = draw(queries(depth + 1, tuple(inner)))
            sources.append((f"({body}) AS {alias}", tuple(f"{alias}.{name}" for name in names)))
        else:
            tables = inner if kind == "cte" and inner else [(key, tuple(names)) for key, names in COLUMNS.items()]
            table, names = draw(st.sampled_from(tables))
            sources.append((f"{table} AS {alias}", tuple(f"{alias}.{name}" for name in names)))
    available = [name for _, names in sources for name in names]
    if draw(st.booleans()) and len(sources) == 1:
        selected, result = "*", tuple(name.split(".")[1] for name in available)
    else:
        parts = st.lists(st.sampled_from([*available, "'-'"]), min_size=1, max_size=3).map(" || ".join)
        scalar = st.sampled_from([f"(SELECT max({c}) FROM {t})" for t, cs in COLUMNS.items() for c in cs])
        values = draw(st.lists(parts | scalar, min_size=1, max_size=3))
        result = tuple("xyz"[: len(values)])
        selected = ", ".join(f"{value} AS {name}" for value, name in zip(values, result, strict=True))
    sql = f"SELECT {selected} FROM {' JOIN '.join(source for source, _ in sources)}{' ON true' * (len(sources) - 1)}"
    if draw(st.booleans()):
        other = draw(st.permutations(COLUMNS["raw.a"] * 2))[: len(result)]
        if len(other) == len(result):
            sql += f" UNION ALL SELECT {', '.join(other)} FROM raw.a"
    return (f"WITH {', '.join(ctes)} {sql}" if ctes else sql), result


@settings(max_examples=80 * TIMES)
@given(queries())
def test_lineage_is_what_duckdb_shows_in_the_cells(tagged: duckdb.DuckDBPyConnection, query) -> None:
    sql, _ = query
    result = tagged.execute(sql)
    names = [column[0] for column in result.description]
    cells = ["".join(map(str, column)) for column in zip(*result.fetchall(), strict=True)]
    shown = {
        name: {
            (table, column) for table, columns in COLUMNS.items() for column in columns if f"<{table}.{column}>" in cell
        }
        for name, cell in zip(names, cells, strict=True)
    }
    assert column_lineage(sql, COLUMNS) == shown
