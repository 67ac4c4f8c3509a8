"""Deliveries: one attempt, and the truth about whether it may have been applied."""

from __future__ import annotations

import socket

import pytest

from crm_attribution.errors import Retryable
from crm_attribution_tests.http.scripted import cut, drip, drop, reply, silent


@pytest.mark.parametrize("status", [200, 201, 204, 302, 400, 401, 403, 404, 413, 422, 429, 500, 503])
def test_every_status_is_an_answer(server, transport, slept, status):
    server.play(reply(status, {"status": status} if status != 204 else None, raw=b"" if status == 204 else None))
    answer = transport().send_once("POST", "/v25.0/1/events", json={"data": []})
    assert (answer.status, answer.body) == (status, None if status == 204 else {"status": status})
    assert (len(server.seen), slept) == (1, [])


def test_an_error_page_is_an_answer_too(server, transport):
    server.play(reply(502, raw=b"<html>bad gateway</html>"))
    answer = transport().send_once("POST", "/x", json={})
    assert (answer.status, answer.readable) == (502, False)


@pytest.mark.parametrize("step", [drop, cut, drip, silent(0.4), reply(200, raw=b"<html>")])
def test_may_have_been_applied(server, transport, step):
    server.play(step)
    with pytest.raises(Retryable) as caught:
        transport(timeout=(1.0, 0.2), read_seconds=0.1).send_once("POST", "/x", json={"data": [1]})
    assert caught.value.sent
    assert len(server.seen) == 1


def test_refused_was_not_sent(transport):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Retryable, match="connection refused") as caught:
        transport(base_url=f"http://127.0.0.1:{port}").send_once("POST", "/x", json={})
    assert not caught.value.sent


def test_an_unknown_host_was_not_sent(transport, monkeypatch):
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Retryable, match="host name not found") as caught:
        transport(base_url="https://nobody.invalid").send_once("POST", "/x", json={})
    assert not caught.value.sent


def test_a_tls_failure_was_not_sent(server, transport):
    """The server speaks plain HTTP, so the handshake fails."""
    server.play(reply())
    with pytest.raises(Retryable, match=r"TLS|broken") as caught:
        transport(base_url=server.url.replace("http:", "https:")).send_once("POST", "/x", json={})
    assert not caught.value.sent


def test_each_delivery_has_its_own_connection_and_reads_share_one(server, transport):
    server.play(reply())
    client = transport()
    for _ in range(2):
        client.send_once("POST", "/x", json={})
        client.request("GET", "/y")
    sent = {s.peer for s in server.seen if s.method == "POST"}
    read = {s.peer for s in server.seen if s.method == "GET"}
    assert (len(sent), len(read)) == (2, 1)


def test_raw_content_goes_out_as_it_is(server, transport):
    server.play(reply())
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    transport().send_once("POST", "/token", content=b"a=1&b=%20", headers=kind)
    assert server.seen[0].body == b"a=1&b=%20"
    assert server.seen[0].headers["Content-Type"] == kind["Content-Type"]
    assert server.seen[0].headers["Content-Length"] == "9"
