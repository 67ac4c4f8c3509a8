"""Conversions that are due, to their platform, the same for all: follow up, recover, select, claim, send, settle.

The order is the promise: what is about to be sent is committed before the first byte leaves, and no connection to the
warehouse is held during HTTP. A process that dies in between leaves rows in flight, and the next delivery takes them
over: they are sent again where the platform recognises our key, and otherwise wait as `unknown` for a person.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from crm_attribution import stopping
from crm_attribution.clock import Clock
from crm_attribution.conversions import mirror
from crm_attribution.conversions.plan import accounts_of
from crm_attribution.delivery.access import access_to
from crm_attribution.delivery.answering import Answering, Sender
from crm_attribution.delivery.claiming import Claiming
from crm_attribution.delivery.context import Checkpoint, Delivery, Resolve
from crm_attribution.delivery.looking import Looking
from crm_attribution.delivery.processing import follow_up
from crm_attribution.delivery.quality import ask_once_a_day
from crm_attribution.delivery.report import DeliveryReport, together
from crm_attribution.delivery.rules import Policy
from crm_attribution.destinations.accounts import Account
from crm_attribution.destinations.base import Destination
from crm_attribution.http.answers import Answer
from crm_attribution.http.transport import Budget, Transport
from crm_attribution.ledger import entries
from crm_attribution.ledger.store import Ledger
from crm_attribution.mapping import Rules
from crm_attribution.settings import Settings
from crm_attribution.warehouse.connection import Warehouse


def transport_for(destination: Destination, settings: Settings, host: str = "") -> Transport:
    """HTTP to a destination, within its rate; `host` is that of an account with an address of its own."""
    limit = destination.limits.calls_per_minute
    return Transport(
        settings.value(destination.base_url_setting) or host or destination.base_url,
        service=destination.name,
        secrets=settings.secrets(),
        budgets={"burst": Budget(limit, 60)} if limit else {},
        credential=destination.credential,
        plain_text=destination.address_is_credential,
    )


@dataclass
class Addressed:
    """Sends to an address that is secret, in place of the mask that requests show."""

    sender: Sender
    path: str = field(repr=False)

    def send_once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        del path
        return self.sender.send_once(method, self.path, params=params, json=json, headers=headers)


def sender_to(account: Account, settings: Settings, shared: Sender | None) -> Sender:
    """HTTP to an account. `shared`: what all accounts of a destination use, where they have one address."""
    found = account.destination.address(account.settings)
    if found is None:
        return shared or transport_for(account.destination, settings)
    host, path = found
    base = settings.value(account.destination.base_url_setting)
    inside = path.removeprefix(urlsplit(base).path) if base else path
    return Addressed(shared or transport_for(account.destination, settings, host), inside)


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
    looking: Callable[[Account], Looking | None] = lambda _: None,
    transport: Sender | None = None,
    policy: Policy | None = None,
    rng: random.Random | None = None,
    sleep: Callable[[float], None] = time.sleep,
    checkpoint: Checkpoint = lambda _: None,
) -> DeliveryReport:
    """Send everything of a destination that is ready before `window_end`, one account after another. Running it again
    sends nothing twice.

    Args:
        rules: the mapping.
        warehouse: read only, but for its copy of the ledger.
        resolve: reads consent and identifiers of the rows about to be sent.
        looking: tells which held rows of an account are looked at again; by default all are.
        transport: HTTP to the platform; by default made from the settings.
        sleep: waits while the platform throttles, at most `policy.patience` seconds in all.
        checkpoint: where tests crash it.

    Raises:
        IllegalTransition: the ledger is not what it should be.
        LedgerFailed: its database could not do what was asked.
        WarehouseBusy: another process holds the warehouse.
    """
    why = _skipped(destination, settings, rules)
    mine = [] if why else accounts_of(destination, rules, settings)
    if all(account.missing for account in mine):
        return DeliveryReport(destination.name, skipped=why or "; ".join(str(account.missing) for account in mine))
    rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
    if transport is None and not destination.address_is_credential:
        transport = transport_for(destination, settings)
    reports = []
    for account in mine:
        report = DeliveryReport(destination.name, account.title)
        reports.append(report)
        if account.missing:
            report.alert = report.stopped = account.missing
            continue
        delivery = Delivery(
            to=account,
            rules=rules,
            clock=clock,
            policy=policy or Policy(),
            checkpoint=checkpoint,
            report=report,
            access=access_to(account, settings),
        )
        _to_account(
            delivery,
            Claiming(delivery, ledger, resolve, looking(account)),
            sender_to(account, settings, transport),
            rng,
            warehouse,
            window_end,
            sleep,
        )
    return together(reports)


def _to_account(
    delivery: Delivery,
    claiming: Claiming,
    transport: Sender,
    rng: random.Random,
    warehouse: Warehouse,
    window_end: datetime,
    sleep: Callable[[float], None],
) -> None:
    """One delivery; its report is the delivery's."""
    report, ledger = delivery.report, claiming.ledger
    with warehouse.session() as session:
        report.stopped = report.alert = mirror.ready(session, ledger)
    if report.stopped:
        return
    follow_up(delivery, transport, ledger)
    with warehouse.session() as session:
        claiming.select(session, window_end)
    try:
        _send_all(delivery, claiming, Answering(delivery, transport, rng), warehouse, sleep)
        ask_once_a_day(delivery, transport, ledger)
    finally:
        with warehouse.session() as session, session.transaction(), ledger.reading() as book:
            mirror.follow(session, book)
            now = delivery.clock.now()
            report.oldest_waiting = entries.oldest_waiting(book, delivery.scope, now)
            report.stuck = entries.stuck(book, delivery.scope, now - delivery.destination.stuck_after)


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
    if destination.is_hubspot and not settings.write_back:
        return "writing back to HubSpot is switched off (CRM_ATTRIBUTION_WRITE_BACK)"
    if destination.plans_from == "milestones" and destination.name not in rules.destinations:
        return "not in the mapping's `destinations`"
    return None
