"""A person's commands about the ledger: unknown rows decided, rejected ones planned again, a lost ledger recovered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from crm_attribution.cli import main
from crm_attribution.conversions import mirror
from crm_attribution.ledger import moves
from crm_attribution.ledger.store import Ledger
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.ledger.transitions import IllegalTransition
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox
from crm_attribution_tests.helpers import new_warehouse

pytestmark = pytest.mark.warehouse

ENV = {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "1"}


@dataclass
class Desk:
    """A data directory with conversions, and the command line on it."""

    outbox: Outbox

    def run(self, *arguments: str) -> Result:
        environment = {
            **ENV,
            "CRM_ATTRIBUTION_DATA_DIR": str(self.outbox.directory),
            "CRM_ATTRIBUTION_CLOCK": NOW.isoformat(),
        }
        return CliRunner().invoke(main, list(arguments), env=environment)

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    with new_warehouse(tmp_path / "data").session() as session:
        session.state.watermark = NOW
    outbox = Outbox(tmp_path / "data", ENV, SMALL["meta"], tag="")
    outbox.ledger.create()
    return Desk(outbox)


def test_unknown_conversions_are_decided_by_id_file_and_filter(desk: Desk, tmp_path: Path):
    keys = desk.outbox.plan(*"abcde", state="unknown", reason="no_answer")
    desk.outbox.change("d", reason="http_500")
    desk.outbox.change("e", reason="http_500", occurred_at=NOW - timedelta(days=3))
    desk.outbox.plan("sent", state="accepted")
    decided = ("resolve", "--destination", "meta", "--because", "seen in the event manager")
    assert desk.json(*decided, "--as", "accepted", "--id", "a")["ids"] == [keys[0]]
    file = tmp_path / "ids.txt"
    file.write_text(f"{keys[1]}\n\n c \n", encoding="utf-8")
    assert desk.json(*decided, "--as", "rejected", "--file", str(file))["resolved"] == 2
    assert desk.json(*decided, "--as", "retry", "--reason", "http_500", "--from", "2026-03-09")["resolved"] == 1
    told = desk.outbox.reasons()
    why = "decided: seen in the event manager"
    assert told == {
        "a": ("accepted", why), "b": ("rejected", why), "c": ("rejected", why), "d": ("retry", why),
        "e": ("unknown", "http_500"), "sent": ("accepted", None)}  # fmt: skip
    with desk.outbox.warehouse.session() as session:
        assert set(session.read(CONVERSION).select("state", "reason").rows()) == set(told.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--as", "accepted", "--because", "x"), "--all takes all of them"),
        (("--as", "accepted", "--because", "x", "--id", "sent"), "sent: no conversion of meta that is unknown"),
        (("--as", "again", "--because", "x", "--id", "a"), "a: no conversion of meta that is rejected"),
        (("--as", "accepted", "--id", "a"), "--because"),
    ],
)
def test_what_cannot_be_decided_is_refused_and_changes_nothing(desk: Desk, arguments: tuple[str, ...], message: str):
    desk.outbox.plan("a", state="unknown")
    desk.outbox.plan("sent", state="accepted")
    before = desk.outbox.rows()
    done = desk.run("resolve", "--destination", "meta", *arguments)
    assert done.exit_code != 0
    assert message in done.output
    assert desk.outbox.rows() == before


def test_an_unknown_destination_is_refused(desk: Desk):
    done = desk.run("resolve", "--destination", "mata", "--as", "retry", "--because", "x", "--all")
    assert (done.exit_code, "linkedin, meta, microsoft" in done.output) == (1, True)


def test_a_rejected_conversion_is_planned_again_as_a_revision_of_its_own(desk: Desk):
    (key,) = desk.outbox.plan("a", state="rejected", reason="no_such_rule", attempts=1, payload_hash="x")
    done = desk.json("resolve", "--destination", "meta", "--as", "again", "--because", "rule made", "--all")
    assert done["ids"] == [key]
    with desk.outbox.ledger.reading() as book:
        rows = book.read(CONVERSION).sort("revision")
    assert rows["state"].to_list() == ["rejected", "pending"]
    assert rows["revision"].to_list() == [0, 1]
    assert rows["conversion_id"].n_unique() == 2
    assert rows["attempts"].to_list() == [1, 0]
    assert rows["payload_hash"].to_list() == ["x", None]
    assert rows["value"].n_unique() == rows["occurred_at"].n_unique() == 1
    again = desk.json("resolve", "--destination", "meta", "--as", "again", "--because", "x", "--reason", "other")
    assert again["resolved"] == 0
    with desk.outbox.ledger.writing() as book, pytest.raises(IllegalTransition, match="newest revision"):
        moves.plan_again(book, rows.head(1), "x", NOW)


@pytest.mark.parametrize("what", ["gone", "garbage", "a folder"])
def test_a_lost_ledger_is_recovered_by_the_command_its_message_names(desk: Desk, what: str):
    desk.outbox.plan("a", "b", state="accepted")
    with desk.outbox.warehouse.session() as session:
        assert mirror.ready(session, desk.outbox.ledger) is None
    before = desk.outbox.rows()
    assert desk.json("ledger", "recover") == {"recovered": False, "reason": "the ledger is not in safe mode"}
    for path in desk.outbox.directory.glob("ledger.sqlite*"):
        path.unlink()
    if what == "garbage":
        (desk.outbox.directory / "ledger.sqlite").write_bytes(b"garbage" * 1000)
    elif what == "a folder":
        (desk.outbox.directory / "ledger.sqlite").mkdir()
    assert "safe mode" in desk.run("status").output
    refused = desk.run("release", "--destination", "meta", "--reason", "volume_guard")
    assert refused.exit_code == 1
    assert ("ledger.sqlite is gone" in refused.output) == (what == "gone")
    assert "crm-attribution ledger recover" in refused.output
    done = desk.json("ledger", "recover")
    assert (done["recovered"], done["from"], done["conversions"]) == (True, "its copy in the warehouse", 2)
    assert done["unknown_since"] is None
    assert Ledger(desk.outbox.directory).exists()
    assert desk.outbox.rows() == before
    assert desk.json("release", "--destination", "meta", "--reason", "volume_guard")["released"] == 0


def test_an_address_of_the_ledger_that_is_none_is_refused_before_anything_runs(desk: Desk):
    for address in ("nonsense", "sqlite:////tmp/x", "mysql://a@b/c", "postgresql://a@b"):
        done = CliRunner().invoke(main, ["status"], env={"CRM_ATTRIBUTION_LEDGER_URL": address})
        assert (done.exit_code, "CRM_ATTRIBUTION_LEDGER_URL" in done.output) == (1, True)
        assert address not in done.output
