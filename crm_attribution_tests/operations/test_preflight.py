"""Preflight names each thing that is taken away from an installation, and nothing where all is there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from crm_attribution import configuration, mapping
from crm_attribution.cli import main
from crm_attribution.contracts import CONTRACTS
from crm_attribution.destinations import destinations
from crm_attribution.findings import Finding, worst
from crm_attribution.http.clock import make_clock
from crm_attribution.hubspot import access, oauth
from crm_attribution.hubspot.access import API_VERSIONS
from crm_attribution.orchestration.assets.raw import installation
from crm_attribution.preflight import machine, register
from crm_attribution.preflight.check import check
from crm_attribution.preflight.portal import wanted
from crm_attribution.preflight.rules import portal as rule
from crm_attribution.privacy.retention import RETENTION
from crm_attribution.raw.reading import StreamReport
from crm_attribution_tests.pages import ROOT
from crm_attribution_tests.pipeline.project import SAMPLE_MAPPING, SAMPLE_PORTAL
from crm_attribution_tests.sandbox_process import Sandbox
from crm_attribution_tests.snapshots import PRIVACY, PRIVACY_TEXT

pytestmark = pytest.mark.sandbox

NOW = "2026-03-13T12:00:00Z"
ACCOUNT = "507404993"
STREAMS = "streams: {meetings: on, calls: on, marketing_events: on, campaigns: on, campaign_revenue: on}\n"
RULES = mapping.load(SAMPLE_MAPPING)
MICROSOFT = "  microsoft: {conversions: [{milestone: customer_won, action: Customer won, value: arr}]}\n"
CONSENT = [{"value": value, "label": value, "hidden": False} for value in ("granted", "denied")]

Look = Callable[..., dict[str, Finding]]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start(SAMPLE_PORTAL, NOW) as running:
        running.set_properties("contacts", add=[{"name": "ad_consent", "type": "enumeration", "options": CONSENT}])
        yield running


@pytest.fixture
def look(sandbox: Sandbox, tmp_path: Path) -> Iterator[Look]:
    """Check an installation; what is not ok and was looked at, by name. All that a test takes away is put back."""
    sample = SAMPLE_MAPPING.read_text(encoding="utf-8").replace("\ndestinations:\n", f"\ndestinations:\n{MICROSOFT}")
    (tmp_path / "mapping.yaml").write_text(sample + STREAMS, encoding="utf-8")

    def look(rules: str = "", **changes: str) -> dict[str, Finding]:
        file = tmp_path / "mapping.yaml"
        if rules:
            file = tmp_path / "changed.yaml"
            file.write_text(rules, encoding="utf-8")
        own = {"CRM_ATTRIBUTION_DATA_DIR": str(tmp_path / "data"), "CRM_ATTRIBUTION_MAPPING": str(file)}
        env = {**sandbox.env, "LINKEDIN_ACCOUNT_ID": ACCOUNT, **own, **changes}
        found = check(configuration.load({name: text for name, text in env.items() if text}))
        return {one.name: one for one in found if one.state in ("failed", "warning")}

    yield look
    sandbox.set_oauth(without=[], told=True)
    for platform in destinations():
        sandbox.set_up(platform, missing=[], disabled=[], mistyped=[])


def test_with_all_there_nothing_is_named(look: Look, sandbox: Sandbox):
    sandbox.reset_calls()
    received = {name: sandbox.received(name)["received"] for name in destinations()}
    assert look() == {}
    assert sandbox.calls()["total"] <= 20
    assert {name: sandbox.received(name)["received"] for name in destinations()} == received


# --- HubSpot

SCOPES = [need.scope for need in rule.needs(mapping.load())] + [
    "crm.objects.marketing_events.read",
    "marketing.campaigns.read",
    "marketing.campaigns.revenue.read",
]


@pytest.mark.parametrize("told", [True, False], ids=["listed", "tried"])
@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_that_is_missing_is_named(look: Look, sandbox: Sandbox, scope: str, told: bool):
    sandbox.set_oauth(without=[scope], told=told)
    found = look()
    assert list(found) == [f"HubSpot scope {scope}"]
    (finding,) = found.values()
    assert finding.state == "failed"
    assert f"add {scope} " in f"{finding.fix} "


def test_a_stream_that_is_off_needs_no_scope(look: Look, sandbox: Sandbox):
    sandbox.set_oauth(without=["content", "marketing.campaigns.read"])
    assert look(SAMPLE_MAPPING.read_text(encoding="utf-8") + "streams: {email_clicks: off}\n") == {}


def test_the_scopes_of_an_app_are_introspected(look: Look, sandbox: Sandbox, tmp_path: Path):
    app = {f"HUBSPOT_{name.upper()}": sandbox.oauth[name] for name in ("client_id", "client_secret")}
    env = {**app, "HUBSPOT_TOKEN_FILE": str(tmp_path / "tokens.json"), "HUBSPOT_ACCESS_TOKEN": ""}
    given = configuration.load({**sandbox.env, **{name: text for name, text in env.items() if text}})
    code = sandbox.set_oauth()["code"]
    file, endpoint = access.token_file(given), access.token_endpoint(given)
    oauth.authorize(file, endpoint, make_clock(given), code, sandbox.oauth["redirect_uri"])
    sandbox.reset_calls()
    assert look(**env) == {}
    assert sandbox.calls()["routes"]["POST /oauth/token/introspect"] == 1
    sandbox.set_oauth(without=["forms"])
    assert list(look(**env)) == ["HubSpot scope forms"]


def test_a_wrong_token_is_named_and_not_shown(look: Look):
    found = look(HUBSPOT_ACCESS_TOKEN="pat-na1-nobody")
    assert list(found) == ["HubSpot token"]
    assert "HUBSPOT_ACCESS_TOKEN" in found["HubSpot token"].found
    assert "nobody" not in str(found)


def test_missing_settings_are_named(look: Look):
    assert "HUBSPOT_ACCESS_TOKEN" in look(HUBSPOT_ACCESS_TOKEN="")["HubSpot token"].found


NAMED = [(kind, name) for kind in ("contacts", "companies", "deals") for name in wanted(RULES, kind)]


@pytest.mark.parametrize(("kind", "name"), NAMED, ids=lambda text: text)
def test_each_property_that_is_missing_is_named(look: Look, sandbox: Sandbox, kind: str, name: str):
    sandbox.set_properties(kind, remove=[name])
    try:
        found = look()
    finally:
        sandbox.set_properties(kind, add=[{"name": name, "options": CONSENT if name == "ad_consent" else []}])
    assert {name: one.state for name, one in found.items()} == {f"property {kind}.{name}": "warning"}


def test_a_misspelt_property_is_named_with_the_portal_s_own(look: Look):
    text = SAMPLE_MAPPING.read_text(encoding="utf-8")
    found = look(text + "identifiers: {phone: [mobilefone]}\nvalues: {mrr: {property: hs_mrrr}}\n")
    assert {name: one.found.partition("; ")[2] for name, one in found.items()} == {
        "property contacts.mobilefone": "did you mean mobilephone?",
        "property deals.hs_mrrr": "did you mean hs_mrr?",
    }


def test_pipelines_and_stages_are_compared(look: Look):
    text = SAMPLE_MAPPING.read_text(encoding="utf-8")
    found = look(text.replace('"7740021": renewal', '"7740022": renewal\n  stages: {closedwonn: deal_won}'))
    assert {name: one.state for name, one in found.items()} == {
        "pipeline 7740021": "failed",
        "pipeline 7740022": "warning",
        "deal stage closedwonn": "warning",
    }
    assert found["pipeline 7740022"].found.endswith("did you mean 7740021?")
    assert found["deal stage closedwonn"].found.endswith("did you mean closedwon?")


@pytest.mark.parametrize(
    ("consent", "state"),
    [
        ("granted: [granted], denied: [denied]", None),
        ("granted: [Granted], denied: [no]", "warning"),
        ("granted: [opted_in], denied: [denied]", "failed"),
    ],
)
def test_options_of_the_consent_property(look: Look, consent: str, state: str | None):
    found = look(SAMPLE_MAPPING.read_text(encoding="utf-8") + f"consent: {{{consent}}}\n")
    assert [one.state for name, one in found.items() if name == "consent property ad_consent"] == [state] * bool(state)
    assert len(found) == bool(state)


def test_the_account_and_whose_data_directory_it_is():
    details = {"portalId": 7, "accountType": "STANDARD", "dataHostingLocation": "eu1", "companyCurrency": "EUR"}
    assert [one.state for one in rule.account(details, "650000", "7")] == ["ok"]
    assert "eu1 (EU)" in rule.account(details, None, None)[0].found
    assert worst(rule.account({**details, "accountType": "SANDBOX"}, None, None)) == "warning"
    assert worst(rule.account(details, None, "8")) == "failed"


@pytest.mark.parametrize(
    ("apart", "state"), [(60, "ok"), (61, "warning"), (-61, "warning"), (300, "warning"), (301, "failed")]
)
def test_the_clock_beside_hubspot_s(apart: int, state: str):
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert rule.clock(now + timedelta(seconds=apart), now).state == state
    assert rule.clock(now, None).state == "cannot be checked"


# --- platforms


@pytest.mark.parametrize(
    ("platform", "name", "lack", "which"),
    [
        ("meta", "dataset 1234567890123456", "missing", "1234567890123456"),
        ("meta", "dataset 1234567890123456", "disabled", "1234567890123456"),
        ("linkedin", f"account {ACCOUNT}", "disabled", ACCOUNT),
        *(
            ("linkedin", f"action {action}", lack, action)
            for action in ("104001", "104002", "104003", "104004")
            for lack in ("missing", "disabled", "mistyped")
        ),
        *(
            ("google", f"action {action}", lack, action)
            for action in ("7081230001", "7081230002")
            for lack in ("missing", "mistyped")
        ),
        *(("microsoft", "action Customer won", lack, "Customer won") for lack in ("missing", "disabled", "mistyped")),
    ],
)
def test_each_account_and_action_is_named(
    look: Look, sandbox: Sandbox, platform: str, name: str, lack: str, which: str
):
    sandbox.set_up(platform, **{lack: [which]})
    found = look()
    assert {named: one.state for named, one in found.items()} == {f"{platform}: {name}": "failed"}
    assert all(one.fix for one in found.values())


@pytest.mark.parametrize(("platform", "account"), [("linkedin", ACCOUNT), ("google", "4815162342")])
def test_an_account_that_is_not_there_stops_all_of_its_actions(
    look: Look, sandbox: Sandbox, platform: str, account: str
):
    sandbox.set_up(platform, missing=[account])
    found = look()
    actions = {rule.action for rule in RULES.destinations[platform].conversions}
    assert {f"{platform}: action {action}" for action in actions} <= set(found)
    assert all(name.startswith(f"{platform}: ") for name in found)


@pytest.mark.parametrize(
    "setting",
    [
        one.name
        for each in destinations().values()
        if each.plans_from == "milestones"  # what writes to HubSpot is off: delivery/test_told_setup.py
        for one in each.required
        if one.secret
    ],
)
def test_each_token_of_a_platform_is_named(look: Look, setting: str):
    found = look(**{setting: "nobody-knows-it"})
    assert {name.partition(":")[0].upper() for name in found} == {setting.partition("_")[0]}
    assert all(one.state == "failed" for one in found.values())
    assert "nobody-knows-it" not in str(found)


@pytest.mark.parametrize("setting", [one.name for each in destinations().values() for one in each.required])
def test_each_setting_of_a_platform_that_is_missing_is_named(look: Look, setting: str):
    found = look(**{setting: ""})
    (name,) = found or [""]
    required = [each for each in destinations().values() if any(one.name == setting for one in each.required)]
    if len(required[0].required) == 1:
        assert found == {}  # nothing of it is set: it is not in use
    else:
        assert name == f"{required[0].name}: use"
        assert setting in found[name].found


def test_without_its_account_linkedin_cannot_be_checked(sandbox: Sandbox, tmp_path: Path):
    env = {**sandbox.env, "CRM_ATTRIBUTION_DATA_DIR": str(tmp_path), "CRM_ATTRIBUTION_MAPPING": str(SAMPLE_MAPPING)}
    found = [one for one in check(configuration.load(env)) if one.name.startswith("linkedin: ")]
    assert {one.state for one in found} == {"cannot be checked"}
    assert all("LINKEDIN_ACCOUNT_ID" in one.fix for one in found)


def test_a_platform_that_does_not_answer_says_nothing_of_the_installation(look: Look, sandbox: Sandbox):
    sandbox.faults([{"route": "GET /meta/*", "kind": "503"}])
    try:
        assert look() == {}
        assert "meta: dataset 1234567890123456" in look(META_BASE_URL="http://127.0.0.1:9")
    finally:
        sandbox.faults([])


# --- versions and machine

VERSIONS = [*API_VERSIONS, *(each.version for each in destinations().values() if each.version)]


@pytest.mark.parametrize("version", [one for one in VERSIONS if one.ends], ids=lambda one: one.api)
def test_each_version_is_named_before_and_after_its_end(version: Any):
    end = datetime.combine(version.ends, datetime.min.time(), UTC)
    name = f"{version.api}: version {version.version}"
    states = {
        days: next(one.state for one in machine.versions(end - timedelta(days=days)) if one.name == name)
        for days in (91, 90, 1, 0, -400)
    }
    assert states == {91: "ok", 90: "warning", 1: "warning", 0: "failed", -400: "failed"}


def test_a_version_that_the_platform_has_ended_is_named(look: Look, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("crm_attribution.destinations.linkedin.API_VERSION", "202511")
    found = look()
    assert f"linkedin: account {ACCOUNT}" in found
    assert all("426" in one.found for one in found.values())


def test_the_data_directory(look: Look, tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert list(look()) == ["data directory"]
    folder.chmod(0o700)
    assert look() == {}
    if os.geteuid():
        folder.chmod(0o500)
        assert look()["data directory"].state == "failed"


def test_the_disk(look: Look, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "ROOM", 2**60)
    assert look()["disk"].state == "warning"
    monkeypatch.setattr(machine, "LEAST", 2**60)
    assert look()["disk"].state == "failed"


def test_a_ledger_in_safe_mode_is_named(look: Look, tmp_path: Path):
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "ledger.mark").write_text("not a mark", encoding="utf-8")
    found = look()
    assert "ledger recover" in found["delivery ledger"].fix


def test_a_mapping_that_cannot_be_read_is_named(look: Look):
    assert "there is no such entry" in look("valuess: {}\n")["mapping"].found


# --- what people and Dagster see


def test_the_command_and_its_exit_code(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Look):
    del look  # puts back what is taken away
    for name, text in {**sandbox.env, "LINKEDIN_ACCOUNT_ID": ACCOUNT}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("CRM_ATTRIBUTION_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CRM_ATTRIBUTION_MAPPING", str(SAMPLE_MAPPING))
    told = CliRunner().invoke(main, ["preflight", "--json"])
    assert told.exit_code == 0, told.output
    answer = json.loads(told.stdout)
    assert answer["state"] == "ok"
    assert set(answer["checks"][0]) == {"name", "state", "found", "fix"}
    sandbox.set_oauth(without=["forms"])
    told = CliRunner().invoke(main, ["preflight"])
    assert told.exit_code == 1
    assert "1 failed" in told.stdout
    assert not (tmp_path / "data").exists(), "nothing is written"


def test_no_secret_is_in_what_is_shown(sandbox: Sandbox, tmp_path: Path):
    env = {**sandbox.env, "CRM_ATTRIBUTION_DATA_DIR": str(tmp_path), "CRM_ATTRIBUTION_MAPPING": str(SAMPLE_MAPPING)}
    given = configuration.load(env)
    shown = json.dumps([vars(one) for one in check(given)])
    assert [secret for secret in given.secrets() if secret in shown] == []


@pytest.mark.parametrize(
    ("findings", "passed"),
    [
        ([], True),
        ([Finding("a", "ok", "")], True),
        ([Finding("a", "warning", "w", "f")], True),
        ([Finding("a", "cannot be checked", "")], True),
        ([Finding("a", "warning", ""), Finding("b", "failed", "")], False),
        (None, False),
    ],
)
def test_the_check_of_the_asset_fails_only_for_what_failed(findings: list[Finding] | None, passed: bool):
    _, judge = installation()
    assert judge(StreamReport(findings=findings)).passed is passed


# --- the register of what leaves


def test_the_register_is_current():
    """`make snapshots` rewrites it."""
    assert PRIVACY.read_text(encoding="utf-8") == PRIVACY_TEXT


def test_personal_data_leave_as_hashes_only():
    made = register.register(RULES)
    plain = {
        (one.name, sent.what)
        for one in made.recipients
        for sent in one.sent
        if sent.form == "as it is" and sent.what in ("e-mail address", "phone", "first name", "last name", "person id")
    }
    assert plain == set()
    assert {(one.name, sent.what) for one in made.recipients for sent in one.sent} >= {
        ("meta", "phone"),
        ("google", "e-mail address"),
        ("linkedin", "click id"),
    }


def test_every_table_that_names_a_person_has_its_end_in_the_register():
    naming = re.compile(r"contact_ids?|person_id|(additional_)?emails?(_normalised)?|identifier|recipient|first_name")
    tables = {name for name, one in CONTRACTS.items() if any(naming.fullmatch(column.name) for column in one.columns)}
    erased = set(re.findall(r'"((?:raw|identity|attribution)\.[a-z_]+)"', _source("erase")))
    assert tables | erased <= set(RETENTION)
    assert set(RETENTION) <= set(CONTRACTS)


def _source(module: str) -> str:
    return (ROOT / "crm_attribution" / "privacy" / f"{module}.py").read_text(encoding="utf-8")
