"""Why a number of a mart is what it is: the rows it is made of, their touches with weights, the edges that say whose
these are, and the source rows. Every figure is the mart's own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from crm_attribution.errors import ConfigurationError, NotKnown
from crm_attribution.operations.why import milestone, person
from crm_attribution.operations.why.credit import source_row
from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.identifiers import quote_identifier

Row = dict[str, Any]
_MONTH = re.compile(r"(\d{4})-(\d{1,2})")
_AS_SHOWN = {"DATE": "2026-03-01, or 2026-03 for the first of a month", "BOOLEAN": "true or false"}
_NOTHING = ("", "null", "none")
_WINS = "milestone IN ('customer_won', 'customer_expanded')"


@dataclass(frozen=True)
class Opening:
    """Which rows of another mart a row is made of.

    Attributes:
        table: the mart with the rows.
        same: column of the row -> column of those rows, where the names differ.
        where: what else holds for those rows.
    """

    table: str
    same: Mapping[str, str] = field(default_factory=dict)
    where: str = "true"


OPENINGS = {
    "revenue_attribution": Opening("deal_attribution"),
    "model_comparison": Opening("deal_attribution"),
    "campaign_roi": Opening("deal_attribution", {"month": "booked_month"}, _WINS),
    "reconciliation": Opening("milestone", {}, f"{_WINS} AND is_counted"),
    "arr_bridge": Opening("revenue_movement", {"month": "booked_month"}),
    "funnel_value": Opening("milestone", {}, "is_counted"),
    "pipeline_velocity": Opening("milestone", {"month": "booked_month"}, "is_counted AND deal_id IS NOT NULL"),
    "upload_coverage": Opening("conversion", {"occurred_month": "date_trunc('month', occurred_on)::DATE"}),
    "upload_health": Opening("conversion"),
    "account_value": Opening("pipeline"),
}
"""Marts that add rows of others up. Every other mart is opened by itself: its rows are the smallest there are."""


_NEVER_ADDED = ("model", "scope", "measure", "basis", "level", "look_back_days", "milestone")
"""Columns whose values tell different figures of the same thing."""
_NOT_OVER = ("superseded_at", "opening_minor")
"""Columns of versions and of balances: several rows of these are never one figure."""


def explain(context: Context, table: str, conditions: Sequence[str]) -> Node:
    """The tree behind the rows of a mart for which every condition (`column=value`) holds.

    Raises:
        ConfigurationError: there is no such mart or column, or a condition is none.
        NotKnown: no row is so, and no known gap says why.
    """
    name = table.removeprefix("marts.")
    columns = _columns(context, name)
    wanted = _parsed(context, name, columns, conditions)
    rows = _rows(context, name, {quote_identifier(column): value for column, value in wanted.items()})
    if not rows:
        return _nothing(context, name, wanted)
    asked = {column: value if value is not None else "null" for column, value in wanted.items()}
    return context.node(
        f"marts.{name}", {**asked, "rows": len(rows), **_sums(rows)}, _opened(context, name, wanted, rows)
    )


def _columns(context: Context, name: str) -> dict[str, str]:
    """Column -> type of a mart."""
    found = context.session.query(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'marts'"
        " AND database_name NOT IN ('system', 'temp') ORDER BY table_name, column_index"
    ).rows()
    columns = {column: kind for table, column, kind in found if table == name}
    if not columns:
        raise ConfigurationError(
            f"there is no mart {name}; there are {', '.join(sorted({table for table, *_ in found})) or 'none yet'}"
        )
    return columns


def _parsed(
    context: Context, name: str, columns: Mapping[str, str], conditions: Sequence[str]
) -> dict[str, str | None]:
    """Column -> text its value must have; None for null. A month stands for its first day."""
    wanted: dict[str, str | None] = {}
    for condition in conditions:
        column, sign, value = condition.partition("=")
        if not sign or column not in columns:
            raise ConfigurationError(
                f"{condition!r} is no condition on marts.{name}: write column=value;"
                f" its columns are {', '.join(columns)}"
            )
        value = value.strip("'\"")
        null = value.lower() in _NOTHING
        wanted[column] = None if null else _as_stored(context, column, columns[column], value)
    return wanted


def _as_stored(context: Context, column: str, kind: str, value: str) -> str:
    """A value as DuckDB writes it as text, from any way to write it, that of `why` among them."""
    if kind == "DATE" and (month := _MONTH.fullmatch(value)):
        value = f"{month[1]}-{month[2]:0>2}-01"
    if kind == "BOOLEAN":
        value = {"yes": "true", "no": "false"}.get(value.lower(), value)
    found: str | None = context.session.scalar(f"SELECT try_cast(? AS {kind})::VARCHAR", [value])
    if found is None:
        form = _AS_SHOWN.get(kind, "2026-03-12T09:00:00Z" if kind == "TIMESTAMP" else "a number")
        raise ConfigurationError(f"{column}={value} is no {kind}: write it as {form}")
    return found


def _rows(context: Context, name: str, wanted: Mapping[str, str | None], where: str = "true") -> list[Row]:
    """Rows of a mart, by SQL expressions and the text they must have."""
    given = [value for value in wanted.values() if value is not None]
    holds = [
        f"{column} IS NULL" if value is None else f"({column})::VARCHAR = _value.v{given.index(value)}"
        for column, value in wanted.items()
    ]
    frame = pl.DataFrame({f"v{place}": [value] for place, value in enumerate(given)} or {"v": [""]})
    conditions = " AND ".join([where, *holds])
    query = f"SELECT row.* FROM marts.{quote_identifier(name)} AS row, _value WHERE {conditions} ORDER BY ALL"
    return [dict(row) for row in context.session.query(query, _value=frame).iter_rows(named=True)]


def _sums(rows: Sequence[Row]) -> dict[str, Any]:
    """Sums of the money in minor units and of the credit, per currency; none where rows are of several models, scopes,
    measures, bases, outcomes or look-backs, versions of one figure, or balances of several months: they must not be
    added up."""
    mixed = [name for name in _NEVER_ADDED if len({_kind(row.get(name)) for row in rows}) > 1]
    if len(rows) > 1:
        mixed += [name for name in _NOT_OVER if name in rows[0]]
    if mixed:
        return {"not_added_up": f"rows of several: {', '.join(mixed)}; name one of each"}
    found: dict[str, Any] = {}
    several = len({row.get("currency") for row in rows}) > 1
    for row in rows:
        for name, value in row.items():
            if not (name.endswith("_minor") or name in ("credit", "eligible", "uploaded", "records")) or value is None:
                continue
            label = f"{name}_{row.get('currency')}" if several and "home" not in name else name
            found[label] = found.get(label, 0) + value
    return {name: _shown(value) for name, value in found.items()}


def _kind(value: Any) -> Any:
    """A first win and an expansion are wins both: their money adds up."""
    return "wins" if value in ("customer_won", "customer_expanded") else value


def _opened(context: Context, name: str, wanted: Mapping[str, str | None], rows: Sequence[Row]) -> list[Node]:
    """The rows it is made of, and how each came about."""
    opening = OPENINGS.get(name)
    if opening is None:
        return context.several("rows", list(rows), lambda row: _row(context, name, row))
    theirs = _columns(context, opening.table)
    known = {column: opening.same.get(column, column) for column in wanted}
    kept = {
        known[column] if column in opening.same else quote_identifier(column): value
        for column, value in wanted.items()
        if column in opening.same or column in theirs
    }
    parts = _rows(context, opening.table, kept, opening.where)
    loose = [column for column in wanted if column not in opening.same and column not in theirs]
    more = {"not_narrowed_by": ", ".join(loose)} if loose else {}
    shown = [row for row in parts if row.get("credit_minor") != 0]
    lines = context.several(
        f"rows of marts.{opening.table}", shown, lambda row: _row(context, opening.table, row), **_sums(shown), **more
    )
    return [*context.several("rows", list(rows), lambda row: context.node("row", _facts(row))), *lines]


def _row(context: Context, name: str, row: Row) -> Node:
    """One row, and what lies behind it: of credit the touch, else the milestone or the known gaps of the deal."""
    what = row.get("milestone") or row.get("gap") or row.get("kind") or name
    title = f"{what} {row.get('deal_id') or row.get('milestone_id') or row.get('account_id') or ''}".strip()
    return context.node(title, _facts(row), [*_behind(context, row), *_gaps(context, row)])


def _behind(context: Context, row: Row) -> list[Node]:
    touch_id, milestone_id = row.get("touch_id"), row.get("milestone_id")
    if touch_id is not None:
        return _touch(context, touch_id)
    if milestone_id is not None:
        found = milestone.explain(context, milestone_id)
        return [] if found is None else [found]
    return []


def _touch(context: Context, touch_id: str) -> list[Node]:
    """The source row of a touch, and the edges that say whose it is."""
    rows = context.session.read_keys("attribution.touch", ids_frame("touch_id", [touch_id]))
    if rows.is_empty():
        return [context.node(touch_id, {"gone": "it is no touch: an answer, or erased or replaced since"})]
    touch = rows.row(0, named=True)
    nodes = source_row(context, touch["origin"])
    if touch["contact_id"] is not None:
        whose = person.explain(context, f"contact:{touch['contact_id']}")
        nodes += [] if whose is None else [whose]
    return nodes


def _gaps(context: Context, row: Row) -> list[Node]:
    """What marts.known_gaps says of a row's deal."""
    deal = row.get("deal_id")
    if deal is None or "gap" in row:
        return []
    return [
        context.node(f"known gap {gap['gap']}", {"detail": gap["detail"], "what_to_do": gap["what_to_do"]})
        for gap in _rows(context, "known_gaps", {"deal_id": str(deal)})
    ]


