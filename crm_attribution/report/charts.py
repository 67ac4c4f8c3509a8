"""Charts as SVG, drawn by Vega-Lite (https://vega.github.io/vega-lite/docs/). A chart shows rows of its section's table
and no figure of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vl_convert

Row = Mapping[str, Any]
SOURCE = Path(__file__).read_text(encoding="utf-8")
"""How charts are drawn."""


@dataclass(frozen=True)
class Chart:
    """A kind of chart with the columns that it shows; its repr is the same in every process."""

    kind: str
    draw: Callable[[Sequence[Row]], str] = field(repr=False)


WIDTH = 400
"""Of the plot, in pixels of the drawing. The page scales a chart to its own width, from a phone's to a desk's."""
_BAR, _GAP = 15, 9
_AMOUNT = {"labelExpr": "datum.value == 0 ? '0' : format(datum.value, '~s')", "tickCount": 5}
_COLOURS = [
    "#2f5d8a",
    "#d98032",
    "#5b9a68",
    "#b0413e",
    "#7d6aa8",
    "#8a6d4f",
    "#c774a5",
    "#6f7780",
    "#a5a53a",
    "#3f9aa6",
]
_CONFIG = {
    "font": "sans-serif",
    "background": "transparent",
    "view": {"stroke": None},
    "range": {"category": _COLOURS},
    "axis": {
        "labelFontSize": 13,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
        "gridColor": "#e6e6e6",
        "labelLimit": 170,
    },
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "orient": "top",
        "title": None,
        "columns": 4,
        "labelLimit": 150,
    },
    "header": {"labelFontSize": 13, "labelFontWeight": "bold", "title": None},
}


def bars(category: str, value: str, series: str | None = None, facet: str | None = None) -> Chart:
    """Horizontal bars, one per category, beside each other for each of the series; a chart per facet below each other.
    Categories stand in the order of the rows."""

    def draw(rows: Sequence[Row]) -> str:
        names = list(dict.fromkeys(row[category] for row in rows))
        kinds = list(dict.fromkeys(row[series] for row in rows)) if series else []
        high = len(names) * (max(1, len(kinds)) * _BAR + _GAP)
        encoding: dict[str, Any] = {
            "y": {"field": category, "type": "nominal", "sort": names, "axis": {"title": None}},
            "x": {"field": value, "type": "quantitative", "axis": {"title": value.replace("_", " "), **_AMOUNT}},
        }
        if series:
            encoding["yOffset"] = {"field": series, "sort": kinds}
            encoding["color"] = {"field": series, "type": "nominal", "sort": kinds}
        spec: dict[str, Any] = {"mark": {"type": "bar"}, "encoding": encoding, "width": WIDTH, "height": max(high, 40)}
        if facet:
            spec = {
                "facet": {"row": {"field": facet, "type": "nominal", "header": {"labelOrient": "top"}}},
                "spec": spec,
            }
        return _svg(spec, rows)

    return Chart(f"bars {category} {value} {series} {facet}", draw)


def movements(month: str, parts: Mapping[str, int], line: str, facet: str) -> Chart:
    """Stacked bars per month of what was gained (1) and lost (-1), by column, and a line of what stood at the end; a
    chart per facet below each other."""

    def draw(rows: Sequence[Row]) -> str:
        long = [
            {
                month: row[month],
                facet: row[facet],
                "part": part,
                "value": float(row[part]) * sign,
                "stands": float(row[line]),
            }
            for row in rows
            for part, sign in parts.items()
        ]
        x = {"field": month, "type": "ordinal", "axis": {"title": None, "labelAngle": -40}}
        layers = [
            {
                "mark": {"type": "bar", "size": 18},
                "encoding": {
                    "x": x,
                    "y": {"field": "value", "type": "quantitative", "axis": {"title": None, **_AMOUNT}},
                    "color": {"field": "part", "type": "nominal", "sort": list(parts)},
                },
            },
            {
                "mark": {"type": "line", "color": "#333333", "point": {"color": "#333333"}},
                "encoding": {"x": x, "y": {"field": "stands", "type": "quantitative", "aggregate": "min"}},
            },
        ]
        header = {"labelOrient": "top"}
        return _svg(
            {
                "facet": {"row": {"field": facet, "type": "nominal", "header": header}},
                "spec": {"layer": layers, "width": WIDTH, "height": 220},
                "resolve": {"scale": {"y": "independent"}},
            },
            long,
        )

    return Chart(f"movements {month} {parts} {line} {facet}", draw)


def _svg(spec: dict[str, Any], rows: Sequence[Row]) -> str:
    values = [{name: _drawn(value) for name, value in row.items()} for row in rows]
    svg: str = vl_convert.vegalite_to_svg({"data": {"values": values}, "config": _CONFIG, **spec})
    return svg


def _drawn(value: Any) -> Any:
    """A value as JSON has it. Exact amounts are drawn as the nearest float: the table has them exactly."""
    return value if value is None or isinstance(value, str | int | float) else float(value)
