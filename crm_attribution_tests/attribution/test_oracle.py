"""Every credit of the demo and of the stories, in every model and scope, equals what an independent script computes."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from crm_attribution.layers import CREDITS, run
from crm_attribution.mapping import Attribution, load
from crm_attribution.warehouse.session import Session
from crm_attribution_tests.attribution import everything, oracle
from crm_attribution_tests.flow.chain import Chain
from crm_attribution_tests.flow.story import LAST_DAY
from crm_attribution_tests.helpers import at
from crm_attribution_tests.pipeline.project import SAMPLE_MAPPING, SAMPLE_PORTAL

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

END = "2026-03-13T20:00:00Z"


def assert_equal(session: Session, rules: Attribution) -> Counter[str]:
    """No difference; rows by model."""
    found = everything.stored(session)
    wanted = oracle.credits(**everything.tables(session), rules=rules.model_dump())
    assert found.keys() == wanted.keys()
    assert {key: (found[key], wanted[key]) for key in found if found[key] != wanted[key]} == {}
    return Counter(key[2] for key in found)


def test_every_credit_of_the_demo(tmp_path):
    shipped = load(SAMPLE_MAPPING)
    mapping = shipped.model_copy(update={"attribution": everything.rules(shipped.attribution)})
    lines = [json.loads(line) for line in SAMPLE_PORTAL.read_text(encoding="utf-8").splitlines()]
    with Chain.start(tmp_path, lines, END, mapping) as chain:
        chain.run()
        with chain.warehouse.session() as session:
            rows = assert_equal(session, mapping.attribution)
    assert min(rows.values()) > 100


def test_every_credit_of_the_stories(stories: Chain):
    mapping = stories.mapping.model_copy(update={"attribution": everything.rules(stories.mapping.attribution)})
    with stories.warehouse.session() as session, session.dry_run():
        run(CREDITS, session, mapping, at(LAST_DAY))
        assert_equal(session, mapping.attribution)
        assert session.scalar("SELECT count(*) FROM attribution.channel_effect WHERE effect > 0") > 0
