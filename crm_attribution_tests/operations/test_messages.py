"""What a person reads when something is wrong: the place, the cause and what to do, never a traceback or a secret."""

from __future__ import annotations

import re

import pytest

from crm_attribution_tests.orchestration import commands
from crm_attribution_tests.orchestration.commands import ACCOUNT, FIRST, LATER, READING_THE_PORTAL
from crm_attribution_tests.pipeline.project import Project
from crm_attribution_tests.sandbox_process import Sandbox

pytestmark = pytest.mark.pipeline

OTHER_PORTAL = {"portalId": 2000002, "timeZone": "UTC", "companyCurrency": "EUR"}


@pytest.fixture(scope="module")
def sandbox():
    with commands.sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def begun(sandbox, tmp_path_factory) -> Project:
    """A data directory whose portal and START are settled."""
    project = commands.project(tmp_path_factory.mktemp("begun"), sandbox)
    project.hours(*FIRST[1::2], *ACCOUNT)
    return project


@pytest.fixture
def project(begun, sandbox, tmp_path) -> Project:
    """Another directory, with nothing in it but an initialised Dagster home."""
    return commands.copy_home(begun, commands.project(tmp_path, sandbox))


def refused(project: Project, *arguments: str, **env: str) -> str:
    """The message of a command that fails as it should; its whitespace in one line."""
    done = project.command(*arguments, **env)
    message = done.stdout + done.stderr
    assert done.returncode == 1, message
    assert done.stdout == ""
    assert "Traceback" not in message
    assert "Error: " in done.stderr
    secrets = [value for name, value in project.env.items() if name.endswith("_TOKEN") and value]
    assert [secret for secret in secrets if secret in message] == []
    assert not re.search(r"[\w.]+@[\w.]+\.example", message)
    return " ".join(done.stderr.split())


def test_missing_settings_are_named_together_with_where_to_get_them(project):
    message = refused(project, "backfill", *FIRST, *ACCOUNT, HUBSPOT_ACCESS_TOKEN="", CLICKS_TOKEN="")
    assert "HUBSPOT_ACCESS_TOKEN: HubSpot: Development > Keys > Service keys" in message
    assert "CLICKS_TOKEN: your link service's API settings" in message
    assert "--env-file" in message


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        ({"kind": "401"}, ["401", "check HUBSPOT_ACCESS_TOKEN"]),
        ({"kind": "401_expired"}, ["the access token has expired", "HUBSPOT_ACCESS_TOKEN"]),
        (
            {"kind": "403", "scope": "crm.objects.deals.read"},
            ["403", "missing scope crm.objects.deals.read", "the app behind HUBSPOT_ACCESS_TOKEN"],
        ),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_hubspot_refuses_the_token(project, sandbox: Sandbox, fault, wanted):
    sandbox.faults([{"route": READING_THE_PORTAL, **fault}])
    try:
        message = refused(project, "backfill", *FIRST, *ACCOUNT)
        (struck,) = sandbox.faults()
    finally:
        sandbox.faults([])
    assert all(text in message for text in wanted), message
    assert struck["hits"] == 1, "a person must act: asking again changes nothing"


def test_a_wrong_mapping_names_file_line_and_path(project):
    rules = project.data_dir / "rules.yaml"
    rules.write_text("attribution:\n  models:\n    - first_touch\n    - twist\nnonsense: 1\n", encoding="utf-8")
    message = refused(project, "status", CRM_ATTRIBUTION_MAPPING=str(rules))
    assert f"{rules}, line 4: attribution.models.1: no such attribution model; there are " in message
    assert f"{rules}, line 5: nonsense: there is no such entry; there are version, properties, " in message


def test_a_wrong_mapping_stops_a_run_with_the_same_words(project):
    rules = project.data_dir / "rules.yaml"
    rules.write_text("attribution: [\n", encoding="utf-8")
    message = refused(project, "backfill", *FIRST, *ACCOUNT, CRM_ATTRIBUTION_MAPPING=str(rules))
    assert message.startswith(f"Error: {rules}, line 2: not YAML")


def test_a_data_directory_of_another_portal(begun):
    first = commands.START
    with commands.sandbox([{"at": first, "op": "account", "account": OTHER_PORTAL}]) as other:
        message = refused(begun, "backfill", *FIRST, *ACCOUNT, **other.env)
    assert "belongs to HubSpot portal 1000001, the token is for portal 2000002" in message
    assert "CRM_ATTRIBUTION_DATA_DIR" in message


