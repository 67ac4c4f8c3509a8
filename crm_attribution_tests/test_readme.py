"""The README says what is there: commands, targets, settings. Its SQL is run in pipeline/test_pipeline.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from crm_attribution.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    documented = set(re.findall(r"^\| `crm-attribution ([a-z-]+)", README, re.MULTILINE))
    assert documented == set(main.commands)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_explains_itself(name: str) -> None:
    assert main.commands[name].help
    if main.commands[name].get_params(main.make_context("x", ["status"], resilient_parsing=True)):
        answer = CliRunner().invoke(main, ["--help"])
        assert answer.exit_code == 0
        assert name in answer.output


def test_every_make_target_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`|^\$ make ([a-z]+)$", README, re.MULTILINE))
    assert {one or other for one, other in named} <= targets


def test_every_setting_named_is_read() -> None:
    named = set(re.findall(r"`((?:CRM_ATTRIBUTION|HUBSPOT|CLICKS|META|LINKEDIN)_[A-Z_]+)`", README))
    code = "\n".join(path.read_text() for path in (ROOT / "crm_attribution").rglob("*.py"))
    assert {name for name in named if name not in code} == set()


def test_every_mart_named_has_its_file() -> None:
    said = re.search(r"The marts: (.*?)\n\n", README, re.DOTALL)
    assert said is not None
    named = set(re.findall(r"`([a-z_]+)`", said[1]))
    files = {path.stem for path in (ROOT / "dbt_like_sql" / "marts").glob("*.sql") if ".test" not in path.name}
    assert named == files
