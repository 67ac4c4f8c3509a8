"""A contact is erased: no byte of it is left, nobody else loses a row, and no sum finance reads changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import polars as pl
import pytest

from crm_attribution.conversions import plan as conversions
from crm_attribution.errors import ConfigurationError
from crm_attribution.orchestration.assets import privacy as privacy_asset
from crm_attribution.privacy import going_on
from crm_attribution.raw.tombstones import tombstones
from crm_attribution_tests.flow.chain import differences
from crm_attribution_tests.helpers import at
from crm_attribution_tests.privacy.installation import (
    BOBS,
    EMAIL,
    NOW,
    PERSONAL,
    SHARED,
    Installation,
    facebook_hash,
    installation,
)  # fmt: skip

pytestmark = pytest.mark.sandbox

OTHERS = {
    "raw.contact": "id IN (21, 31)",
    "raw.company": "true",
    "raw.deal": "true",
    "raw.property_history": "object_id NOT IN (11, 12, 13) OR object_type <> 'contacts'",
    "raw.association": "from_id IN (21, 31) OR to_id IN (21, 31, 41) AND from_id NOT IN (11, 12, 13)",
    "raw.form_submission": f"email IN ('bob@quelle.example', '{SHARED}')",
    "raw.link_click": "contact_id = 21",
    "raw.email_click": "recipient = 'bob@quelle.example'",
    "raw.offline_touch": "contact_id = 21",
    "raw.identify": "contact_id = 21",
    "conversions.told_record": "record_id = 21",
    "quarantine.identify": "key = 'f3:told:contacts:x'",
    "raw.activity": "id = 'his'",
    "raw.webhook_event": "event_key IN ('w4', 'w5', 'w6')",
    "identity.edge": "contact_id IN (21, 31)",
    "identity.alias": "identifier IN ('21', '31', 'bob@quelle.example', 'carla@ufer.example')",
    "identity.membership": "contact_id IN (21, 31)",
    "identity.click": "contact_id = 21",
    "identity.email_click": "contact_id = 21",
    "events.event": "object_id NOT IN (11, 12, 13)",
    "attribution.touch": "contact_id = 21",
}
"""What is of others, row by row."""

SUMS = {
    "money": "SELECT milestone, measure, currency, model, sum(credit) FROM marts.revenue_attribution"
    " WHERE measure <> 'count' GROUP BY ALL ORDER BY ALL",
    "wins": "SELECT model, sum(credit) FROM marts.revenue_attribution WHERE measure = 'count'"
    " AND milestone = 'customer_won' GROUP BY ALL ORDER BY ALL",
    "deals": "SELECT * EXCLUDE (linked_events) FROM marts.milestone WHERE deal_id IS NOT NULL"
    " AND milestone <> 'opportunity_created' ORDER BY ALL",
    "value": "SELECT * FROM marts.account_value ORDER BY ALL",
    "pipeline": "SELECT * EXCLUDE (entry_channel, entry_source, entry_campaign) FROM marts.pipeline ORDER BY ALL",
}
"""What the touches that are gone had brought may have another channel; no outcome and no amount goes."""


class Story:
    """The installation before and after one erasure."""

    def __init__(self, of: Installation) -> None:
        self.installation = of
        self.before = self.look()
        self.person = of.sql("SELECT person_id FROM identity.alias WHERE identifier = '13'")[0][0]
        self.ledger = of.rows("conversions.conversion")
        self.figures = of.erase()
        self.after = self.look()

    def look(self) -> dict[str, Any]:
        return {
            "bytes": self.installation.found(PERSONAL),
            "others": {name: self.installation.rows(name, where) for name, where in OTHERS.items()},
            "sums": {name: finance(self.installation, sql) for name, sql in SUMS.items()},
        }


def finance(of: Installation, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(of.chain.warehouse.finance_path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with installation(tmp_path_factory.mktemp("privacy")) as made:
        yield Story(made)


def test_every_value_was_there_to_be_found(story: Story) -> None:
    assert [value for value, files in story.before["bytes"].items() if "warehouse.duckdb" not in files] == []
    assert {"one.ndjson", "two.csv", "three.parquet", "waiting.ndjson"} <= {
        name for files in story.before["bytes"].values() for name in files
    }


def test_no_file_of_the_data_directory_holds_a_byte_of_it(story: Story) -> None:
    assert {value: files for value, files in story.after["bytes"].items() if files} == {}
    assert story.installation.found([facebook_hash()])[facebook_hash()] == []


def test_nobody_else_loses_a_row(story: Story) -> None:
    assert all(rows for rows in story.before["others"].values())
    for name, rows in story.before["others"].items():
        assert story.after["others"][name] == rows, name


def test_who_met_somebody_met_them_still_and_a_fair_forgets(story: Story) -> None:
    met = story.installation.sql("SELECT id, contact_ids FROM raw.activity ORDER BY id")
    assert met == [("both", [21]), ("his", [21])]
    assert story.installation.sql("SELECT touch_id FROM raw.offline_touch") == [("f3",)]
    assert story.installation.sql("SELECT subject FROM conversions.told_record") == [("contacts:21",)]
    assert story.installation.sql("SELECT key FROM quarantine.identify") == [("f3:told:contacts:x",)]


def test_what_finance_adds_up_stays(story: Story) -> None:
    assert all(rows for rows in story.before["sums"].values())
    assert story.after["sums"] == story.before["sums"]


def test_the_person_lives_on_without_an_identifier_where_another_contact_is_the_person(story: Story) -> None:
    """Carla shares an e-mail with Anna, so they were one person; she keeps it."""
    people = story.installation.sql("SELECT identifier_type, identifier FROM identity.alias ORDER BY ALL")
    assert ("contact", "31") in people
    assert not {one for _, one in people} & {"11", "12", "13", EMAIL}
    assert story.installation.rows("identity.person", f"person_id = '{story.person}'")


def test_tombstones_stay_for_every_id_and_say_when(story: Story) -> None:
    found = story.installation.sql("SELECT object_id, kind, source, erased_at FROM raw.deletion ORDER BY object_id")
    assert found == [(number, "privacy", "webhook", at(NOW)) for number in (11, 12, 13)]
    with story.installation.chain.warehouse.session() as session:
        assert tombstones(session, "contacts", [13, 11, 21]) == {13, 11}
        assert tombstones(session, "deals", [13]) == set()


def test_the_ledger_keeps_its_keys_states_and_amounts(story: Story) -> None:
    columns = ("conversion_id", "destination", "state", "value", "currency", "occurred_at")
    kept = story.installation.sql(f"SELECT {', '.join(columns)} FROM conversions.conversion WHERE state = 'accepted'")
    assert len(kept) == 4
    meta = "SELECT touch_id FROM conversions.conversion WHERE state = 'accepted' AND destination = 'meta'"
    touch = story.installation.sql(meta)[0][0]
    assert touch.startswith("erased:")
    assert {row[0] for row in story.installation.rows("conversions.conversion")} == {row[0] for row in story.ledger}


def test_the_deal_that_carries_the_fact_now_is_not_sent_again(story: Story) -> None:
    """The opportunity went to the platform as Anna's stage change; the deal that adopted it tells it now."""
    now_told = story.installation.sql(
        "SELECT milestone_id FROM events.milestone WHERE milestone = 'opportunity_created'"
    )
    assert [name.startswith("deal_51_") for (name,) in now_told] == [True]
    with story.installation.chain.warehouse.session() as session:
        conversions.update(
            session,
            story.installation.chain.ledger,
            story.installation.chain.mapping,
            story.installation.pipeline.settings,
            at(NOW),
        )
    planned = story.installation.sql("SELECT state FROM conversions.conversion WHERE milestone = 'opportunity_created'")
    assert planned == [("accepted",)]


