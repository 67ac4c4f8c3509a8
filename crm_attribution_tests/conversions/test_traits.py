"""Accounts of an audience of people, against sets; and who entered and left, over hours in which people merge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_attribution.conversions import traits
from crm_attribution.marts.traits import paths, read
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.helpers import at, new_warehouse
from crm_attribution_tests.laws import TIMES

pytestmark = pytest.mark.warehouse

FROM = at("2026-03-01T00:00:00Z")
MEMBERSHIP = "identity.membership"
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
