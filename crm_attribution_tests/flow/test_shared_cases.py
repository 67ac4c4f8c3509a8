"""The cases of ../shared/cases: each gives its expected rows hour by hour, in one range and shuffled.

They lie beside a development checkout only; the stories of `test_truth.py` hold the same kinds in the repository.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from crm_attribution.clock import iso
from crm_attribution_tests.flow.chain import rules
from crm_attribution_tests.flow.replay import WAYS, Log, answers, played
from crm_attribution_tests.helpers import at

pytestmark = pytest.mark.sandbox

CASES = Path(__file__).parents[3] / "shared" / "cases" / "semantics"


def _groups() -> list[list[Path]]:
    """Cases of one mapping, account and clock are one portal: their records are others, and a portal takes a while."""
    found = defaultdict(list)
    for path in sorted(CASES.glob("*.expected.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        account = _log(path)[0]
        found[case["mapping"], case["clock"], json.dumps(account)].append(path)
    return list(found.values())


def _log(path: Path) -> list[dict[str, Any]]:
    text = path.with_name(path.name.replace(".expected.json", ".jsonl")).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


GROUPS = _groups()


@pytest.mark.skipif(not GROUPS, reason="the shared cases lie beside a development checkout only")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("paths", GROUPS, ids=lambda paths: "+".join(path.name.split(".")[0] for path in paths))
def test_a_case_gives_its_rows(tmp_path: Path, paths: list[Path], way: str):
    cases = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    lines = {json.dumps(line): line for path in paths for line in _log(path)}
    clicks = [file for path in paths for file in CASES.glob(path.name.replace(".expected.json", ".clicks.*"))]
    log = Log(sorted(lines.values(), key=lambda line: at(line["at"])), iso(at(cases[0]["clock"])), clicks)
    asked = [question for case in cases for question in case["expect"]]
    with played(tmp_path, log, rules(tmp_path, cases[0]["mapping"]), way) as chain:
        found = answers(chain, asked)
    wrong = [
        f"{question['case']} {question['what']}: {rows}, not {question['want']}"
        for question, rows in zip(asked, found, strict=True)
        if rows != question["want"]
    ]
    assert not wrong, "\n".join(wrong)
