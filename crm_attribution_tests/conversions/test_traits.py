"""Accounts of an audience of people, against sets; and who entered and left, over hours in which people merge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.clock import iso
from crm_attribution.conversions import traits
from crm_attribution.errors import ConfigurationError
from crm_attribution.marts.traits import SHIPPED, paths, read
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import at, new_warehouse
from crm_attribution_tests.laws import TIMES

pytestmark = pytest.mark.warehouse

FROM = at("2026-03-01T00:00:00Z")
MEMBERSHIP = "identity.membership"
Row = dict[str, Any]
PEOPLE = [f"p{number}" for number in range(4)]

members = st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(["a0", "a1", "a2"]), st.booleans()), max_size=8)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with new_warehouse(tmp_path_factory.mktemp("traits")).session() as opened:
        yield opened


def belong(session: Session, rows: list[tuple[str, str, bool]]) -> None:
    frame = pl.DataFrame(
        [
            {
                "person_id": person,
                "account_id": account,
                "contact_id": contact,
                "valid_from": FROM,
                "valid_to": FROM + timedelta(days=1) if ended else None,
                "basis": "current",
            }
            for contact, (person, account, ended) in enumerate(rows, start=1)
        ],
        schema_overrides={"valid_from": pl.Datetime("us", "UTC"), "valid_to": pl.Datetime("us", "UTC")},
    )
    session[MEMBERSHIP].replace(frame if rows else session.read(MEMBERSHIP, "false"), None)


@settings(max_examples=20 * TIMES)
@given(rows=members, audience=st.sets(st.sampled_from(PEOPLE)))
def test_accounts_of_whose_people_any_all_or_none_are_in_it(
    session: Session, rows: list[tuple[str, str, bool]], audience: set[str]
) -> None:
    belong(session, rows)
    people: dict[str, set[str]] = {}
    for person, account, ended in rows:
        if not ended:
            people.setdefault(account, set()).add(person)
    wanted = {
        "any": {account for account, theirs in people.items() if theirs & audience},
        "all": {account for account, theirs in people.items() if theirs <= audience},
        "none": {account for account, theirs in people.items() if not theirs & audience},
    }
    found = {how: traits._of_accounts(session, pl.Series(sorted(audience), dtype=pl.String), how) for how in wanted}
    assert {how: set(frame["account_id"]) for how, frame in found.items()} == wanted


def test_accounts_enter_and_leave_with_their_people_once(session: Session, tmp_path: Path) -> None:
    (tmp_path / "in_it.sql").write_text(
        "-- Accounts with people in an account.\n--\n-- @subject: person\n-- @accounts: all\n"
        "SELECT DISTINCT person_id FROM identity.membership WHERE account_id = 'a1'\n"
    )
    used = {name: read(path) for name, path in paths([tmp_path]).items()}
    contacts = pl.DataFrame(
        {"id": [1, 2], "created_at": [FROM, FROM], "modified_at": [FROM, FROM], "extracted_at": [FROM, FROM]}
    ).with_columns(archived=False)
    session["raw.contact"].upsert(contacts)

    def hour(number: int, rows: list[tuple[str, str, bool]]) -> list[tuple[str, str, int]]:
        belong(session, rows)
        moment = FROM + timedelta(hours=number)
        traits.update(session, used, moment, moment)
        return session.query(
            "SELECT subject_id, change, contact_id FROM conversions.audience_event WHERE happened_at = ? ORDER BY ALL",
            [moment],
        ).rows()

    assert hour(1, [("p1", "a1", False)]) == [("a1", "entered", 1)]
    assert hour(2, [("p1", "a1", False)]) == []
    assert hour(3, [("p1", "a1", False), ("p2", "a2", False)]) == []
    assert hour(4, [("p1", "a2", False)]) == [], "whoever left with all its people has nobody to be told of"
    assert hour(5, [("p1", "a1", False), ("p2", "a1", False)]) == [("a1", "entered", 1), ("a1", "entered", 2)]


def test_a_query_that_takes_too_long_is_ended_and_the_next_one_runs(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "-- Slow or not.\n--\n-- @subject: person\n"
    endless = (
        "SELECT DISTINCT 'p1' AS person_id FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 5"
    )
    (tmp_path / "endless.sql").write_text(head + endless, encoding="utf-8")
    (tmp_path / "quick.sql").write_text(head + "SELECT 'p1' AS person_id", encoding="utf-8")
    used = {name: read(path) for name, path in paths([tmp_path]).items()}
    monkeypatch.setattr(traits, "MOST_SECONDS", 0.2)
    told = traits.update(session, used, FROM, FROM)
    assert list(told.wrong) == ["endless"]
    assert "takes more than 0.2 s" in told.wrong["endless"]
    assert session.query("SELECT DISTINCT trait FROM conversions.trait")["trait"].to_list() == ["quick"]


def test_the_shipped_files_look_back_as_far_as_they_say(session: Session) -> None:
    """Touches at the first moment of the window and just before it; of nobody, and of no account."""
    until = FROM + timedelta(days=200)

    def touch(number: int, days: int, person: str | None, account: str | None, kind: str = "link_click") -> Row:
        moment = until - timedelta(days=days) - timedelta(microseconds=number % 2)  # odd: just before
        return {
            **{"touch_id": f"t{number}", "touched_at": moment, "kind": kind, "person_id": person},
            **{"account_id": account, "channel": "Direct", "click_id_kinds": [], "origin": f"x {number}"},
        }

    touches = [
        *(touch(0, 30, "p1", "a1"), touch(1, 30, "p1", "a1"), touch(2, 5, "p1", "a1", "form_submission")),
        *(touch(4, 3, "p1", "a1"), touch(6, 2, "p2", "a1", "form_submission"), touch(8, 1, None, "a1")),
        *(touch(10, 4, "p3", None), touch(12, 90, "p4", "a3"), touch(13, 90, "p5", "a2"), touch(15, 30, "p6", "a4")),
    ]
    session["attribution.touch"].replace(pl.DataFrame(touches, infer_schema_length=None), None)
    people = (("p1", "a1"), ("p2", "a1"), ("p4", "a3"), ("p5", "a2"), ("p6", "a3"))
    belong(session, [(person, account, False) for person, account in people])
    traits.update(session, {name: read(path) for name, path in paths([SHIPPED]).items()}, until, until)
    found = session.query("SELECT trait, subject_id, told::VARCHAR AS told FROM conversions.trait ORDER BY ALL").rows()
    last = iso(until - timedelta(days=1))
    assert {(name, subject, *json.loads(told).items()) for name, subject, told in found if name != "in_it"} == {
        ("engaged_people_30_days", "a1", ("engaged_people_30_days", "2"), ("last_touch_at", last)),
        ("link_clicks_30_days", "p1", ("link_clicks_30_days", "2")),
        ("link_clicks_30_days", "p3", ("link_clicks_30_days", "1")),
        ("quiet_account", "a2", ("", "true")),
    }


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("Big", "-- x\n-- @subject: person\nSELECT 1", "name it in lower case"),
        ("plain", "-- @subject: person\nSELECT 1", "describe it in a first"),
        ("plain", "-- x\nSELECT 1", "@subject: person or account"),
        ("plain", "-- x\n-- @subject: deal\nSELECT 1", "@subject: person or account"),
        ("plain", "-- x\n-- @subject: person\n-- @trait a [text]\nSELECT 1", "types are string, number"),
        ("plain", "-- x\n-- @subject: person\n-- @trait A [number]\nSELECT 1", "types are string, number"),
        ("plain", "-- x\n-- @subject: person\n-- @trai a\nSELECT 1", "@trai is unknown"),
        ("plain", "-- x\n-- @subject: person\nSELECT {since}", "needs `-- @look_back: 30`"),
        ("plain", "-- x\n-- @subject: account\n-- @accounts: any\nSELECT 1", "an audience of people"),
        (
            "plain",
            "-- x\n-- @subject: person\n-- @accounts: any\n-- @trait a [number]\nSELECT 1",
            "an audience of people",
        ),
        ("plain", "-- x\n-- @subject: person\n-- @accounts: some\nSELECT 1", "@accounts: any or all or none"),
        ("plain", "-- x\n-- @subject: account\n-- @tell: deals\nSELECT 1", "@tell: companies or contacts"),
    ],
)
def test_a_file_that_is_wrong_says_what_to_write(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / f"{name}.sql"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as wrong:
        read(path)
    assert said in str(wrong.value)
    assert str(path) in str(wrong.value)


def test_who_is_told_of_a_file(tmp_path: Path) -> None:
    """Of a person contacts alone; of an account both, or those it names."""
    both = {"companies", "contacts"}
    given = {
        "person": ("-- @subject: person", {"contacts"}), "accounts": ("-- @subject: person\n-- @accounts: any", both),
        "account": ("-- @subject: account", both), "some": ("-- @subject: account\n-- @tell: companies", {"companies"}),
        "listed": ("-- @subject: account\n-- @tell: companies, contacts", both),
    }  # fmt: skip
    for name, (head, told) in given.items():
        path = tmp_path / f"{name}.sql"
        path.write_text(f"-- x\n{head}\nSELECT 1 AS a", encoding="utf-8")
        found = read(path)
        assert (set(found.tell), found.properties) == (told, {name: "bool"})
