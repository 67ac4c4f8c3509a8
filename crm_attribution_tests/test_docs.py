"""README and docs/ name what is there. pipeline/test_pages.py runs their commands on the demo."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from crm_attribution.cli import main
from crm_attribution.configuration import groups
from crm_attribution.marts.discovery import discover
from crm_attribution.settings import of_account
from crm_attribution_tests.pages import PAGES, ROOT, Shown, blocks, commands
from crm_attribution_tests.test_architecture import ORDER, PACKAGE

EVERYTHING = "\n".join(PAGES.values())
README_LINES = 200


def test_the_readme_stays_short() -> None:
    assert len(PAGES["README.md"].splitlines()) <= README_LINES


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    documented = set(re.findall(r"^\| `crm-attribution ([a-z-]+)", PAGES["docs/operations.md"], re.MULTILINE))
    assert documented == set(main.commands)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_explains_itself(name: str) -> None:
    assert main.commands[name].help
    answer = CliRunner().invoke(main, ["--help"])
    assert answer.exit_code == 0
    assert name in answer.output


def unknown(words: list[str]) -> list[str]:
    """Words of a `crm-attribution …` line that name no command or no option of its command."""
    options, rest = {option for p in main.params for option in p.opts}, words[1:]
    command: click.Command = main
    found = []
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            found += [] if word in options else [word]
            rest = rest[1:] if word == "--env-file" else rest
        elif isinstance(command, click.Group):
            if word not in command.commands:
                return [*found, word]
            command = command.commands[word]
            passed_on = command.context_settings.get("ignore_unknown_options")
            options = {option for p in command.params for option in p.opts} | (set(rest) if passed_on else set())
    return found


OURS = [shown for shown in commands() if shown.words[0] == "crm-attribution"]


@pytest.mark.parametrize("shown", OURS, ids=lambda shown: f"{shown.page}: {shown.text[:60]}")
def test_every_command_line_names_what_is_there(shown: Shown) -> None:
    assert unknown(shown.words) == []


@pytest.mark.parametrize("line", ["crm-attribution nonsense", "crm-attribution --demo status --nonsense"])
def test_a_command_line_that_is_wrong_is_found(line: str) -> None:
    assert unknown(line.split()) != []


def test_every_make_target_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", EVERYTHING)) | {
        shown.words[1] for shown in commands() if shown.words[0] == "make"
    }
    assert named - targets == set()


def test_every_setting_named_is_declared() -> None:
    known = {setting.name for group in groups() for setting in group.settings}
    beginnings = "|".join(sorted({name.split("_")[0] for name in known}))
    known |= {
        of_account(setting.name, name) for group in groups() for setting in group.per_account
        for name in ("eu", "sales", "ops")
    }  # fmt: skip
    assert set(re.findall(rf"\b((?:{beginnings})_[A-Z_]*[A-Z])\b", EVERYTHING)) - known == set()


def test_every_mart_named_has_its_file() -> None:
    files = {path.stem for path in (ROOT / "dbt_like_sql" / "marts").glob("*.sql") if ".test" not in path.name}
    named = set(re.findall(r"\bmarts\.([a-z_]+)\b", PAGES["README.md"])) - {"duckdb"}  # the writer's file
    assert named <= files


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGES[page])
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []


def test_the_architecture_page_lists_the_folders_in_their_order() -> None:
    listed = re.findall(r"^\| `([a-z]+)/`", PAGES["docs/architecture.md"], re.MULTILINE)
    assert listed == [name for name in ORDER if (PACKAGE / name).is_dir()]


def test_the_markers_of_tests_are_those_of_the_page() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    listed = re.findall(r"^\| `([a-z]+)` \| ([^|]+) \|", PAGES["docs/extend.md"], re.MULTILINE)
    assert [f"{name}: {meaning}" for name, meaning in listed if name in {m.split(":")[0] for m in declared}] == declared


def test_the_example_of_a_mart_is_one(tmp_path: Path) -> None:
    model, incremental, check = blocks("docs/extend.md", "sql example")
    folder = tmp_path / "marts"
    folder.mkdir()
    (folder / "won_per_month.sql").write_text(model, encoding="utf-8")
    (folder / "won_per_month.plausible.test.sql").write_text(check, encoding="utf-8")
    (folder / "win_named.sql").write_text(incremental, encoding="utf-8")
    named, found = discover(tmp_path)
    assert (found.key, found.depends) == ("marts.won_per_month", ("marts.milestone",))
    assert [follow.topic for follow in named.follows] == ["milestone", "account"]