def test_an_unsent_conversion_of_a_stage_that_is_gone_is_suppressed(story: Story) -> None:
    """Her lead stages were hers alone: an address she shared with Carla once joins no two who each have their own."""
    found = story.installation.sql(
        "SELECT milestone, state FROM conversions.conversion WHERE reason = 'erased' ORDER BY 1"
    )
    assert found == [(name, "suppressed") for name in ("lead_captured", "link_click", "qualified_lead")]


def test_files_keep_what_is_of_others(story: Story) -> None:
    archive = story.installation.inbox / "archive" / "clicks"
    lines = (archive / "one.ndjson").read_text().splitlines()
    assert lines == [json.dumps(BOBS), "no json, but bob"]
    header, bobs, other = (archive / "two.csv").read_text().splitlines()
    assert dict(zip(header.split(","), bobs.split(","), strict=True)) == {**BOBS, "gclid": ""}
    assert other == "lines of another length, but bob"
    assert pl.read_parquet(archive / "three.parquet")["contact_id"].to_list() == ["21"]
    assert (story.installation.inbox / "clicks" / "waiting.ndjson").read_text() == json.dumps(BOBS)
    for folder in (story.installation.inbox, story.installation.inbox / "archive"):
        delivery = json.loads((folder / "webhooks" / "hook.json").read_text())
        assert [(e["subscriptionType"], e["objectId"]) for e in json.loads(delivery["body"])] == [
            ("contact.propertyChange", 21),
            ("contact.privacyDeletion", 13),
        ]
    assert not (story.installation.inbox / "webhooks" / "post.json").exists()
    assert not (archive / "only.csv").exists()
    assert not (archive / "unknown.txt").exists()
    assert not (archive / "wide.csv").exists()


