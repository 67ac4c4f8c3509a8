"""Every key of `meta.fact` is a typed property of `State`, and nobody else knows the table."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

import pytest

import crm_attribution
from crm_attribution.warehouse.session import Session
from crm_attribution.warehouse.state import ENTRIES, State, Value
from crm_attribution_tests.flow.chain import Chain

PACKAGE = Path(crm_attribution.__file__).parent
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


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
