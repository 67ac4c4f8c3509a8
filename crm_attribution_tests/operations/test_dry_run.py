"""A mapping is tried without a trace; applied, it changes what was said and mints nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crm_attribution import configuration
from crm_attribution.conversions import plan as conversions
from crm_attribution.layers import PLANNING, derive, needed_by
from crm_attribution.operations.dry_run import difference
from crm_attribution_tests.flow.chain import RULES, Chain, rules
from crm_attribution_tests.flow.stories import portal
from crm_attribution_tests.flow.story import LAST_DAY
from crm_attribution_tests.helpers import at

pytestmark = pytest.mark.sandbox

PROPOSED = RULES.replace(
    "pipelines: {renewals: renewal, partners: ignore, selling: new, upsell: expansion}",
    """pipelines: {renewals: renewal, selling: new, upsell: expansion, trials: new}
  stages: {contractsent: negotiation_started}""",
).replace("domains: [Vendor.example]", "domains: [buyer.example]")
PROPOSED = 'version: "2"\n' + PROPOSED
SEND = """
destinations:
  meta:
    conversions:
      - {milestone: lead_captured, action: Lead}
      - {milestone: opportunity_created, action: Opportunity}
      - {milestone: customer_won, action: Purchase, value: arr}
      - {milestone: customer_expanded, action: Expansion, value: arr}
"""
GIVEN = configuration.load(
    {"META_ACCESS_TOKEN": "t", "META_DATASET_ID": "d", "CRM_ATTRIBUTION_START": "2026-01-01T00:00:00Z"}
)
NOW = at(LAST_DAY)


def _state(chain: Chain) -> dict[str, Any]:
    names = ("events.event", "events.milestone", "conversions.conversion", "identity.person")
    with chain.warehouse.session() as session:
        tables = {name: sorted(session.read(name).rows(), key=repr) for name in names}
        return tables | {
            name: session.query(f"SELECT * FROM meta.{name} ORDER BY ALL").rows() for name in ("cursor", "fact")
        }


def test_a_mapping_is_tried_without_a_trace_and_then_does_what_was_said(tmp_path: Path):
    with Chain.start(tmp_path, portal(), LAST_DAY, rules(tmp_path, RULES + SEND)) as chain:
        chain.run()
        with chain.warehouse.session() as session:
            session.state.watermark = NOW
            conversions.update(session, chain.ledger, chain.mapping, GIVEN, NOW)
        before = _state(chain)
        proposed = rules(tmp_path, PROPOSED + SEND)
        with chain.warehouse.session() as session:
            same = difference(session, chain.ledger, chain.mapping, chain.mapping, GIVEN, NOW, NOW)
            found = difference(session, chain.ledger, chain.mapping, proposed, GIVEN, NOW, NOW)
        assert _state(chain) == before
        nothing: dict[str, Any] = {"gained": {}, "lost": {}, "renamed": {}, "changed": {}}
        assert (same["events"], same["milestones"], same["conversions"]["planned"]) == (nothing, nothing, [])
        assert list(found["events"]["renamed"]) == ["proposal_sent -> negotiation_started"]
        assert found["events"]["changed"]["lead_captured"]["suppressed_by"] > 5
        assert found["milestones"]["gained"]["customer_won"]["count"] == 1, "the win in the trial pipeline"
        assert set(found["milestones"]["lost"]) == {"proposal_sent"}
        planned = {(row["state"], row["reason"]) for row in found["conversions"]["planned"]}
        assert planned == {("pending", None), ("suppressed", "internal")}, "a deal of buyer.example's contacts alone"
        gained = sum(row["conversions"] for row in found["conversions"]["planned"])
        with chain.warehouse.session() as session:
            derive(session, proposed, NOW, needed_by(PLANNING))
            conversions.update(session, chain.ledger, proposed, GIVEN, NOW)
        after = _state(chain)
        assert len(after["conversions.conversion"]) == len(before["conversions.conversion"]) + gained
        assert {row[0] for row in before["events.event"]} <= {row[0] for row in after["events.event"]}, "ids stay"
        with chain.warehouse.session() as session:
            twice = session.query(
                "SELECT m.milestone_id, c.action FROM conversions.conversion c JOIN events.milestone_event m"
                " ON m.event_id = c.milestone_id AND m.milestone = c.milestone"
                " GROUP BY ALL HAVING count(*) > 1"
            )
        assert twice.is_empty()
