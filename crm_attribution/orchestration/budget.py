"""What a backfill would ask of HubSpot, before it asks: calls, minutes and share of the day.

HubSpot's search knows only a record's current modified time, so a range reads everything changed since its first hour,
whatever its last one is; the first partition reads everything there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from crm_attribution.clock import iso
from crm_attribution.errors import ConfigurationError, Forbidden, Rejected
from crm_attribution.hubspot.activities import KINDS, SEARCH_PAGE
from crm_attribution.hubspot.campaigns import PAGE as CAMPAIGNS_PAGE
from crm_attribution.hubspot.cost import Way, association_calls, cheaper, history_calls, list_calls, pages
from crm_attribution.hubspot.objects import OBJECT_TYPES
from crm_attribution.hubspot.settings import BACKFILL_SHARE, uses_oauth
from crm_attribution.orchestration.resources import Pipeline
from crm_attribution.raw.reading import OVERLAP

BUDGET_TAG = "crm_attribution/budget"
"""On a run whose share of the day's calls was looked at before (`checked`) or does not matter (`forced`)."""

SMALL = timedelta(hours=24)
"""A range up to this long that does not have the first hour in it is never refused, and not counted beforehand."""

_ARCHIVED = 1
"""A listing goes through the archived records too, whose number is not known beforehand."""
_REFERENCE = 6
"""The account, owners and archived owners, pipelines, forms and archived forms."""


@dataclass(frozen=True)
class Line:
    """One stream. `calls` by limiter; `way` is how records are read; `at_least` where it is not known beforehand."""

    stream: str
    calls: Mapping[str, int]
    records: int | None = None
    way: Way | None = None
    at_least: bool = False


@dataclass(frozen=True)
class Plan:
    """What a range costs. `daily` and `left` are None where HubSpot counts no day (OAuth apps)."""

    since: datetime | None
    lines: list[Line]
    rates: Mapping[str, float]
    daily: int | None
    left: int | None
    asked: int
    by_limiter: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        total: Counter[str] = Counter()
        for line in self.lines:
            total.update(line.calls)
        object.__setattr__(self, "by_limiter", total)

    @property
    def calls(self) -> int:
        return self.by_limiter.total()

    @property
    def minutes(self) -> float:
        """At the pace of the tightest limiter: the limiters count independently."""
        return max((calls / self.rates[name] for name, calls in self.by_limiter.items()), default=0.0) / 60

    @property
    def share(self) -> float | None:
        """Of the daily quota; a search counts in it like any call."""
        return self.calls / self.daily if self.daily else None

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "since": None if self.since is None else iso(self.since),
            "streams": [
                {
                    "stream": line.stream,
                    "records": line.records,
                    "way": line.way,
                    "calls": sum(line.calls.values()),
                    "at_least": line.at_least,
                }
                for line in self.lines
            ],
            "calls": self.calls,
            "calls_by_limiter": dict(self.by_limiter),
            "minutes": round(self.minutes, 1),
            "daily_quota": self.daily,
            "left_today": self.left,
            "share_of_day": None if self.share is None else round(self.share, 4),
            "calls_made_for_this_plan": self.asked,
        }


def object_line(object_type: str, found: int, total: int, *, everything: bool) -> Line:
    """Contacts, companies or deals: `found` of `total` changed.

    `everything` is the first load: it lists. Records already stored as they are cost no batch read: this is the most.
    """
    way = "list" if everything else cheaper(found, total)
    calls = (
        {"burst": list_calls(max(found, total)) + _ARCHIVED}
        if way == "list"
        else {"search": pages(found, 200), "burst": history_calls(found)}
    )
    read = max(found, total) if way == "list" else found
    calls["associations"] = association_calls(read, len(OBJECT_TYPES[object_type].associated))
    return Line(object_type, {name: n for name, n in calls.items() if n}, read, way, way == "list")


def other_lines(forms: int, object_types: Collection[str]) -> list[Line]:
    """What is read in addition to the records. Submissions and e-mail clicks cannot be counted without reading them."""
    return [
        Line("reference", {"burst": _REFERENCE + len(object_types)}),
        Line("form submissions", {"burst": max(1, forms)}, at_least=True),
        Line("e-mail clicks", {"burst": 1}, at_least=True),
    ]


