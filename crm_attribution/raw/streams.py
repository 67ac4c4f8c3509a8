"""HubSpot's streams that are dated by themselves: form submissions and clicks in marketing e-mails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from math import ceil

import polars as pl

from crm_attribution.errors import Forbidden, Rejected
from crm_attribution.hubspot import parse_email, parse_forms
from crm_attribution.hubspot.client import HubSpotClient
from crm_attribution.hubspot.parsed import Parsed
from crm_attribution.mapping import Rules
from crm_attribution.raw.reading import BEGINNING, CHUNK, NOT_FOUND, OVERLAP, Extraction, Readings, StreamReport, chunks
from crm_attribution.raw.rules.bot_clicks import mark_bots
from crm_attribution.raw.rules.form_schedule import forms_due
from crm_attribution.warehouse.session import Session

_SUBMISSIONS = 50
_EMAIL_EVENTS = 1_000

SECOND_THOUGHTS = timedelta(hours=24)
"""How late HubSpot may filter or replace an e-mail event and the next hour still sees it."""

_EMAIL_CLICKS_FIX = (
    "Clicks in marketing e-mails are not read: grant the scope `content`, or switch them off in the mapping"
    " (streams: {email_clicks: off})"
)


@dataclass(frozen=True)
class StreamReader:
    """Form submissions and clicks in marketing e-mails."""

    readings: Readings
    hubspot: HubSpotClient
    rules: Rules

    def submissions(self, since: datetime | None) -> StreamReport:
        """Read submissions of the forms due, back to where each form was last read completely.

        The endpoint answers newest first and knows no time filter: a reading that breaks off has the newest and not the
        oldest. So a form's place is noted only when its last page is stored, never taken from its newest row. A form
        that does not answer (deleted, or of another brand) is counted and does not stop the others.
        """
        run = self.readings.begin("form_submissions", since, self.hubspot.transport)
        with self.readings.warehouse.session() as session:
            resumes = session.state.extracted["form_submissions"] is None
            forms = _forms(session)
        due = forms_due(forms, run.since, run.window_end, self.rules.streams.forms)
        silent = 0
        for form_id, read_to in due.select("id", "read_to").iter_rows():
            try:
                self._form(run, form_id, read_to if resumes else _earlier(read_to, run.since))
            except Rejected as error:
                if error.status != NOT_FOUND:
                    raise
                silent += 1
                run.floor += 1
        report = self.readings.end(run)
        report.figures |= {"forms read": due.height - silent, "forms that do not answer": silent}
        report.figures |= {"forms deferred": forms.height - due.height}
        return report

    def _form(self, run: Extraction, form_id: str, bound: datetime | None) -> None:
        since = None if bound is None else bound - OVERLAP
        newest, listed = bound, 0
        for page in chunks(chain.from_iterable(self.hubspot.form_submissions(form_id, since)), CHUNK):
            now = self.readings.clock.now()
            listed += len(page)
            parsed = parse_forms.submissions(form_id, page, extracted_at=now)
            self.readings.write(run, "raw.form_submission", parsed, ["form_id", "conversion_id"], now)
            newest = max([moment for moment in (newest, *parsed.rows["submitted_at"]) if moment], default=None)
        run.found = (run.found or 0) + listed
        run.floor += max(1, ceil(listed / _SUBMISSIONS))
        with self.readings.warehouse.session() as session, session.transaction():
            known = session.state.form_read_to[form_id]
            if known is None or (newest is not None and known < newest):
                session.state.form_read_to[form_id] = newest or BEGINNING

    def email_clicks(self, since: datetime | None) -> StreamReport:
        """Clicks in marketing e-mails, those HubSpot filters or has since replaced too.

        The last day is read again every hour: HubSpot marks an event as obsolete after the fact, and only reading it
        again shows that. What is marked later still is found when its hour is run again.

        A token that may not read them leaves the table unchanged, and the report has `not_read`; the next
        reading that succeeds begins where the last one ended.
        """
        if not self.rules.streams.email_clicks:
            return StreamReport(figures={"stream": "off (streams.email_clicks in the mapping)"})
        run = self.readings.begin("email_clicks", since, self.hubspot.transport)
        run.found = 0
        bound = None if run.since is None else run.since - SECOND_THOUGHTS
        try:
            for page in self.hubspot.email_clicks(bound, run.window_end):
                now = self.readings.clock.now()
                run.found += len(page)
                parsed = parse_email.email_clicks(page, extracted_at=now)
                rows = Parsed(mark_bots(parsed.rows), parsed.refused)
                self.readings.write(run, "raw.email_click", rows, ["id"], now)
        except (Forbidden, Rejected) as error:
            if isinstance(error, Rejected) and error.status != NOT_FOUND:
                raise
            report = run.report()
            report.not_read = f"{error}. {_EMAIL_CLICKS_FIX}"
            return report
        run.floor = max(1, ceil(run.found / _EMAIL_EVENTS))
        return self.readings.end(run)


def _earlier(read_to: datetime | None, since: datetime | None) -> datetime | None:
    """Where a form is read back to: None, its beginning, where it was never read or the whole history is asked for."""
    return None if read_to is None or since is None else min(read_to, since)


def _forms(session: Session) -> pl.DataFrame:
    """id, archived, newest (latest stored submission) and read_to (as far as it was read completely) of each form."""
    frame = session.query(
        "SELECT f.id, f.archived, max(s.submitted_at) AS newest FROM raw.form f"
        " LEFT JOIN raw.form_submission s ON s.form_id = f.id GROUP BY f.id, f.archived ORDER BY f.id"
    )
    moment = pl.Datetime("us", "UTC")
    read_to = session.state.form_read_to.all()
    return frame.with_columns(read_to=pl.col("id").replace_strict(read_to, default=None, return_dtype=moment))
