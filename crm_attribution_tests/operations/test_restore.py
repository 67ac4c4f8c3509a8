"""A damaged warehouse: the run says so, the last good copy is put back, and what it lacks is read again."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import polars as pl
import pytest

from crm_attribution.operations.restore import _lost
from crm_attribution_tests.orchestration import commands
from crm_attribution_tests.orchestration.commands import FIRST, LATER

pytestmark = [pytest.mark.sandbox, pytest.mark.pipeline]

RAW = ("--select", 'group:"raw/*"')
CONTACTS = "SELECT id, archived FROM raw.contact ORDER BY 1"


def test_a_damaged_warehouse_is_put_back_and_read_on(tmp_path):
    with commands.sandbox() as sandbox:
        project = commands.project(tmp_path, sandbox, CRM_ATTRIBUTION_SNAPSHOT_HOURS="0")
        project.hours(*FIRST[1::2], *RAW)
        clicks = project.data_dir / "inbox" / "clicks"
        clicks.mkdir(parents=True)
        (clicks / "late.ndjson").write_text(
            json.dumps(
                {"click_id": "k1", "clicked_at": "2026-03-09T01:10:00Z", "destination_url": "https://x.example/"}
            )
        )
        project.hours(*LATER[1::2], *RAW)  # takes a snapshot of what the first hour left
        whole = project.warehouse(CONTACTS)
        assert project.warehouse("SELECT click_id FROM raw.link_click WHERE click_id = 'k1'") == [("k1",)]

        path = project.data_dir / "warehouse.duckdb"
        content = bytearray(path.read_bytes())
        for place in range(3 * 4096, len(content), 4096):
            content[place + 100] ^= 1
        path.write_bytes(content)
        broken = project.command("backfill", *LATER, *RAW)
        assert broken.returncode == 1
        assert "crm-attribution restore" in broken.stderr
        assert "Traceback" not in broken.stderr

        restored = project.run("restore")
        assert restored["files_back_in_the_inbox"] == 1
        assert project.warehouse("SELECT count(*) FROM raw.link_click WHERE click_id = 'k1'") == [(0,)]
        command = restored["read_again"].split()
        assert command[:4] == ["crm-attribution", "backfill", "--from", "2026-03-09T00:00:00Z"]
        again = project.command(*command[1:], *RAW)
        assert again.returncode == 0, again.stderr[-2000:]
        assert project.warehouse(CONTACTS) == whole
        assert project.warehouse("SELECT click_id FROM raw.link_click WHERE click_id = 'k1'") == [("k1",)]
        assert (project.data_dir / "damaged").exists()


def test_without_a_snapshot_it_says_so(tmp_path):
    with commands.sandbox() as sandbox:
        project = commands.project(tmp_path, sandbox)
        refused = project.command("restore")
    assert refused.returncode == 1
    assert "there are: none" in refused.stderr


def test_closings_made_after_the_snapshot_are_named_as_commands_in_their_order() -> None:
    january, february = date(2026, 1, 1), date(2026, 2, 1)
    first, second = datetime(2026, 2, 3, 9), datetime(2026, 3, 2, 9)  # noqa: DTZ001 - as the published file has them
    published = pl.DataFrame(
        {"month": [january, february, february], "state": ["closed", "closed", "open"],
         "recorded_at": [first, second, second], "changed_by": "Ida O'Neil", "reason": ["done", "done", "late bill"]}
    )  # fmt: skip
    kept = {(january, "closed", first.replace(tzinfo=UTC))}
    assert _lost(published, kept) == [
        """crm-attribution close-month 2026-02 --by 'Ida O'"'"'Neil' --reason done""",
        """crm-attribution reopen-month 2026-02 --by 'Ida O'"'"'Neil' --reason 'late bill'""",
    ]
