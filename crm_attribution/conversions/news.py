"""What alerts are about: canonical events, webhooks, refused deliveries, closed months that have changed, and silence.

Each piece of news has an id that stays, so that a rule tells it once; its words are made when it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crm_attribution.clock import iso
from crm_attribution.mapping import Rules
from crm_attribution.money import to_decimal
from crm_attribution.warehouse.frames import ids_frame
from crm_attribution.warehouse.session import Session

SUBJECTS = ("deals", "contacts", "companies")
_ALERTS = "alerts"

_EVENTS = """
SELECT e.event_id AS id, e.observed_at AS at, e.event, e.object_type, e.object_id::VARCHAR AS object_id,
    CASE e.began WHEN true THEN 'yes' WHEN false THEN 'no' END AS began, e.source, e.owner_id, e.mapping_version,
    e.to_stage AS stage, coalesce(s.stage_label, e.hubspot_label, e.to_stage) AS stage_label, e.from_stage,
    coalesce(f.stage_label, e.from_stage) AS from_stage_label, e.pipeline, s.pipeline_label, d.dealname AS deal_name,
    e.company_name, e.company_domain, e.amount, e.currency, e.amount_before, e.currency_before, s.is_closed,
    s.probability
FROM events.event e
LEFT JOIN raw.deal d ON e.object_type = 'deals' AND d.id = e.record_id
LEFT JOIN raw.pipeline_stage s ON e.object_type = 'deals' AND s.stage_id = e.to_stage
LEFT JOIN raw.pipeline_stage f ON e.object_type = 'deals' AND f.stage_id = e.from_stage
"""
_WEBHOOKS = """
SELECT 'webhook:' || w.event_key AS id, w.occurred_at AS at, w.subscription_type, w.object_type, w.object_id,
    w.property_name, w.property_value, w.change_source, w.source AS received_from, d.dealname AS deal_name,
    s.stage_label, s.pipeline_label, s.stage_id AS stage, s.is_closed, s.probability
FROM raw.webhook_event w
LEFT JOIN raw.deal d ON w.object_type = 'deals' AND d.id = try_cast(w.object_id AS BIGINT)
LEFT JOIN raw.pipeline_stage s ON w.property_name = 'dealstage' AND s.stage_id = w.property_value
"""
_DELIVERIES = f"""
SELECT concat_ws(':', 'delivery', destination, state, coalesce(reason, ''), epoch_ms(hour)) AS id,
    max(updated_at) AS at, destination, state, reason, count(*) AS count
FROM (SELECT *, date_trunc('hour', updated_at) AS hour FROM conversions.conversion)
WHERE destination <> '{_ALERTS}' AND updated_at > ? AND (state IN ('rejected', 'unknown')
    OR (state = 'retry' AND regexp_matches(reason, '^(http_40[1345]|http_410|missing scope)')))
GROUP BY destination, state, reason, hour
"""
_RESTATEMENTS = """
SELECT concat_ws(':', 'restatement', epoch_ms(r.recorded_at), r.booked_month, r.milestone, r.model, r.scope, r.measure,
        r.currency) AS id,
    r.recorded_at AS at, strftime(r.booked_month, '%Y-%m') AS month, r.milestone, r.model, r.scope, r.measure,
    r.currency, sum(r.old)::BIGINT AS old, sum(r.new)::BIGINT AS new, sum(r.delta)::BIGINT AS delta,
    count(*) AS figures, min(r.cause) AS cause
FROM finance.restatement r
ASOF JOIN finance.period p ON p.month = r.booked_month AND p.recorded_at <= r.recorded_at
WHERE p.state = 'closed' AND r.basis = 'own' AND r.recorded_at > ?
GROUP BY r.recorded_at, r.booked_month, r.milestone, r.model, r.scope, r.measure, r.currency
"""
_SILENCE = """
SELECT 'silence:' || epoch_ms(last) AS id, last AS since, (SELECT sum(found) FROM raw.extraction
    WHERE stream IN ('contacts', 'companies', 'deals') AND started > last AND window_start >= last)::BIGINT AS changes
