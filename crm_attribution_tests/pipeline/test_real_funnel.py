"""The Olist funnel (8,000 leads, 842 won deals) through the whole pipeline, against a count of the two CSV files."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from crm_attribution.attribution.models import models
from crm_attribution_tests.pipeline.project import ROOT, Project
from crm_attribution_tests.sandbox_process import Sandbox

SHARED = ROOT.parent / "shared"
TOOL = SHARED / "tools" / "olist_portal.py"
DATA = SHARED / "data" / "olist"

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(not TOOL.exists(), reason="the reference data (../shared) is not beside this checkout"),
]

WIDE_LOOK_BACK = f"""
attribution:
  models: [{", ".join(models())}, time_decay_30]
  scopes: [account, deal_contacts]
  lookback_days: {{default: 730, customer_won: 730, customer_expanded: 730}}
"""


@pytest.fixture(scope="module")
def funnel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Sandbox, dict[str, int]]]:
    folder = tmp_path_factory.mktemp("olist")
    portal, mapping = folder / "olist.jsonl", folder / "mapping.yaml"
    with portal.open("w") as out:
        subprocess.run([sys.executable, str(TOOL)], stdout=out, check=True)
    mapping.write_text(WIDE_LOOK_BACK)
    with Sandbox.start(portal, "2018-12-01T00:00:00Z", limits="off") as sandbox:
        env = {
            **sandbox.env,
            "CRM_ATTRIBUTION_START": "2018-11-30T00:00:00Z",
            "CRM_ATTRIBUTION_MAPPING": str(mapping),
        }
        project = Project(folder / "data", env)
        result = project.hours("2018-11-30", "2018-12-01")
        print(f"calls made {result['calls']}, floor {result['minimum_calls']}")
        yield project, sandbox, result


def test_every_lead_and_win_is_counted_once(funnel: tuple[Project, Sandbox, dict[str, int]]) -> None:
    project, _, _ = funnel
    assert project.warehouse("SELECT count(*) FROM raw.contact") == [(8000,)]
    assert project.warehouse("SELECT count(*) FROM events.event WHERE event = 'deal_won'") == [(842,)]
    milestones = dict(project.finance("SELECT milestone, count(*) FROM marts.milestone GROUP BY ALL"))
    assert milestones["customer_won"] == 842
    assert milestones["qualified_lead"] == 8000
    assert "customer_expanded" not in milestones


def test_no_history_is_uploaded(funnel: tuple[Project, Sandbox, dict[str, int]]) -> None:
    project, sandbox, _ = funnel
    assert sandbox.received("meta")["requests"] == 0
    assert project.warehouse("SELECT DISTINCT state, reason FROM conversions.conversion") == [
        ("suppressed", "before_activation")
    ]


def test_calls_are_the_least_possible(funnel: tuple[Project, Sandbox, dict[str, int]]) -> None:
    _, sandbox, result = funnel
    assert result["calls"] == result["minimum_calls"]
    asked = {route: calls for route, calls in sandbox.calls()["routes"].items() if "/meta/" not in route}
    assert sum(asked.values()) == result["calls"] + result["calls_to_plan"], (
        f"every call to a source is counted {asked}"
    )


def test_won_deals_of_every_model_equal_the_files(funnel: tuple[Project, Sandbox, dict[str, int]]) -> None:
    """A lead has one touch, so all models agree: with each other, in both scopes, and with the files. Nobody was asked
    what brought them, so what people say explains nothing."""
    project, _, _ = funnel
    credited: dict[tuple[str, str, str], dict[tuple[str | None, str | None], int]] = {}
    for model, scope, measure, source, medium, credit in project.finance(
        "SELECT model, scope, measure, source, medium, sum(credit_minor) FROM marts.revenue_attribution"
        " WHERE milestone = 'customer_won' AND measure IN ('count', 'amount', 'mrr') GROUP BY ALL"
    ):
        credited.setdefault((model, scope, measure), {})[source, medium] = int(credit)
    wins, cents = _counted_from_the_files()
    wanted = {"count": {origin: 1_000_000 * won for origin, won in wins.items()}, "amount": cents, "mrr": cents}
    assert {model for model, _, _ in credited} == {*models(), "time_decay_30"}
    assert {scope for _, scope, _ in credited} == {"account", "deal_contacts"}
    silent = {measure: {(None, None): sum(found.values())} for measure, found in wanted.items()}
    differ = {
        key for key, found in credited.items() if found != (silent if key[0] == "self_reported" else wanted)[key[2]]
    }
    assert differ == set()
    assert wins[(None, None)] == 1, "one deal was won before its lead's first contact"
    assert project.finance(
        "SELECT DISTINCT unattributed_reason FROM marts.revenue_attribution WHERE source IS NULL"
        " AND model <> 'self_reported'"
    ) == [("after_outcome",)]


def _counted_from_the_files() -> tuple[Counter[tuple[str | None, str | None]], Counter[tuple[str | None, str | None]]]:
    """Won deals by source and medium, and their declared monthly revenue in cents, where they declare some."""
    origins = {
        "organic search": ("google", "organic"),
        "paid search": ("google", "cpc"),
        "social": ("facebook", "paid_social"),
        "display": ("google", "display"),
        "email": ("newsletter", "email"),
        "referral": ("partner", "referral"),
        "direct traffic": ("direct", None),  # a medium `none` is none
        "other": ("other", "other"),
        "other publicities": ("other", "publicity"),
        "unknown": ("unknown", "unknown"),
        "": ("unknown", "unknown"),
    }
    leads = {row["mql_id"]: row for row in _rows("olist_marketing_qualified_leads_dataset.csv")}
    counted: Counter[tuple[str | None, str | None]] = Counter()
    cents: Counter[tuple[str | None, str | None]] = Counter()
    for won in _rows("olist_closed_deals_dataset.csv"):
        lead = leads[won["mql_id"]]
        before_contact = won["won_date"][:10] < lead["first_contact_date"]
        origin = (None, None) if before_contact else origins[lead["origin"]]
        counted[origin] += 1
        if revenue := round(Decimal(won["declared_monthly_revenue"] or 0) * 100):
            cents[origin] += revenue
    return counted, cents


def _rows(name: str) -> list[dict[str, str]]:
    path: Path = DATA / name
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
