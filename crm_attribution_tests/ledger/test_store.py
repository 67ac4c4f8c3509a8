"""The ledger's database and its mark: what is written when, what is refused, and what a lost or old one looks like."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from crm_attribution.errors import ConfigurationError
from crm_attribution.ledger import moves
from crm_attribution.ledger.mark import SIZE, Mark, MarkDamaged, Stand
from crm_attribution.ledger.safety import why_unsafe
from crm_attribution.ledger.store import Ledger, LedgerDamaged, LedgerFailed, micros, moment
from crm_attribution.ledger.tables import CONVERSION, VERSION
from crm_attribution_tests.delivery.outbox import NOW, SMALL, Outbox

ENV = {"META_ACCESS_TOKEN": "token", "META_DATASET_ID": "1"}


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    made = Outbox(tmp_path, ENV, SMALL["meta"], tag="")
    made.ledger.create()
    return made


def stand(ledger: Ledger) -> Stand:
    with ledger.reading() as book:
        return book.stand


def sql(ledger: Ledger, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(str(ledger.file))
    with contextlib.closing(connection), connection:
        return connection.execute(statement).fetchall()


def test_each_transaction_that_writes_has_a_number_and_no_other(outbox: Outbox):
    ledger = outbox.ledger
    begun = stand(ledger)
    assert begun.serial == 0
    (key,) = outbox.plan("a")
    assert stand(ledger) == Stand(begun.ledger, 1)
    outbox.plan("a")
    assert stand(ledger).serial == 1, "the row was there already"
    with ledger.writing() as book:
        assert book.read(CONVERSION).height == 1
        book.update(CONVERSION, [])
        assert book.stand.serial == 1
        book.update(CONVERSION, [{"conversion_id": key, "reason": "x"}])
        moves.relink(book, {key: "b"})
        assert book.stand.serial == 2
    ledger.create()
    assert stand(ledger) == Stand(begun.ledger, 2), "it stays what it is"
    assert sql(ledger, "SELECT changed, reason, milestone_id FROM conversion") == [(2, "x", "b")]
    assert ledger.file is not None
    assert ledger.file.stat().st_mode & 0o777 == 0o600


def test_an_update_writes_the_row_it_names(outbox: Outbox):
    keys = outbox.plan("a", "b")
    with outbox.ledger.writing() as book:
        book.update(CONVERSION, [{"conversion_id": keys[1], "reason": "x", "first_sent_at": NOW}])
    rows = outbox.rows()
    assert (rows["a"]["reason"], rows["a"]["first_sent_at"]) == (None, None)
    assert (rows["b"]["reason"], rows["b"]["first_sent_at"]) == ("x", NOW)


def test_as_many_keys_are_read_as_are_asked_for(outbox: Outbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("crm_attribution.ledger.store._AT_ONCE", 3)
    keys = outbox.plan(*"abcdefgh")
    with outbox.ledger.reading() as book:
        found = book.read_keys(CONVERSION, "conversion_id", [*keys[:7], *keys[:7], "nobody"])
        assert sorted(found["conversion_id"]) == sorted(keys[:7])
        assert book.read_keys(CONVERSION, "conversion_id", []).schema == book.read(CONVERSION).schema


def test_a_rehearsal_leaves_nothing(outbox: Outbox):
    before = stand(outbox.ledger)
    with outbox.ledger.dry_run():
        outbox.plan("a")
        assert list(outbox.rows()) == ["a"], "what it wrote it reads"
        with outbox.ledger.writing() as book:
            assert book.stand.serial == 1
    assert outbox.rows() == {}
    assert stand(outbox.ledger) == before


def test_a_ledger_is_put_away_and_another_begins(outbox: Outbox, tmp_path: Path):
    outbox.plan("a")
    old = stand(outbox.ledger)
    outbox.ledger.replace()
    assert outbox.rows() == {}
    assert stand(outbox.ledger).ledger != old.ledger
    (away,) = (tmp_path / "damaged").iterdir()
    assert away.stat().st_mode & 0o777 == 0o700
    kept = Ledger(away.rename(tmp_path / "looked at"))
    assert stand(kept) == old


def test_what_was_deleted_is_not_in_the_files(outbox: Outbox, tmp_path: Path):
    other = sqlite3.connect(tmp_path / "ledger.sqlite")  # while another has it open, the log stays
    outbox.plan("somebody-whose-name-goes")
    assert other.execute("SELECT count(*) FROM conversion").fetchall() == [(1,)]
    with outbox.ledger.writing() as book:
        moves.relink(book, {book.read(CONVERSION)["conversion_id"].item(): "nobody"})
    assert any(b"somebody-whose-name-goes" in path.read_bytes() for path in tmp_path.glob("ledger.sqlite*"))
    outbox.ledger.leave_no_trace()
    for path in tmp_path.glob("ledger.sqlite*"):
        assert b"somebody-whose-name-goes" not in path.read_bytes(), path.name
    other.close()


def test_a_ledger_of_an_earlier_release_gets_what_it_lacks_and_one_of_a_later_is_refused(outbox: Outbox):
    (key,) = outbox.plan("a")
    sql(outbox.ledger, "UPDATE ledger SET version = 1")
    sql(outbox.ledger, "DROP INDEX conversion_browser_event_id")
    sql(outbox.ledger, "ALTER TABLE conversion DROP COLUMN browser_event_id")
    sql(outbox.ledger, "DROP TABLE quality")
    with pytest.raises(LedgerFailed, match="put back while this process had it open"), outbox.ledger.reading():
        pass
    again = Ledger(outbox.directory)
    with again.reading() as book:
        assert book.read(CONVERSION)["conversion_id"].to_list() == [key]
        assert book.count("delivery.quality") == 0
    assert sql(again, "SELECT version FROM ledger") == [(VERSION,)]
    assert ("conversion_browser_event_id",) in sql(again, "SELECT name FROM sqlite_master WHERE type = 'index'")
    sql(again, f"UPDATE ledger SET version = {VERSION + 1}")
    with pytest.raises(ConfigurationError, match=f"version {VERSION + 1}, this release knows {VERSION}"):
        stand(Ledger(outbox.directory))


def test_a_recovered_ledger_counts_on_and_remembers_what_is_not_known(outbox: Outbox):
    outbox.plan("a")
    since, until = NOW - timedelta(hours=3), NOW
    with outbox.ledger.writing() as book:
        assert (book.lost, book.instead_of) == (None, None)
        book.recovered(41, (since, until), Stand("gone", 41))
    with outbox.ledger.writing() as book:
        assert (book.lost, book.instead_of) == ((since, until), Stand("gone", 41))
        assert book.stand.serial > 41
        earlier = book.stand.serial
        book.recovered(3, None)
        assert book.stand.serial > earlier, "no number is used twice"
    with outbox.ledger.reading() as book:
        assert (book.lost, book.instead_of) == ((since, until), Stand("gone", 41))
    assert moment(micros(NOW)) == NOW


def test_what_the_database_says_is_told_in_one_line(outbox: Outbox):
    sql(outbox.ledger, "DROP TABLE attempt")
    with pytest.raises(LedgerFailed) as failed, outbox.ledger.reading() as book:
        book.count("delivery.attempt")
    assert str(failed.value) == f"{outbox.ledger.file}: no such table: attempt"
    assert not isinstance(failed.value, LedgerDamaged)


@pytest.mark.parametrize(("said", "told"), [("\n boom\n more", "boom"), ("", "Exception")])
def test_of_what_a_driver_says_the_first_words_are_told(outbox: Outbox, said: str, told: str):
    with pytest.raises(LedgerFailed, match=rf"ledger\.sqlite: {told}$"), outbox.ledger._failing():
        raise sa.exc.DBAPIError("SELECT 'secret'", {}, Exception(said))


# --- the mark


def test_a_mark_is_raised_and_lowered_only_on_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mark, synced = Mark(tmp_path / "ledger.mark"), list[str]()
    sync = os.fsync

    def noting(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        sync(file)

    monkeypatch.setattr(os, "fsync", noting)
    assert mark.read() is None
    open_files = len(os.listdir("/proc/self/fd"))
    mark.raise_to(Stand("a", 5))
    assert synced == [str(mark.path), str(tmp_path)], "on disk, and so is its name"
    assert (mark.path.stat().st_size, mark.path.stat().st_mode & 0o777) == (SIZE, 0o600)
    steps = [
        (mark.raise_to, Stand("a", 4), Stand("a", 5)),
        (mark.raise_to, Stand("a", 5), Stand("a", 5)),
        (mark.raise_to, Stand("a", 6), Stand("a", 6)),
        (mark.raise_to, Stand("b", 1), Stand("b", 1)),
        (mark.begin, Stand("b", 0), Stand("b", 0)),
    ]
    for write, given, there in steps:
        write(given)
        assert mark.read() == there
    assert len(synced) == 2 + 3
    assert len(os.listdir("/proc/self/fd")) == open_files
    assert SIZE == 256, "a sector: it is written whole or not at all"


def test_a_mark_that_is_not_what_was_written_is_not_believed(tmp_path: Path):
    mark = Mark(tmp_path / "ledger.mark")
    mark.path.touch()
    assert mark.read() is None, "made, and cut off before the first write"
    mark.raise_to(Stand("a", 15))
    mark.path.write_bytes(mark.path.read_bytes().replace(b"15", b"14"))
    with pytest.raises(MarkDamaged, match=r"ledger\.mark: not what was written there"):
        mark.read()
    with pytest.raises(MarkDamaged):
        mark.raise_to(Stand("a", 16))
    mark.begin(Stand("a", 16))
    assert mark.read() == Stand("a", 16)


# --- whether it may be sent from


@pytest.mark.parametrize(
    ("marked", "copied", "why"),
    [
        (None, None, None),
        (0, None, None),
        (2, 2, None),
        (None, 2, None),
        (3, None, r"older than its mark ledger\.mark \(2 < 3\)"),
        (2, 3, r"older than its copy in the warehouse \(2 < 3\)"),
        ("another", None, r"another one than its mark ledger\.mark was made of"),
        (2, "another", "another one than its copy in the warehouse was made of"),
    ],
)
def test_a_ledger_that_is_behind_what_is_known_of_it_is_not_sent_from(
    outbox: Outbox, marked: int | str | None, copied: int | str | None, why: str | None
):
    outbox.plan("a")
    outbox.plan("b")
    ledger = outbox.ledger
    of = stand(ledger).ledger
    known = [
        None if one is None else Stand("x", 1) if isinstance(one, str) else Stand(of, one) for one in (marked, copied)
    ]
    if known[0] is not None:
        ledger.mark.begin(known[0])
    found = why_unsafe(ledger, known[1])
    if why is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(why, found), found
        assert found.startswith("safe mode: ")
        assert found.endswith("nothing is sent until you have run: crm-attribution ledger recover")


@pytest.mark.parametrize(
    ("marked", "copied", "safe"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_a_ledger_that_is_not_there_is_missed_where_there_was_one(
    tmp_path: Path, marked: bool, copied: bool, safe: bool
):
    ledger = Ledger(tmp_path)
    if marked:
        ledger.mark.begin(Stand("a", 0))
    found = why_unsafe(ledger, Stand("a", 0) if copied else None)
    assert (found is None) == safe
    assert safe or "ledger.sqlite is gone, and conversions were sent before" in str(found)
    assert not (tmp_path / "ledger.sqlite").exists(), "asking makes none"


def test_a_mark_or_a_file_that_cannot_be_read_is_said_so(outbox: Outbox):
    outbox.ledger.mark.path.write_text("not a mark", encoding="utf-8")
    assert "ledger.mark cannot be read" in str(why_unsafe(outbox.ledger, None))
    outbox.ledger.mark.path.unlink()
    assert outbox.ledger.file is not None
    outbox.ledger.file.write_bytes(b"garbage" * 1000)
    assert "file is not a database" in str(why_unsafe(outbox.ledger, None))
    with pytest.raises(LedgerDamaged):
        outbox.ledger.exists()


# --- rows that a person or a loss moves


def test_what_a_person_released_before_the_loss_is_in_doubt_and_after_it_is_not(outbox: Outbox):
    since, until = NOW - timedelta(hours=9), NOW - timedelta(hours=3)
    due = {"ready_at": until - timedelta(seconds=1)}
    outbox.plan("before", released_at=until - timedelta(seconds=1), **due)
    outbox.plan("after", released_at=until, **due)
    outbox.plan("never", **due)
    outbox.plan("out", state="in_flight", batch_id="b", **due)
    with outbox.ledger.writing() as book:
        moved = moves.doubt(book, "meta", since, until, NOW)
    assert {name: row["state"] for name, row in outbox.rows().items()} == {
        "before": "retry", "after": "pending", "never": "retry", "out": "retry"}  # fmt: skip
    assert moved == sorted(row["conversion_id"] for name, row in outbox.rows().items() if name != "after")


def test_what_never_left_has_no_send_counted(outbox: Outbox):
    (key,) = outbox.plan("a", state="in_flight", attempts=3, batch_id="b")
    with outbox.ledger.writing() as book:
        moves.unsent(book, [key], NOW)
        moves.unsent(book, [], NOW)
    row = outbox.rows()["a"]
    assert (row["state"], row["reason"], row["attempts"]) == ("retry", "never_left", 2)


def test_what_the_browser_told_is_forgotten_of_the_contacts_that_go(outbox: Outbox):
    outbox.plan("mine", browser_event_id="x", contact_id=7)
    outbox.plan("theirs", browser_event_id="y", contact_id=8)
    outbox.plan("plain", contact_id=7)
    outbox.plan("touched", touch_id="click:1")
    with outbox.ledger.writing() as book:
        assert moves.forget_browser_events(book, [7, 9]) == 1
    rows = outbox.rows()
    assert {name: row["browser_event_id"] for name, row in rows.items() if name != "touched"} == {
        "mine": None, "theirs": "y", "plain": None}  # fmt: skip


def test_a_touch_is_renamed_wherever_an_id_names_it_as_a_whole(outbox: Outbox):
    (key,) = outbox.plan("touched", touch_id="click:1")
    outbox.plan("longer", touch_id="click:12")
    outbox.plan("click:1", state="suppressed")
    outbox.plan("contacts:7:click:1:2")
    with outbox.ledger.writing() as book:
        wish = {"conversion_id": key, "asked_at": NOW, "destination": "meta", "asked_id": "click:1", "source": "job",
                "why": "x", "queued": True, "refused": None}  # fmt: skip
        book.insert("delivery.replay", pl.DataFrame([wish], schema_overrides={"refused": pl.String}))
        held = moves.rename(book, {"click:1": "erased:1:0", "click:3": "erased:1:1"})
        assert book.read("delivery.replay")["asked_id"].to_list() == ["erased:1:0"]
        found = book.read("conversions.conversion").select("touch_id", "milestone_id", "event_id").rows()
    assert sorted(held.select("state", "told").rows()) == [("pending", False), ("pending", True), ("suppressed", True)]
    assert sorted({one for row in found for one in row if one and ":" in one}) == [
        "click:12", "contacts:7:erased:1:0:2", "erased:1:0"]  # fmt: skip


def test_values_of_a_fact_are_refreshed_and_nothing_else(outbox: Outbox):
    outbox.plan("a", "b", reason="x")
    rows = outbox.rows()
    given = pl.DataFrame(
        [{**rows["a"], "value": 7, "currency": "USD", "ready_at": NOW, "reason": "not this"}],
        schema_overrides={"contact_id": pl.Int64},
        infer_schema_length=None,
    )
    with outbox.ledger.writing() as book:
        assert moves.refresh(book, given) == [rows["a"]["conversion_id"]]
    after = outbox.rows()
    assert after["b"] == rows["b"]
    assert after["a"] == {**rows["a"], "value": 7, "currency": "USD", "ready_at": NOW}
