"""Every key of `meta.fact` is a typed property of `State`, and nobody else knows the table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest

import crm_attribution
from crm_attribution.errors import ConfigurationError
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import (
    ENTRIES,
    State,
    Value,
    advance_watermark,
    check_first_load,
    check_portal,
    check_start,
    knowledge_time,
    newest_hour_end,
)
from crm_attribution_tests.flow.chain import Chain

PACKAGE = Path(crm_attribution.__file__).parent
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_values_come_back_as_they_were_stored(session: Session):
    state = session.state
    assert (state.watermark, state.portal_id, state.ledger, state.extracted["contacts"]) == (None, None, None, None)
    state.watermark, state.portal_id, state.ledger = NOON, "62515", {"serial": 7}
    state.extracted["contacts"] = NOON
    state.swept["deals"] = 7
    state.progress["contacts"] = {"after": None, "archived": True}
    state.rule_since["meta", "customer_won", "Purchase"] = "start"
    state.form_read_to["f:1"] = NOON
    assert (state.watermark, state.portal_id, state.ledger) == (NOON, "62515", {"serial": 7})
    assert (state.extracted["contacts"], state.extracted["deals"]) == (NOON, None)
    assert (state.swept["deals"], state.progress["contacts"]) == (7, {"after": None, "archived": True})
    assert state.rule_since["meta", "customer_won", "Purchase"] == "start"
    assert state.form_read_to.all() == {"f:1": NOON}
    del state.progress["contacts"]
    assert state.progress["contacts"] is None


def test_what_a_data_directory_was_begun_with_stays(session: Session):
    """Its portal and its first hour; another of either is refused and changes nothing."""
    state = session.state
    for _ in range(2):
        check_portal(state, "62515")
        check_start(state, NOON)
    with pytest.raises(ConfigurationError, match="belongs to HubSpot portal 62515, the token is for portal 7"):
        check_portal(state, "7")
    with pytest.raises(ConfigurationError, match="begun with CRM_ATTRIBUTION_START=2026-03-01T12:00:00Z, now it is"):
        check_start(state, NOON + HOUR)
    assert (state.portal_id, state.start) == ("62515", NOON)


def test_an_empty_warehouse_begins_with_its_first_hour(session: Session):
    with pytest.raises(ConfigurationError, match="2026-03-01T13:00:00Z is not its first hour"):
        check_first_load(session.state, NOON, NOON + HOUR)
    check_first_load(session.state, NOON, None)
    session.state.extracted["account"] = NOON
    check_first_load(session.state, NOON, NOON + HOUR)


def test_the_newest_hour_and_what_is_known_never_go_back(session: Session):
    state = session.state
    with pytest.raises(ConfigurationError, match="the warehouse is empty"):
        newest_hour_end(state)
    assert [advance_watermark(state, NOON + hours * HOUR) - NOON for hours in (1, 3, 2)] == [HOUR, 3 * HOUR, 3 * HOUR]
    assert newest_hour_end(state) == state.watermark == NOON + 3 * HOUR
    assert knowledge_time(state, NOON) == NOON
    state.knowledge = NOON + HOUR
    assert [knowledge_time(state, NOON + hours * HOUR) - NOON for hours in (0, 1, 2)] == [HOUR, HOUR, 2 * HOUR]


def test_no_key_can_be_taken_for_another():
    names = [one.name if isinstance(one, Value) else f"{one.name}:" for one in ENTRIES]
    assert [pair for pair in permutations(names, 2) if pair[0].startswith(pair[1])] == []
    assert all(one.meaning for one in ENTRIES)


@pytest.mark.sandbox
def test_a_run_stores_only_declared_keys(stories: Chain):
    with stories.warehouse.session() as session:
        stored = session.query("SELECT name FROM meta.fact")["name"].to_list()
    single = {one.name for one in ENTRIES if isinstance(one, Value)}
    keyed = tuple(f"{one.name}:" for one in ENTRIES if not isinstance(one, Value))
    assert [name for name in stored if name not in single and not name.startswith(keyed)] == []
    assert State.extracted.name + ":contacts" in stored


def test_only_the_warehouse_knows_the_table():
    known = {"privacy/traces.py"}  # lists it among the tables that must not mention an erased person
    named = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "meta.fact" in path.read_text(encoding="utf-8") and path.parent.name != "warehouse"
    }
    assert named == known
