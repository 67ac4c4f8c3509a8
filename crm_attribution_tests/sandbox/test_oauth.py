"""OAuth of the sandbox: tokens that age by its clock, and what is said when they are no good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from crm_attribution_tests.sandbox.lines import COMPANY, NOW
from crm_attribution_tests.sandbox_process import Sandbox, SandboxRefused

pytestmark = pytest.mark.sandbox

OWNERS = "/crm/owners/2026-09"


def post(sandbox: Sandbox, path: str, form: Mapping[str, Any]) -> tuple[int, Any]:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return sandbox.request("POST", path, urlencode(form).encode(), headers)[:2]


def client(sandbox: Sandbox) -> dict[str, str]:
    return {name: sandbox.oauth[name] for name in ("client_id", "client_secret")}


def refresh(sandbox: Sandbox, token: str | None = None, version: str = "2026-09", **other: str) -> tuple[int, Any]:
    form = {"grant_type": "refresh_token", **client(sandbox), "refresh_token": token or sandbox.oauth["refresh_token"]}
    return post(sandbox, f"/oauth/{version}/token", form | other)


def ask(sandbox: Sandbox, token: str, path: str = OWNERS) -> tuple[int, Any, Mapping[str, str]]:
    return sandbox.request("GET", path, None, {"Authorization": f"Bearer {token}"})


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    return start(COMPANY)


@pytest.mark.parametrize("version", ["v1", "v3", "2026-03", "2026-09"])
def test_a_refresh(company: Sandbox, version: str):
    status, answer = refresh(company, version=version)
    assert (status, answer["token_type"], answer["expires_in"]) == (200, "bearer", 1800)
    assert answer["refresh_token"] == company.oauth["refresh_token"]
    assert len(answer["access_token"]) < 300
    assert (answer.get("token_use"), answer.get("hub_id")) == (
        (None, None) if version == "v1" else ("access_token", 1000001)
    )
    assert ask(company, answer["access_token"])[0] == 200


def test_a_token_ends_by_the_sandbox_s_clock(sandbox: Sandbox):
    token = refresh(sandbox)[1]["access_token"]
    sandbox.set_clock("2026-03-10T00:29:59Z")
    assert ask(sandbox, token)[0] == 200
    sandbox.set_clock("2026-03-10T00:30:02Z")
    status, answer, _ = ask(sandbox, token)
    assert (status, answer["category"], answer["context"]) == (
        401,
        "EXPIRED_AUTHENTICATION",
        {"expire time": ["2026-03-10T00:30:00Z"]},
    )
    assert answer["message"].endswith("expired 2 second(s) ago.")
    assert ask(sandbox, refresh(sandbox)[1]["access_token"])[0] == 200
    assert ask(sandbox, "CNa1-nobody")[1]["category"] == "INVALID_AUTHENTICATION"


def test_lifetime_and_rotation_can_be_set(sandbox: Sandbox):
    sandbox.set_oauth(rotate=True, expires_in=60)
    first = refresh(sandbox)[1]
    assert first["expires_in"] == 60
    assert first["refresh_token"] != sandbox.oauth["refresh_token"]
    assert refresh(sandbox)[1]["status"] == "BAD_REFRESH_TOKEN"
    assert refresh(sandbox, first["refresh_token"])[0] == 200
    with pytest.raises(SandboxRefused, match="`rotate` has the wrong type"):
        sandbox.set_oauth(rotate=1)
    with pytest.raises(SandboxRefused, match="an object of rotate"):
        sandbox.set_oauth(turn=True)


def test_a_revoked_refresh_token_leaves_access_tokens_alone(sandbox: Sandbox):
    token = refresh(sandbox)[1]["access_token"]
    sandbox.set_oauth(revoked=True)
    assert refresh(sandbox)[1]["status"] == "BAD_REFRESH_TOKEN"
    assert ask(sandbox, token)[0] == 200


@pytest.mark.parametrize(
    ("other", "status", "code"),
    [
        ({"client_id": "x"}, "BAD_CLIENT_ID", "invalid_client"),
        ({"client_secret": "x"}, "BAD_CLIENT_SECRET", "invalid_client"),
        ({"refresh_token": "x"}, "BAD_REFRESH_TOKEN", "invalid_grant"),
        ({"grant_type": "password"}, "BAD_GRANT_TYPE", "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "redirect_uri": "x"}, "BAD_REDIRECT_URI", "invalid_grant"),
        ({"grant_type": "authorization_code"}, "BAD_AUTH_CODE", "invalid_grant"),
    ],
)
def test_what_is_wrong_is_named(company: Sandbox, other: dict[str, str], status: str, code: str):
    redirect = {"redirect_uri": company.oauth["redirect_uri"], "code": "x"}
    answered, body = refresh(company, **{**redirect, **other})
    assert (answered, body["status"], body["error"]) == (400, status, code)
    assert body["message"] == body["error_description"]


def test_the_query_and_json_hold_no_parameters(company: Sandbox):
    form = {"grant_type": "refresh_token", **client(company), "refresh_token": company.oauth["refresh_token"]}
    assert post(company, f"/oauth/2026-09/token?{urlencode(form)}", {})[0] == 400
    assert company.request("POST", "/oauth/2026-09/token", form)[0] == 400


def test_a_code_works_once_and_installs_anew(sandbox: Sandbox):
    sandbox.set_oauth(revoked=True)
    form = {"grant_type": "authorization_code", **client(sandbox)}
    form |= {"redirect_uri": sandbox.oauth["redirect_uri"], "code": sandbox.oauth["code"]}
    status, answer = post(sandbox, "/oauth/v3/token", form)
    assert status == 200
    assert post(sandbox, "/oauth/v3/token", form)[1]["status"] == "BAD_AUTH_CODE"
    assert refresh(sandbox, answer["refresh_token"])[0] == 200
    assert refresh(sandbox)[1]["status"] == "BAD_REFRESH_TOKEN"


def test_introspection_and_revocation(sandbox: Sandbox):
    issued = refresh(sandbox)[1]

    def look(token: str) -> tuple[bool, str | None, int | None]:
        status, answer = post(sandbox, "/oauth/2026-03/token/introspect", {**client(sandbox), "token": token})
        assert status == 200
        return answer["active"], answer.get("token_use"), answer.get("expires_in")

    assert look(issued["access_token"]) == (True, "access_token", 1800)
    assert look(issued["refresh_token"]) == (True, "refresh_token", 0)
    gone = {**client(sandbox), "token": issued["refresh_token"]}
    assert post(sandbox, "/oauth/2026-03/token/revoke", gone)[0] == 204
    assert look(issued["refresh_token"]) == (False, None, None)
    sandbox.set_clock("2026-03-10T00:30:00Z")
    assert look(issued["access_token"]) == (False, None, None)


def test_an_app_has_a_hundred_and_ten_calls_and_no_day(start: Callable[..., Sandbox]):
    sandbox = start(COMPANY, NOW, limits="real")
    sandbox.set_limits(daily=1)
    token = refresh(sandbox)[1]["access_token"]
    answers = [ask(sandbox, token) for _ in range(111)]
    assert [status for status, _, _ in answers] == [200] * 110 + [429]
    assert answers[0][2]["x-hubspot-ratelimit-max"] == "110"
    assert not [name for name in answers[0][2] if "ratelimit-daily" in name]


TOKEN_INFO = "/oauth/v2/private-apps/get/access-token-info"


def test_scopes_are_told_and_enforced(sandbox: Sandbox):
    token = {"tokenKey": sandbox.env["HUBSPOT_ACCESS_TOKEN"]}
    status, told = sandbox.hubspot("POST", TOKEN_INFO, token)
    assert (status, told["hubId"], "forms" in told["scopes"]) == (200, 1000001, True)
    sandbox.set_oauth(without=["forms", "crm.schemas.deals.read"])
    assert "forms" not in sandbox.hubspot("POST", TOKEN_INFO, token)[1]["scopes"]
    assert "forms" not in refresh(sandbox)[1]["scopes"]
    for path, scope in (
        ("/marketing/v3/forms", "forms"),
        ("/crm/properties/2026-09/deals", "crm.schemas.deals.read"),
    ):
        status, answer = sandbox.hubspot("GET", path)
        assert (status, answer["category"]) == (403, "MISSING_SCOPES")
        assert answer["errors"][0]["context"] == {"requiredScopes": [scope]}
    assert sandbox.hubspot("GET", "/crm/objects/2026-09/deals")[0] == 200
    sandbox.set_oauth(told=False)
    assert sandbox.hubspot("POST", TOKEN_INFO, token)[0] == 404
    with pytest.raises(SandboxRefused, match="`without` names read_everything"):
        sandbox.set_oauth(without=["read_everything"])


def test_scopes_of_a_token_that_is_not_the_app_s_are_not_told(company: Sandbox):
    assert company.hubspot("POST", TOKEN_INFO, {"tokenKey": "pat-na1-nobody"})[0] == 400
    assert company.request("POST", TOKEN_INFO, {"tokenKey": company.env["HUBSPOT_ACCESS_TOKEN"]})[0] == 400
