"""The page as HTML, from the rows of its sections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from crm_attribution.report.charts import SOURCE
from crm_attribution.report.sections import CARDS, SECTIONS, Section

_TEMPLATE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

FINGERPRINT = sha256(
    "\n".join([_TEMPLATE, SOURCE, *(repr(section) for section in (CARDS, *SECTIONS))]).encode()
).hexdigest()[:12]
"""Another one where the page or its queries are others."""
_CHART = re.compile(r'<div class="chart" data-of="([0-9a-f]+)">(<svg.*?</svg>)</div>', re.DOTALL)


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is shown, for a figure its exact value as text, and how it is set: `number`, `short`,
    which is never broken, `long`, which gets room; empty for other texts."""

    shown: str
    value: str | None = None
    kind: str = ""


def drawn_of(section: Section, rows: pl.DataFrame) -> str:
    """Fingerprint of what a section's chart shows, and how."""
    return sha256(f"{FINGERPRINT} {section.key} {rows.rows()!r}".encode()).hexdigest()[:16]


def draw(section: Section, rows: pl.DataFrame, known: Mapping[str, str]) -> str:
    """The chart of a section as SVG; empty without a chart or rows. `known` has charts drawn before, by `drawn_of`."""
    if section.chart is None or rows.is_empty():
        return ""
    return known.get(drawn_of(section, rows)) or section.chart.draw(rows.to_dicts())


def charts_of(page: str) -> dict[str, str]:
    """The charts of a page, by `drawn_of`. Drawing one costs more than the rest of an hour's report."""
    return dict(_CHART.findall(page))


def render(about: Mapping[str, Any], rows: Mapping[str, pl.DataFrame], charts: Mapping[str, str], *, made: str) -> str:
    """The whole page.

    Args:
        about: the row of marts.about.
        rows: by the key of each section, and of the cards, what its query returned.
        charts: by the key of their section, as SVG.
        made: what the page is made of, kept in it.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(_TEMPLATE)
    cards = [(label, _text(value), unit, figure(value)) for label, value, unit in rows[CARDS.key].iter_rows()]
    return template.render(
        made=made,
        about={name: _shown(value) for name, value in about.items()},
        cards={"key": CARDS.key, "rows": cards, "sql": CARDS.sql},
        sections=[_section(section, rows[section.key], charts.get(section.key, "")) for section in SECTIONS],
    )


def _section(section: Section, rows: pl.DataFrame, chart: str) -> dict[str, Any]:
    table = rows if section.pivot is None else _pivoted(rows, *section.pivot)
    return {
        "key": section.key,
        "title": section.title,
        "lead": [(text, place % 2 == 1) for place, text in enumerate(section.lead.split("`"))],  # `a command`
        "empty": section.empty,
        "sql": section.sql,
        "chart": chart,
        "drawn_of": drawn_of(section, rows),
        "columns": [
            {"title": name.replace("_", " "), "number": _is_number(kind)} for name, kind in table.schema.items()
        ],
        "rows": [
            [_cell(value, number=_is_number(kind)) for value, kind in zip(row, table.dtypes, strict=True)]
            for row in table.iter_rows()
        ],
    }


def _pivoted(rows: pl.DataFrame, names: str, values: str) -> pl.DataFrame:
    """The values of one column beside each other, a column for each name; the other columns tell the rows."""
    index = [column for column in rows.columns if column not in (names, values)]
    return rows.pivot(names, index=index, values=values, maintain_order=True) if rows.height else rows


def _cell(value: Any, *, number: bool) -> Cell:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Cell(figure(value), _text(value), "number")
    shown = _shown(value)
    if number:
        return Cell(shown, None, "number")
    is_short = isinstance(value, date) or len(shown) <= _SHORT
    return Cell(shown, None, "short" if is_short else "long" if len(shown) > _LONG else "")


_SHORT, _LONG = 12, 40
"""Letters up to which a text is never broken, and from which it gets room."""


def _is_number(kind: pl.DataType) -> bool:
    return kind.is_integer() or kind.is_decimal()


def figure(value: int | Decimal) -> str:
    """A figure as people read it: thousands by comma, decimals without trailing zeros beyond two."""
    if isinstance(value, int):
        return f"{value:,}"
    text = _text(value)
    decimals = len(text.partition(".")[2])
    return f"{value:,.{2 if decimals <= 2 else decimals}f}"


def _text(value: int | Decimal) -> str:
    """The exact value, without zeros at its end."""
    if isinstance(value, int):
        return str(value)
    whole, _, rest = f"{value:f}".partition(".")
    return f"{whole}.{rest.rstrip('0')}" if rest.rstrip("0") else whole


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return value.isoformat() if isinstance(value, date) else str(value)
