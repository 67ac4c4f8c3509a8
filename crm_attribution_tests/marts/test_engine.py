"""Discovery, order, materialization and tests of SQL models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.errors import ConfigurationError, ContractViolation, Terminal
from crm_attribution.marts.models import SqlColumn, SqlModel, discover, materialize, order, run_test
from crm_attribution_tests.laws import TIMES

FUNNEL = """\
-- One row per day and channel.
-- Finance reads it weekly.
--
-- A note for editors that is no description.
-- @column day [not_null]: the day, in the account's time zone
-- @column channel [not_null] [in paid, organic]: where the touch: came from;
--   written in lower case
-- @column outcomes [>= 0] [< 1000]: how many
-- @unique: day, channel
SELECT day, channel, count(*) AS outcomes FROM staging.touch GROUP BY ALL ORDER BY ALL; -- done
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "dbt_like_sql"


@pytest.fixture
def write(root: Path) -> Write:
    def write_file(name: str, text: str) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    opened = duckdb.connect(tmp_path / "warehouse.duckdb")
    opened.execute(f"ATTACH '{tmp_path / 'marts.duckdb'}' AS marts_file (STORAGE_VERSION 'v1.0.0')")
    opened.execute("CREATE SCHEMA staging; CREATE SCHEMA marts_file.marts")
    opened.execute("SET search_path = 'warehouse.main,marts_file.marts'")
    yield opened
    opened.close()


def simple(sql: str, *columns: str) -> str:
    lines = "\n".join(f"-- @column {column}: what it is" for column in columns)
    return f"-- One row per thing.\n{lines}\n{sql}\n"


def model_of(root: Path, key: str) -> SqlModel:
    return next(model for model in discover(root) if model.key == key)


# --- discovery


def test_the_path_is_the_key_and_the_header_is_read(root, write):
    path = write("marts/funnel.sql", FUNNEL)
    (model,) = discover(root)
    assert (model.key, model.path, model.depends) == ("marts.funnel", path, ("staging.touch",))
    assert model.description == "One row per day and channel. Finance reads it weekly."
    assert [column.name for column in model.columns] == ["day", "channel", "outcomes"]
    assert model.columns[1].description == "where the touch: came from; written in lower case"
    assert model.columns[1].allowed == ("paid", "organic")
    assert model.columns[2].bounds == ((">=", "0"), ("<", "1000"))
    assert [test.name for test in model.tests] == [
        "day_not_null",
        "channel_not_null",
        "channel_in",
        "outcomes_at_least",
        "outcomes_below",
        "unique_day_channel",
    ]


def test_data_tests_are_attached_to_their_model(root, write):
    write("marts/funnel.sql", FUNNEL)
    write("marts/funnel.test.sql", "-- Every touch is counted.\nSELECT 1 FROM marts.funnel, raw.link_click")
    write("marts/funnel.conserved.test.sql", "-- Sums agree.\nSELECT 1 FROM marts.funnel WHERE false")
    (model,) = discover(root)
    tests = {test.name: test for test in model.tests}
    assert tests["check"].description == "Every touch is counted."
    assert tests["check"].depends == ("marts.funnel", "raw.link_click")
    assert tests["conserved"].model == "marts.funnel"


def test_macros_are_declared_in_the_header(root, write):
    write("marts/a.sql", "-- x\n-- @depends: finance.period, raw.deal\n-- @column a: x\nSELECT my(1) AS a FROM marts.b")
    write("marts/b.sql", "-- x\n-- @depends: none\n-- @column a: x\nSELECT my(1) AS a")
    assert [model.depends for model in discover(root)] == [("finance.period", "marts.b", "raw.deal"), ()]


VIEW = "-- One row per thing.\n-- @materialized: view\n-- @column i: what it is\n"


def test_readers_of_views_stand_on_the_tables_behind_them(root, write):
    write("staging/a.sql", f"{VIEW}SELECT i FROM raw.deal")
    write("staging/b.sql", f"{VIEW}SELECT i FROM staging.a JOIN raw.owner USING (i)")
    write("staging/c.sql", simple("SELECT i FROM raw.form", "i"))
    write("marts/d.sql", simple("SELECT i FROM staging.b JOIN staging.c USING (i)", "i"))
    assert model_of(root, "marts.d").views == ("raw.deal", "raw.owner", "staging.a")
    assert model_of(root, "staging.b").views == ("raw.deal",)
    assert model_of(root, "staging.a").views == ()


