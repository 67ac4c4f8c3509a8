"""The receiver: what it takes, what it refuses, and that an answer of 200 means a file."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import random
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.webhook.inbox import Inbox
from crm_attribution_tests.webhook.requests import BEARER, ENVIRONMENT, NOW, SECRET, TOKEN, App, Posted, signature

EVENT = {"eventId": 1, "subscriptionType": "contact.creation", "portalId": 7, "objectId": 1, "occurredAt": 1}
WORKFLOW: dict[str, Any] = {
    "source": "hubspot_workflow",
    "event": "demo_booked",
    "occurred_at": "2026-03-02T08:59:00Z",
    "contact": {"id": 101, "email": "ada@lovelace.example"},
    "company": {"id": "55", "domain": "lovelace.example"},
}


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path / "inbox" / "webhooks")


def hubspot(app: App, body: bytes, headers: Any = None, **more: Any) -> Posted:
    sent = signature(body) if headers is None else headers
    return asyncio.run(app.send("/webhooks/hubspot", [body], sent, **more))


def ingest(app: App, content: Any, headers: Any = (BEARER,)) -> Posted:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return asyncio.run(app.send("/ingest/crm", [body], headers))


def test_a_delivery_is_kept_as_it_came(app: App):
    body = json.dumps([EVENT], indent=1).encode()
    assert hubspot(app, body).status == 200
    [kept] = app.files()
    assert (kept["kind"], kept["received_at"], kept["body"]) == ("hubspot", "2026-03-02T09:00:00Z", body.decode())
    [path] = app.folder.iterdir()
    assert path.name.startswith("20260302T090000000000Z-hubspot-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET not in path.read_text()


@pytest.mark.parametrize(
    "body",
    [b'[{"subscriptionType": "starship.launch"}]', b'{"a": 1}', b"null", b"[]", b"", b"not json", b"\xff\xfe\x00"],
)
def test_what_is_signed_is_kept_whatever_it_is(app: App, body: bytes):
    """HubSpot retries a refused delivery ten times and gives up; unreadable content is reported when it is loaded."""
    assert hubspot(app, body).status == 200
    [kept] = app.files()
    assert (base64.b64decode(kept["body_base64"]) if "body_base64" in kept else kept["body"].encode()) == body


def test_what_is_not_signed_rightly_is_refused_and_leaves_nothing(app: App):
    body = json.dumps([EVENT]).encode()
    good = signature(body)
    refused = [
        [],
        good[:1],
        good[1:],
        signature(body + b" "),
        signature(body, NOW - timedelta(minutes=6)),
        signature(body, NOW + timedelta(minutes=2)),
        signature(body, url="https://hooks.example.org/webhooks/hubspot/"),
        signature(body, url="http://hooks.example.org/webhooks/hubspot"),
        [BEARER],
    ]
    assert [hubspot(app, body, headers).status for headers in refused] == [401] * len(refused)
    assert app.files() == []
    assert hubspot(app, body, good).status == 200


def test_a_body_is_cut_off_at_the_limit_however_it_comes(app: App):
    limit = int(ENVIRONMENT["CRM_ATTRIBUTION_WEBHOOK_BODY_LIMIT"])
    large = b" " * (limit + 1)
    assert hubspot(app, large).status == 413
    assert hubspot(app, large, [*signature(large), (b"content-length", str(len(large)).encode())]).status == 413
    endless = (b" " * 10_000 for _ in range(10**9))
    sent = [next(endless) for _ in range(1 + limit // 10_000 + 1)]
    assert asyncio.run(app.send("/webhooks/hubspot", sent, signature(b""))).status == 413
    assert hubspot(app, b" " * limit).status == 200
    assert len(app.files()) == 1


def test_a_body_that_ends_early_leaves_nothing(app: App):
    body = json.dumps([EVENT]).encode()
    assert hubspot(app, body, ends=False).status == 400
    assert list(app.folder.iterdir()) == []


def test_without_its_secret_a_route_is_off_and_asks_to_be_tried_again(tmp_path: Path):
    app = App(tmp_path, {"CRM_ATTRIBUTION_INGEST_TOKEN": TOKEN})
    assert hubspot(app, b"[]").status == 503
    assert asyncio.run(app.send("/health", [], method="GET")).json() == {
        "status": "ok",
        "hubspot": False,
        "ingest": True,
        "replay": False,
    }
    app = App(tmp_path, {"HUBSPOT_WEBHOOK_SECRET": SECRET, "HUBSPOT_WEBHOOK_URL": "https://x.example/"})
    assert ingest(app, WORKFLOW).status == 503
    assert app.files() == []


@pytest.mark.parametrize("broken", ["open", "fsync", "rename"])
def test_what_cannot_be_written_is_not_acknowledged(app: App, monkeypatch: pytest.MonkeyPatch, broken: str):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"{'pathlib.Path' if broken == 'rename' else 'os'}.{broken}", full)
        assert hubspot(app, b"[]").status == 503
    assert list(app.folder.iterdir()) == []
    assert hubspot(app, b"[]").status == 200


def test_a_workflow_posts_with_our_token_only(app: App):
    wrong = [
        (),
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic " + TOKEN.encode())],
        [(b"authorization", b"Bearer " + TOKEN.encode() + b"x")],
        [(b"authorization", b"Bearer \xff")],
        [BEARER, BEARER],
        signature(json.dumps(WORKFLOW).encode()),
    ]
    assert [ingest(app, WORKFLOW, headers).status for headers in wrong] == [401] * len(wrong)
    assert app.files() == []
    assert ingest(app, WORKFLOW).status == 200
    assert [json.loads(kept["body"]) for kept in app.files()] == [WORKFLOW]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"source": None, "event": " "}, {"source", "event"}),
        ({"occurred_at": "ada@lovelace.example"}, {"occurred_at"}),
        ({"contact": None, "company": None}, {"contact"}),
        ({"contact": "ada@lovelace.example", "company": []}, {"contact", "company"}),
        ({"contact": {"id": "ada@lovelace.example", "email": ["x"]}}, {"contact.id", "contact.email"}),
    ],
)
def test_what_is_malformed_is_sent_back_with_field_names_and_no_value(app: App, change: Any, fields: set[str]):
    answer = ingest(app, {**WORKFLOW, **change})
    assert answer.status == 400
    assert set(answer.json()["fields"]) == fields
    assert b"lovelace" not in answer.body
    assert app.files() == []


@pytest.mark.parametrize(
    "change", [{"contact": None}, {"occurred_at": 1772441940000}, {"contact": {"id": "", "email": ""}}, {"more": 1}]
)
def test_what_a_workflow_may_leave_out(app: App, change: Any):
    assert ingest(app, {**WORKFLOW, **change}).status == 200


def test_a_file_is_on_disk_before_it_has_its_name_and_its_name_before_the_answer(
    app: App, monkeypatch: pytest.MonkeyPatch
):
    """kill -9 keeps what the kernel has; a power cut keeps only this order."""
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        assert done[-1] == "folder" or os.fstat(descriptor).st_size > 2
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(Path, "rename", renamed)
        assert hubspot(app, b"[]").status == 200
    assert done == ["file", "rename", "folder"]


def test_what_a_killed_receiver_left_is_cleared_away_later(tmp_path: Path):
    inbox = Inbox(tmp_path)
    fresh, old = tmp_path / ".a.json.part", tmp_path / ".b.json.part"
    for path, age in ((fresh, 60), (old, 4000)):
        path.write_bytes(b"half")
        moment = path.stat().st_mtime - age
        os.utime(path, (moment, moment))
    inbox.prepare()
    assert list(tmp_path.iterdir()) == [fresh]


# --- fuzz

SEED = 20260302


def _mangled(chance: random.Random, body: bytes) -> bytes:
    raw = bytearray(body)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(raw) + 1)
        raw[place : place + chance.randint(0, 4)] = chance.randbytes(chance.randint(0, 5))
    kind = chance.randrange(6)
    if kind == 0:
        return b"[" * 100_000
    if kind == 1:
        return bytes(raw) * chance.randint(1, 2_000)
    return bytes(raw)


def _strange_headers(chance: random.Random) -> list[tuple[bytes, bytes]]:
    names = [b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"x-hubspot-signature"]
    names += [b"x-hubspot-signature-version", b"authorization", b"host", b"x-forwarded-proto", b"expect", b""]
    return [(chance.choice(names), chance.randbytes(chance.randint(0, 40))) for _ in range(chance.randint(0, 4))]


def test_a_thousand_malformed_requests(tmp_path: Path):
    """No 5xx, nothing lost (each 2xx has its file), nothing let in (each file was signed, or had the token)."""
    chance = random.Random(SEED)
    app = App(tmp_path)
    kept, statuses = [], []

    async def bombard() -> None:
        for number in range(1_000):
            to_hubspot = number % 2 == 0
            body = _mangled(chance, json.dumps([EVENT] if to_hubspot else WORKFLOW).encode())
            right = signature(body) if to_hubspot else [BEARER]
            genuine = chance.random() < 0.3
            if not genuine:
                place = chance.randrange(len(right))
                name, value = right[place]
                wrong = _mangled(chance, value)[:200]
                right[place] = (name, wrong if wrong.strip() != value else b"x")
            strange = [] if genuine else _strange_headers(chance)
            cut = chance.randrange(len(body) + 1)
            path = "/webhooks/hubspot" if to_hubspot else "/ingest/crm"
            answer = await app.send(path, [body[:cut], body[cut:]], [*right, *strange])
            statuses.append(answer.status)
            if answer.status == 200:
                assert genuine, f"request {number} of seed {SEED} was let in"
                kept.append(body)

    asyncio.run(bombard())
    assert {status for status in statuses if status >= 500} == set()
    assert {200, 400, 401, 413} <= set(statuses)
    stored = [base64.b64decode(f["body_base64"]) if "body_base64" in f else f["body"].encode() for f in app.files()]
    assert sorted(stored) == sorted(kept)
    assert len(list(tmp_path.iterdir())) == len(kept)


WISH = {"event_ids": ["deal_1_closedwon_2026-03-01T00:00:00Z"], "destinations": ["meta"], "reason": "asked"}
REPLAY = {"CRM_ATTRIBUTION_REPLAY_TOKEN": TOKEN}


def _wish(app: App, body: object, token: str = TOKEN) -> Posted:
    headers = [(b"authorization", f"Bearer {token}".encode())]
    return asyncio.run(app.send("/v1/replay", [json.dumps(body).encode()], headers))


def _answer(app: App, name: str, token: str = TOKEN) -> Posted:
    headers = [(b"authorization", f"Bearer {token}".encode())]
    return asyncio.run(app.send(f"/v1/replay/{name}", [], headers, method="GET"))


def test_a_wish_to_replay_is_queued_and_its_answer_is_given_when_there_is_one(tmp_path: Path):
    app = App(tmp_path, REPLAY)
    posted = _wish(app, WISH)
    name = posted.json()["id"]
    assert (posted.status, posted.json()["status"]) == (202, "queued")
    assert (b"location", f"/v1/replay/{name}".encode()) in posted.headers
    file = app.wishes / f"{name}.json"
    assert json.loads(json.loads(file.read_text())["body"]) == WISH
    assert (_answer(app, name).status, _answer(app, name).json()) == (202, {"status": "queued"})
    told = app.wishes / "answered" / f"{name}.json"
    told.parent.mkdir()
    told.write_text('{"status": "done", "answers": []}')
    assert (_answer(app, name).status, _answer(app, name).json()["answers"]) == (200, [])
    assert _answer(app, "../secret").status == 404
    assert _answer(app, name.replace("replay-", "replay-0")).status == 404
    assert _answer(app, name, "another token of ours").status == 401
    assert _wish(app, WISH, "another token of ours").status == 401
    assert _wish(App(tmp_path / "off", {"CRM_ATTRIBUTION_INGEST_TOKEN": TOKEN}), WISH).status == 503


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], {"body"}),
        ({}, {"destinations", "reason", "event_ids"}),
        ({**WISH, "event_ids": "a"}, {"event_ids"}),
        ({**WISH, "event_ids": [1]}, {"event_ids"}),
        ({**WISH, "event_ids": ["a"] * 10_001}, {"event_ids"}),
        ({**WISH, "hour": "2026-03-01T09:00:00Z"}, {"event_ids"}),
        ({**WISH, "event_ids": [], "hour": "noon"}, {"hour"}),
        ({**WISH, "state": "accepted"}, {"state"}),
        ({**WISH, "reason": " "}, {"reason"}),
        ({**WISH, "destinations": []}, {"destinations"}),
        ({**WISH, "eventids": ["a"]}, {"eventids"}),
    ],
)
def test_a_malformed_wish_is_sent_back_with_its_fields(tmp_path: Path, body: object, fields: set[str]):
    app = App(tmp_path, REPLAY)
    posted = _wish(app, body)
    assert (posted.status, set(posted.json()["fields"])) == (400, fields)
    assert list((app.wishes).glob("*.json")) == []