def test_the_report_counts_and_names_nobody(story: Story) -> None:
    figures = story.figures
    assert figures["contacts erased"] == 1
    assert figures["ids with merged ones"] == 3
    assert figures["rows: raw.webhook_event"] == 3
    assert figures["inbox files rewritten"] == 6
    assert figures["inbox files deleted"] == 4
    assert not [value for value in PERSONAL if value in json.dumps(figures)]


def test_a_rebuild_gives_what_the_erasure_left(story: Story) -> None:
    chain = story.installation.chain
    before = chain.dump()
    chain.rebuild()
    assert differences(before, chain.dump()) == []


def test_a_second_run_finds_nothing_to_do(story: Story) -> None:
    files = {path: path.stat().st_mtime_ns for path in story.installation.data.rglob("*.duckdb")}
    left = story.installation.data / going_on.FILE
    left.write_text("{}", encoding="utf-8")
    assert story.installation.erase() == {"contacts erased": 0}
    assert not left.exists()
    assert {path: path.stat().st_mtime_ns for path in story.installation.data.rglob("*.duckdb")} == files


def test_erased_once_more_by_a_person_it_changes_no_row(story: Story) -> None:
    before = story.installation.chain.dump()
    story.installation.erase("13")
    assert differences(before, story.installation.chain.dump()) == []


@pytest.mark.parametrize(
    ("contacts", "said"),
    [(["21"], "confirm"), (["999"], "known here"), (["a@b.example"], "numbers")],
)
def test_a_person_confirms_ids_that_are_known(story: Story, contacts: list[str], said: str) -> None:
    from crm_attribution.orchestration.assets.privacy import erase_waiting

    with pytest.raises(ConfigurationError, match=said) as caught:
        erase_waiting(story.installation.pipeline, contacts, confirmed=said != "confirm")
    assert "a@b.example" not in str(caught.value)


def cut_off(_: object) -> None:
    raise KeyboardInterrupt


def test_an_erasure_that_is_cut_off_goes_on_with_what_it_looked_for(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are gone by then: only the file says what else to look for."""
    of = story.installation
    email = "bob@quelle.example"
    with monkeypatch.context() as patch:
        patch.setattr(privacy_asset, "rewrite_marts", cut_off)
        with pytest.raises(KeyboardInterrupt):
            of.erase("21")
    assert of.rows("raw.contact", "id = 21") == []
    assert (of.data / going_on.FILE).stat().st_mode & 0o777 == 0o600
    (of.inbox / "archive" / "clicks" / "late.txt").write_text(f"call {email}", encoding="utf-8")
    assert of.erase()["contacts erased"] == 1
    assert of.found([email]) == {email: []}
    assert not (of.data / going_on.FILE).exists()
