"""What a platform says about the events of an account as a whole: asked once a day, after what is due was sent."""

from __future__ import annotations

import polars as pl

from crm_attribution.clock import iso
from crm_attribution.delivery.context import Delivery
from crm_attribution.delivery.processing import Asker
from crm_attribution.destinations.base import Quality
from crm_attribution.errors import CrmAttributionError
from crm_attribution.ledger.store import Ledger
from crm_attribution.ledger.tables import QUALITY, TABLES

NOT_TOLD, NO_EVENTS = "not_told", "no_events"

_Q = TABLES[QUALITY].c


def ask_once_a_day(delivery: Delivery, transport: Asker, ledger: Ledger) -> None:
    """Keep the figures of today, or that the token may not read them: then it is asked again tomorrow."""
    question = delivery.destination.quality(delivery.to.settings)
    if question is None or delivery.report.stopped:
        return
    now = delivery.clock.now()
    today = iso(now)[:10]
    name, account = delivery.destination.name, delivery.account
    with ledger.reading() as book:
        if book.count(QUALITY, _Q.destination == name, _Q.account == account, _Q.read_on == today):
            return
    try:
        headers = delivery.headers(question)
        answer = transport.send_once(question.method, question.path, params=question.params, headers=headers)
    except CrmAttributionError:
        return  # the next delivery asks
    if answer.status in (408, 429) or answer.status >= 500:
        return
    told = delivery.destination.read_quality(answer)
    figures: list[Quality | None] = [*told] if told else [None]
    nothing = NOT_TOLD if told is None else NO_EVENTS
    rows = [
        {
            "destination": name,
            "account": account,
            "read_on": today,
            "action": "" if one is None else one.action,
            "measure": nothing if one is None else one.measure,
            "hundredths": None if one is None else one.hundredths,
            "read_at": now,
        }
        for one in figures
    ]
    with ledger.writing() as book:
        key = ["destination", "account", "read_on", "action", "measure"]
        frame = pl.DataFrame(rows, schema_overrides={"hundredths": pl.Int64}).unique(key, keep="first")
        book.insert(QUALITY, frame)
