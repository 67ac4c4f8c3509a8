"""Read the comment block at the top of a model file. The syntax is described in `sql_models`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from crm_attribution.errors import ConfigurationError

_NAME = r"[a-z_][a-z0-9_]*"
_COLUMN = re.compile(rf"(?P<name>{_NAME})\s*(?P<rules>(?:\[[^\]]*\]\s*)*):\s*(?P<description>\S.*)")
_TEAM = re.compile(r"[a-z][a-z0-9-]*")
_TABLE = re.compile(rf"{_NAME}\.{_NAME}")
_LEAD = re.compile(rf"(?P<column>{_NAME}) in (?P<table>{_NAME}\.{_NAME})")
_BOUND = re.compile(r"(?P<operator>>=|<=|>|<)\s*(?P<number>-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class SqlColumn:
    """A documented column and the rules its values keep."""

    name: str
    description: str
    not_null: bool = False
    unique: bool = False
    allowed: tuple[str, ...] = ()
    bounds: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Follow:
    """A table whose changed rows lead to keys of an incremental model: by the key itself, or through the rows of
    another table that have the same value in a column.

    Attributes:
        table: the table that is followed.
        column: of both tables; None where the table has the key.
        through: the other table, which has the key.
        topic: of the journal, whose keys are values of the column, or of the key.
    """

    table: str
    column: str | None = None
    through: str | None = None
    topic: str = ""


@dataclass(frozen=True)
class Header:
    """`depends` is None where the file declares nothing, which differs from `@depends: none`."""

    description: str
    columns: tuple[SqlColumn, ...]
    unique: tuple[tuple[str, ...], ...]
    depends: tuple[str, ...] | None
    audience: tuple[str, ...] = ()
    view: bool = False
    incremental: tuple[str, ...] = ()
    follows: tuple[Follow, ...] = ()


def parse_header(sql: str, path: Path) -> Header:
    """Read the leading `--` lines of a file.

    Raises:
        ConfigurationError: naming the file and line of what is not understood.
    """
    description: list[str] = []
    directives: list[tuple[int, str]] = []
    in_description = True
    for number, text in _comment_lines(sql):
        if text.startswith("@"):
            directives.append((number, text.rstrip()))
            in_description = False
        elif text.startswith(" ") and text.strip() and directives:
            line, start = directives[-1]
            directives[-1] = (line, f"{start} {text.strip()}")
        elif text.strip() and in_description:
            description.append(text.strip())
        elif not text.strip() and description:
            in_description = False
    return _assemble(" ".join(description), directives, path)


def _comment_lines(sql: str) -> list[tuple[int, str]]:
    """Line number and text of each leading comment line, without the dashes and one space."""
    lines = []
    for number, line in enumerate(sql.splitlines(), start=1):
        if line.startswith("--"):
            lines.append((number, line[2:].removeprefix(" ").rstrip()))
        elif line.strip():
            break
        else:
            lines.append((number, ""))
    return lines


def _assemble(description: str, directives: list[tuple[int, str]], path: Path) -> Header:
    columns: dict[str, SqlColumn] = {}
    unique: list[tuple[str, ...]] = []
    depends: tuple[str, ...] | None = None
    audience: tuple[str, ...] = ()
    view = False
    incremental: tuple[str, ...] = ()
    follows: tuple[Follow, ...] = ()
    for number, text in directives:
        place = f"{path}:{number}"
        keyword, _, rest = text.partition(" ")
        match keyword.rstrip(":"):
            case "@column":
                column = _column(rest.strip(), place)
                if column.name in columns:
                    raise ConfigurationError(f"{place}: column {column.name} is documented twice; keep one")
                columns[column.name] = column
            case "@unique":
                unique.append(_names(rest, place, "unique"))
            case "@depends":
                depends = (depends or ()) + _tables(rest, place)
            case "@audience":
                audience += _teams(rest, place)
            case "@materialized":
                if rest.strip() not in ("table", "view"):
                    raise ConfigurationError(
                        f"{place}: write `-- @materialized: view` or `table`, which is the default"
                    )
                view = rest.strip() == "view"
            case "@incremental":
                incremental = _names(rest, place, "incremental")
            case "@follows":
                follows += _follows(rest, place)
            case other:
                raise ConfigurationError(
                    f"{place}: {other} is unknown; use @column, @unique, @depends, @audience, @materialized,"
                    " @incremental or @follows"
                )
    for names in unique:
        missing = [name for name in names if name not in columns]
        if missing:
            raise ConfigurationError(f"{path}: @unique names {', '.join(missing)}, which no @column documents")
    return Header(description, tuple(columns.values()), tuple(unique), depends, audience, view, incremental, follows)


def _column(text: str, place: str) -> SqlColumn:
    match = _COLUMN.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{place}: write `-- @column name [rule] …: description` with a lower-case name")
    not_null = unique = False
    allowed: tuple[str, ...] = ()
    bounds: list[tuple[str, str]] = []
    for rule in re.findall(r"\[([^\]]*)\]", match["rules"]):
        rule = rule.strip()
        bound = _BOUND.fullmatch(rule)
        if rule == "not_null":
            not_null = True
        elif rule == "unique":
            unique = True
        elif rule.startswith("in "):
            allowed = tuple(value.strip().strip("'") for value in rule[3:].split(","))
        elif bound:
            bounds.append((bound["operator"], bound["number"]))
        else:
            raise ConfigurationError(
                f"{place}: rule [{rule}] is unknown; use [not_null], [unique], [in a, b] or a bound such as [>= 0]"
            )
    return SqlColumn(match["name"], match["description"], not_null, unique, allowed, tuple(bounds))


def _names(text: str, place: str, directive: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(re.fullmatch(_NAME, name) for name in names):
        raise ConfigurationError(f"{place}: write `-- @{directive}: column, column` with lower-case names")
    return names


def _follows(text: str, place: str) -> tuple[Follow, ...]:
    tables, by, through = text.partition(" by ")
    names = [name.strip() for name in tables.split(",")]
    leads = [_LEAD.fullmatch(lead.strip()) for lead in through.split(",")] if by else []
    if not all(_TABLE.fullmatch(name) for name in names) or not all(leads):
        raise ConfigurationError(
            f"{place}: write `-- @follows: schema.table` where it has the key, else `-- @follows: schema.table by"
            " column in schema.table`"
        )
    if not by:
        return tuple(Follow(name) for name in names)
    return tuple(Follow(name, lead["column"], lead["table"]) for name in names for lead in leads if lead)


def _teams(text: str, place: str) -> tuple[str, ...]:
    teams = tuple(team.strip() for team in text.split(","))
    if not all(_TEAM.fullmatch(team) for team in teams):
        raise ConfigurationError(f"{place}: write `-- @audience: team, team` with lower-case names, hyphens allowed")
    return teams


def _tables(text: str, place: str) -> tuple[str, ...]:
    if text.strip() == "none":
        return ()
    tables = tuple(table.strip() for table in text.split(","))
    if not all(_TABLE.fullmatch(table) for table in tables):
        raise ConfigurationError(f"{place}: write `-- @depends: schema.table, schema.table`, or `none`")
    return tables
