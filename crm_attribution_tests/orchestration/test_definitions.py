"""What Dagster shows of the project, with nothing in the environment: a fresh clone must load and look like this."""

from __future__ import annotations

import re
from typing import Any

import pytest

from crm_attribution_tests.snapshots import inventory, snapshots

pytestmark = pytest.mark.pipeline

RAW = {
    **{f"raw/{name}": "raw/records" for name in ("contact", "company", "deal", "property_history", "association")},
    **{f"raw/{name}": "raw/records" for name in ("merge", "deletion", "missing")},
    **{f"raw/{name}": "raw/set_up" for name in ("account", "owner", "pipeline_stage", "stage_meaning")},
    **{f"raw/{name}": "raw/set_up" for name in ("form", "property", "property_drift")},
}
TABLES = {"raw", "identity", "events", "attribution", "conversions", "staging", "marts"}
ONLY_CHECKED = {
    "conversions/told_record",
    "conversions/trait",
    "conversions/audience_event",
    "raw/association",
    "raw/deletion",
    "raw/merge",
    "raw/property_history",
    "raw/property_drift",
    "raw/stage_meaning",
    "delivery/attempt",
    "delivery/quality",
    "delivery/receipt",
    "delivery/replay",
    "finance/period",
}
"""Written by others in their own transaction; these assets check and count the whole table, whatever the hour."""

PUBLISHED = {"finance/publication", "finance/report"}
DAILY = {"raw/missing", "raw/closed_won"}
"""Made by the job `reconcile`."""


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    return inventory()


@pytest.fixture(scope="module")
def assets(seen) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = seen["assets"]
    return found


def test_nothing_warns(seen):
    assert seen["warnings"] == []


def test_what_follows_from_the_code_is_as_people_know_it(seen):
    """Bookmarks, selections and the history of runs hang on asset keys and checks; pages list what there is.

    `make snapshots` rewrites the files, on purpose.

    A check is `asset:check`, with `(blocking)` where a failure stops what comes after.
    """
    wanted = snapshots(seen)
    assert {path.name: path.read_text(encoding="utf-8") for path in wanted} == {p.name: t for p, t in wanted.items()}


def test_every_check_says_what_it_means(seen):
    assert [name for name, check in seen["checks"].items() if not check["description"]] == []


@pytest.mark.parametrize("fact", ["description", "owners", "kinds", "group", "links"])
def test_every_asset_introduces_itself(assets, fact):
    assert [key for key, asset in assets.items() if not asset[fact]] == []


def test_no_description_has_what_the_catalog_reads_as_html(seen, assets):
    """`company:<id>` is shown as `company:`."""
    checks = {name: check["description"] or "" for name, check in seen["checks"].items()}
    texts = {(key, text) for key, asset in assets.items() for text in asset["texts"]} | set(checks.items())
    assert len(texts) > 500
    assert [place for place in texts if re.search(r"<[^\s=\d]", place[1])] == []


def schema(key: str) -> str:
    return key.partition("/")[0]


def test_the_group_is_the_schema_raw_in_parts(assets):
    apart = {key: asset["group"] for key, asset in assets.items() if asset["group"] != schema(key)}
    others = {key for key in assets if schema(key) == "raw"} - set(RAW)
    assert {"raw/form_submission", "raw/email_click", "raw/webhook_event"} < others, "and every source"
    assert apart == RAW | dict.fromkeys(others, "raw/streams")


def test_figures_have_those_who_read_them_as_owners(assets):
    """Engineers keep everything running; a figure has somebody besides them who says what is right."""
    assert [key for key, asset in assets.items() if "team:data-engineering" not in asset["owners"]] == []
    alone = {schema(key) for key, asset in assets.items() if len(asset["owners"]) == 1}
    assert alone - {"marts"} == {"raw", "staging", "identity"}, "a mart may name no audience"
    assert assets["marts/account_value"]["owners"] == ["team:finance", "team:data-engineering"]
    assert assets["delivery/meta"]["owners"] == ["team:marketing", "team:data-engineering"]


