"""A destination, a source, a mart, a data test and an attribution model are one file each; everything else follows.

Each is written into a copy of the repository, where nothing else is touched but lists that `make snapshots` rewrites.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import duckdb
import pytest
import yaml

from crm_attribution_tests.pipeline.project import ROOT, SAMPLE_MAPPING, SAMPLE_PORTAL
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

FILES = {
    "crm_attribution/destinations/made_up.py": '''
"""A platform that takes what Meta takes."""

from crm_attribution.destinations.meta import Meta


class MadeUp(Meta):
    """The sandbox's counterpart is Meta's: it has Meta's settings."""

    name = "made_up"


DESTINATION = MadeUp()
''',
    "crm_attribution/sources/made_up.py": '''
"""Costs of fairs, from files."""

import polars as pl

from crm_attribution.contracts.base import Model, Timestamp, field, table
from crm_attribution.sources.base import Source


@table("raw.made_up_cost", key=("day", "fair"))
class MadeUpCost(Model):
    """Costs of fairs by day."""

    day: pl.Date = field("day, UTC")
    fair: str = field("name of the fair")
    cost_minor: int = field("cost in minor units of EUR", ge=0)
    extracted_at: Timestamp = field("when we read it, UTC", log=True)


SOURCE = Source(name="made_up", table="raw.made_up_cost", folder="made_up")
''',
    "crm_attribution/attribution/models/made_up.py": '''
"""By how often a channel occurred in the journeys of the month before."""

import polars as pl

from crm_attribution.attribution.models.base import Model


def weights(journeys, parameters):
    return 1 + pl.col("effect").fill_null(0) * parameters["factor"]


def learn(paths, parameters):
    return paths.explode("path").group_by(channel="path").agg(effect=pl.col("journeys").sum())


