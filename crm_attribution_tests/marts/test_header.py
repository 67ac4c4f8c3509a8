"""The comment lines at the head of a SQL file: what is description, what is a directive, and what is refused where."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.header import Follow, Header, parse_header

PATH = Path("marts/a.sql")


def parsed(*lines: str) -> Header:
    return parse_header("\n".join([*lines, "select 1 as a", "-- @column b: not of the head"]), PATH)


def test_the_description_is_the_first_paragraph():
    """It ends at an empty line, with dashes or without, and at the first directive."""
    assert parsed("-- One", "--   and a half.", "-- @column a: x", "-- Two.").description == "One and a half."
    assert parsed("--One", "--and a half.").description == "One and a half."
    for gap in ("--", "", "--   "):
        assert (
            parsed("", "-- One", "-- and a half.", gap, "-- Two.", "-- @column a: x").description == "One and a half."
        )


def test_a_directive_goes_on_where_lines_are_indented():
    found = parsed("-- x", "-- @column a [not_null]", "--   [>= 0] [< 10.5]: how", "--  many", "-- no more",
                   "-- @column b [unique] [in x, 'y']: which")  # fmt: skip
    a, b = found.columns
    assert (a.name, a.description, a.not_null, a.unique, a.bounds) == (
        "a",
        "how many",
        True,
        False,
        ((">=", "0"), ("<", "10.5")),
    )
    assert (b.name, b.description, b.not_null, b.unique, b.allowed) == ("b", "which", False, True, ("x", "y"))


def test_what_a_model_follows_is_told_table_by_table():
    followed = "-- @follows: raw.a, raw.b", "-- @follows: raw.c by x in raw.a, y in raw.b"
    found = parsed("-- x", "-- @incremental: a, b", *followed, "-- @column a: x")
    assert found.incremental == ("a", "b")
    assert found.follows == (
        Follow("raw.a"),
        Follow("raw.b"),
        Follow("raw.c", "x", "raw.a"),
        Follow("raw.c", "y", "raw.b"),
    )


def test_lists_may_be_given_in_several_lines():
    tables = "-- @depends: raw.a, raw.b", "-- @depends: raw.c"
    teams = "-- @audience: finance, sales-ops", "-- @audience: board"
    grain = "-- @unique: a, b", "-- @unique: b"
    found = parsed("-- x", *tables, *teams, "-- @column a: x", "-- @column b: x", *grain)
    assert found.depends == ("raw.a", "raw.b", "raw.c")
    assert found.audience == ("finance", "sales-ops", "board")
    assert found.unique == (("a", "b"), ("b",))
    assert (parsed("-- x", "-- @depends: none").depends, parsed("-- x").depends) == ((), None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-- @depends: raw.a, b", "a.sql:3: write `-- @depends: schema.table"),
        ("-- @depends: a, raw.b", "a.sql:3: write `-- @depends: schema.table"),
        ("-- @unique: a, B", "a.sql:3: write `-- @unique: column"),
        ("-- @unique: A, a", "a.sql:3: write `-- @unique: column"),
        ("-- @unique: a, c", "a.sql: @unique names c, which no @column documents"),
        ("-- @audience: finance, Sales", "a.sql:3: write `-- @audience: team"),
        ("-- @column a: again", "a.sql:3: column a is documented twice; keep one"),
        ("-- @column b [nonnull]: x", r"a.sql:3: rule \[nonnull\] is unknown"),
        ("-- @column B: x", "a.sql:3: write `-- @column name"),
        ("-- @colum b: x", "a.sql:3: @colum is unknown"),
        ("-- @incremental: A", "a.sql:3: write `-- @incremental: column"),
        ("-- @follows: raw.a, b", "a.sql:3: write `-- @follows: schema.table` where"),
        ("-- @follows: raw.a by a", "a.sql:3: write `-- @follows: schema.table` where"),
        ("-- @follows: raw.a by a in raw.b, c", "a.sql:3: write `-- @follows: schema.table` where"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(line: str, message: str):
    with pytest.raises(ConfigurationError, match=message):
        parsed("-- x", "-- @column a: x", line)