def test_a_view_holds_no_rows_and_takes_the_place_of_a_table_and_back(root, write, connection):
    connection.execute("CREATE TABLE staging.thing AS SELECT 1 AS i")
    file, select = "staging/a.sql", "SELECT i FROM staging.thing"
    write(file, simple(select, "i"))
    materialize(connection, model_of(root, "staging.a"))
    write(file, VIEW + select)
    made = materialize(connection, model_of(root, "staging.a"))
    assert (made.rows, made.changed_rows, made.created, made.columns) == (1, 0, True, (("i", "INTEGER"),))
    connection.execute("INSERT INTO staging.thing VALUES (2)")
    assert connection.execute("FROM staging.a ORDER BY ALL").fetchall() == [(1,), (2,)]
    comments = "SELECT comment FROM duckdb_views() WHERE NOT internal UNION ALL SELECT comment FROM duckdb_columns()"
    told = [text for (text,) in connection.execute(f"{comments} WHERE table_name = 'a'").fetchall()]
    assert told == ["One row per thing.", "what it is"]
    assert not materialize(connection, model_of(root, "staging.a")).created
    write(file, simple(select, "i"))
    assert materialize(connection, model_of(root, "staging.a")).inserted == 2
    assert connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall() == [(0,)]


def test_a_view_whose_columns_are_others_is_refused_and_not_made(root, write, connection):
    write("staging/a.sql", f"{VIEW}SELECT 1 AS j")
    with pytest.raises(ContractViolation, match="the @column lines and the SELECT differ"):
        materialize(connection, model_of(root, "staging.a"))
    assert connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall() == [(0,)]


BY_KEY = "-- x\n-- @column milestone [not_null]: x\n-- @column milestone_id [not_null]: x\n"
KEYED = BY_KEY + "-- @incremental: milestone, milestone_id\n"
EVENTS = "SELECT milestone, milestone_id FROM events.milestone"

BAD_FILES = [
    ("marts/a.sql", f"{KEYED}{EVENTS}", "@incremental and @follows belong together"),
    ("marts/a.sql", f"{BY_KEY}-- @follows: events.milestone\n{EVENTS}", "@incremental and @follows belong together"),
    (
        "marts/a.sql",
        f"{KEYED.replace(' [not_null]', '')}-- @follows: events.milestone\n{EVENTS}",
        "no [not_null] @column",
    ),
    ("marts/a.sql", f"{KEYED}-- @follows: events.revenue\n{EVENTS}", "events.revenue, which neither the model nor"),
    ("marts/a.sql", f"{KEYED}-- @follows: raw.owner\n{EVENTS}, raw.owner", "of its changes the journal tells nothing"),
    (
        "marts/a.sql",
        f"{KEYED}-- @follows: events.event\n{EVENTS}, events.event",
        "journal tells (event_id), (record_id)",
    ),
    (
        "marts/a.sql",
        f"{KEYED}-- @follows: identity.account by account_id in events.home_value\n{EVENTS}, identity.account,"
        " events.home_value",
        "events.home_value, which lacks account_id",
    ),
    (
        "staging/a.sql",
        f"{KEYED}-- @materialized: view\n-- @follows: events.milestone\n{EVENTS}",
        "a view holds no rows",
    ),
    ("marts/a.test.sql", f"-- x\n-- @follows: events.milestone\n{EVENTS}", "and @follows belong to the model's file"),
    ("marts/a.sql", "-- x\n-- @materialized: view\n-- @column a: x\nSELECT 1 AS a", "a mart is published"),
    ("marts/a.sql", "-- x\n-- @materialized: cube\n-- @column a: x\nSELECT 1 AS a", "`-- @materialized: view` or"),
    ("marts/a.sql", "SELECT 1 AS a", "begin with"),
    ("marts/a.sql", "-- x\nSELECT 1 AS a", "document each result column"),
    ("marts/a.sql", "-- x\n-- @colum a: x\nSELECT 1 AS a", "a.sql:2: @colum is unknown"),
    ("marts/a.sql", "-- x\n-- @column a\nSELECT 1 AS a", "a.sql:2: write `-- @column"),
    ("marts/a.sql", "-- x\n-- @column a [notnull]: x\nSELECT 1 AS a", "rule [notnull] is unknown"),
    ("marts/a.sql", "-- x\n-- @column a: x\n-- @column a: y\nSELECT 1 AS a", "a.sql:3: column a is documented twice"),
    ("marts/a.sql", "-- x\n-- @column a: x\n-- @unique: a, b\nSELECT 1 AS a", "@unique names b"),
    ("marts/a.sql", "-- x\n-- @column a: x\n-- @unique: a b\nSELECT 1 AS a", "write `-- @unique"),
    ("marts/a.sql", "-- x\n-- @depends: deal\n-- @column a: x\nSELECT 1 AS a", "write `-- @depends"),
    ("marts/a.sql", "-- x\n-- @column a: x\nSELECT * FROM marts.a", "the table it fills"),
    ("marts/a.sql", "-- x\n-- @column a: x\n\nSELECT *\nFROM b", "a.sql:5: b is neither"),
    ("marts/A.sql", "-- x\n-- @column a: x\nSELECT 1 AS a", "lower case"),
    ("marts/a.b.sql", "-- x\n-- @column a: x\nSELECT 1 AS a", "lower case"),
    ("a.sql", "-- x\n-- @column a: x\nSELECT 1 AS a", "<schema>/<name>.sql"),
    ("marts/more/a.sql", "-- x\n-- @column a: x\nSELECT 1 AS a", "<schema>/<name>.sql"),
    ("marts/a.test.sql", "-- x\nSELECT 1 AS a", "tests marts.a, which has no file"),
    ("marts/a.test.sql", "SELECT 1 AS a", "what must hold"),
    *(
        ("marts/a.test.sql", f"-- x\n-- {line}\nSELECT 1 AS a", "belong to the model's file")
        for line in ("@column a: x", "@audience: finance", "@materialized: view")
    ),
    ("marts/a.Big.test.sql", "-- x\nSELECT 1 AS a", "lower-case word"),
]