def test_a_data_directory_of_another_start(begun):
    message = refused(begun, "backfill", *FIRST, *ACCOUNT, CRM_ATTRIBUTION_START="2026-03-08T00:00:00Z")
    assert f"begun with CRM_ATTRIBUTION_START={commands.START}, now it is 2026-03-08T00:00:00Z" in message


def test_a_later_hour_on_an_empty_warehouse_hints_at_the_first(project):
    message = refused(project, "backfill", *LATER, *ACCOUNT)
    assert "2026-03-09T01:00:00Z is not its first hour" in message
    assert "2026-03-09-00:00 first, it loads the whole history" in message


def test_an_hour_that_is_not_over_is_refused(begun):
    """Run by a typing mistake, an hour of next year would move what is known as of now there for good."""
    years = ("--from", "2027-03-09T01:00:00Z", "--to", "2027-03-09T02:00:00Z")
    message = refused(begun, "backfill", *years, *ACCOUNT)
    assert "the hour 2027-03-09-01:00 (UTC) is not over: it is 2026-03-10T00:00:00Z" in message
    assert "the newest hour that can be run is 2026-03-09-23:00" in message


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        ("2026-03-09T00:30:00Z", "2026-03-09T02:00:00Z", "the range needs full hours, --from before --to"),
        ("2026-03-09T02:00:00Z", "2026-03-09T02:00:00Z", "the range needs full hours, --from before --to"),
        ("2026-03-08T02:00:00Z", "2026-03-09T02:00:00Z", "the first hour is 2026-03-09T00:00Z"),
    ],
    ids=["half an hour", "nothing", "before the start"],
)
def test_a_range_that_is_none(project, start, end, wanted):
    assert wanted in refused(project, "backfill", "--from", start, "--to", end)


@pytest.mark.parametrize(
    ("select", "wanted"),
    [('key:"raw/nothing"', "names no asset"), ("group:(", "cannot be read; it is Dagster's selection syntax, such as")],
)
def test_a_selection_that_is_none(project, select, wanted):
    assert wanted in refused(project, "backfill", *FIRST, "--select", select)


def test_what_cannot_be_read_is_refused_before_anything_starts(project):
    message = refused(
        project, "status", CRM_ATTRIBUTION_START="noon", CRM_ATTRIBUTION_SEND="maybe", CRM_ATTRIBUTION_LOCK_WAIT="long"
    )
    assert "CRM_ATTRIBUTION_START: not an ISO 8601 timestamp" in message
    assert "CRM_ATTRIBUTION_SEND: must be on or off" in message
    assert "CRM_ATTRIBUTION_LOCK_WAIT: must be whole seconds" in message


def test_an_env_file_with_a_broken_line_names_it_and_does_not_show_it(project):
    path = project.data_dir / "settings.env"
    path.write_text(f"# settings\nCLICKS_TOKEN=x\n{project.env['HUBSPOT_ACCESS_TOKEN']}\n", encoding="utf-8")
    assert refused(project, "--env-file", str(path), "status") == f"Error: {path}, line 3: expected NAME=value"


def test_an_instant_that_is_none_is_a_wrong_usage(project):
    done = project.command("backfill", "--from", "yesterday", "--to", "2026-03-09")
    assert done.returncode == 2
    assert "'yesterday' is not an ISO 8601 timestamp, e.g. 2026-03-12T09:00:00Z" in " ".join(done.stderr.split())


def test_status_before_the_first_run_says_so_and_makes_nothing(project, tmp_path_factory, sandbox):
    empty = commands.project(tmp_path_factory.mktemp("empty"), sandbox)
    answer = empty.run("status")
    assert answer["warehouse"] == "empty: materialize the first hour"
    assert answer["run_lock"] == "free"
    assert answer["finance_as_of"] is None
    assert list(empty.data_dir.iterdir()) == []


def test_a_start_in_the_future_is_refused(project):
    later = ("--from", "2999-01-01T00:00:00Z", "--to", "2999-01-01T01:00:00Z", "--force")
    said = refused(project, "backfill", *later, CRM_ATTRIBUTION_START="2999-01-01T00:00:00Z")
    assert "the first hour is 2999-01-01T00:00:00Z (CRM_ATTRIBUTION_START) and is not over: it is " in said
