"""Build the report from the published file, where it is not that of this snapshot already."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from crm_attribution.marts import query
from crm_attribution.marts.publish import read_manifest
from crm_attribution.report.page import FINGERPRINT, charts_of, draw, render
from crm_attribution.report.sections import CARDS, SECTIONS
from crm_attribution.warehouse.files import private_folder, put_in_place

PLACE = Path("reports") / "attribution.html"
"""In the data directory."""

_MADE = re.compile(r'<meta name="made-of" content="([^"]*)">')


@dataclass(frozen=True)
class Built:
    """What one call did.

    Attributes:
        written: whether the report is another than before.
        snapshot_id: of the published file.
        bytes: size of the report.
        cards: the business figures at its top: label, value, unit.
        charts: by title, as SVG; empty where nothing was written.
    """

    written: bool
    snapshot_id: str
    bytes: int
    cards: pl.DataFrame
    charts: dict[str, str]


def build(published: Path, target: Path, *, mode: int = 0o400) -> Built:
    """Write the report of the published file to `target`, in one step: who has the old one open keeps it.

    All queries see one snapshot. Nothing is written where `target` is the report of this snapshot, by this version.

    Args:
        published: `finance.duckdb`.
        target: the HTML file.
        mode: of the HTML file.

    Raises:
        ConfigurationError: when nothing is published yet, or the file has not the tables of this version.
    """
    manifest = read_manifest(published)
    made = f"{manifest.snapshot_id if manifest else ''}:{FINGERPRINT}"
    if manifest is not None and _made(target) == made:
        cards = query.read_all(published, {CARDS.key: CARDS.sql})[CARDS.key]
        return Built(False, manifest.snapshot_id, target.stat().st_size, cards, {})
    queries = {"about": "SELECT * FROM marts.about", **{section.key: section.sql for section in (CARDS, *SECTIONS)}}
    rows = query.read_all(published, queries)
    about = rows["about"].row(0, named=True)
    known = charts_of(target.read_text(encoding="utf-8", errors="replace")) if target.exists() else {}
    charts = {section.key: svg for section in SECTIONS if (svg := draw(section, rows[section.key], known))}
    page = render(about, rows, charts, made=f"{about['snapshot_id']}:{FINGERPRINT}").encode()
    private_folder(target.parent)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(page)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(temporary, target)
    titled = {section.title: charts[section.key] for section in SECTIONS if section.key in charts}
    return Built(True, str(about["snapshot_id"]), len(page), rows[CARDS.key], titled)


def _made(target: Path) -> str | None:
    """What the present report was made of: the snapshot and the version of the page."""
    if not target.exists():
        return None
    with target.open(encoding="utf-8", errors="replace") as file:
        found = _MADE.search(file.read(2_000))
    return found.group(1) if found else None
