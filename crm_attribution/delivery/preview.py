"""What the next delivery of a destination would send, and what it would not and why: the same code, rolled back."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crm_attribution.clock import Clock, iso
from crm_attribution.delivery.claiming import Claiming
from crm_attribution.delivery.context import Batch, Delivery, Resolve, rows_of
from crm_attribution.delivery.report import DeliveryReport
from crm_attribution.delivery.rules import Policy, batches, ready
from crm_attribution.destinations.accounts import Account
from crm_attribution.destinations.base import Destination, Ready, Request
from crm_attribution.http.exchange import encoded
from crm_attribution.ledger import entries
from crm_attribution.ledger.store import Ledger
from crm_attribution.mapping import Rules
from crm_attribution.redaction import redact_secrets
from crm_attribution.settings import Settings
from crm_attribution.warehouse.session import Session


@dataclass(frozen=True)
class Previewed:
    """One request.

    Attributes:
        account: whom it goes to, as the platform names it.
        shown: method, path, headers, body (JSON) and `body_sha256` of the bytes that leave; access tokens as ***.
        conversions: conversion_id, milestone, milestone_id, action, and the identifiers left out of each.
        sent_before: whether all of it was sent already, so that it only shows what left then.
        request: with its tokens.
    """

    account: str
    shown: dict[str, Any]
    conversions: list[dict[str, Any]]
    sent_before: bool
    request: Request = field(repr=False)


@dataclass
class Preview:
    """What would be sent by the end of an hour, and the state and reason of what would not."""

    until: datetime
    requests: list[Previewed]
    not_sent: list[dict[str, Any]]
    stopped: str | None


def preview(
    account: Account,
    *,
    settings: Settings,
    rules: Rules,
    session: Session,
    ledger: Ledger,
    clock: Clock,
    until: datetime,
    resolve: Resolve,
    milestone_ids: frozenset[str] | None = None,
) -> Preview:
    """Select and claim as a delivery to an account does, and undo it.

    Args:
        until: end of the hour whose sink would send it.
        milestone_ids: only conversions of these business facts, also those that are not due or were sent.
    """
    delivery = Delivery(
        to=account,
        rules=rules,
        clock=clock,
        policy=Policy(),
        checkpoint=lambda _: None,
        report=DeliveryReport(account.destination.name),
    )
    secrets = tuple(settings.secrets())
    with ledger.dry_run():
        claiming = Claiming(delivery, ledger, resolve)
        claiming.select(session, until)
        if milestone_ids is not None:
            _narrow(delivery, ledger, milestone_ids)
        requests = []
        while (batch := claiming.next(session)) is not None:
            requests.append(_previewed(account, batch, secrets))
        others = [] if milestone_ids is None else _sent_before(delivery, session, ledger, resolve, milestone_ids)
        requests += [_previewed(account, batch, secrets, sent_before=True) for batch in others]
        shown = {row["conversion_id"] for one in requests for row in one.conversions}
        not_sent = _not_sent(delivery, ledger, milestone_ids, shown, until)
    return Preview(until, requests, not_sent, delivery.report.stopped)


def _narrow(delivery: Delivery, ledger: Ledger, milestone_ids: frozenset[str]) -> None:
    """Leave in the queue what is about some facts only."""
    keys = [key for batch in delivery.queue for key in batch]
    with ledger.reading() as book:
        rows = {row["conversion_id"]: row for row in entries.rows(book, keys).iter_rows(named=True)}
    wanted = [key for key in keys if rows[key]["milestone_id"] in milestone_ids]
    actions = {key: str(rows[key]["action"]) for key in wanted}
    kinds = {key: str(rows[key]["kind"]) for key in wanted}
    delivery.queue = deque(batches(wanted, actions, kinds, delivery.limits))


def _sent_before(
    delivery: Delivery, session: Session, ledger: Ledger, resolve: Resolve, milestone_ids: frozenset[str]
) -> list[Batch]:
    """What was sent of some facts: each as a request of its own, with the person and the click it had."""
    with ledger.reading() as book:
        frame = entries.of_milestones(book, delivery.scope, milestone_ids)
    frame = frame.filter(frame["state"].is_in(["accepted", "processed", "rejected", "unknown"]))
    frame = frame.filter(frame["payload_hash"].is_not_null())
    resolved = resolve(session, frame) if frame.height else {}
    made = []
    for row in rows_of(frame):
        if (known := resolved.get(row.conversion_id)) is not None:
            event = ready(row, known, row.browser_event_id)
            made.append(Batch("", [row], [event], delivery.request([event])))
    return made


def _not_sent(
    delivery: Delivery, ledger: Ledger, milestone_ids: frozenset[str] | None, shown: set[str], until: datetime
) -> list[dict[str, Any]]:
    ended = delivery.report.ended
    with ledger.reading() as book:
        if milestone_ids is None:
            frame = entries.rows(book, ended)
        else:
            frame = entries.of_milestones(book, delivery.scope, milestone_ids)
    found = []
    for row in frame.filter(~frame["conversion_id"].is_in(list(shown))).iter_rows(named=True):
        state, reason = ended.get(row["conversion_id"], (row["state"], row["reason"]))
        if state in ("pending", "retry") and row["ready_at"] >= until:
            reason = f"not due before {iso(row['ready_at'])}"
        found.append({**_named(row), "state": state, "reason": reason})
    return found


def _previewed(account: Account, batch: Batch, secrets: tuple[str, ...], *, sent_before: bool = False) -> Previewed:
    request = batch.request
    if account.destination.is_hubspot:  # HubSpot may know a person by the address itself
        secrets = (*secrets, *(event.email for event in batch.ready if event.email))
    body = encoded(request.json, None) or b""
    shown = {
        "method": request.method,
        "path": redact_secrets(request.path, secrets),
        "headers": {name: redact_secrets(value, secrets) for name, value in request.headers.items()},
        "body": json.loads(redact_secrets(body.decode(), secrets) or "null"),
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }
    conversions = [
        _row(account.destination, row.__dict__, event) for row, event in zip(batch.rows, batch.ready, strict=True)
    ]
    return Previewed(account.id, shown, conversions, sent_before, request)


def _row(destination: Destination, row: dict[str, Any], event: Ready) -> dict[str, Any]:
    return {**_named(row), "identifiers_left_out": destination.left_out(event)}


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("conversion_id", "account", "milestone", "milestone_id", "action")}
