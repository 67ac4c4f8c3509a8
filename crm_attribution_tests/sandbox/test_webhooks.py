"""Webhooks of the sandbox: what is delivered, in which shape, signed as HubSpot's own client checks it, and retried."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hubspot.utils.signature import Signature

from crm_attribution.sandbox.hubspot.webhooks import signed_uri
from crm_attribution.sandbox.instants import to_ms
from crm_attribution_tests.sandbox.lines import Line, create, day, join, merge, update
from crm_attribution_tests.sandbox_process import Sandbox, SandboxRefused

pytestmark = pytest.mark.sandbox

SECRET = "s3cret-ü"


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent and answers with the next of `statuses`, 200 after them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, bytes, dict[str, str]]] = []
        self.statuses: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}/webhooks/hubspot"

    def events(self) -> list[dict[str, Any]]:
        return [event for _, body, _ in self.requests for event in json.loads(body)]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, body, {name.lower(): text for name, text in self.headers.items()}))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield server
    server.shutdown()
    serving.join()
    server.server_close()


PEOPLE = [create(day(1), "contacts", n, "FORM", email=f"p{n}@x.example") for n in (1, 2)]
COMPANY = create(day(1), "companies", 5, name="Fünf")


def delivered(
    start: Callable[..., Sandbox], receiver: Receiver, before: list[Line], *lines: Line, **options: Any
) -> Any:
    """The events of `lines` alone."""
    sandbox = start(before, day(2))
    sandbox.forget_webhooks()
    sandbox.log(lines)
    sandbox.set_clock(day(9))
    sandbox.webhooks(receiver.url, SECRET, **options)
    return [
        {name: value for name, value in event.items() if name not in ("eventId", "subscriptionId", "appId")}
        for event in receiver.events()
    ]


def head(what: str, at: str, source: str = "CRM_UI") -> dict[str, Any]:
    return {
        "portalId": 1000001,
        "occurredAt": to_ms(at),
        "subscriptionType": what,
        "attemptNumber": 0,
        "changeSource": source,
    }


def test_a_creation_and_its_properties(start: Callable[..., Sandbox], receiver: Receiver):
    line = {**create(day(3), "contacts", 7, "FORM", email="x@x.example"), "source_id": "form:1"}
    created = {**head("contact.creation", day(3), "FORM"), "objectId": 7, "changeFlag": "NEW"}
    changed = {**head("contact.propertyChange", day(3), "FORM"), "objectId": 7, "sourceId": "form:1"}
    changed |= {"propertyName": "email", "propertyValue": "x@x.example", "isSensitive": False}
    assert delivered(start, receiver, [], line) == [created, changed]


def test_a_change_is_delivered_once_and_what_did_not_change_is_not(start: Callable[..., Sandbox], receiver: Receiver):
    lines = [update(day(3), "contacts", 1, email="p1@x.example", city=None, jobtitle="CEO", lifecyclestage="lead")]
    events = delivered(start, receiver, PEOPLE, *lines)
    assert [(event["propertyName"], event["changeSource"]) for event in events] == [
        ("jobtitle", "CRM_UI"),
        ("lifecyclestage", "CRM_UI"),
        ("hs_v2_date_entered_lead", "CALCULATED"),
        ("hs_lifecyclestage_lead_date", "CALCULATED"),
    ]


def test_a_primary_association_is_delivered_with_the_unlabeled_one(start: Callable[..., Sandbox], receiver: Receiver):
    events = delivered(start, receiver, [*PEOPLE, COMPANY], join(day(3), ("contacts", 1), ("companies", 5)))
    ends = {"fromObjectId": 1, "toObjectId": 5, "associationType": "CONTACT_TO_COMPANY", "associationRemoved": False}
    assert events[0] == {**head("contact.associationChange", day(3)), **ends, "isPrimaryAssociation": True}
    assert [
        (event["subscriptionType"], event.get("associationType"), event.get("isPrimaryAssociation")) for event in events
    ] == [
        ("contact.associationChange", "CONTACT_TO_COMPANY", True),
        ("company.associationChange", "COMPANY_TO_CONTACT", True),
        ("contact.associationChange", "CONTACT_TO_COMPANY", False),
        ("company.associationChange", "COMPANY_TO_CONTACT", False),
        ("contact.propertyChange", None, None),
    ]


def test_labels_and_partings(start: Callable[..., Sandbox], receiver: Receiver):
    deal = create(day(1), "deals", 9)
    joined = join(day(2), ("deals", 9), ("contacts", 1))
    labeled = join(day(3), ("deals", 9), ("contacts", 1), label="Buyer")
    parted = {**join(day(4), ("deals", 9), ("contacts", 1)), "op": "dissociate"}
    events = delivered(start, receiver, [*PEOPLE, deal, joined], labeled, parted, types=["deal.*"])
    assert [(event["occurredAt"], event["associationRemoved"]) for event in events] == [
        (to_ms(day(3)), False),
        (to_ms(day(4)), True),
        (to_ms(day(4)), True),
    ]


@pytest.mark.parametrize("into", [None, 3])
def test_a_merge(start: Callable[..., Sandbox], receiver: Receiver, into: int | None):
    before = [*PEOPLE, update(day(2), "contacts", 2, phone="1")]
    events = delivered(start, receiver, before, merge(day(3), "contacts", 1, 2, into))
    ids = {"objectId": into or 1, "primaryObjectId": 1, "mergedObjectIds": [2], "newObjectId": into or 1}
    moved = {"numberOfPropertiesMoved": 1, "changeFlag": "MERGED"}
    assert events == [{**head("contact.merge", day(3), "MERGE_OBJECTS"), **ids, **moved}]


def test_what_ends_and_comes_back(start: Callable[..., Sandbox], receiver: Receiver):
    lines: list[Line] = [
        {"at": day(3), "op": "archive", "object": "contacts", "id": "1"},
        {"at": day(4), "op": "restore", "object": "contacts", "id": "1"},
        {"at": day(5), "op": "privacy_delete", "object": "contacts", "id": "2"},
    ]
    events = delivered(start, receiver, PEOPLE, *lines)
    assert [(event["subscriptionType"], event["objectId"], event.get("changeFlag")) for event in events] == [
        ("contact.deletion", 1, "DELETED"),
        ("contact.restore", 1, "RESTORED"),
        ("contact.privacyDeletion", 2, None),
        ("contact.deletion", 2, "DELETED"),
    ]


def test_the_generic_types(start: Callable[..., Sandbox], receiver: Receiver):
    lines = [join(day(3), ("contacts", 1), ("companies", 5)), update(day(3), "contacts", 1, city="Bonn")]
    options = {"generic": True, "type_key": "eventType", "types": ["object.*"]}
    events = delivered(start, receiver, [*PEOPLE, COMPANY], *lines, **options)
    assert {event["eventType"] for event in events} == {"object.associationChange", "object.propertyChange"}
    assert (events[-1]["objectTypeId"], events[-1]["propertyName"]) == ("0-1", "city")
    types = [(event["fromObjectTypeId"], event["toObjectTypeId"], event["associationTypeId"]) for event in events[:4]]
    assert types == [("0-1", "0-2", 1), ("0-2", "0-1", 2), ("0-1", "0-2", 279), ("0-2", "0-1", 280)]


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_signatures_pass_the_official_check(start: Callable[..., Sandbox], receiver: Receiver, version: str):
    sandbox = start([COMPANY])
    public = "https://public.example/webhooks/hubspot?a=b%26c"
    now = "2026-03-10T00:00:01Z"
    assert sandbox.webhooks(receiver.url, SECRET, signature=version, public_url=public, timestamp=now)["delivered"] == 2
    _, body, headers = receiver.requests[0]
    name = "x-hubspot-signature-v3" if version == "v3" else "x-hubspot-signature"
    given = {"http_uri": public, "http_method": "POST", "signature_version": version}
    timestamp = headers.get("x-hubspot-request-timestamp")
    assert timestamp == (str(to_ms(now)) if version == "v3" else None)
    expected = Signature.get_signature(SECRET, body.decode(), timestamp=timestamp, **given)
    assert headers[name] == expected
    assert headers["x-hubspot-signature-version"] == ("v2" if version == "v2" else "v1")


def test_twelve_escapes_are_decoded_before_signing():
    escaped = "https://x.example/%3A%2F%3F%40%21%24%27%28%29%2a%2C%3B?q=%20%26%3D%25"
    assert signed_uri(escaped) == "https://x.example/:/?@!$'()*,;?q=%20%26%3D%25"


def test_refused_batches_are_sent_again_with_the_next_delivery(start: Callable[..., Sandbox], receiver: Receiver):
    lines = [create(day(1), "contacts", n, "IMPORT", email=f"p{n}@x.example") for n in range(1, 126)]
    sandbox = start(lines)
    receiver.statuses = [200, 503]
    assert sandbox.webhooks(receiver.url, SECRET) == {"delivered": 150, "requests": 3, "refused": 100}
    assert [len(json.loads(body)) for _, body, _ in receiver.requests] == [100, 100, 50]
    refused = json.loads(receiver.requests[1][1])
    sandbox.log([update(day(9), "contacts", 1, city="Bonn")])
    assert sandbox.webhooks(receiver.url, SECRET) == {"delivered": 101, "requests": 2, "refused": 0}
    assert json.loads(receiver.requests[3][1]) == [{**event, "attemptNumber": 1} for event in refused]
    assert [event["propertyName"] for event in json.loads(receiver.requests[4][1])] == ["city"]
    assert sandbox.webhooks(receiver.url, SECRET) == {"delivered": 0, "requests": 0, "refused": 0}


def test_a_receiver_that_is_not_there(start: Callable[..., Sandbox], receiver: Receiver):
    sandbox = start([COMPANY])
    assert sandbox.webhooks("http://127.0.0.1:1/", SECRET) == {"delivered": 0, "requests": 1, "refused": 2}
    assert sandbox.webhooks(receiver.url, SECRET)["delivered"] == 2
    assert {event["attemptNumber"] for event in receiver.events()} == {1}


def test_twice_in_any_order(start: Callable[..., Sandbox], receiver: Receiver):
    sandbox = start(PEOPLE)
    answer = sandbox.webhooks(receiver.url, SECRET, duplicate=True, shuffle=3, batch=3, parallel=2)
    assert answer == {"delivered": 8, "requests": 3, "refused": 0}
    ids = [event["eventId"] for event in receiver.events()]
    assert sorted(ids) == [101, 101, 102, 102, 103, 103, 104, 104]
    assert ids != sorted(ids)


def test_what_the_app_is_not_subscribed_to(start: Callable[..., Sandbox], receiver: Receiver):
    sandbox = start([*PEOPLE, COMPANY, update(day(2), "contacts", 1, city="Bonn")])
    sandbox.webhooks(receiver.url, SECRET, types=["contact.*"], properties=["city"], since=day(2, "00:00:00"))
    assert [(event["subscriptionType"], event["propertyName"]) for event in receiver.events()] == [
        ("contact.propertyChange", "city")
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 101}, "`batch` is between 1 and 100"),
        ({"signature": "v4"}, "`signature` is v1, v2 or v3"),
        ({"types": "contact.creation"}, "`types` is a list"),
        ({"often": 2}, "`often` is unknown"),
        ({"url": "receiver"}, "`url` starts with"),
    ],
)
def test_a_delivery_that_is_not_understood(company: Sandbox, options: dict[str, Any], words: str):
    with pytest.raises(SandboxRefused, match=words):
        company.webhooks(**{"url": "http://x.example", "secret": SECRET, **options})