@pytest.mark.parametrize(("name", "text", "says"), BAD_FILES)
def test_a_bad_file_is_refused_with_place_and_fix(root, write, name, text, says):
    path = write(name, text)
    with pytest.raises(ConfigurationError) as refusal:
        discover(root)
    assert str(path) in str(refusal.value)
    assert says in str(refusal.value)


def test_two_tests_of_one_name_are_refused(root, write):
    write("marts/a.sql", "-- x\n-- @column a [not_null]: x\nSELECT 1 AS a")
    write("marts/a.a_not_null.test.sql", "-- x\nSELECT 1")
    with pytest.raises(ConfigurationError, match="two tests named a_not_null"):
        discover(root)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere is not a folder"):
        discover(tmp_path / "nowhere")


# --- order


def test_models_come_after_what_they_read(root, write):
    write("marts/a.sql", simple("SELECT x FROM marts.c, staging.z", "x"))
    write("marts/b.sql", simple("SELECT 1 AS x", "x"))
    write("marts/c.sql", simple("SELECT x FROM marts.b, raw.not_a_model", "x"))
    write("staging/z.sql", simple("SELECT 1 AS x", "x"))
    assert [model.key for model in order(discover(root))] == ["marts.b", "staging.z", "marts.c", "marts.a"]


def test_a_circle_is_shown(root, write):
    write("marts/a.sql", simple("SELECT x FROM marts.b", "x"))
    write("marts/b.sql", simple("SELECT x FROM marts.c", "x"))
    path = write("marts/c.sql", simple("SELECT x FROM marts.a", "x"))
    with pytest.raises(ConfigurationError) as refusal:
        order(discover(root))
    circle = ["marts.a", "marts.b", "marts.c"] * 2
    shown = [" reads ".join(circle[start : start + 4]) for start in range(3)]
    assert str(path) in str(refusal.value)
    assert any(text in str(refusal.value) for text in shown)


# --- materialization


def test_only_differing_rows_are_written(root, write, connection, tmp_path):
    write("marts/funnel.sql", FUNNEL)
    model = model_of(root, "marts.funnel")
    connection.execute("CREATE TABLE staging.touch (day DATE, channel VARCHAR)")
    connection.execute("INSERT INTO staging.touch VALUES ('2026-01-01', 'paid'), ('2026-01-02', 'organic')")

    first = materialize(connection, model)
    assert (first.created, first.rows, first.inserted, first.deleted) == (True, 2, 2, 0)
    assert first.columns == (("day", "DATE"), ("channel", "VARCHAR"), ("outcomes", "BIGINT"))
    assert connection.execute("SELECT database_name FROM duckdb_tables() WHERE table_name = 'funnel'").fetchall() == [
        ("marts_file",)
    ]

    connection.execute("CHECKPOINT marts_file")
    before = (tmp_path / "marts.duckdb").stat()
    again = materialize(connection, model)
    assert (again.created, again.rows, again.changed_rows) == (False, 2, 0)
    connection.execute("CHECKPOINT marts_file")
    after = (tmp_path / "marts.duckdb").stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
    assert not (tmp_path / "marts.duckdb.wal").exists()

    connection.execute("INSERT INTO staging.touch VALUES ('2026-01-02', 'organic'), ('2026-01-03', NULL)")
    changed = materialize(connection, model)
    assert (changed.rows, changed.inserted, changed.deleted) == (3, 2, 1)
    assert connection.execute("SELECT outcomes FROM marts.funnel ORDER BY day").fetchall() == [(1,), (2,), (1,)]
    assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'temp'").fetchone() == (0,)