def _nothing(context: Context, name: str, wanted: Mapping[str, str | None]) -> Node:
    """There is no such row: the known gaps of the deal or stage that was named, else what values there are."""
    named = {value for column, value in wanted.items() if value and column in ("deal_id", "subject", "milestone_id")}
    gaps = [
        gap
        for gap in _rows(context, "known_gaps", {})
        if named & {str(gap["subject"]), str(gap["deal_id"]), str(gap["subject"]).rpartition(":")[2]}
    ]
    if gaps:
        lines = [_row(context, "known_gaps", gap) for gap in gaps[: context.limit]]
        return context.node(f"marts.{name} has no such row", {"known_gaps": len(gaps)}, lines)
    for column, value in wanted.items():
        there = [found for found in {str(row[column]) for row in _rows(context, name, {})} if found != "None"]
        if value is not None and value not in there:
            some = ", ".join(sorted(there)[:20]) or "none"
            raise NotKnown(
                f"marts.{name} has no row with {column} = {context.text(value)}; there are {context.text(some)}"
            )
    raise NotKnown(f"marts.{name} has no row for which all of this holds: {', '.join(wanted)}")


def _facts(row: Row) -> dict[str, Any]:
    return {name: _shown(value) for name, value in row.items() if value is not None}


def _shown(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value
