"""The environment: read once, all problems at once, no secret in any text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from crm_attribution.cli import main
from crm_attribution.clock import parse_instant
from crm_attribution.configuration import groups, load, table
from crm_attribution.errors import ConfigurationError
from crm_attribution.hubspot import settings as hubspot
from crm_attribution.settings import (
    ALERT_URL,
    CLOCK,
    Group,
    Setting,
    Settings,
    apply_env_file,
    read,
    read_env_file,
    text,
)
from crm_attribution.webhook import settings as webhook
from crm_attribution_tests.snapshots import SETTINGS, SETTINGS_TEXT

HOOK = "https://hooks.example/services/T0/B0/very-secret"
SECRETS = {"HUBSPOT_ACCESS_TOKEN": "pat-eu1-1234", "CLICKS_TOKEN": "clk-5678", "META_ACCESS_TOKEN": "EAAB-9012",
           "CRM_ATTRIBUTION_ALERT_URL": HOOK}  # fmt: skip


def test_without_anything_there_are_defaults():
    found = load({})
    assert found.start == parse_instant("2026-01-01T00:00:00Z")
    assert (found[CLOCK], found.send, found.mapping, found[ALERT_URL]) == ("wall", True, None, "")
    assert found.data_dir == Path("data").absolute()
    assert found[hubspot.BASE_URL] == "https://api.hubapi.com"
    assert found.lock_wait_seconds == 900
    receiver = webhook.receiver(found)
    assert (receiver.secrets, receiver.tokens, receiver.url) == ((), (), "")
    assert (receiver.signatures, receiver.body_limit) == (("v3",), 8 * 1024 * 1024)
    assert found.unknown == ()


def test_every_problem_is_named_in_one_error():
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
    dataset = text("META_DATASET_ID", "the dataset", where="Events Manager")
    with pytest.raises(ConfigurationError) as caught:
        load({"CLICKS_TOKEN": "clk", "META_DATASET_ID": ""}).require(
            [hubspot.ACCESS_TOKEN, dataset, text("CLICKS_TOKEN", "")]
        )
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip() for line in lines] == [
        f"HUBSPOT_ACCESS_TOKEN: {hubspot.ACCESS_TOKEN.where}",
        "META_DATASET_ID: Events Manager",
    ]
    load(SECRETS).require([hubspot.ACCESS_TOKEN])


def test_no_secret_in_a_settings_text_and_all_of_them_known_for_redaction():
    found = load(SECRETS)
    assert [secret for secret in SECRETS.values() if secret in f"{found!r} {found}"] == []
    assert set(found.secrets()) == {*SECRETS.values(), "/services/T0/B0/very-secret"}  # an address, and its path


def test_only_what_is_declared_is_kept_whatever_its_name():
    """A destination of any name may declare any names: none is dropped, no secret is guessed."""
    pixel = text("TIKTOK_PIXEL", "a pixel")
    customer = text("GOOGLE_ADS_CUSTOMER", "a customer", secret=True)
    given = {
        "PATH": "/bin",
        "HOME": "/root",
        "TIKTOK_PIXEL": "P-1",
        "GOOGLE_ADS_CUSTOMER": "123-456",
        "X_TOKEN": "abcd",
    }
    found: Settings = read([Group("a", [pixel]), Group("b", [customer])], given)
    assert (found[pixel], found[customer], found.value("PATH")) == ("P-1", "123-456", "")
    assert found.secrets() == ["123-456"]
    assert "123-456" not in repr(found)


def test_two_secrets_separated_by_a_comma_are_two_and_whole():
    found = load({"HUBSPOT_WEBHOOK_SECRET": "first-one, second-one"})
    assert found.secrets() == ["first-one, second-one", "first-one", "second-one"]
    assert webhook.receiver(found).secrets == ("first-one", "second-one")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HUBSPOT_ACESS_TOKEN", "HUBSPOT_ACESS_TOKEN: there is no such setting; did you mean HUBSPOT_ACCESS_TOKEN?"),
        ("META_DATASET", "META_DATASET: there is no such setting; did you mean META_DATASET_ID?"),
        ("LINKEDIN_FOO", "LINKEDIN_FOO: there is no such setting"),
        ("CLICKS_TOKN", "CLICKS_TOKN: there is no such setting; did you mean CLICKS_TOKEN?"),
        ("CRM_ATTRIBUTION_ZZZ", "CRM_ATTRIBUTION_ZZZ: there is no such setting"),
    ],
)
def test_an_unknown_name_with_a_prefix_of_ours_is_reported(name: str, message: str):
    assert load({name: "secret value"}).unknown == (message,)


def test_every_name_of_an_env_file_is_a_setting_or_reported():
    """In the environment FOO is anybody's; in a file of settings it is a mistake, and no secret of ours either."""
    names = ["FOO", "METAL_ACCESS_TOKEN", "DAGSTER_HOME", "META_ACCESS_TOKEN"]
    assert load(dict.fromkeys(names, "x")).unknown == ()
    assert load(dict.fromkeys(names, "x"), names).unknown == (
        "FOO: there is no such setting",
        "METAL_ACCESS_TOKEN: there is no such setting; did you mean META_ACCESS_TOKEN?",
    )