FROM (SELECT max(received_at) AS last FROM raw.webhook_event WHERE source = 'hubspot') WHERE last <= ?
"""


@dataclass(frozen=True)
class News:
    """One thing that happened.

    Attributes:
        at: when.
        values: by the names of `mapping.alerts.FIELDS`, as text; empty ones left out.
        changed: names that `changed` of a filter may ask for.
        stage: of a deal, with whether it is closed and how likely it is won.
    """

    id: str
    at: datetime
    values: Mapping[str, str] = field(repr=False)
    changed: frozenset[str] = frozenset()
    stage: tuple[str | None, bool | None, float | None] = (None, None, None)


def events(session: Session, since: datetime, changed: Mapping[str, Sequence[int]] | None) -> list[News]:
    """Canonical events that HubSpot recorded after `since`, of some records or of all; internal ones left out."""
    where = " WHERE e.observed_at > ? AND e.suppressed_by IS NULL"
    if changed is None:
        return _events(session.query(_EVENTS + where, [since]))
    keys = [(kind, number) for kind, numbers in changed.items() for number in numbers]
    ids = pl.DataFrame(keys, schema={"object_type": pl.String, "record_id": pl.Int64}, orient="row")
    about = " AND (e.object_type, e.record_id) IN (SELECT object_type, record_id FROM ids)"
    return _events(session.query(_EVENTS + where + about, [since], ids=ids))


def webhooks(session: Session, since: datetime) -> list[News]:
    """What was posted to us after `since`."""
    return _webhooks(session.query(_WEBHOOKS + " WHERE w.received_at > ?", [since]))


def deliveries(session: Session, since: datetime) -> list[News]:
    """What destinations refused, or may have applied, by hour, since then."""
    return [_news(row) for row in session.query(_DELIVERIES, [since]).iter_rows(named=True)]


def restatements(session: Session, since: datetime) -> list[News]:
    """Credited figures of closed months that changed after `since`."""
    found = []
    for row in session.query(_RESTATEMENTS, [since]).iter_rows(named=True):
        told = {name: row[name] for name in ("old", "new", "delta")}
        if row["currency"]:
            told = {name: to_decimal(minor, row["currency"]) for name, minor in told.items()}
        found.append(_news({**row, **told}))
    return found


def silence(session: Session, hours: int, now: datetime) -> list[News]:
    """That no webhook of HubSpot's has come for so many hours, though search has found changes since the last."""
    rows = session.query(_SILENCE, [now - timedelta(hours=hours)]).filter(pl.col("changes") > 0)
    return [
        _news({**row, "at": now, "since": iso(row["since"]), "hours": (now - row["since"]) // timedelta(hours=1)})
        for row in rows.iter_rows(named=True)
    ]


def of_ids(session: Session, kind: str, ids: Sequence[str], rules: Rules, since: datetime, now: datetime) -> list[News]:
    """The news of a kind with these ids; what is not news any more is left out."""
    wanted = ids_frame("id", ids)
    if kind == "event":
        return _events(session.query(f"{_EVENTS} WHERE e.event_id IN (SELECT id FROM wanted)", wanted=wanted))
    if kind == "webhook":
        keys = wanted.select(pl.col("id").str.strip_prefix("webhook:"))
        return _webhooks(session.query(f"{_WEBHOOKS} WHERE w.event_key IN (SELECT id FROM wanted)", wanted=keys))
    others: dict[str, Callable[[], list[News]]] = {
        "delivery": lambda: deliveries(session, since),
        "restatement": lambda: restatements(session, since),
        "silence": lambda: silence(session, rules.alerts.silent_hours, now),
    }
    return [one for one in others[kind]() if one.id in set(ids)]


def _events(rows: pl.DataFrame) -> list[News]:
    found = []
    for row in rows.iter_rows(named=True):
        changed = {"stage"} if row["stage"] is not None and row["stage"] != row["from_stage"] else set()
        if row["event"] == "deal_amount_changed":
            changed = {"amount"}
        if row["amount"] is not None and row["currency"]:
            row["amount"] = to_decimal(row["amount"], row["currency"])
        found.append(_news(row, frozenset(changed)))
    return found


def _webhooks(rows: pl.DataFrame) -> list[News]:
    found = []
    for row in rows.iter_rows(named=True):
        is_change = str(row["subscription_type"]).endswith(".propertyChange") and row["property_name"]
        found.append(_news(row, frozenset({row["property_name"]} if is_change else ())))
    return found


_APART = ("id", "at", "is_closed", "probability", "amount_before", "currency_before")


def _news(row: Mapping[str, Any], changed: frozenset[str] = frozenset()) -> News:
    values = {name: str(value) for name, value in row.items() if name not in _APART and value not in (None, "")}
    stage = (row.get("stage"), row.get("is_closed"), row.get("probability"))
    return News(row["id"], row["at"], {**values, "occurred_at": iso(row["at"])}, changed, stage)