MODEL = Model("made_up", "Frequent channels get more.", weights, {"factor": 1, "months": 1}, learn)
''',
    "dbt_like_sql/marts/made_up.sql": """
-- Won deals per month.
--
-- @column booked_month [not_null]: month in the account's time zone
-- @column won [not_null] [>= 0]: deals won
-- @unique: booked_month
select booked_month, count(*) as won
from marts.milestone
where milestone = 'customer_won'
group by booked_month
""",
    "dbt_like_sql/marts/made_up.positive.test.sql": """
-- A month that is listed has a deal.
select booked_month from marts.made_up where won <= 0
""",
}
ASSETS = {"delivery/made_up", "raw/made_up_cost", "marts/made_up"}
CHECKS = {
    "delivery/made_up:account_can_send",
    "raw/made_up_cost:keys_are_unique (blocking)",
    "raw/made_up_cost:nothing_in_quarantine",
    "marts/made_up:columns_hold (blocking)",
    "marts/made_up:positive (blocking)",
}
TESTED = [
    "destinations/test_conformance.py::test_declaration[made_up]",
    "destinations/test_conformance.py::test_build[made_up]",
    "destinations/test_conformance.py::test_accepts[made_up]",
    "sources/test_sources.py::test_every_source_conforms[made_up]",
    "delivery/test_outbox.py::test_the_sandbox_has_a_counterpart_of_every_destination[made_up]",
    "delivery/test_crashes.py::test_killed_at_a_point[made_up-claimed]",
    "delivery/test_crashes.py::test_killed_at_a_point[made_up-body_sent_answer_not_read]",
    "delivery/test_faults.py::test_applied_but_not_answered[made_up-drop_after_accept]",
    "delivery/test_delivery.py::test_the_attempt_log_tells_every_send[made_up]",
    "marts/test_models.py::test_a_mart_has_a_grain_required_columns_and_a_data_test[marts.made_up]",
    "marts/test_data_tests.py::test_a_data_test_without_a_break_is_broken_by_a_simple_change[made_up.positive]",
    "orchestration/test_definitions.py",
    "test_settings.py::test_the_table_of_settings_is_current",
]
FIRST, END = "2026-03-12T09:00:00Z", "2026-03-12T16:00:00Z"


@dataclass
class Copy:
    """A copy of the repository with the files in it."""

    root: Path

    def run(self, *command: str, **more: str) -> str:
        """Standard output of `python -m …` in the copy; fails the test where it fails."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env={**kept, "PYTHONPATH": str(self.root), **more},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout

    def lines(self, path: str) -> set[str]:
        return set((self.root / path).read_text(encoding="utf-8").splitlines())


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("copy")
    for name in ("crm_attribution", "crm_attribution_tests", "dbt_like_sql", "docs"):
        copytree(ROOT / name, root / name, ignore=ignore_patterns("__pycache__"))
    for name in ("README.md", "Makefile", "pyproject.toml"):
        (root / name).write_bytes((ROOT / name).read_bytes())
    for name, text in FILES.items():
        (root / name).write_text(text.lstrip(), encoding="utf-8")
    copy = Copy(root)
    copy.run("crm_attribution_tests.snapshots")
    return copy


def test_assets_checks_and_pages_follow(copied: Copy) -> None:
    assert copied.lines("crm_attribution_tests/orchestration/asset_keys.txt") >= ASSETS
    assert copied.lines("crm_attribution_tests/orchestration/checks.txt") >= CHECKS
    assert "## Destination made_up" in copied.lines("docs/settings.md")
    assert "## made_up" in copied.lines("docs/sources.md")
    readme = (copied.root / "README.md").read_text(encoding="utf-8")
    assert re.search(r"The marts: [^.]*`made_up`", readme)
    assert re.search(
        r"There are the destinations [^.]*`made_up`[^.]*sources [^.]*`made_up`[^.]*models [^.]*`made_up`", readme
    )


def test_tests_of_what_there_is_cover_them(copied: Copy) -> None:
    nodes = [f"crm_attribution_tests/{name}" for name in TESTED]
    said = copied.run("pytest", "-vv", "-p", "no:cacheprovider", *nodes)
    passed = set(re.findall(r"^crm_attribution_tests/(\S+) PASSED", said, re.MULTILINE))
    assert {name for name in TESTED if "::" in name} <= passed


@pytest.fixture(scope="module")
def played(copied: Copy) -> Iterator[dict[str, Any]]:
    """All history and seven hours, in one run; the result by query."""
    rules = yaml.safe_load(SAMPLE_MAPPING.read_text(encoding="utf-8"))
    rules["attribution"] = {"models": ["linear", "made_up"], "parameters": {"made_up": {"factor": 3}}}
    conversions = [{"milestone": "customer_won", "action": "Purchase", "value": "amount"},
                   {"milestone": "qualified_lead", "action": "Lead"}]  # fmt: skip
    rules["destinations"]["made_up"] = {
        "send_from": "start",
        "click_days": 90,
        "options": {},
        "conversions": conversions,
    }
    mapping = copied.root / "own.yaml"
    mapping.write_text(yaml.safe_dump(rules), encoding="utf-8")
    data = copied.root / "data" / "own"
    with Sandbox.start(SAMPLE_PORTAL, END, limits="off") as sandbox:
        env = {
            **sandbox.env,
            "CRM_ATTRIBUTION_START": FIRST,
            "CRM_ATTRIBUTION_MAPPING": str(mapping),
            "CRM_ATTRIBUTION_DATA_DIR": str(data),
        }
        folder = data / "inbox" / "made_up"
        folder.mkdir(parents=True)
        rows = "day,fair,cost_minor\n2026-03-01,Ufer,120000\n2026-03-02,Ufer,80000\nsoon,Ufer,1\n"
        (folder / "fairs.csv").write_text(rows, encoding="utf-8")
        copied.run("crm_attribution.cli", "backfill", "--from", FIRST, "--to", END, **env)
        counted = {event["event_id"] for event in sandbox.received("meta")["counted"]}
    accepted = "SELECT conversion_id FROM conversions.conversion WHERE destination = 'made_up' AND state = 'accepted'"
    with duckdb.connect(str(data / "warehouse.duckdb"), read_only=True) as connection:
        yield {
            "costs": connection.execute("SELECT sum(cost_minor), count(*) FROM raw.made_up_cost").fetchone(),
            "refused": connection.execute("SELECT key, reasons FROM quarantine.made_up_cost").fetchall(),
            "accepted": {key for (key,) in connection.execute(accepted).fetchall()},
            "counted": counted,
            "finance": data / "finance.duckdb",
        }


def test_rows_of_the_source_are_stored_and_bad_ones_wait(played: dict[str, Any]) -> None:
    assert played["costs"] == (200_000, 2)
    assert played["refused"] == [("soon:Ufer", "day:not_a_date")]


def test_the_destination_has_ledger_rows_that_the_platform_counted(played: dict[str, Any]) -> None:
    assert played["accepted"]
    assert played["accepted"] <= played["counted"]


def test_marts_show_destination_model_and_mart(played: dict[str, Any]) -> None:
    with duckdb.connect(str(played["finance"]), read_only=True) as connection:
        (waiting,) = connection.execute(
            "SELECT sum(conversions) FROM marts.upload_health WHERE destination = 'made_up' AND state = 'accepted'"
        ).fetchall()
        assert waiting == (len(played["accepted"]),)
        totals = dict(
            connection.execute(
                "SELECT model, sum(credit_minor) FROM marts.revenue_attribution WHERE measure = 'count' GROUP BY model"
            ).fetchall()
        )
        assert totals["made_up"] == totals["linear"] > 0
        assert connection.execute("SELECT sum(won) > 0 FROM marts.made_up").fetchall() == [(True,)]
