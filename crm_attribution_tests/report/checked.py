"""Whether each figure of the report stands in the published file: a script that imports nothing of the product."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import duckdb


class _Page(HTMLParser):
    """Figures (`data-value`) and queries (`data-query`) of the page, by the section they stand in."""

    def __init__(self) -> None:
        super().__init__()
        self.figures: dict[str, list[Decimal]] = {}
        self.queries: dict[str, str] = {}
        self.shown: list[tuple[str, str]] = []
        self._section = self._query = ""
        self._value: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._section = given.get("data-section") or (given.get("id") if tag == "section" else None) or self._section
        self._query = given.get("data-query") or ""
        self._value = given.get("data-value")
        if self._value is not None:
            self.figures.setdefault(self._section, []).append(Decimal(self._value))

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._query = ""

    def handle_data(self, data: str) -> None:
        if self._query:
            self.queries[self._query] = self.queries.get(self._query, "") + data
        if self._value is not None and data.strip():
            self.shown.append((self._value, data.strip()))
            self._value = None


def read(report: Path) -> _Page:
    page = _Page()
    page.feed(report.read_text(encoding="utf-8"))
    return page


def differences(report: Path, published: Path) -> dict[str, list[str]]:
    """Section -> figures that stand on the page and not in the file, or the other way round; empty where all agree."""
    page, found = read(report), {}
    with duckdb.connect(str(published), read_only=True) as connection:
        for section, sql in page.queries.items():
            rows = connection.execute(sql).fetchall()
            wanted = Counter(
                Decimal(value)
                for row in rows
                for value in row
                if isinstance(value, int | Decimal) and value is not True
            )
            there = Counter(page.figures.get(section, []))
            if differing := [*(there - wanted), *(wanted - there)]:
                found[section] = [str(value) for value in differing]
    return found | {name: ["no query"] for name in page.figures.keys() - page.queries.keys()}
