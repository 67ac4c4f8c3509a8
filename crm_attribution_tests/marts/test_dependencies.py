"""The tables a query reads, by the parser; what cannot be known is refused with line and fix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.dependencies import DependencyReader
from crm_attribution_tests.laws import TIMES

PATH = Path("dbt_like_sql/marts/funnel.sql")


@pytest.fixture(scope="module")
def reader() -> Iterator[DependencyReader]:
    with DependencyReader() as opened:
        yield opened


UNDERSTOOD = [
    ("select 1", ""),
    ("values (1)", ""),
    ("from s.t select a;", "s.t"),
    ('select * from "S"."T"', "s.t"),
    ("select * from s.t a, s.u b join s.v on true left join s.w using (i)", "s.t s.u s.v s.w"),
    ("select * from (s.t join s.u using (i)) positional join s.v asof join s.w on true", "s.t s.u s.v s.w"),
    ("with a as (select * from s.t) select * from a", "s.t"),
    ("with A as (select * from s.t) select * from a", "s.t"),
    ("with a as (select * from s.t), b as (select * from a join s.u on true) select * from b, a", "s.t s.u"),
    ("with a as (with b as (select * from s.t) select * from b) select * from a", "s.t"),
    ("with a as (select 1) select * from (with b as (select * from a) select * from b, s.t)", "s.t"),
    ("with a as (select 1) select (select max(x) from (select * from a union all select * from s.t))", "s.t"),
    ("with t as (select * from s.t) select * from t", "s.t"),
    ("with t as (select 1) select * from s.t", "s.t"),
    ("with t as (from s.u) select * from s.t join t on true", "s.t s.u"),
    ("select coalesce(a, 1), ifnull(a, 1), try(a), grouping(a) from s.t group by a", "s.t"),
    ("with recursive r as (select 1 i union all select i + 1 from r join s.t on true) select * from r", "s.t"),
    ("with a as materialized (select * from s.t) from a", "s.t"),
    ("select * from s.t union select * from s.u except all select * from s.v", "s.t s.u s.v"),
    ("with a as (select * from s.t) select * from a union all select * from a", "s.t"),
    ("select * from s.t where exists (select 1 from s.u where u.i = t.i and t.j in (from s.v))", "s.t s.u s.v"),
    (
        "select (select max(i) from s.t), i in (select j from s.u) from s.v order by (select 1 from s.w)",
        "s.t s.u s.v s.w",
    ),
    ("select i from s.t group by all having i > (select 1 from s.u) limit (select 1 from s.v)", "s.t s.u s.v"),
    ("select * from s.t qualify row_number() over (order by (select 1 from s.u)) = 1", "s.t s.u"),
    ("select * from s.t join s.u on t.i = (select max(i) from s.v)", "s.t s.u s.v"),
    ("select case when exists (from s.t) then 1 else (select 2 from s.u) end", "s.t s.u"),
    ("select list_transform([1], x -> x + (select 1 from s.t))", "s.t"),
    ("select * from range(3) r, unnest([1]) u, lateral (select * from s.t where t.i = r.range)", "s.t"),
    ("select * from s.t, unnest((select list(i) from s.u))", "s.t s.u"),
    ("select * from generate_series(1, 3), json_each('[1]')", ""),
    ("select * from s.t pivot (sum(a) for b in (1, 2))", "s.t"),
    ("select * from s.t unpivot (v for n in (a, b))", "s.t"),
    ("select ';', '--', 's.x' from s.t -- from s.y\n/* from s.z */", "s.t"),
    ("select t.a, s.b.c, s from s.t as s", "s.t"),
    ("select count(*), a.upper(), a->>'x', a ** 2, [x for x in l if x], max(a) filter (where b) from s.t", "s.t"),
    ("select t.current_date, t.now from s.t", "s.t"),
    ("select * exclude (a) replace (1 as b), columns('x.*') from s.t tablesample 10%", "s.t"),
]


@pytest.mark.parametrize(("sql", "tables"), UNDERSTOOD, ids=[sql for sql, _ in UNDERSTOOD])
def test_tables_are_read_from_the_query(reader, sql, tables):
    assert reader.read(sql, PATH) == frozenset(tables.split())


REFUSED = [
    ("select *\nfrom funnel", ":2: funnel is neither"),
    ("with a as (select * from b), b as (select 1) select * from a", "b is neither"),
    ("with a as (select * from a) select * from a", "a is neither"),
    ("select * from (with a as (select 1) from a), a", "a is neither"),
    ("select * from 'x.csv'", "x.csv is neither"),
    ("select * from x.csv", "read as a file"),
    ('select * from s."x.parquet"', "not a plain schema.table"),
    ("select\n  *\nfrom read_csv('x')", ":3: read_csv"),
    ("select * from read_parquet('x')", "read_parquet"),
    ("select * from query_table('s.t')", "query_table"),
    ("select * from query('select 1')", "query()"),
    ("select * from duckdb_tables()", "duckdb_tables"),
    ("select * from information_schema.tables", "is the catalog"),
    ("select * from warehouse.staging.deal", "names a database"),
    ("describe s.t", "DESCRIBE"),
    ("summarize s.t", "SUMMARIZE"),
    ("show tables", "SHOW"),
    ("pivot s.t on a using sum(b)", "write PIVOT as"),
    ("from (pivot s.t on a using sum(b))", "write PIVOT as"),
    ("create table s.t as select 1", "plain SELECT"),
    ("set x = 1", "plain SELECT"),
    ("with a as (insert into s.t values (1) returning *) from a", "only SELECT"),
    ("select 1; select 2", "2 statements"),
    ("", "0 statements"),
    ("-- only a comment", "0 statements"),
    ("select 1\nfrom s.t wher x = 1 2", ":2: syntax error"),
    ("selec 1", ":1: syntax error"),
    ("select 'äöü',\n from from", ":2: syntax error"),
    ("select 'äöüäöü'\nfrom s.t,\nx", ":3: x is neither"),
    ("select * from s.t where a = ?", "parameter"),
    ("select $1", "parameter"),
    ("select my_macro(1) from s.t", "@depends"),
    ("select * from my_macro(1)", "@depends"),
    ("select now()", "another answer"),
    ("select a, current_date from s.t", "another answer"),
    ("select random() from s.t", "another answer"),
    ("select a from s.t where b > today()", "another answer"),
]


@pytest.mark.parametrize(("sql", "says"), REFUSED, ids=[sql for sql, _ in REFUSED])
def test_what_cannot_be_known_is_refused(reader, sql, says):
    with pytest.raises(ConfigurationError) as refusal:
        reader.read(sql, PATH)
    assert str(PATH) in str(refusal.value)
    assert says in str(refusal.value)


def test_a_macro_is_allowed_where_the_file_names_its_tables(reader):
    assert reader.read("select my(1) from my_rows(2), s.t", PATH, macros_declared=True) == {"s.t"}


TABLES = [f"{schema}.{table}" for schema in ("raw", "staging") for table in ("a", "b", "deal")]


@st.composite
def queries(draw: st.DrawFn, depth: int = 0, scope: tuple[str, ...] = ()) -> tuple[str, frozenset[str]]:
    """A random SELECT and the tables it reads: CTEs that shadow table names, unions, joins, subqueries."""
    reads: set[str] = set()
    ctes: list[str] = []
    inner = scope
    for _ in range(draw(st.integers(0, 2)) if depth < 3 else 0):
        name = draw(st.sampled_from(["a", "b", "deal", "x"]))
        if name in [cte.split(" ")[0] for cte in ctes]:
            continue
        body, found = draw(queries(depth=depth + 1, scope=inner))
        ctes.append(f"{name} AS ({body})")
        reads |= found
        inner = (*inner, name)

    def source() -> str:
        kind = draw(st.sampled_from(["table", "table", "cte", "query"]))
        if kind == "cte" and inner:
            return str(draw(st.sampled_from(inner)))
        if kind == "query" and depth < 3:
            body, found = draw(queries(depth=depth + 1, scope=inner))
            reads.update(found)
            return f"({body})"
        table = str(draw(st.sampled_from(TABLES)))
        reads.add(table)
        return table

    sql = f"SELECT * FROM {source()}"
    for extra in draw(st.lists(st.sampled_from(["join", "where", "union", "lateral"]), max_size=2)):
        if extra == "join" and "WHERE" not in sql and "UNION" not in sql:
            sql += f" JOIN {source()} ON true"
        elif extra == "lateral" and "WHERE" not in sql and "UNION" not in sql:
            sql += f", LATERAL (SELECT * FROM {source()})"
        elif extra == "where" and "WHERE" not in sql and "UNION" not in sql:
            sql += f" WHERE EXISTS (FROM {source()})"
        elif extra == "union":
            sql += f" UNION ALL SELECT * FROM {source()}"
    return (f"WITH {', '.join(ctes)} {sql}" if ctes else sql), frozenset(reads)


@settings(max_examples=80 * TIMES)
@given(queries())
def test_random_queries_give_exactly_their_tables(query):
    sql, tables = query
    assert _READER.read(sql, PATH) == tables


_READER = DependencyReader()
