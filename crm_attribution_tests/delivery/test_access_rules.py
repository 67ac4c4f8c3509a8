"""When an access token is asked for, and what an answer that gives none means: without a platform."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from crm_attribution.delivery.access import MARGIN, Access, Refused
from crm_attribution.errors import ConfigurationError, Retryable, Terminal


class Desk:
    """Gives what it is told to, at a clock of its own."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked, self.clock = list(answers), 0, 0.0
        grant = cast(Any, SimpleNamespace(form=lambda _: {"grant_type": "x"}, path="/token"))
        self.access = Access(grant, cast(Any, self), now=lambda: self.clock)

    def request(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        answer = self.answers[min(self.asked, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(body=answer)


@pytest.mark.parametrize(
    ("answer", "person"),
    [
        (Retryable("later"), False),
        (Terminal("refused"), True),
        (ConfigurationError("set it"), True),
        ({}, False),
        (["no object"], False),
        ({"access_token": 7}, False),
        ({"access_token": "with space"}, False),
        ({"access_token": ""}, False),
    ],
)
def test_what_gives_no_token_needs_a_person_or_another_hour(answer: Any, person: bool):
    desk = Desk(answer)
    refused = desk.access.renew()
    assert isinstance(refused, Refused)
    assert refused.person is person
    assert refused.reason
    assert desk.access.headers() == {}


@pytest.mark.parametrize(
    ("lasts", "seconds"),
    [(3600, 3600 - MARGIN), (3600.5, 3600.5 - MARGIN), (10, 0.0), (True, 0.0), ("3600", 0.0), (None, 0.0)],
)
def test_a_token_is_asked_for_anew_a_margin_before_its_end(lasts: Any, seconds: float):
    desk = Desk({"access_token": "one", "expires_in": lasts}, {"access_token": "two", "expires_in": lasts})
    assert desk.access.renew() is None
    assert desk.access.headers() == {"Authorization": "Bearer one"}
    if seconds:
        desk.clock = seconds - 0.5
        assert desk.access.renew() is None
        assert desk.asked == 1, "it outlasts the next request"
    desk.clock = seconds
    assert desk.access.renew() is None
    assert (desk.asked, desk.access.headers()) == (2, {"Authorization": "Bearer two"})
