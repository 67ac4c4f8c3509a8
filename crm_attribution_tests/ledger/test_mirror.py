"""The warehouse's copy of the ledger: which of the two is taken over, and what the copy follows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from crm_attribution.contracts import CONTRACTS
from crm_attribution.conversions import mirror
from crm_attribution.ledger import entries, moves
from crm_attribution.ledger.mark import Stand
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.delivery.outbox import SMALL, Outbox, conversion

pytestmark = pytest.mark.warehouse

ENV = {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "1"}


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    (tmp_path / "data").mkdir()
    return Outbox(tmp_path / "data", ENV, SMALL["meta"], tag="")


def kept(session: Session, *names: str) -> None:
    """What a release that had no ledger has left in the warehouse."""
    schema = CONTRACTS[CONVERSION].polars_schema
    rows = [conversion(SMALL["meta"], {"META_DATASET_ID": "1"}, name) for name in names]
    session[CONVERSION].upsert(pl.DataFrame(rows, schema={name: schema[name] for name in rows[0]}))


def copied(session: Session) -> list[str]:
    return sorted(session.read(CONVERSION)["milestone_id"])


def test_an_empty_ledger_takes_over_what_the_warehouse_kept_and_one_in_use_does_not(session: Session, outbox: Outbox):
    kept(session, "a", "b")
    session.state.rule_since["meta", "customer_won", "Purchase"] = "start"
    assert mirror.ready(session, outbox.ledger) is None
    assert (sorted(outbox.rows()), copied(session)) == (["a", "b"], ["a", "b"])
    with outbox.ledger.reading() as book:
        assert entries.activations(book) == [("meta", "customer_won", "Purchase", "start")]
        assert mirror.copied(session) == book.stand
    mark = outbox.ledger.mark.read()
    assert mark is not None
    assert mark.serial == 0, "nothing has left yet; that it is gone would be missed"


def test_a_ledger_in_use_takes_nothing_over_and_the_copy_becomes_its_own(session: Session, outbox: Outbox):
    outbox.plan("mine")
    kept(session, "theirs")
    assert mirror.ready(session, outbox.ledger) is None
    assert (list(outbox.rows()), copied(session)) == (["mine"], ["mine"])


def test_the_copy_follows_what_changed_and_begins_anew_with_another_ledger(session: Session, outbox: Outbox):
    (key, _) = outbox.plan("a", "b")
    assert mirror.ready(session, outbox.ledger) is None
    session.connection.execute("UPDATE conversions.conversion SET reason = 'only here'")
    assert mirror.ready(session, outbox.ledger) is None
    assert set(session.read(CONVERSION)["reason"]) == {"only here"}, "nothing changed, nothing is read"
    with mirror.writing(session, outbox.ledger) as book:
        moves.relink(book, {key: "c"})
        entries.activate(book, "meta", "customer_won", "Purchase", "start")
    assert dict(session.read(CONVERSION).select("milestone_id", "reason").iter_rows()) == {"c": None, "b": "only here"}
    assert session.state.rule_since.all() == {"meta:customer_won:Purchase": "start"}
    session.state.ledger = {"ledger": "another", "serial": 1}
    with outbox.ledger.reading() as book, session.transaction():
        mirror.follow(session, book)
    assert set(session.read(CONVERSION)["reason"]) == {None}, "all of it is read"
    assert mirror.copied(session) != Stand("another", 1)