def stream_lines(pipeline: Pipeline, since: datetime | None, now: datetime) -> list[Line]:
    """Streams that the mapping switches on: meetings and calls are counted, two calls a page (the page, and whose they
    are) and one for how many HubSpot has. People of marketing events and campaigns that changed cannot be counted
    without reading them; of a stream that the token may not read nothing is counted, as a run goes on without it."""
    hubspot, streams, lines = pipeline.connections.hubspot, pipeline.rules.streams, []
    for name, kind in KINDS.items():
        if getattr(streams, name):
            try:
                found = hubspot.count_activities(kind, since, now)
            except (Forbidden, Rejected):
                lines.append(Line(name, {"search": 1}, at_least=True))
                continue
            batches = ceil(found / SEARCH_PAGE)
            calls = {"search": max(1, batches) + 1, "associations": batches}
            lines.append(Line(name, {limiter: n for limiter, n in calls.items() if n}, found, "search"))
    if streams.marketing_events:
        lines.append(Line("marketing events", {"burst": 1}, at_least=True))
    if streams.campaigns:
        with pipeline.warehouse.session() as session:
            known = session.scalar("SELECT count(*) FROM raw.campaign")
        each = known if since is None or now - since >= SMALL else ceil(known / 24)
        each *= 1 + streams.campaign_revenue
        lines.append(Line("campaigns", {"burst": pages(known, CAMPAIGNS_PAGE) + each}, at_least=True))
    return lines


def make_plan(pipeline: Pipeline, start: datetime, object_types: Collection[str] = tuple(OBJECT_TYPES)) -> Plan:
    """Count what a range that begins at `start` would read: one search per object, and one or two more calls.

    Raises:
        ConfigurationError, Unauthorized, Forbidden: as a run would.
    """
    hubspot, limits = pipeline.connections.hubspot, pipeline.connections.limits
    before = hubspot.transport.calls
    limits.in_time_zone(hubspot.account_details().get("timeZone"))
    if limits.remaining is None and not uses_oauth(pipeline.settings):
        _learn_usage(pipeline)
    now, lines, first = pipeline.clock.now(), [], start <= pipeline.settings.start
    with pipeline.warehouse.session() as session:
        ended = {name: session.state.extracted[name] for name in object_types}
        known = {name: session.scalar(f"SELECT count(*) FROM {OBJECT_TYPES[name].table}") for name in object_types}  # noqa: S608
        forms = session.scalar("SELECT count(*) FROM raw.form")
    for name in object_types:
        until = ended[name]
        since = None if first or until is None else min(start, until) - OVERLAP
        found = hubspot.count(name, since, None if since is None else now)
        lines.append(object_line(name, found, known[name], everything=since is None))
    return Plan(
        None if first else start,
        [*lines, *other_lines(forms, object_types), *stream_lines(pipeline, None if first else start - OVERLAP, now)],
        {name: budget.per_second for name, budget in limits.budgets.items()},
        limits.daily,
        limits.remaining,
        hubspot.transport.calls - before,
    )


def _learn_usage(pipeline: Pipeline) -> None:
    """The day's use from HubSpot's own counter, where headers do not report it; some accounts have none."""
    try:
        used = pipeline.connections.hubspot.daily_usage()
    except (Rejected, Forbidden):
        return
    if used is not None:
        limits = pipeline.connections.limits
        limits.daily, limits.remaining = used[0], max(0, used[0] - used[1])


def must_be_planned(first_hour: datetime, start: datetime, end: datetime) -> bool:
    """Whether a range may be expensive: it is long, or has the first partition in it."""
    return start <= first_hour or end - start > SMALL


def check_budget(plan: Plan, percent: int) -> None:
    """Refuse what would take more than `percent` of the day.

    Raises:
        ConfigurationError: with the figures, and how to go on.
    """
    if plan.share is None or plan.daily is None:
        return
    if plan.share * 100 > percent:
        raise ConfigurationError(
            f"this range would take at least {plan.calls} calls, {plan.share:.0%} of the account's {plan.daily} a day;"
            f" {percent}% are allowed (HUBSPOT_BACKFILL_SHARE). Look at crm-attribution plan; then a later --from,"
            f" or --force (in Dagster the run tag {BUDGET_TAG}: forced): a run that meets the end of the day stops and"
            " the next run continues"
        )


def check_run(pipeline: Pipeline, since: datetime | None, end: datetime) -> None:
    """Refuse a run that was started elsewhere than on the command line, where this was asked before.

    Args:
        pipeline: with the run's tags.
        since: first hour of the run, None for the first partition.
        end: end of its last hour.

    Raises:
        ConfigurationError: when it would take more of the day than a backfill may.
    """
    start = pipeline.settings.start if since is None else since
    if BUDGET_TAG not in pipeline.tags and must_be_planned(pipeline.settings.start, start, end):
        check_budget(make_plan(pipeline, start), pipeline.settings[BACKFILL_SHARE] or 0)