def test_every_asset_leads_to_its_page_and_its_sql(assets):
    page = ["dagster/code_references", "documentation"]
    wanted = {key: [*page, "sql"] if schema(key) in ("staging", "marts") else page for key in assets}
    assert {key: asset["links"] for key, asset in assets.items()} == wanted


def test_the_settings_in_force_stand_at_the_portal_and_at_what_is_sent(assets):
    portal = assets["raw/account"]["settings"]
    assert {name: portal[name] for name in ("first hour", "clock", "mapping file", "mapping version")} == {
        "first hour": "2026-01-01T00:00:00Z",
        "clock": "wall",
        "mapping file": "none: as shipped",
        "mapping version": "1",
    }
    assert portal["data directory"].endswith("/data")
    assert portal["sends to meta"].startswith("nothing: not configured: META_ACCESS_TOKEN")
    meta = assets["delivery/meta"]["settings"]
    assert meta["rule: customer_won"] == "Purchase, value arr, once per milestone"
    assert meta["send from"] == "2026-01-01T00:00:00Z"
    assert "account" not in meta


def test_every_table_shows_its_columns_each_with_a_description(assets):
    tables = {key: asset for key, asset in assets.items() if schema(key) in TABLES or key in ONLY_CHECKED}
    assert len(tables) > 40
    assert [key for key, asset in tables.items() if not asset["columns"]] == []
    assert {key: asset["undescribed"] for key, asset in tables.items() if asset["undescribed"]} == {}


def test_what_belongs_to_an_hour_has_hourly_utc_partitions_and_runs_ranges_as_one(assets):
    hourly = {key for key, asset in assets.items() if asset["partitions"]}
    whole = {key for key in assets if schema(key) in ("staging", "marts")} | {*PUBLISHED, *ONLY_CHECKED}
    assert hourly == set(assets) - whole - DAILY
    wanted = {"cron": "0 * * * *", "timezone": "UTC", "start": "2026-01-01T00:00:00+00:00"}
    assert [key for key in hourly if assets[key]["partitions"] != wanted] == []
    assert [key for key in hourly if not assets[key]["single_run"]] == []


def test_what_reads_sends_or_derives_is_tried_again(assets):
    # Retries are ours (`acting_on_errors`): Dagster applies a policy to a stop too, and the run goes on to success.
    assert {key for key, asset in assets.items() if asset["retries"]} == set()


def test_what_is_read_sent_and_published_goes_stale_visibly(assets):
    ends = {key for key in assets if schema(key) in ("raw", "delivery", "marts")} - ONLY_CHECKED | PUBLISHED
    assert {key for key, asset in assets.items() if asset["freshness"]} == ends


def test_one_job_runs_the_whole_chain(seen):
    assert seen["jobs"] == [
        *("close_month", "hourly", "inbox", "privacy_deletion", "provision", "reconcile", "reopen_month", "replay"),
    ]
    assert seen["job_assets"] == sorted(set(seen["assets"]) - DAILY)


def test_the_schedule_runs_the_hour_that_closed(seen):
    schedule = seen["schedule"]
    assert (schedule["cron"], schedule["timezone"], schedule["job"]) == ("5 * * * *", "UTC", "hourly")
    assert schedule["at 10:05"] == ["2026-03-01-09:00"]


def test_the_schedule_waits_for_a_person_to_turn_it_on(seen):
    """The first hour loads all history and must come first."""
    assert not seen["schedule"]["running"]


def test_one_process_executes_a_run_whoever_starts_it(seen):
    """Also what is materialized in the UI, which runs another job than ours."""
    assert seen["executors"] == {"definitions": "in_process", "job": "in_process"}


def test_the_sensors_run_by_themselves(seen):
    assert seen["sensors"] == {
        "dead_runs": True,
        "inbox_waiting": True,
        "privacy_requests": True,
        "tell_of_failures": True,
    }


def test_dependencies_lead_from_the_sources_to_what_people_read(assets):
    """No asset hangs in the air: everything but the portal and what the mapping says depends on something."""
    assert {key for key, asset in assets.items() if not asset["deps"]} == {"attribution/parameter", "raw/account"}
    assert {dep for asset in assets.values() for dep in asset["deps"]} <= set(assets)
