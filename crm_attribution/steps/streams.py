"""What is dated by itself: form submissions, and link clicks from an API or a drop folder."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import chain
from math import ceil
from pathlib import Path

from crm_attribution.clicks.api import ClickApi
from crm_attribution.clicks.drop_folder import DropFile, Unreadable, archive, read_folder
from crm_attribution.clicks.parse import clicks as parse_clicks
from crm_attribution.hubspot import parse
from crm_attribution.hubspot.parse import Refused
from crm_attribution.steps.reading import CHUNK, OVERLAP, Extraction, Reader, chunks, quarantine
from crm_attribution.steps.report import Report

_SUBMISSIONS = 50
_CLICKS = 1_000


class StreamReader(Reader):
    """Submissions and clicks."""

    def submissions(self, since: datetime | None) -> Report:
        """Submissions of every known form, back to the newest stored one (less the overlap) or to `since`."""
        run = self.begin("form_submissions", since)
        with self.warehouse.session() as session:
            newest = session.query(
                "SELECT f.id, max(s.submitted_at) AS newest FROM raw.form f"
                " LEFT JOIN raw.form_submission s ON s.form_id = f.id GROUP BY f.id ORDER BY f.id"
            )
        for form_id, stored in newest.iter_rows():
            bound = None if stored is None else min(filter(None, [stored, run.since])) - OVERLAP
            listed = 0
            for page in chunks(chain.from_iterable(self.hubspot.form_submissions(form_id, bound)), CHUNK):
                now = self.clock.now()
                listed += len(page)
                parsed = parse.submissions(form_id, page, extracted_at=now)
                self.write(run, "raw.form_submission", parsed, "form_submission", ["form_id", "conversion_id"], now)
            run.found = (run.found or 0) + listed
            run.floor += max(1, ceil(listed / _SUBMISSIONS))
        return self.end(run)

    def clicks(self, api: ClickApi | None, since: datetime | None, inbox: Path) -> Report:
        """Link clicks from the click API (where configured) and the drop folder `inbox/clicks`."""
        run = self.begin("link_clicks", since)
        if api is not None:
            bound = None if run.since is None else run.since - OVERLAP
            run.transport, run.calls_before, run.found = api.transport, api.transport.calls, 0
            for page in api.clicks(bound):
                named = [(f"click API row {n}", row) for n, row in enumerate(page, run.found + 1)]
                run.found += len(page)
                now = self.clock.now()
                parsed = parse_clicks(named, extracted_at=now)
                self.write(run, "raw.link_click", parsed, "link_click", ["click_id"], now)
            run.floor = max(1, ceil(run.found / _CLICKS))
        for file in read_folder(inbox / "clicks"):
            self._drop_file(run, file, inbox)
        return self.end(run)

    def _drop_file(self, run: Extraction, file: DropFile | Unreadable, inbox: Path) -> None:
        now = self.clock.now()
        if isinstance(file, Unreadable):
            refused = Refused(file.path.name, f"file:{file.reason}", "{}", file.path.name)
            with self.warehouse.session() as session, session.transaction():
                quarantine(session, "raw.link_click", [refused], now)
            run.quarantined += 1
        else:
            good = [(f"{row.file} row {row.number}", row.values) for row in file.rows if row.problem is None]
            parsed = parse_clicks(good, extracted_at=now)
            parsed.refused += [
                Refused(f"{row.file} row {row.number}", f"row:{row.problem}", _json_text(row.raw), row.file)
                for row in file.rows
                if row.problem is not None
            ]
            self.write(run, "raw.link_click", parsed, "link_click", ["click_id"], now)
        archive(file, inbox / "archive" / "clicks")


def _json_text(raw: str | None) -> str:
    return json.dumps({"line": raw})
