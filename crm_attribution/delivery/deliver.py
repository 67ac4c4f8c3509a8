"""Conversions that are due, to their platform, the same for all: follow up, recover, select, claim, send, settle.

The order is the promise: what is about to be sent is committed before the first byte leaves, and no connection to the
warehouse is held during HTTP. A process that dies in between leaves rows in flight, and the next delivery takes them
over: they are sent again where the platform recognises our key, and otherwise wait as `unknown` for a person.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime

from crm_attribution import stopping
from crm_attribution.clock import Clock
from crm_attribution.conversions import mirror
from crm_attribution.delivery.access import access_to
from crm_attribution.delivery.answering import Answering, Sender
from crm_attribution.delivery.claiming import Claiming
from crm_attribution.delivery.context import Checkpoint, Delivery, Resolve
from crm_attribution.delivery.looking import Looking
from crm_attribution.delivery.processing import follow_up
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.delivery.rules import Policy
from crm_attribution.destinations import not_configured, values
from crm_attribution.destinations.base import Destination
from crm_attribution.http.transport import Budget, Transport
from crm_attribution.ledger import entries
from crm_attribution.ledger.store import Ledger
from crm_attribution.mapping import Rules
from crm_attribution.settings import Settings
from crm_attribution.warehouse.connection import Warehouse


def transport_for(destination: Destination, settings: Settings) -> Transport:
    """HTTP to a destination, within its rate."""
    limit = destination.limits.calls_per_minute
    return Transport(
        settings.value(destination.base_url_setting) or destination.base_url,
        service=destination.name,
        secrets=settings.secrets(),
        budgets={"burst": Budget(limit, 60)} if limit else {},
        credential=destination.credential,
    )


def deliver(
    destination: Destination,
    *,
    settings: Settings,
    rules: Rules,
    warehouse: Warehouse,
    ledger: Ledger,
    clock: Clock,
    window_end: datetime,
    resolve: Resolve,
    looking: Looking | None = None,
    transport: Sender | None = None,
    policy: Policy | None = None,
    rng: random.Random | None = None,
    sleep: Callable[[float], None] = time.sleep,
    checkpoint: Checkpoint = lambda _: None,
) -> DeliveryReport:
    """Send everything of a destination that is ready before `window_end`. Running it again sends nothing twice.

    Args:
        rules: the mapping.
        warehouse: read only, but for its copy of the ledger.
        resolve: reads consent and identifiers of the rows about to be sent.
        looking: tells which held rows are looked at again; by default all are.
        transport: HTTP to the platform; by default made from the settings.
        sleep: waits while the platform throttles, at most `policy.patience` seconds in all.
        checkpoint: where tests crash it.

    Raises:
        IllegalTransition: the ledger is not what it should be.
        LedgerFailed: its database could not do what was asked.
        WarehouseBusy: another process holds the warehouse.
    """
    report = DeliveryReport(destination.name, skipped=_skipped(destination, settings, rules))
    if report.skipped:
        return report
    delivery = Delivery(
        destination=destination,
        rules=rules,
        settings=values(destination, settings),
        clock=clock,
        policy=policy or Policy(),
        checkpoint=checkpoint,
        report=report,
        access=access_to(destination, settings),
    )
    with warehouse.session() as session:
        report.stopped = report.alert = mirror.ready(session, ledger)
    if report.stopped:
        return report
    claiming = Claiming(delivery, ledger, resolve, looking)
    rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
    transport = transport or transport_for(destination, settings)
    answering = Answering(delivery, transport, rng)
    follow_up(delivery, transport, ledger)
    with warehouse.session() as session:
        claiming.select(session, window_end)
    try:
        _send_all(delivery, claiming, answering, warehouse, sleep)
    finally:
        with warehouse.session() as session, session.transaction(), ledger.reading() as book:
            mirror.follow(session, book)
            now = clock.now()
            report.oldest_waiting = entries.oldest_waiting(book, destination.name, now)
            report.stuck = entries.stuck(book, destination.name, now - destination.stuck_after)
    return report


def _send_all(
    delivery: Delivery,
    claiming: Claiming,
    answering: Answering,
    warehouse: Warehouse,
    sleep: Callable[[float], None],
) -> None:
    """One request at a time; between two of them the warehouse is open once, to read for the next claim."""
    with stopping.held_back() as safe_point:
        while delivery.queue and not delivery.report.stopped:
            delivery.renew()
            with warehouse.session() as session:
                batch = claiming.next(session)
            if batch is not None and claiming.leave(batch):
                answering.record(claiming.ledger, answering.send(batch))
            safe_point()  # nothing is in flight: a stop leaves no answer unrecorded
            if delivery.nap and not delivery.report.stopped:
                sleep(delivery.nap)
                delivery.nap = 0.0


def _skipped(destination: Destination, settings: Settings, rules: Rules) -> str | None:
    if not settings.send:
        return "sending is switched off (CRM_ATTRIBUTION_SEND)"
    if destination.plans_from == "touches" and not settings.write_back:
        return "writing back to HubSpot is switched off (CRM_ATTRIBUTION_WRITE_BACK)"
    if destination.plans_from == "milestones" and destination.name not in rules.destinations:
        return "not in the mapping's `destinations`"
    return not_configured(destination, settings)
