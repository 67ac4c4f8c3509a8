"""The settings in force are shown as a run finds them, and no secret among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_attribution import configuration
from crm_attribution.destinations import destinations
from crm_attribution.orchestration import in_force
from crm_attribution.settings import Settings
from crm_attribution_tests.orchestration import commands
from crm_attribution_tests.orchestration.commands import ACCOUNT, FIRST, START

SECRETS = {
    "HUBSPOT_ACCESS_TOKEN": "pat-hush-1",
    "META_ACCESS_TOKEN": "meta-hush-2",
    "LINKEDIN_ACCESS_TOKEN": "linkedin-hush-3",
    "CLICKS_TOKEN": "clicks-hush-4",
    "HUBSPOT_WEBHOOK_SECRET": "hook-hush-5",
    "CRM_ATTRIBUTION_ALERT_URL": "https://hooks.example/alert-hush-6",
    "HUBSPOT_BASE_URL": "https://proxy-user:proxy-hush-7@hubspot.example/base?key=query-hush-8",
}


def given(tmp_path: Path, **more: str) -> Settings:
    plain = {
        "CRM_ATTRIBUTION_DATA_DIR": str(tmp_path),
        "META_DATASET_ID": "77001",
        "CLICKS_BASE_URL": "https://c.example",
    }
    return configuration.load({**SECRETS, **plain, **more})


def everything(settings: Settings) -> dict[str, str]:
    rules = in_force.rules_in_force(settings)
    shown = in_force.shown(settings, rules)
    for name, destination in destinations().items():
        shown |= {f"{name}: {fact}": text for fact, text in in_force.sending(destination, settings, rules).items()}
    return shown


def test_no_secret_is_shown(tmp_path):
    text = "\n".join(everything(given(tmp_path)).values())
    assert "hush" not in text
    assert "proxy-user" not in text
    assert "https://hubspot.example/base" in text


def test_what_is_sent_where(tmp_path):
    shown = everything(given(tmp_path))
    assert shown["sends to meta"].split(", ")[0] == "lead_captured"
    assert shown["meta: account"] == "77001"
    assert shown["meta: rule: opportunity_created"] == "Opportunity, once per person"
    assert shown["sends to linkedin"] == "nothing: no conversions under destinations.linkedin in the mapping"


def test_sending_that_is_off_says_so(tmp_path):
    shown = everything(given(tmp_path, CRM_ATTRIBUTION_SEND="off"))
    off = "nothing: sending is switched off (CRM_ATTRIBUTION_SEND=off)"
    assert (shown["sends to meta"], shown["meta: sends"]) == (off, off)
    assert "meta: account" not in shown


@pytest.mark.parametrize("text", ["version: [1", "milestones: {echo_hours: -1}"])
def test_a_mapping_that_cannot_be_read_is_shown_with_its_reason(tmp_path, text):
    file = tmp_path / "mapping.yaml"
    file.write_text(text, encoding="utf-8")
    shown = everything(given(tmp_path, CRM_ATTRIBUTION_MAPPING=str(file)))
    assert shown["mapping version"].startswith("cannot be read: ")
    assert str(file) in shown["mapping version"]
    assert shown["sends to meta"] == "nothing: the mapping cannot be read"


@pytest.mark.sandbox
@pytest.mark.pipeline
def test_a_run_says_which_portal_it_read_by_which_settings(tmp_path):
    with commands.sandbox() as sandbox:
        project = commands.project(tmp_path, sandbox, CRM_ATTRIBUTION_SEND="off")
        facts = project.hours(*FIRST[1::2], *ACCOUNT)["tables"]["raw.account"]
        [[portal]] = project.warehouse("SELECT portal_id FROM raw.account")
    assert facts["portal"] == portal
    assert facts["data directory"] == str(tmp_path)
    assert facts["first hour"] == START
    assert facts["sends to meta"].endswith("(CRM_ATTRIBUTION_SEND=off)")
