"""What an hour reads follows what changed: merges, e-mails, clicks and submissions of others are not fetched."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crm_attribution import configuration, layers
from crm_attribution.conversions import plan
from crm_attribution.conversions.recipients import resolver
from crm_attribution.destinations import destinations
from crm_attribution.ledger.tables import CONVERSION
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.flow.chain import RULES, Chain, rules
from crm_attribution_tests.helpers import at
from crm_attribution_tests.operations.test_dry_run import SEND
from crm_attribution_tests.sandbox.lines import FORM, click, create, day, email_click, join, merge, submit, update
from crm_attribution_tests.sandbox_process import Line

pytestmark = pytest.mark.sandbox

META = destinations()["meta"]
LINES: list[Line] = [
    create(day(1), "companies", 31, name="Ufer", domain="ufer.example"),
    create(day(1), "contacts", 11, "FORM", email="ann@ufer.example", lifecyclestage="lead", ad_consent="granted"),
    create(day(1), "contacts", 12, "FORM", email="ben@ufer.example", lifecyclestage="lead", ad_consent="granted"),
    join(day(1), ("contacts", 11), ("companies", 31)),
    create(day(2), "deals", 21, dealname="Start", dealstage="contractsent", amount="100"),
    join(day(2), ("deals", 21), ("contacts", 11)),
    join(day(2), ("deals", 21), ("companies", 31)),
    merge(day(2), "contacts", 11, 12),
    submit(day(3), FORM, email="Ann@ufer.example", gclid="G"),
    click(day(3), "k1", contact_id="11", clicked_at=day(3)),
    email_click(day(4), "e1", "ann@ufer.example"),
    submit(day(9), FORM, email="ben@ufer.example"),
    email_click(day(9), "e2", "ann@ufer.example"),
    update(day(9), "contacts", 11, lifecyclestage="marketingqualifiedlead"),
    update(day(9), "deals", 21, dealstage="closedwon"),
]
STRANGERS = """
INSERT INTO raw.merge SELECT 'contacts', 700000 + n, 800000 + n, now(), 'webhook' FROM range({n}) t(n);
INSERT INTO raw.contact BY NAME SELECT 800000 + n AS id, '{{}}' AS properties, now() AS created_at, now() AS
    modified_at, false AS archived, now() AS extracted_at, 's' || n || '@other.example' AS email,
    email AS email_normalised FROM range({n}) t(n);
INSERT INTO raw.form_submission BY NAME SELECT 'f' AS form_id, 's' || n AS conversion_id, TIMESTAMPTZ
    '2026-01-01 00:00Z' AS submitted_at, 's' || n || '@other.example' AS email,
    email AS email_normalised, now() AS extracted_at FROM range({n}) t(n);
INSERT INTO raw.email_click BY NAME SELECT 'x' || n AS id, TIMESTAMPTZ '2026-01-01 00:00Z' AS created_at,
    's' || n || '@other.example' AS recipient, recipient AS recipient_normalised, false AS is_bot, now() AS extracted_at
    FROM range({n}) t(n);
"""


def _fetched(folder: Path, strangers: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Rows that each query of an hour fetched, by its text, with so many merges and e-mails of others stored."""
    found: Counter[str] = Counter()
    query = Session.query

    def counted(self: Session, sql: str, parameters: Any = None, **frames: pl.DataFrame) -> pl.DataFrame:
        rows = query(self, sql, parameters, **frames)
        found[sql] += rows.height
        return rows

    folder.mkdir()
    with Chain.start(folder, LINES, "2026-03-08T09:00:00Z", rules(folder, RULES + SEND)) as chain:
        chain.run()
        given = configuration.load({**chain.sandbox.env, "CRM_ATTRIBUTION_START": "2026-01-01T00:00:00Z"})
        now = at("2026-03-10T09:00:00Z")
        with chain.warehouse.session() as session:
            session.connection.execute(STRANGERS.format(n=strangers))
            plan.update(session, chain.ledger, chain.mapping, given, at("2026-03-08T09:00:00Z"))
        chain.sandbox.set_clock("2026-03-10T09:00:00Z")
        chain.read(at("2026-03-08T09:00:00Z"))
        with monkeypatch.context() as patch, chain.warehouse.session() as session:
            patch.setattr(Session, "query", counted)
            layers.derive(session, chain.mapping, now)
            plan.update(session, chain.ledger, chain.mapping, given, now)
            due = session.read(CONVERSION)
            assert due.height
            assert resolver(META, chain.mapping)(session, due)
    return found


def test_an_hour_fetches_as_much_whatever_others_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = _fetched(tmp_path / "few", 3, monkeypatch)
    many = _fetched(tmp_path / "many", 3_000, monkeypatch)
    assert sum(few.values()) > 50
    assert {sql: (few[sql], many[sql]) for sql in few | many if few[sql] != many[sql]} == {}
