"""What the next delivery would send, printed for a person; and the platform's own validation of it where it has one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from crm_attribution.clock import WallClock, iso
from crm_attribution.conversions import mirror
from crm_attribution.conversions.plan import accounts_of, why_not
from crm_attribution.conversions.recipients import resolver
from crm_attribution.delivery.access import access_to
from crm_attribution.delivery.deliver import transport_for
from crm_attribution.delivery.preview import Preview, preview
from crm_attribution.destinations import destinations
from crm_attribution.destinations.accounts import Account
from crm_attribution.destinations.base import Request
from crm_attribution.errors import ConfigurationError
from crm_attribution.ledger.safety import why_unsafe
from crm_attribution.orchestration.resources import Pipeline, open_pipeline, run_lock
from crm_attribution.redaction import redact
from crm_attribution.settings import Settings
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import newest_hour_end

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Asked:
    """What a person wants to see: one business fact by any of its ids, what the sink of an hour sends, or neither: what
    the next hour's sends."""

    destination: str
    milestone: str | None = None
    hour: datetime | None = None
    validate: bool = False


def show_next(given: Settings, asked: Asked) -> dict[str, Any]:
    """The requests, and what is not sent with its reason. Nothing is written and nothing is sent; with `validate` the
    platform is asked to check the requests without counting them.

    Raises:
        ConfigurationError: where the destination is not in use, the ledger is in safe mode, or an id is not known.
    """
    if asked.destination not in destinations():
        raise ConfigurationError(f"no destination {asked.destination}; there are: {', '.join(destinations())}")
    destination = destinations()[asked.destination]
    pipeline = open_pipeline(given)
    if (reason := why_not(destination, pipeline.rules, given)) is not None:
        raise ConfigurationError(f"{destination.name}: {reason}")
    holder = {"run_id": "preview", "command": "crm-attribution preview", "since": iso(WallClock().now())}
    with run_lock(given).acquire(given.lock_wait_seconds, holder), pipeline.warehouse.session() as session:
        newest = newest_hour_end(session.state)
        mine = [one for one in accounts_of(destination, pipeline.rules, given) if one.missing is None]
        found = [(account, _preview(pipeline, session, account, asked)) for account in mine]
    validated = [told for pair in found for told in _validate(given, *pair)] if asked.validate else None
    stopped = [f"{account.title}: {one.stopped}" for account, one in found if one.stopped]
    return {
        "destination": destination.name,
        "until": iso(found[0][1].until),
        "note": _note(asked.hour, newest),
        "stopped": "; ".join(stopped) or None,
        "requests": [
            {"account": one.account, **one.shown, "conversions": one.conversions, "sent_before": one.sent_before}
            for _, preview in found
            for one in preview.requests
        ],
        "not_sent": [row for _, preview in found for row in preview.not_sent],
        "validated": validated,
    }


def _preview(pipeline: Pipeline, session: Session, account: Account, asked: Asked) -> Preview:
    newest = newest_hour_end(session.state)
    unsafe = why_unsafe(pipeline.ledger, mirror.copied(session))
    if unsafe is None and not pipeline.ledger.exists():
        unsafe = "nothing was planned yet: run an hour first"
    if unsafe is not None:
        raise ConfigurationError(unsafe)
    return preview(
        account,
        settings=pipeline.settings,
        rules=pipeline.rules,
        session=session,
        ledger=pipeline.ledger,
        clock=pipeline.clock,
        until=(newest if asked.hour is None else asked.hour) + HOUR,
        resolve=resolver(account.destination, pipeline.rules),
        milestone_ids=None if asked.milestone is None else _events_of(session, asked.milestone),
    )


def _note(hour: datetime | None, newest: datetime) -> str | None:
    """What a person must know who asks for an hour to come."""
    if hour is None or hour < newest:
        return None
    return f"the hour from {iso(hour)} has not run: this is what it would send by what is known up to {iso(newest)}"


def _events_of(session: Session, identifier: str) -> frozenset[str]:
    """All events of the business fact that an id names: of a milestone, or of an event that is linked to one."""
    found = session.query(
        "SELECT DISTINCT o.event_id FROM events.milestone_event e JOIN events.milestone_event o"
        " USING (milestone, milestone_id) WHERE e.event_id = ?"
        " UNION ALL SELECT touch_id FROM attribution.touch WHERE touch_id = ?",
        [identifier, identifier],
    )
    if found.is_empty():
        raise ConfigurationError(f"{identifier}: no milestone or touch has this id, and no milestone an event of it")
    return frozenset(found["event_id"])


def _validate(given: Settings, account: Account, found: Preview) -> list[dict[str, Any]]:
    """What the platform says of each request that was not sent yet, without counting it.

    Raises:
        ConfigurationError: where it has no such call.
    """
    destination = account.destination
    access, transport = access_to(account, given), transport_for(destination, given)
    told = []
    for one in found.requests:
        if one.sent_before:
            continue
        request: Request | None = destination.validate_only(one.request)
        if request is None:
            raise ConfigurationError(f"{destination.name} has no call that checks a request without counting it")
        refused = access.renew() if access else None
        if refused is not None:
            raise ConfigurationError(refused.reason)
        headers = {**request.headers, **(access.headers() if access else {})}
        answer = transport.send_once(request.method, request.path, json=request.json, headers=headers)
        text = redact(json.dumps(answer.body), given.secrets())
        told.append({"status": answer.status, "answer": text[:2000]})
    return told


def show(result: dict[str, Any]) -> None:
    """For people."""
    for number, request in enumerate(result["requests"], start=1):
        when = "was sent" if request["sent_before"] else "would be sent"
        to = f"{result['destination']} account {request['account']}"
        click.echo(f"request {number} to {to}: {len(request['conversions'])} conversions, {when}")
        click.echo(f"{request['method']} {request['path']}")
        for name, value in request["headers"].items():
            click.echo(f"{name}: {value}")
        click.echo(f"body_sha256: {request['body_sha256']}")
        click.echo(json.dumps(request["body"], indent=2))
        for row in request["conversions"]:
            left = ", ".join(row["identifiers_left_out"])
            click.echo(
                f"  {row['milestone']} {row['milestone_id']}: {row['action']}" + (f"; left out: {left}" if left else "")
            )
    if not result["requests"]:
        click.echo(f"nothing would be sent to {result['destination']} by {result['until']}")
    for row in result["not_sent"]:
        click.echo(
            f"not sent: {row['milestone']} {row['milestone_id']}: {row['state']}, {row['reason'] or 'no reason'}"
        )
    if result["note"]:
        click.echo(f"note: {result['note']}")
    if result["stopped"]:
        click.echo(f"stopped: {result['stopped']}")
    for number, told in enumerate(result["validated"] or (), start=1):
        click.echo(f"request {number}: {result['destination']} answers {told['status']}: {told['answer']}")
