"""The product as a person runs it: the command line in a process of its own, against a sandbox."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from crm_attribution_tests import forked

ROOT = Path(__file__).parents[2]
SAMPLE_PORTAL = ROOT / "data" / "sample_portal.jsonl"
SAMPLE_MAPPING = ROOT / "data" / "sample_mapping.yaml"


@dataclass
class Project:
    """A data directory and the environment it runs in."""

    data_dir: Path
    env: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """`crm-attribution …`, whatever comes of it."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        env = {**kept, **self.env, "CRM_ATTRIBUTION_DATA_DIR": str(self.data_dir), **more}
        return forked.command(arguments, env, ROOT, timeout=300)

    def run(self, *arguments: str, **more: str) -> Any:
        """`crm-attribution … --json`; fails the test where the command fails."""
        done = self.command(*arguments, "--json", **more)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)

    def hours(self, start: str, end: str, *more: str) -> Any:
        return self.run("backfill", "--from", start, "--to", end, *more)

    def finance(self, sql: str) -> list[tuple[Any, ...]]:
        """A query as finance makes it: on the published copy, read-only."""
        with duckdb.connect(str(self.data_dir / "finance.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def warehouse(self, sql: str) -> list[tuple[Any, ...]]:
        """A query on the writer's file; only while nothing runs."""
        with duckdb.connect(str(self.data_dir / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def marts(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every mart, in a fixed order."""
        tables = self.finance("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts' ORDER BY 1")
        return {name: self.finance(f"SELECT * FROM marts.{name} ORDER BY ALL") for (name,) in tables}
