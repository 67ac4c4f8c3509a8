"""Reads: what is retried, for how long, and what is not."""

from __future__ import annotations

import pytest

from crm_attribution.errors import (
    ConfigurationError,
    Forbidden,
    QuotaExhausted,
    Rejected,
    Retryable,
    Terminal,
    TokenExpired,
    TokenInvalid,
    Unauthorized,
)
from crm_attribution.http.transport import Transport
from crm_attribution_tests.http.scripted import cut, drip, drop, reply, silent

LIMIT = {"status": "error", "errorType": "RATE_LIMIT", "correlationId": "c-1"}


def test_answers_with_status_headers_and_decoded_body(server, transport):
    server.play(reply(200, {"results": []}, {"X-Kind": "a"}))
    answer = transport().request("POST", "/crm/v3/objects/contacts/search", json={"limit": 1})
    assert (answer.status, answer.headers["x-kind"], answer.body) == (200, "a", {"results": []})
    assert server.seen[0].json == {"limit": 1}
    assert server.seen[0].headers["Content-Type"] == "application/json"
    assert server.seen[0].headers["Authorization"].startswith("Bearer ")


def test_headers_may_be_asked_for_before_every_call(server, transport):
    server.play(reply())
    tokens = iter(["one", "two"])
    client = transport(headers=lambda: {"Authorization": f"Bearer {next(tokens)}"})
    client.request("GET", "/a")
    client.request("GET", "/a")
    assert [s.headers["Authorization"] for s in server.seen] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    ("answer", "least", "most"),
    [
        (reply(429, LIMIT, {"Retry-After": "3"}), 3, 4),
        (reply(429, LIMIT | {"policyName": "TEN_SECONDLY_ROLLING"}), 9, 10),
        (reply(429, LIMIT | {"message": "You have reached your secondly limit."}), 1, 2),
        (reply(429, LIMIT, {"Retry-After": "Fri, 20 Nov 2026 18:00:00 GMT"}), 1, 2),
        (reply(429, LIMIT, {"Retry-After": "86400000"}), 1, 2),
        (reply(423, LIMIT), 2, 3),
        (reply(503, {}, {"Retry-After": "5"}), 5, 6),
        *((reply(status), 0, 1) for status in (500, 522, 525, 526, 408)),
        *((reply(status), 2, 3) for status in (502, 503, 504, 521, 523, 524)),
        *((step, 0, 1) for step in (drop, cut)),
        (reply(200, raw=b"<html>"), 0, 1),
        (reply(200, raw=b'{"a": NaN}'), 0, 1),
        (reply(200, raw=b"[" * 200_000), 0, 1),
    ],
)
def test_waits_as_asked_and_asks_again_on_post_too(server, transport, slept, answer, least, most):
    server.play(answer, reply(200, {"ok": True}))
    assert transport().request("POST", "/x", json={}).body == {"ok": True}
    assert len(server.seen) == 2
    assert len(slept) == 1
    assert least <= slept[0] <= most


def test_a_time_out_is_retried(server, transport, slept):
    server.play(silent(0.5), reply(200, {}))
    transport(timeout=(1.0, 0.1)).request("GET", "/x")
    assert len(slept) == 1


def test_attempts_are_bounded_and_waits_grow_below_a_ceiling(server, transport, slept):
    server.play(reply(500, {"category": "INTERNAL", "message": "mail jane@acme.test"}))
    with pytest.raises(Retryable, match=r"hubspot GET /x: 500 \(category=INTERNAL\); gave up after 6 attempts"):
        transport().request("GET", "/x")
    assert len(server.seen) == 6
    assert all(wait <= min(30, 0.5 * 2**n) for n, wait in enumerate(slept, start=1))


def test_throttling_does_not_use_up_attempts_and_ends_at_the_deadline(server, transport, slept):
    server.play(*[reply(429, LIMIT, {"Retry-After": "1"})] * 20, reply())
    transport(attempts=2).request("GET", "/x")
    assert len(server.seen) == 21
    server.play(reply(429, LIMIT, {"Retry-After": "10"}))
    slept.clear()
    with pytest.raises(Retryable, match="rate limit") as caught:
        transport(deadline_seconds=60).request("GET", "/x")
    assert caught.value.retry_after == 10
    assert 40 < sum(slept) <= 60


def test_a_zero_retry_after_does_not_hammer(server, transport, slept):
    server.play(reply(429, LIMIT, {"Retry-After": "0"}), reply())
    transport().request("GET", "/x")
    assert slept[0] >= 1


def test_the_daily_quota_stops_at_once(server, transport, slept):
    server.play(reply(429, LIMIT | {"policyName": "DAILY"}))
    with pytest.raises(QuotaExhausted, match="midnight"):
        transport().request("GET", "/x")
    assert len(server.seen) == 1
    assert slept == []


def test_a_token_that_expired_is_renewed_once_and_asked_with_once(server, transport, slept):
    tokens, renewals = ["old"], []

    def renew() -> bool:
        renewals.append(tokens[0])
        tokens[0] = f"new-{len(renewals)}"
        return True

    client = transport(headers=lambda: {"Authorization": f"Bearer {tokens[0]}"}, renew=renew)
    expired = reply(401, {"category": "EXPIRED_AUTHENTICATION"})
    server.play(expired, reply(200, {"ok": True}))
    assert client.request("POST", "/x", json={}).body == {"ok": True}
    assert [s.headers["Authorization"] for s in server.seen] == ["Bearer old", "Bearer new-1"]
    assert server.seen[1].json == {}
    server.play(expired)
    with pytest.raises(TokenExpired, match=r"renewed just now; compare this machine's clock"):
        client.request("GET", "/x")
    assert (len(renewals), len(server.seen), slept) == (2, 4, [])
    server.play(reply(401, {"category": "INVALID_AUTHENTICATION"}))
    with pytest.raises(TokenInvalid, match="wrong, revoked, or of another account or environment"):
        client.request("GET", "/x")
    assert (len(renewals), len(server.seen)) == (2, 5), "a 401 alone is no reason to renew"


