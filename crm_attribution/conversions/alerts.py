"""Alerts: news that a rule of the mapping wants told, planned once for each rule; its words come when it is sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crm_attribution.contracts.topics import EVENT_COMPANIES, EVENT_CONTACTS, EVENT_DEALS
from crm_attribution.conversions import news
from crm_attribution.conversions.news import News
from crm_attribution.conversions.teller import Resolver, Teller, Work
from crm_attribution.destinations.base import Destination, Resolved
from crm_attribution.mapping import Rules
from crm_attribution.mapping.alerts import STAGE, AlertRule
from crm_attribution.warehouse.session import Session

_BY_CHANCE = ((0.34, "#8fd3f4"), (0.67, "#36c5f0"), (1.01, "#1d9bd1"))
_WON, _LOST, _UNKNOWN = "#2eb67d", "#e01e5a", "#8c8c8c"


def plan(work: Work) -> list[str]:
    """Plan what the rules of a route want told of what is new; returns the new conversion ids."""
    mine = [rule for rule in work.rules.alerts.rules if rule.account == work.account.name]
    seen = work.seen()
    found: list[dict[str, Any]] = []
    for kind in dict.fromkeys(rule.on for rule in mine):
        told = _new(work, kind)
        for rule in (one for one in mine if one.on == kind):
            since = work.begin(seen.get((rule.on, rule.name)))
            found += [
                _row(rule, one, work.now)
                for one in told
                if one.at >= since and (rule.filter is None or rule.filter.holds(_values(rule, one), one.changed))
            ]
    return work.insert(pl.DataFrame(found, infer_schema_length=None))


def _new(work: Work, kind: str) -> list[News]:
    session, since, changes = work.session, work.oldest, work.changes
    if kind == "event":
        ids = {"deals": changes.ids(EVENT_DEALS), "contacts": changes.ids(EVENT_CONTACTS),
               "companies": changes.ids(EVENT_COMPANIES)}  # fmt: skip
        return news.events(session, since, None if changes.everything else ids)
    others: dict[str, Callable[[], list[News]]] = {
        "webhook": lambda: news.webhooks(session, since),
        "delivery": lambda: news.deliveries(session, since),
        "restatement": lambda: news.restatements(session, since),
        "silence": lambda: news.silence(session, work.rules.alerts.silent_hours, work.now),
    }
    return others[kind]()


def _values(rule: AlertRule, one: News) -> dict[str, str]:
    return {**one.values, "rule": rule.name}


def _row(rule: AlertRule, one: News, now: datetime) -> dict[str, Any]:
    return {
        "action": rule.name,
        "milestone": rule.on,
        "milestone_id": one.id,
        "occurred_at": one.at,
        "ready_at": min(one.at, now - timedelta(seconds=1)),
    }


def resolver(destination: Destination, rules: Rules) -> Resolver:
    """Due rows -> the words of their alerts. News that is none any more is not told."""
    by_name = {rule.name: rule for rule in rules.alerts.rules}

    def resolve(session: Session, rows: pl.DataFrame) -> Mapping[str, Resolved]:
        found: dict[str, Resolved] = {}
        for (kind,), mine in rows.group_by("milestone", maintain_order=True):
            moments = mine["occurred_at"]
            since = moments.min() - destination.limits.max_age  # type: ignore[operator]
            told = news.of_ids(session, str(kind), mine["milestone_id"].to_list(), rules, since, moments.max())  # type: ignore[arg-type]
            known = {one.id: one for one in told}
            for row in mine.iter_rows(named=True):
                rule, one = by_name.get(row["action"]), known.get(row["milestone_id"])
                if rule is None or rule.on != kind:
                    found[row["conversion_id"]] = Resolved("granted", held="no_rule_any_more")
                elif one is None:
                    found[row["conversion_id"]] = Resolved("granted", suppressed="no_news_any_more")
                else:
                    found[row["conversion_id"]] = Resolved("granted", details=_words(rule, one, rules))
        return found

    return resolve


def _words(rule: AlertRule, one: News, rules: Rules) -> dict[str, str]:
    template = rules.alerts.templates[rule.template]
    values: Mapping[str, str] = defaultdict(str, _values(rule, one))
    color = template.color if template.color != STAGE else _color(one, rules)
    texts = {"title": template.title.format_map(values), "text": template.text.format_map(values), "color": color}
    return {name: text for name, given in texts.items() if (text := " ".join(given.split()))}


def _color(one: News, rules: Rules) -> str:
    """The colour of a stage: the mapping's, else by how likely it is won."""
    stage, is_closed, chance = one.stage
    if stage in rules.alerts.stage_colors:
        return rules.alerts.stage_colors[stage]
    if chance is None:
        return _UNKNOWN
    if is_closed:
        return _WON if chance >= 1 else _LOST
    return next(color for limit, color in _BY_CHANCE if chance < limit)


TELLER = Teller(
    topics=(EVENT_DEALS, EVENT_CONTACTS, EVENT_COMPANIES),
    section="alerts",
    not_named="no rules under alerts of the mapping",
    plan=plan,
    resolver=resolver,
)
