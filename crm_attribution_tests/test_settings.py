"""The environment: read once, all problems at once, no secret in any text."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_attribution.clock import parse_instant
from crm_attribution.errors import ConfigurationError
from crm_attribution.settings import HUBSPOT_SETTINGS, Settings, load, read_env_file

HOOK = "https://hooks.example/services/T0/B0/very-secret"
SECRETS = {"HUBSPOT_ACCESS_TOKEN": "pat-eu1-1234", "CLICKS_TOKEN": "clk-5678", "META_ACCESS_TOKEN": "EAAB-9012",
           "CRM_ATTRIBUTION_ALERT_URL": HOOK}  # fmt: skip


def test_without_anything_there_are_defaults():
    found = load({})
    assert found.start == parse_instant("2026-01-01T00:00:00Z")
    assert (found.clock, found.send, found.mapping, found.alert_url) == ("wall", True, None, None)
    assert found.data_dir == Path("data").absolute()
    assert found.hubspot_base_url == "https://api.hubapi.com"


def test_every_problem_is_told_at_once():
    wrong = {
        "CRM_ATTRIBUTION_START": "yesterday",
        "CRM_ATTRIBUTION_SEND": "maybe",
        "CRM_ATTRIBUTION_LOCK_WAIT": "a while",
    }
    with pytest.raises(ConfigurationError) as caught:
        load(wrong)
    assert all(name in str(caught.value) for name in wrong)


@pytest.mark.parametrize("wait", ["-1", "1.5", "²", ""])
def test_waiting_is_whole_seconds(wait: str):
    with pytest.raises(ConfigurationError, match="CRM_ATTRIBUTION_LOCK_WAIT: must be whole seconds"):
        load({"CRM_ATTRIBUTION_LOCK_WAIT": wait})


def test_the_start_is_a_full_hour():
    with pytest.raises(ConfigurationError, match="must be a full hour"):
        load({"CRM_ATTRIBUTION_START": "2026-01-01T00:30:00Z"})
    assert load({"CRM_ATTRIBUTION_START": "2026-01-01T02:00:00+01:00"}).start == parse_instant("2026-01-01T01:00:00Z")


def test_require_lists_all_that_is_missing_and_where_to_get_it():
    names = {**HUBSPOT_SETTINGS, "META_DATASET_ID": "Events Manager", "CLICKS_TOKEN": "your link service"}
    with pytest.raises(ConfigurationError) as caught:
        load({"CLICKS_TOKEN": "clk", "META_DATASET_ID": ""}).require(names)
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip() for line in lines] == [
        f"HUBSPOT_ACCESS_TOKEN: {HUBSPOT_SETTINGS['HUBSPOT_ACCESS_TOKEN']}",
        "META_DATASET_ID: Events Manager",
    ]
    load(SECRETS).require(HUBSPOT_SETTINGS)


def test_no_secret_in_a_settings_text_and_all_of_them_known_for_redaction():
    found = load(SECRETS)
    assert [secret for secret in SECRETS.values() if secret in f"{found!r} {found}"] == []
    assert set(found.secrets()) == set(SECRETS.values())


def test_only_what_is_ours_is_kept():
    found: Settings = load({"PATH": "/bin", "HOME": "/root", **SECRETS})
    assert set(found.environment) == set(SECRETS)
    assert found.value("PATH") == ""


def test_an_env_file(tmp_path: Path):
    path = tmp_path / ".env"
    path.write_text("# ours\n\n A_TOKEN = 'x=y' \nB_ID=\"7\"\nEMPTY=\n", encoding="utf-8")
    assert read_env_file(path) == {"A_TOKEN": "x=y", "B_ID": "7", "EMPTY": ""}
    path.write_text("A=1\nexport B=2\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"line 2: expected NAME=value"):
        read_env_file(path)


def test_figures_of_hubspots_limits():
    found = load({})
    assert (found.hubspot_burst_limit, found.hubspot_daily_limit) == (None, None)
    assert (found.hubspot_daily_reserve, found.hubspot_backfill_share) == (2, 50)
    found = load({"HUBSPOT_BURST_LIMIT": "190", "HUBSPOT_DAILY_RESERVE": "0", "HUBSPOT_BACKFILL_SHARE": "100"})
    assert (found.hubspot_burst_limit, found.hubspot_daily_reserve, found.hubspot_backfill_share) == (190, 0, 100)
    wrong = {"HUBSPOT_BURST_LIMIT": "0", "HUBSPOT_DAILY_LIMIT": "-1", "HUBSPOT_DAILY_RESERVE": "91"}
    with pytest.raises(ConfigurationError) as caught:
        load(wrong)
    assert all(f"{name}: must be a whole number" in str(caught.value) for name in wrong)


def test_hubspot_is_asked_in_one_of_two_ways():
    oauth = {"HUBSPOT_CLIENT_ID": "app-id", "HUBSPOT_CLIENT_SECRET": "app-secret"}
    with pytest.raises(
        ConfigurationError, match=r"HUBSPOT_ACCESS_TOKEN and HUBSPOT_CLIENT_ID, .* unset one of the two"
    ):
        load({**SECRETS, **oauth}).hubspot_names()
    partly = load(oauth)
    with pytest.raises(ConfigurationError) as caught:
        partly.require(partly.hubspot_names())
    assert "HUBSPOT_TOKEN_FILE: a path" in str(caught.value)
    assert "HUBSPOT_CLIENT_ID" not in str(caught.value)
    whole = load({**oauth, "HUBSPOT_TOKEN_FILE": "/etc/tokens.json"})
    assert whole.uses_oauth
    assert whole.secrets() == ["app-secret"], "a path is no secret: messages name it"
    with pytest.raises(ConfigurationError, match="HUBSPOT_CLIENT_ID, HUBSPOT_CLIENT_SECRET and HUBSPOT_TOKEN_FILE"):
        load({}).require(load({}).hubspot_names())
