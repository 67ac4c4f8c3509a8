from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from crm_attribution.errors import Rejected, Retryable, Unauthorized
from crm_attribution.http.transport import Transport
from crm_attribution.sources.link_clicks import SOURCE
from crm_attribution_tests.http.scripted import Scripted, reply, serving


@pytest.fixture
def server() -> Iterator[Scripted]:
    with serving() as scripted:
        yield scripted


@pytest.fixture
def transport(server: Scripted) -> Iterator[Transport]:
    made = Transport(
        server.url, service="clicks", credential="CLICKS_TOKEN", headers={"Authorization": "Bearer t"}, attempts=1
    )
    yield made
    made.close()


def test_follows_cursors_from_since(server, transport):
    server.play(
        reply(200, {"clicks": [{"click_id": "a"}], "next": "c/1 &"}),
        reply(200, {"clicks": [], "next": 2}),
        reply(200, {"clicks": [{"click_id": "b"}], "next": None}),
    )
    pages = list(SOURCE.pages(transport, datetime(2026, 4, 23, 11, tzinfo=UTC)))
    assert pages == [[{"click_id": "a"}], [{"click_id": "b"}]]
    assert [s.path for s in server.seen] == [
        "/clicks?limit=1000&since=2026-04-23T11%3A00%3A00Z",
        "/clicks?limit=1000&since=2026-04-23T11%3A00%3A00Z&after=c%2F1+%26",
        "/clicks?limit=1000&since=2026-04-23T11%3A00%3A00Z&after=2",
    ]


def test_everything_without_since(server, transport):
    server.play(reply(200, {"clicks": []}))
    assert list(SOURCE.pages(transport, None)) == []
    assert server.seen[0].path == "/clicks?limit=1000"


def test_circles_are_an_error(server, transport):
    server.play(reply(200, {"clicks": [], "next": "x"}))
    with pytest.raises(Retryable, match="does not advance"):
        list(SOURCE.pages(transport, None))


@pytest.mark.parametrize("body", [[], {"clicks": None}, {"clicks": ["a"]}, {"data": []}])
def test_another_shape_is_rejected(server, transport, body):
    server.play(reply(200, body))
    with pytest.raises(Rejected, match="clicks"):
        list(SOURCE.pages(transport, None))


def test_a_wrong_token_names_its_setting(server, transport):
    server.play(reply(401, {"error": "unauthorized"}))
    with pytest.raises(Unauthorized, match="CLICKS_TOKEN"):
        list(SOURCE.pages(transport, None))
