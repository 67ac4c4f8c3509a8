"""The credential and the limits as a run uses them: settings, token file and a sandbox with a day that ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from crm_attribution import configuration
from crm_attribution.errors import QuotaExhausted, RefreshRefused, TokenInvalid
from crm_attribution.hubspot import access, oauth
from crm_attribution.hubspot.settings import OAUTH
from crm_attribution.operations.status import status
from crm_attribution.orchestration.resources import Pipeline, open_pipeline
from crm_attribution.raw.readers import Readers
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox

NOW = "2026-03-09T12:00:00Z"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    account = {"portalId": 1000001, "timeZone": "US/Eastern", "companyCurrency": "EUR"}
    with Sandbox.start([{"at": "2026-01-01T00:00:00Z", "op": "account", "account": account}], NOW) as running:
        yield running


def environment(sandbox: Sandbox, folder: Path) -> dict[str, str]:
    return {
        "HUBSPOT_BASE_URL": sandbox.base_url,
        "HUBSPOT_CLIENT_ID": sandbox.oauth["client_id"],
        "HUBSPOT_CLIENT_SECRET": sandbox.oauth["client_secret"],
        "HUBSPOT_TOKEN_FILE": str(folder / "tokens.json"),
        "CRM_ATTRIBUTION_DATA_DIR": str(folder / "data"),
        "CRM_ATTRIBUTION_CLOCK": sandbox.env["CRM_ATTRIBUTION_CLOCK"],
    }


def opened(env: dict[str, str]) -> Pipeline:
    return open_pipeline(configuration.load(env))


def test_an_installed_app_from_its_code_to_its_end(sandbox, tmp_path):
    env = environment(sandbox, tmp_path)
    given = configuration.load(env)
    pipeline = opened(env)
    code = sandbox.set_oauth(rotate=True)["code"]
    file, endpoint = access.token_file(given), access.token_endpoint(given)
    oauth.authorize(file, endpoint, pipeline.clock, code, sandbox.oauth["redirect_uri"])
    assert pipeline.connections.hubspot.account_details()["portalId"] == 1000001
    assert pipeline.connections.credential.hub_id == "1000001"
    sandbox.set_clock("2026-03-09T12:28:29Z")
    sandbox.reset_calls()
    pipeline.connections.hubspot.account_details()
    assert sandbox.calls()["total"] == 1
    sandbox.set_clock("2026-03-09T13:00:00Z")
    pipeline.connections.hubspot.account_details()
    shown = status(given)["hubspot"]
    assert shown == {
        "authentication": "OAuth app",
        "token expires": "2026-03-09T13:30:00Z",
        "token renewed": "2026-03-09T13:00:00Z",
        "last attempt to renew": "2026-03-09T13:00:00Z",
        "renewals of 7 days": 1,
        "of them failed": 0,
    }
    sandbox.set_oauth(revoked=True)
    pipeline.connections.hubspot.account_details()
    sandbox.set_clock("2026-03-09T14:00:00Z")
    with pytest.raises(RefreshRefused, match="BAD_REFRESH_TOKEN"):
        pipeline.connections.hubspot.account_details()
    shown = status(given)["hubspot"]
    assert (shown["last attempt to renew"], shown["last attempt ended with"]) == (
        "2026-03-09T14:00:00Z",
        "RefreshRefused",
    )
    data = json.loads(file.path.read_text())
    file.path.write_text(json.dumps(data | {"access_token": "made-up", "expires_at": "2027-01-01T00:00:00Z"}))
    with pytest.raises(TokenInvalid, match="check HUBSPOT_TOKEN_FILE"):
        opened(env).connections.hubspot.account_details()


def test_the_days_end_stops_cleanly_and_names_the_instant_it_is_renewed(sandbox, tmp_path):
    env = {**environment(sandbox, tmp_path), **sandbox.env, "HUBSPOT_DAILY_RESERVE": "10"}
    for name in (setting.name for setting in OAUTH):
        env.pop(name)
    pipeline = opened(env)
    used = sandbox.set_limits(on=True)["used"]
    sandbox.set_limits(daily=used + 12)
    readers: Readers = pipeline.readers
    readers.reference.account()
    pipeline.connections.learn_time_zone()
    with pytest.raises(QuotaExhausted, match=r"renewed at midnight US/Eastern, 2026-03-10T04:00:00Z"):
        list(map(pipeline.connections.hubspot.pipelines, ["deals"] * 20))
    left = pipeline.connections.limits.figures()
    assert left == {"calls per day": used + 12, "calls left today": pipeline.connections.limits.kept}
    sandbox.set_clock("2026-03-10T04:00:00Z")
    pipeline.connections.hubspot.pipelines("deals")
    sandbox.set_limits(on=False)
