"""The job `privacy_deletion` as a person starts it, with what it reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_attribution_tests.orchestration import commands

pytestmark = pytest.mark.pipeline


def test_a_person_names_an_erased_contact(tmp_path: Path) -> None:
    with commands.sandbox() as sandbox:
        project = commands.project(tmp_path, sandbox)
        project.hours(commands.FIRST[1], commands.FIRST[3])
        deals = "SELECT deal_id, amount_current_minor FROM marts.milestone WHERE milestone = 'customer_won'"
        before = project.finance(deals)
        done = project.run("privacy-deletion", "--contact", "11", "--yes")
        assert (done["contacts erased"], done["rows: raw.contact"]) == (1, 1)
        assert project.warehouse("SELECT object_id, source FROM raw.deletion WHERE erased_at IS NOT NULL") == [
            (11, "person")
        ]
        assert before
        assert project.finance(deals) == before
        written = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".duckdb"]
        assert [path.name for path in written if b"ann@quelle.example" in path.read_bytes()] == []