def test_an_account_on_the_move_is_terminal(server, transport):
    server.play(reply(477, {}, {"Retry-After": "7200"}))
    with pytest.raises(Terminal, match="7200 s"):
        transport().request("GET", "/x")


def test_unauthorized_says_what_to_do(server, transport):
    server.play(reply(401, {"category": "EXPIRED_AUTHENTICATION", "correlationId": "abc-1"}))
    with pytest.raises(Unauthorized, match=r"EXPIRED_AUTHENTICATION.*abc-1.*expired.*HUBSPOT_ACCESS_TOKEN"):
        transport().request("GET", "/x")
    server.play(reply(401, {"error": {"code": 190, "type": "OAuthException"}}))
    with pytest.raises(Unauthorized, match=r"code=190.*CLICKS_TOKEN"):
        transport(service="clicks", credential="CLICKS_TOKEN").request("GET", "/x")
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"context": {"requiredGranularScopes": ["crm.objects.deals.read"]}},
        {"errors": [{"message": "…", "context": {"requiredScopes": ["crm.objects.deals.read"]}}]},
        {"message": "This app hasn't been granted all required scopes to make this call: crm.objects.deals.read."},
    ],
)
def test_forbidden_names_the_scope(server, transport, body):
    server.play(reply(403, {"category": "MISSING_SCOPES", **body}))
    with pytest.raises(Forbidden, match=r"missing scope crm\.objects\.deals\.read;"):
        transport().request("GET", "/x")


@pytest.mark.parametrize("status", [400, 404, 405, 409, 414, 422])
def test_a_refusal_carries_status_and_body_but_does_not_show_it(server, transport, status):
    body = {"category": "VALIDATION_ERROR", "message": "Property jane@acme.test is bad", "correlationId": "c-2"}
    server.play(reply(status, body))
    with pytest.raises(Rejected) as caught:
        transport().request("GET", "/crm/v3/objects/contacts/512?email=jane@acme.test", params={"q": "secret"})
    assert (caught.value.status, caught.value.body) == (status, body)
    route = "hubspot GET /crm/v3/objects/contacts/{id}"
    assert str(caught.value) == f"{route}: {status} (category=VALIDATION_ERROR, correlationId=c-2)"
    assert len(server.seen) == 1


def test_redirects_are_not_followed(server, transport):
    server.play(reply(302, {}, {"Location": "http://169.254.169.254/"}))
    with pytest.raises(Terminal, match="redirects are not followed"):
        transport().request("GET", "/x")
    assert len(server.seen) == 1


def test_an_answer_is_bounded_in_size(server, transport):
    server.play(reply(200, raw=b'"' + b"a" * 300_000 + b'"'))
    with pytest.raises(Retryable, match="larger than 100000 bytes"):
        transport(max_bytes=100_000, attempts=1).request("GET", "/x")


def test_an_answer_is_bounded_in_time_however_it_drips(server, transport):
    server.play(drip)
    with pytest.raises(Retryable, match="not complete after"):
        transport(read_seconds=0.2, attempts=1).request("GET", "/x")


def test_errors_show_no_token_query_or_cause(server, transport):
    server.play(drop)
    client = transport(attempts=1)
    with pytest.raises(Retryable) as caught:
        client.request("GET", "/v25.0/123456/events", params={"access_token": "pat-na1-c0ffee00-canary-token"})
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    assert "/v25.0/{id}/events" in str(caught.value)
    assert "canary" not in repr(client)


def test_environment_can_change_neither_credentials_nor_route(server, transport, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.play(reply(200, {}, {"Set-Cookie": "a=b"}))
    client = transport()
    client.request("GET", "/x")
    client.request("GET", "/x")
    assert server.seen[1].headers["Authorization"].startswith("Bearer ")
    assert "Cookie" not in server.seen[1].headers


@pytest.mark.parametrize(
    "url",
    ["http://api.hubapi.com", "ftp://127.0.0.1", "https://user:pw@api.hubapi.com", "api.hubapi.com", "", "https://"],
)
def test_only_https_except_to_ourselves(url):
    with pytest.raises(ConfigurationError, match="base URL") as caught:
        Transport(url, service="hubspot")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://api.hubapi.com", "http://localhost:1", "http://[::1]:1/", "http://127.1.2.3"])
def test_good_hosts(url):
    assert Transport(url, service="hubspot").base_url == url.rstrip("/")


@pytest.mark.parametrize("path", [".evil.test/x", "//evil.test/x", "@evil.test", ""])
def test_a_path_cannot_change_the_host(transport, path):
    with pytest.raises(ConfigurationError):
        transport().request("GET", path)


def test_calls_are_counted_per_folded_route(server, transport):
    server.play(reply(500), reply())
    client = transport()
    client.request("GET", "/crm/objects/2026-09/contacts/512")
    client.request("GET", "/crm/objects/2026-09/contacts/513")
    client.request("GET", "/form-integrations/v1/submissions/forms/b6336282-50ec-465e-894e-e368146fa25f")
    assert client.calls == 4
    assert client.calls_by_route == {
        "GET /crm/objects/2026-09/contacts/{id}": 3,
        "GET /form-integrations/v1/submissions/forms/{id}": 1,
    }
