"""Rewrites what is compared with the registries word for word; run by `make snapshots`, then read the difference.

Asset keys, checks, settings, sources and the lists in README follow from the code. They are files so that a change of
them is seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crm_attribution import mapping
from crm_attribution.attribution.models import models
from crm_attribution.configuration import table
from crm_attribution.destinations import destinations
from crm_attribution.marts.as_of import statements
from crm_attribution.marts.discovery import discover
from crm_attribution.preflight import register
from crm_attribution.sources import sources
from crm_attribution.sources.base import Source, columns
from crm_attribution.sources.fixes import FIXES

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "docs" / "settings.md"
ORCHESTRATION = ROOT / "crm_attribution_tests" / "orchestration"
SETTINGS_TEXT = f"""# Settings

Everything comes from the environment or from `--env-file` (same names). A name that begins like a setting, or stands in
the file, and is none is reported by every command, in the run's log and by `status`; one that resembles a setting of
the product itself (`CRM_ATTRIBUTION_…`) is refused. This page is generated: `make snapshots`.

{table()}"""
_WHAT_TO_DO = "\n".join(f"| `{reason}` | {what} |" for reason, what in FIXES.items())
SOURCES_TEXT = f"""# Sources

What is read besides HubSpot. Times are ISO 8601 (without a zone they are UTC); columns that are not listed are left
out. This page is generated: `make snapshots`.

A row that cannot be read waits in `quarantine.TABLE`, and the check `nothing_in_quarantine` fails. Its reason names the
column and what is wrong; `crm-attribution quarantine` lists them. Correct the file and drop it again; of a table whose
parts are told again, with all rows of the part (the day, the month): until then the part holds the rows that could be
read, and those of an earlier telling are gone.

| reason | what to do |
| --- | --- |
{_WHAT_TO_DO}
"""
SOURCES = ROOT / "docs" / "sources.md"
PRIVACY = ROOT / "docs" / "privacy.md"
PRIVACY_TEXT = f"""# Which data leave for whom

The register of data that leave for ad platforms, and of data of persons that are kept, under the mapping as shipped. It
is made from the requests that the code builds for an invented person. `crm-attribution preflight --privacy` prints the
same under your mapping. This page is generated: `make snapshots`.

A conversion leaves only where the mapping names it for the platform, with consent, and for nobody in `suppression` or
erased. A destination of your own file under `crm_attribution/destinations/` appears here by itself.

{register.page(register.register(mapping.load()))}"""
README = ROOT / "README.md"
FINANCE = ROOT / "docs" / "finance.md"


def named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def readme(text: str) -> str:
    """README with its lists of what there is."""
    marts = [model.key.partition(".")[2] for model in discover(ROOT / "dbt_like_sql") if model.schema == "marts"]
    lists = {
        "marts": f"The marts: {named(marts)}.",
        "plug-ins": f"There are the destinations {named(destinations())}, the sources {named(sources())} and the"
        f" attribution models {named(models())}.",
    }
    for name, listed in lists.items():
        text = put(text, name, textwrap.fill(listed, 120, break_on_hyphens=False, break_long_words=False))
    return text


def put(text: str, name: str, filled: str) -> str:
    """A page with what stands at its mark `name`."""
    begin, end = f"<!-- {name}: make snapshots -->\n", "<!-- end -->"
    before, found, rest = text.partition(begin)
    assert found, f"the page has no place for {name}"
    return f"{before}{begin}{filled}\n{end}{rest.partition(end)[2]}"


def finance(text: str) -> str:
    """docs/finance.md with the statements that make the as-of macros."""
    wrapped = (textwrap.fill(f"{sql};", 120, break_on_hyphens=False, break_long_words=False) for sql in statements())
    return put(text, "macros", "```sql macros\n{}\n```".format("\n".join(wrapped)))


def of_source(source: Source) -> str:
    """A source for docs/sources.md: where its rows come from and what a row may say."""
    rows = [f"| `{name}` | {text} | {'yes' if needed else ''} |" for name, text, needed in columns(source)]
    ways = f"Files (NDJSON, CSV, Parquet) in `inbox/{source.folder}/`" + (" or an API" if source.required else "")
    head = [f"## {source.name}", "", f"{ways}, into `{source.table}`. {source.contract.description}", ""]
    return "\n".join([*head, "| column | meaning | needed |", "| --- | --- | --- |", *rows]) + "\n"


def inventory(root: Path = ROOT) -> dict[str, Any]:
    """What Dagster sees, in a process of its own with nothing in the environment."""
    done = subprocess.run(
        [sys.executable, "-m", "crm_attribution_tests.orchestration.inventory"],
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def snapshots(seen: dict[str, Any]) -> dict[Path, str]:
    """Each file with what should stand in it."""
    checks = [f"{name}{' (blocking)' if check['blocking'] else ''}" for name, check in seen["checks"].items()]
    return {
        SETTINGS: SETTINGS_TEXT,
        PRIVACY: PRIVACY_TEXT,
        SOURCES: "\n".join([SOURCES_TEXT, *(of_source(source) for source in sources().values())]),
        README: readme(README.read_text(encoding="utf-8")),
        FINANCE: finance(FINANCE.read_text(encoding="utf-8")),
        ORCHESTRATION / "asset_keys.txt": "".join(f"{key}\n" for key in sorted(seen["assets"])),
        ORCHESTRATION / "checks.txt": "".join(f"{check}\n" for check in sorted(checks)),
    }


if __name__ == "__main__":
    for path, text in snapshots(inventory()).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"rewritten: {path.relative_to(ROOT)}")
