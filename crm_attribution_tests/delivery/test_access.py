"""Access tokens: by the key of a service account, and by refresh tokens that the platform renews."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from crm_attribution import configuration
from crm_attribution.delivery.access import Access, access_to
from crm_attribution.delivery.refresh_tokens import RefreshTokens
from crm_attribution.destinations import destinations
from crm_attribution.destinations.accounts import OWN, accounts
from crm_attribution_tests.delivery.outbox import NOW
from crm_attribution_tests.destinations.test_google import key_of_a_service_account
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start([], NOW.isoformat()) as running:
        yield running


def access(sandbox: Sandbox, name: str, data: Path, **changes: str) -> Access:
    given = configuration.load({**sandbox.env, "CRM_ATTRIBUTION_DATA_DIR": str(data), **changes})
    (account,) = accounts(destinations()[name], [OWN], given)
    assert account.missing is None
    found = access_to(account, given)
    assert found is not None
    return found


def test_a_key_of_a_service_account_gets_one_without_a_refresh_token(sandbox: Sandbox, tmp_path: Path):
    key, private = key_of_a_service_account()
    file = tmp_path / "key.json"
    file.write_text(key)
    changes = {"GOOGLE_SERVICE_ACCOUNT_FILE": str(file), "GOOGLE_REFRESH_TOKEN": "", "GOOGLE_CLIENT_ID": ""}
    refused = access(sandbox, "google", tmp_path, **changes).renew()
    assert refused is not None
    assert refused.person, "nobody has let the account in yet"
    sandbox.set_up("google", keys=[f"{private.public_key().public_numbers().n:x}"])
    asked = access(sandbox, "google", tmp_path, **changes)
    assert asked.renew() is None
    assert asked.headers()["Authorization"].startswith("Bearer ya29")


def test_a_renewed_refresh_token_goes_on_when_the_first_has_ended(sandbox: Sandbox, tmp_path: Path):
    """Microsoft's last 90 days, and each access token comes with a new one."""
    name, first = "microsoft", sandbox.env["MICROSOFT_ADS_REFRESH_TOKEN"]
    kept = RefreshTokens(tmp_path)
    for days in (0, 80, 160):
        sandbox.set_clock((NOW + timedelta(days=days)).isoformat())
        assert access(sandbox, name, tmp_path).renew() is None, days
        assert kept.latest(first) != first
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert f'"{first}"' not in kept.path.read_text(), "the one of the settings stays there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["refresh_tokens.json", "refresh_tokens.lock"]
    refused = access(sandbox, name, tmp_path / "elsewhere").renew()
    assert refused is not None, "without what was kept it has ended"
    assert refused.person
    assert not (tmp_path / "elsewhere").exists()


def test_a_new_token_in_the_settings_wins_and_a_kept_one_that_is_refused_is_no_end(sandbox: Sandbox, tmp_path: Path):
    with Sandbox.start([], NOW.isoformat()) as fresh:
        first = fresh.env["MICROSOFT_ADS_REFRESH_TOKEN"]
        kept = RefreshTokens(tmp_path)
        kept.keep("an older one of the settings", "its successor")
        kept.keep(first, "revoked since")
        assert access(fresh, "microsoft", tmp_path).renew() is None
        assert kept.latest(first) not in (first, "revoked since")
        assert kept.latest("an older one of the settings") == "its successor"
        kept.path.write_text("{half")
        assert kept.latest(first) == first
        assert access(fresh, "microsoft", tmp_path).renew() is None
