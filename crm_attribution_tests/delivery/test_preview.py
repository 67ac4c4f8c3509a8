"""What a preview shows is what a delivery sends; it writes nothing and sends nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from crm_attribution.clock import FixedClock
from crm_attribution.configuration import load
from crm_attribution.delivery.deliver import transport_for
from crm_attribution.delivery.preview import Preview, preview
from crm_attribution.destinations.accounts import OWN, accounts
from crm_attribution.http.exchange import encoded
from crm_attribution.http.transport import Transport
from crm_attribution_tests.delivery.outbox import NOW, Outbox, resolved
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

Make = Callable[..., Outbox]
Requests = Callable[[str], int]


def shown(outbox: Outbox, *names: str) -> Preview:
    """A preview of all that is due, or of some facts."""
    given = load(outbox.env)
    with outbox.warehouse.session() as session:
        return preview(
            accounts(outbox.destination, [OWN], given)[0],
            settings=given,
            rules=outbox.rules,
            session=session,
            ledger=outbox.ledger,
            clock=FixedClock(outbox.now),
            until=outbox.now,
            resolve=outbox.resolve,
            milestone_ids=frozenset(outbox.tag + name for name in names) if names else None,
        )


class Watched:
    """The transport, with the bytes of every body that left."""

    def __init__(self, transport: Transport) -> None:
        self.transport, self.bodies = transport, list[bytes]()

    def send_once(self, method: str, path: str, **options: Any):
        if method == "POST":
            self.bodies.append(encoded(options["json"], None) or b"")
        return self.transport.send_once(method, path, **options)


def test_its_bytes_are_those_that_leave(make: Make, platform: str, requests: Requests):
    outbox = make(platform)
    outbox.plan("a", "b", "c", "held", "later")
    outbox.people["held"] = resolved(f"{outbox.tag}held", consent="absent")
    outbox.change("later", ready_at=NOW + timedelta(hours=1))
    before, asked = outbox.rows(), requests(platform)
    found = shown(outbox)
    assert outbox.rows() == before
    assert requests(platform) == asked
    assert [len(one.conversions) for one in found.requests] == [2, 1]
    assert [(row["state"], row["reason"]) for row in found.not_sent] == [("held", "consent_unknown")]
    text = str([one.shown for one in found.requests])
    token = outbox.values.get(outbox.destination.credential, "no token in settings")
    assert token not in text
    assert "@" not in text
    sent = Watched(transport_for(outbox.destination, load(outbox.env)))
    outbox.deliver(transport=sent)
    digests = [hashlib.sha256(body).hexdigest() for body in sent.bodies]
    assert digests == [one.shown["body_sha256"] for one in found.requests]


def test_one_fact_says_where_it_stands_whatever_became_of_it(make: Make, platform: str):
    outbox = make(platform)
    outbox.plan("sent", "due", "later", "denied")
    outbox.change("due", ready_at=NOW + timedelta(minutes=30))
    outbox.change("later", ready_at=NOW + timedelta(hours=5))
    outbox.people["denied"] = resolved(f"{outbox.tag}denied", consent="denied")
    outbox.deliver()
    outbox.now = NOW + timedelta(hours=1)
    (one,) = shown(outbox, "due").requests
    assert ([row["milestone_id"] for row in one.conversions], one.sent_before) == ([f"{outbox.tag}due"], False)
    (one,) = shown(outbox, "sent").requests
    assert ([row["milestone_id"] for row in one.conversions], one.sent_before) == ([f"{outbox.tag}sent"], True)
    for name, state, reason in (("later", "pending", "not due before"), ("denied", "suppressed", "consent_denied")):
        found = shown(outbox, name)
        assert found.requests == []
        (row,) = found.not_sent
        assert (row["state"], str(row["reason"]).startswith(reason)) == (state, True)
    assert len(shown(outbox, "sent", "due", "later").requests) == 2


def test_what_google_checks_without_counting(make: Make, sandbox: Sandbox):
    outbox = make("google")
    outbox.plan("a")
    (one,) = shown(outbox).requests
    request = outbox.destination.validate_only(one.request)
    assert request is not None
    assert request.json == {**one.request.json, "validateOnly": True}
    assert make("meta", name="m").destination.validate_only(one.request) is None
