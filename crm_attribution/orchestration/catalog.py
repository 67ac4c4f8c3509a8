"""What Dagster's catalog says about an asset besides its data: group, owners, freshness, documentation and SQL."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path

import dagster as dg

from crm_attribution.destinations import destinations
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.sources import sources

ROOT = Path(__file__).parents[2]
"""The checkout. A wheel has no pages: there the catalog shows none."""

_RECORDS = {
    *(described.table for described in OBJECT_TYPES.values()),
    *("raw.property_history", "raw.association", "raw.merge", "raw.deletion", "raw.missing"),
}
_SET_UP = {
    *("raw.account", "raw.owner", "raw.pipeline_stage", "raw.stage_meaning"),
    *("raw.form", "raw.property", "raw.property_drift"),
}

ENGINEERS = "team:data-engineering"
_AUDIENCE: dict[str, tuple[str, ...]] = {
    "events": ("team:revenue-operations",),
    "attribution": ("team:marketing",),
    "conversions": ("team:marketing",),
    "delivery": ("team:marketing",),
    "finance": ("team:finance",),
}
"""Schema -> the teams whose figures these are. A mart names its own: `@audience` in its file."""

_PUBLISHED = ("finance.publication", "finance.report")

_EVERY_HOUR = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=4), warn_window=timedelta(hours=2))
_EVERY_DAY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))

_ACCOUNTS = ("account", "account_alias", "account_domain", "deal_account", "membership")
_PAGES = {
    "raw": ("docs/architecture.md", "Extraction"),
    "raw.webhook_event": ("docs/operations.md", "Receive webhooks"),
    "raw.deletion": ("docs/operations.md", "Privacy deletion"),
    **{source.table: ("docs/sources.md", name) for name, source in sources().items()},
    "identity": ("docs/semantics.md", "Identity"),
    **{f"identity.{name}": ("docs/semantics.md", "Accounts") for name in _ACCOUNTS},
    "identity.click": ("docs/semantics.md", "Clicks and touches"),
    "identity.email_click": ("docs/semantics.md", "Clicks and touches"),
    "events": ("docs/semantics.md", "Milestones"),
    "events.event": ("docs/semantics.md", "Events"),
    "events.gap": ("docs/semantics.md", "Events"),
    "attribution": ("docs/semantics.md", "Clicks and touches"),
    "conversions": ("docs/delivery.md", "The ledger"),
    "delivery": ("docs/delivery.md", "Where duplicates could arise, and what removes them"),
    **{
        f"delivery.{one.name}": ("docs/write_back.md", "Once, and in time")
        for one in destinations().values()
        if one.is_hubspot
    },
    "delivery.alerts": ("docs/alerts.md", "What to expect"),
    "conversions.told_record": ("docs/write_back.md", "People and companies"),
    "conversions.trait": ("docs/write_back.md", "Computed traits and audiences"),
    "conversions.audience_event": ("docs/write_back.md", "Computed traits and audiences"),
    "staging": ("docs/extend.md", "A mart"),
    "marts": ("README.md", "Query it"),
    "finance": ("docs/finance.md", "As of"),
    "finance.restatement": ("docs/finance.md", "Why a month has changed"),
    "finance.period": ("docs/finance.md", "Closing a month"),
    **dict.fromkeys(_PUBLISHED, ("README.md", "Query it")),
}
"""Table, else schema -> page and heading of what documents it."""


def group(table: str) -> str:
    """The group an asset is shown in: its schema; of `raw` the part that is read in the same way.

    Args:
        table: `schema.table`.
    """
    schema = table.partition(".")[0]
    if schema != "raw":
        return schema
    return "raw/records" if table in _RECORDS else "raw/set_up" if table in _SET_UP else "raw/streams"


def owners(table: str, audience: Iterable[str] = ()) -> Sequence[str]:
    """Who owns an asset: whom its figures are for, and who keeps it running.

    Args:
        table: `schema.table`.
        audience: names of teams, instead of those of the schema.
    """
    named = [f"team:{name}" for name in audience] or _AUDIENCE.get(table.partition(".")[0], ())
    return [*named, *({ENGINEERS} - {*named})]


def freshness(table: str, *, hourly: bool) -> dg.FreshnessPolicy | None:
    """When an asset is late, by the time of its last materialization: what is read from outside, what is sent, and what
    people read. What stands between is as old as these.

    It is per asset, not per hour: `crm-attribution status` shows the newest hour itself.

    Args:
        table: `schema.table`.
        hourly: whether it has hourly partitions.
    """
    schema = table.partition(".")[0]
    if table in ("raw.missing", "raw.closed_won"):
        return _EVERY_DAY
    if schema == "marts" or table in _PUBLISHED or (schema in ("raw", "delivery") and hourly):
        return _EVERY_HOUR
    return None


def links(table: str, sql: Path | None = None) -> dict[str, dg.MetadataValue]:
    """Metadata with the page that documents an asset and, where it is a SQL file, its text; both as links to the files
    as well, which the catalog opens in an editor.

    Args:
        table: `schema.table`.
        sql: the file that makes it.
    """
    page, heading = _PAGES.get(table) or _PAGES[table.partition(".")[0]]
    found: dict[str, dg.MetadataValue] = {}
    files: list[tuple[Path, int, str]] = []
    if sql is not None:
        text = sql.read_text(encoding="utf-8")
        found["sql"] = dg.MetadataValue.md(f"```sql\n{text}\n```")
        files.append((sql, 1, "/".join(sql.parts[-3:])))
    if (described := section(ROOT / page, heading)) is not None:
        line, text = described
        found["documentation"] = dg.MetadataValue.md(f"{text}\n\n*{page}*")
        files.append((ROOT / page, line, f"{page}: {heading}"))
    if files:
        found["dagster/code_references"] = _references(files)
    return found


def _references(files: Iterable[tuple[Path, int, str]]) -> dg.MetadataValue:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # Dagster's links to files are one of its newer parts
        return dg.CodeReferencesMetadataValue(
            code_references=[
                dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=label)
                for path, line, label in files
            ]
        )


@cache
def section(page: Path, heading: str) -> tuple[int, str] | None:
    """Line number and text of a section of a Markdown page, up to the next heading of its level; None where there is no
    such page or section, as in a wheel or for a source that was added and is not described yet."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    wanted = f"## {heading}"
    if wanted not in lines:
        return None
    first = lines.index(wanted)
    rest = [number for number, line in enumerate(lines) if number > first and re.match(r"##? ", line)]
    return first + 1, "\n".join(lines[first : rest[0] if rest else None]).strip()