def test_commands_warn_of_unknown_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / ".env"
    path.write_text(f"CRM_ATTRIBUTION_DATA_DIR={tmp_path}\nFOO=1\nHUBSPOT_ACESS_TOKEN=secret-value\n", encoding="utf-8")
    for name in ("CRM_ATTRIBUTION_DATA_DIR", "FOO", "HUBSPOT_ACESS_TOKEN"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    told = CliRunner().invoke(main, ["--env-file", str(path), "status", "--json"])
    assert told.exit_code == 0, told.output
    assert "warning: FOO: there is no such setting\n" in told.stderr
    assert "warning: HUBSPOT_ACESS_TOKEN: there is no such setting; did you mean HUBSPOT_ACCESS_TOKEN?" in told.stderr
    assert "secret-value" not in told.output
    assert "HUBSPOT_ACESS_TOKEN: there is no such setting" in json.loads(told.stdout)["unknown_settings"]


def test_a_mistyped_name_of_the_product_is_refused_together_with_wrong_values():
    """`SNED=off` that is only warned about would go on sending."""
    with pytest.raises(ConfigurationError) as caught:
        load({"CRM_ATTRIBUTION_SNED": "off", "CRM_ATTRIBUTION_START": "yesterday"})
    assert "CRM_ATTRIBUTION_SNED: there is no such setting; did you mean CRM_ATTRIBUTION_SEND?" in str(caught.value)
    assert "CRM_ATTRIBUTION_START: not an ISO 8601 timestamp" in str(caught.value)


def test_a_prefix_is_what_the_names_of_a_group_have_in_common():
    prefixes = {group.title: group.prefix for group in groups()}
    assert prefixes["HubSpot"] == "HUBSPOT_"
    assert prefixes["The product"] == "CRM_ATTRIBUTION_"
    assert prefixes["Destination meta"] == "META_"
    assert Group("none", [text("ONE", ""), text("TWO", "")]).prefix == ""
    assert Group("none", []).prefix == ""


def test_an_emptied_switch_is_not_the_default():
    with pytest.raises(ConfigurationError, match="CRM_ATTRIBUTION_SEND: must be on or off"):
        load({"CRM_ATTRIBUTION_SEND": ""})


def test_the_table_of_settings_is_current():
    """`make snapshots` rewrites it."""
    assert SETTINGS.read_text(encoding="utf-8") == SETTINGS_TEXT


def test_every_setting_introduces_itself():
    settings: list[Setting[object]] = [setting for group in groups() for setting in group.settings]
    assert [setting.name for setting in settings if not setting.description] == []
    assert all(f"| `{setting.name}` | " in table() for setting in settings)


def test_an_env_file(tmp_path: Path):
    path = tmp_path / ".env"
    path.write_text("# ours\n\n A_TOKEN = 'x=y' \nB_ID=\"7\"\nEMPTY=\n", encoding="utf-8")
    assert read_env_file(path) == {"A_TOKEN": "x=y", "B_ID": "7", "EMPTY": ""}
    path.write_text("A=1 # of ours\nexport B='2 # two'\nC=x#y\n", encoding="utf-8")
    assert read_env_file(path) == {"A": "1", "B": "2 # two", "C": "x#y"}
    for wrong in ("A=1\nB\n", "A=1\nB-C=2\n", "A=1\nB='2\n", "\nsay A=1\n"):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(ConfigurationError, match=r"line 2: expected NAME=value"):
            read_env_file(path)


def test_what_the_environment_says_outranks_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / ".env"
    path.write_text("META_DATASET_ID=of-the-file\nLINKEDIN_ACCOUNT_ID=of-the-file\n", encoding="utf-8")
    monkeypatch.setenv("META_DATASET_ID", "of-the-environment")
    monkeypatch.setenv("LINKEDIN_ACCOUNT_ID", "")
    monkeypatch.delenv("LINKEDIN_ACCOUNT_ID")
    assert apply_env_file(path) == ["META_DATASET_ID", "LINKEDIN_ACCOUNT_ID"]
    assert os.environ["META_DATASET_ID"] == "of-the-environment"
    assert os.environ["LINKEDIN_ACCOUNT_ID"] == "of-the-file"


def test_figures_of_hubspots_limits():
    figures = (hubspot.BURST_LIMIT, hubspot.DAILY_LIMIT, hubspot.DAILY_RESERVE, hubspot.BACKFILL_SHARE)
    found = load({})
    assert [found[figure] for figure in figures] == [None, None, 2, 50]
    given = {"HUBSPOT_BURST_LIMIT": "190", "HUBSPOT_DAILY_RESERVE": "0", "HUBSPOT_BACKFILL_SHARE": "100"}
    found = load(given)
    assert [found[figure] for figure in figures] == [190, None, 0, 100]
    wrong = {"HUBSPOT_BURST_LIMIT": "0", "HUBSPOT_DAILY_LIMIT": "-1", "HUBSPOT_DAILY_RESERVE": "91"}
    with pytest.raises(ConfigurationError) as caught:
        load(wrong)
    assert all(f"{name}: must be a whole number" in str(caught.value) for name in wrong)


def test_hubspot_is_asked_in_one_of_two_ways():
    oauth = {"HUBSPOT_CLIENT_ID": "app-id", "HUBSPOT_CLIENT_SECRET": "app-secret"}
    with pytest.raises(
        ConfigurationError, match=r"HUBSPOT_ACCESS_TOKEN and HUBSPOT_CLIENT_ID, .* unset one of the two"
    ):
        hubspot.needed(load({**SECRETS, **oauth}))
    partly = load(oauth)
    with pytest.raises(ConfigurationError) as caught:
        partly.require(hubspot.needed(partly))
    assert "HUBSPOT_TOKEN_FILE: a path" in str(caught.value)
    assert "HUBSPOT_CLIENT_ID" not in str(caught.value)
    whole = load({**oauth, "HUBSPOT_TOKEN_FILE": "/etc/tokens.json"})
    assert hubspot.uses_oauth(whole)
    assert whole.secrets() == ["app-secret"], "a path is no secret: messages name it"
    with pytest.raises(ConfigurationError, match="HUBSPOT_CLIENT_ID, HUBSPOT_CLIENT_SECRET and HUBSPOT_TOKEN_FILE"):
        load({}).require(hubspot.needed(load({})))


def test_an_env_file_of_an_editor_that_marks_utf8(tmp_path: Path) -> None:
    path = tmp_path / "marked.env"
    path.write_bytes(b"\xef\xbb\xbfA_TOKEN=x\r\nB_ID=7\r\n")
    assert read_env_file(path) == {"A_TOKEN": "x", "B_ID": "7"}


def test_a_tilde_is_the_home_as_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = load({"CRM_ATTRIBUTION_DATA_DIR": "~/data", "CRM_ATTRIBUTION_MAPPING": "~/own.yaml"})
    assert (found.data_dir, found.mapping) == (tmp_path / "data", tmp_path / "own.yaml")
    with pytest.raises(ConfigurationError, match="CRM_ATTRIBUTION_DATA_DIR: begins with ~"):
        load({"CRM_ATTRIBUTION_DATA_DIR": "~nobody-of-that-name/data"})


def test_a_file_is_no_data_directory_and_holds_none(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("?")
    for wrong in (tmp_path / "note", tmp_path / "note" / "data"):
        with pytest.raises(ConfigurationError, match=r"CRM_ATTRIBUTION_DATA_DIR: .*note is a file: name a folder"):
            load({"CRM_ATTRIBUTION_DATA_DIR": str(wrong)})
