"""E-mail clicks and form submissions read from the sandbox over HTTP: nothing twice, nothing missing, few calls."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crm_attribution.clock import iso
from crm_attribution.errors import Retryable
from crm_attribution.mapping import Rules
from crm_attribution.raw.reading import StreamReport
from crm_attribution.raw.rules.form_schedule import forms_due
from crm_attribution_tests.flow.chain import LOADED, Chain, rules
from crm_attribution_tests.helpers import at

pytestmark = pytest.mark.sandbox

OPEN = at("2026-04-01T00:00:00Z")
EVENTS = "GET /email/public/v1/events"
SUBMISSIONS = "GET /form-integrations/*"
HOUR = timedelta(hours=1)


def mail(moment: datetime, number: str, **more: Any) -> dict[str, Any]:
    event = {"id": number, "recipient": "ann@a.example", "url": "https://v.example", **more}
    return {"at": iso(moment), "op": "email_click", "event": event}


def submit(moment: datetime, form: str = "f1", number: int = 0) -> dict[str, Any]:
    return {"at": iso(moment), "op": "submit", "submission": {"form_id": form, "email": f"c{number}@a.example"}}


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    lines = [mail(OPEN + timedelta(seconds=n), f"e{n}") for n in range(1_001)]
    lines += [submit(OPEN + timedelta(seconds=25 * n), "f1", n) for n in range(130)]
    lines.append(submit(OPEN, "f2"))
    with Chain.start(tmp_path, sorted(lines, key=lambda line: str(line["at"])), iso(OPEN + HOUR)) as made:
        yield made


def read(chain: Chain, stream: str, since: datetime | None, mapping: Rules | None = None) -> tuple[StreamReport, int]:
    """One reading and what it cost, counted by the other side."""
    before = chain.sandbox.calls()["total"]
    report: StreamReport = getattr(chain.readers(mapping).streams, stream)(since)
    return report, chain.sandbox.calls()["total"] - before


def stored(chain: Chain) -> dict[str, str | None]:
    return {row["id"]: row["bot_reason"] for row in chain.table("raw.email_click")}


def test_email_clicks_are_read_once_and_again_only_where_they_may_have_changed(chain: Chain) -> None:
    report, calls = read(chain, "email_clicks", None)
    assert (report.changed, calls) == (1_001, 2)
    later = OPEN + timedelta(hours=30)
    chain.sandbox.set_clock(iso(later))
    assert read(chain, "email_clicks", later - HOUR)[1] == 2, "it was never read since: the last day and the gap"
    idle, calls = read(chain, "email_clicks", later - HOUR)
    assert (idle.rows, idle.changed, calls) == (0, 0, 1)
    bots = [mail(later, "bot", filtered=True), mail(later, "crawler", user_agent="Googlebot/2")]
    chain.sandbox.log([mail(later, "e0"), *bots])
    chain.sandbox.set_clock(iso(later + HOUR))
    assert read(chain, "email_clicks", later)[0].changed == 3, "an old id at a new time is another click"
    assert len(chain.table("raw.email_click")) == 1_004
    assert (stored(chain)["bot"], stored(chain)["crawler"]) == ("hubspot_filter", "known_agent")


def test_an_event_that_is_replaced_later_is_marked_within_a_day(chain: Chain) -> None:
    read(chain, "email_clicks", None)
    assert stored(chain)["e7"] is None
    replaced = {"created": iso(OPEN + timedelta(seconds=7)), "obsoleted_by": {"id": "x", "created": 1}}
    chain.sandbox.log([mail(OPEN + HOUR, "e7", **replaced)])
    chain.sandbox.set_clock(iso(OPEN + 23 * HOUR))
    report, _ = read(chain, "email_clicks", OPEN + 22 * HOUR)
    assert report.changed == 1
    assert stored(chain)["e7"] == "obsoleted"
    assert len(chain.table("raw.email_click")) == 1_001


def test_without_the_scope_nothing_is_lost_and_the_reason_is_told(chain: Chain, tmp_path: Path) -> None:
    chain.sandbox.faults([{"route": EVENTS, "kind": "403", "scope": "content", "count": 1}])
    report, _ = read(chain, "email_clicks", OPEN + HOUR)
    assert "content" in str(report.not_read)
    assert "streams: {email_clicks: off}" in str(report.not_read)
    assert read(chain, "email_clicks", OPEN + HOUR)[0].changed == 1_001, "the next reading begins where none had ended"
    off = rules(tmp_path, "streams: {email_clicks: off}")
    assert read(chain, "email_clicks", None, off)[1] == 0


def test_submissions_are_read_back_to_where_each_form_was_read_to(chain: Chain) -> None:
    chain.readers().reference.forms()
    report, calls = read(chain, "submissions", None)
    assert (report.changed, calls) == (131, 3 + 1)
    later = OPEN + 5 * HOUR
    chain.sandbox.log([submit(later, "f2", 7), submit(later, "f3", 8)])
    chain.sandbox.set_clock(iso(later))
    chain.readers().reference.forms()
    report, calls = read(chain, "submissions", later - HOUR)
    assert (report.changed, calls) == (2, 3), "one call a form"


def test_a_reading_that_breaks_off_leaves_no_hole(chain: Chain) -> None:
    """Newest first: what was stored before the break is newer than what is missing."""
    chain.readers().reference.forms()
    chain.sandbox.log([submit(OPEN + 2 * HOUR + timedelta(seconds=n), "f1", n) for n in range(1_100)])
    chain.sandbox.set_clock(iso(OPEN + 4 * HOUR))
    chain.sandbox.faults([{"route": SUBMISSIONS, "kind": "429", "every": 22, "retry_after": 600}])
    with pytest.raises(Retryable):
        chain.readers().streams.submissions(None)
    assert len(chain.table("raw.form_submission")) == 1_000
    chain.sandbox.faults([])
    chain.readers().streams.submissions(OPEN + 3 * HOUR)
    assert len(chain.table("raw.form_submission")) == 1_231


def test_a_form_that_does_not_answer_stops_no_other(chain: Chain) -> None:
    chain.readers().reference.forms()
    chain.sandbox.faults([{"route": SUBMISSIONS, "kind": "404", "count": 1}])
    report, _ = read(chain, "submissions", None)
    assert report.figures["forms that do not answer"] == 1
    assert report.figures["forms read"] == 1
    chain.readers().streams.submissions(OPEN + HOUR)
    assert len(chain.table("raw.form_submission")) == 131


def test_quiet_forms_take_turns_and_none_is_left_out() -> None:
    now = datetime(2026, 4, 20, tzinfo=UTC)
    names = [f"form-{n}" for n in range(300)]
    newest = [now - timedelta(days=3 if n < 20 else 90) for n in range(300)]
    done = [None if name == "form-99" else moment for name, moment in zip(names, newest, strict=True)]
    gone = [n >= 280 for n in range(300)]
    forms = pl.DataFrame({"id": names, "archived": gone, "newest": newest, "read_to": done})
    few = LOADED.streams.forms.model_copy(update={"every_hour_up_to": 280})
    many = LOADED.streams.forms.model_copy(update={"every_hour_up_to": 279})

    def due(since: datetime, until: datetime, which: Any = many) -> set[str]:
        return set(forms_due(forms, since, until, which)["id"])

    day = [due(now + n * HOUR - timedelta(minutes=55), now + n * HOUR - timedelta(minutes=1)) for n in range(24)]
    assert set.union(*day) == set(names)
    assert all({*names[:20], "form-99"} <= hour for hour in day), "the busy ones, and one never read to its end"
    assert max(len(hour) for hour in day) < 60
    assert due(now, now + 12 * HOUR) >= day[3] | day[9], "a run that makes up for hours takes their turns"
    assert set(names[:280]) <= due(now, now + HOUR, few), "few forms: all that are not archived"
    assert set(forms_due(forms, None, now, many)["id"]) == set(names)