def test_descriptions_become_comments_also_when_only_they_change(root, write, connection):
    text = simple("SELECT 1 AS a", "a").replace("what it is", 'it\'s "quoted" -- ü')
    write("marts/t.sql", text)
    materialize(connection, model_of(root, "marts.t"))
    comments = (
        "SELECT comment FROM duckdb_tables() WHERE table_name = 't'"
        " UNION ALL SELECT comment FROM duckdb_columns() WHERE table_name = 't'"
    )
    assert connection.execute(comments).fetchall() == [("One row per thing.",), ('it\'s "quoted" -- ü',)]
    write("marts/t.sql", text.replace("thing", "cause"))
    assert materialize(connection, model_of(root, "marts.t")).changed_rows == 0
    assert connection.execute(comments).fetchall()[0] == ("One row per cause.",)


def test_other_columns_or_types_create_the_table_again(root, write, connection):
    write("marts/t.sql", simple("SELECT 1::INTEGER AS a", "a"))
    materialize(connection, model_of(root, "marts.t"))
    write("marts/t.sql", simple("SELECT i::BIGINT AS a FROM range(2) r(i)", "a"))
    result = materialize(connection, model_of(root, "marts.t"))
    assert (result.created, result.inserted, result.deleted) == (True, 2, 1)
    assert connection.execute("SELECT comment FROM duckdb_columns() WHERE table_name = 't'").fetchall() == [
        ("what it is",)
    ]
    write("marts/t.sql", simple("SELECT 1::BIGINT AS a, 2 AS b", "a", "b"))
    assert materialize(connection, model_of(root, "marts.t")).created


@pytest.mark.parametrize(
    ("select", "says"),
    [
        ("1 AS a", "documented but not returned: b"),
        ("1 AS a, 2 AS b, 3 AS c", "returned but not documented: c"),
        ("1 AS b, 2 AS a", "the order returned is b, a"),
        ("1 AS a, sum(1::INTEGER) AS b", "b would be HUGEINT"),
    ],
)
def test_documented_and_returned_columns_are_the_same(root, write, connection, select, says):
    path = write("marts/t.sql", simple(f"SELECT {select}", "a", "b"))
    with pytest.raises(ContractViolation) as refusal:
        materialize(connection, model_of(root, "marts.t"))
    assert str(path) in str(refusal.value)
    assert says in str(refusal.value)
    assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)


def test_a_query_duckdb_does_not_accept_names_the_file(root, write, connection):
    path = write("marts/t.sql", simple("SELECT a FROM staging.missing", "a"))
    with pytest.raises(ConfigurationError, match="missing") as refusal:
        materialize(connection, model_of(root, "marts.t"))
    assert str(path) in str(refusal.value)


def test_a_query_that_fails_on_its_data_does_not_show_the_value(root, write, connection):
    write("marts/t.sql", simple("SELECT v::INTEGER AS a FROM staging.s", "a"))
    connection.execute("CREATE TABLE staging.s AS SELECT 'jane@example.com' AS v")
    with pytest.raises(Terminal) as failure:
        materialize(connection, model_of(root, "marts.t"))
    assert "jane" not in str(failure.value)
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__


def test_a_schema_that_does_not_exist_is_named(root, write, connection):
    write("elsewhere/t.sql", simple("SELECT 1 AS a", "a"))
    with pytest.raises(ConfigurationError, match="schema elsewhere exists nowhere"):
        materialize(connection, model_of(root, "elsewhere.t"))


def test_a_failed_write_leaves_the_table_as_it_was(root, write, connection, monkeypatch):
    write("marts/t.sql", simple("SELECT i AS a FROM staging.s", "a"))
    model = model_of(root, "marts.t")
    connection.execute("CREATE TABLE staging.s AS SELECT i FROM range(5) r(i)")
    materialize(connection, model)
    connection.execute("UPDATE staging.s SET i = i + 3")
    monkeypatch.setattr("crm_attribution.marts.models._number", _lying_delete)
    with pytest.raises(ContractViolation, match="nothing was written"):
        materialize(connection, model)
    assert connection.execute("SELECT list(a ORDER BY a) FROM marts.t").fetchone() == ([0, 1, 2, 3, 4],)


def _lying_delete(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    ((number,),) = connection.execute(sql).fetchall()
    return -1 if sql.startswith("DELETE") else int(number)


ODD_ROWS = [
    "1, 'a', 1.5::DOUBLE, [1], {'x': 1}, '{\"k\": 1}'::JSON, MAP {'m': 1}, TIMESTAMPTZ '2026-01-01 00:00:00Z'",
    "1, 'a', 'nan'::DOUBLE, [1], {'x': 1}, '{\"k\": 1}'::JSON, MAP {'m': 1}, TIMESTAMPTZ '2026-01-01 00:00:00Z'",
    "1, '', 1.5::DOUBLE, [NULL], {'x': NULL}, '{\"k\": 2}'::JSON, MAP {'m': 2}, NULL",
    "NULL, NULL, NULL::DOUBLE, NULL, NULL, NULL::JSON, NULL, NULL",
    "2, 'a', 1.5::DOUBLE, [], {'x': 2}, 'null'::JSON, MAP {}, TIMESTAMPTZ 'infinity'",
]


@settings(max_examples=12 * TIMES)
@given(st.lists(st.lists(st.sampled_from(ODD_ROWS), max_size=6), min_size=2, max_size=4))
def test_any_sequence_of_results_ends_in_the_last_one_and_writes_the_least(states):
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA marts; CREATE SCHEMA staging")
    names = [f"c{i}" for i in range(8)]
    columns = "c0 INT, c1 TEXT, c2 DOUBLE, c3 INT[], c4 STRUCT(x INT), c5 JSON, c6 MAP(TEXT, INT), c7 TIMESTAMPTZ"
    connection.execute(f"CREATE TABLE staging.s ({columns})")
    model = _in_memory_model(names)
    previous: Counter[str] = Counter()
    for rows in states:
        connection.execute("DELETE FROM staging.s")
        for row in rows:
            connection.execute(f"INSERT INTO staging.s SELECT {row}")
        result = materialize(connection, model)
        wanted = Counter(rows)
        assert result.rows == len(rows)
        assert (result.inserted, result.deleted) == ((wanted - previous).total(), (previous - wanted).total())
        difference = "(FROM staging.s EXCEPT ALL FROM marts.t) UNION ALL (FROM marts.t EXCEPT ALL FROM staging.s)"
        assert connection.execute(difference).fetchall() == []
        previous = wanted
    connection.close()


def _in_memory_model(names: list[str]) -> SqlModel:
    columns = tuple(SqlColumn(name, "what it is") for name in names)
    return SqlModel("marts", "t", Path("t.sql"), "SELECT * FROM staging.s", "Rows.", columns, (), ("staging.s",))


# --- tests


def test_rules_find_the_rows_that_break_them(root, write, connection):
    write("marts/funnel.sql", FUNNEL)
    write("marts/funnel.test.sql", "-- No future days.\nSELECT day FROM marts.funnel WHERE day > DATE '2026-06-01';")
    model = model_of(root, "marts.funnel")
    connection.execute("CREATE TABLE marts.funnel (day DATE, channel VARCHAR, outcomes BIGINT)")
    failing = {test.name for test in model.tests if not run_test(connection, test).passed}
    assert failing == set()
    connection.execute(
        "INSERT INTO marts.funnel VALUES ('2026-01-01', 'paid', 1), ('2026-01-01', 'paid', 2), (NULL, 'other', NULL),"
        " ('2026-12-01', NULL, -1), ('2026-01-03', 'organic', 1000)"
    )
    found = {test.name: run_test(connection, test).bad_rows for test in model.tests}
    assert found == {
        "day_not_null": 1,
        "channel_not_null": 1,
        "channel_in": 1,
        "outcomes_at_least": 1,
        "outcomes_below": 1,
        "unique_day_channel": 1,
        "check": 1,
    }


def test_a_sample_is_limited_and_the_count_is_not(root, write, connection):
    write("marts/t.sql", simple("SELECT 1::BIGINT AS a", "a [unique]"))
    (test,) = model_of(root, "marts.t").tests
    connection.execute(
        "CREATE TABLE marts.t AS SELECT i // 2 AS a FROM range(100) r(i) UNION ALL SELECT NULL FROM range(3)"
    )
    result = run_test(connection, test, limit=2)
    assert (result.bad_rows, len(result.sample)) == (50, 2)
    assert result.sample[0].keys() == {"a", "row copies"}
    assert len(run_test(connection, test).sample) == 20
