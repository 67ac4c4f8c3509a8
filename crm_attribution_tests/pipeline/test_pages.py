"""Every command that README and docs/ show on the demo runs there and prints what stands below it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from shutil import copy

import pytest

from crm_attribution_tests import forked
from crm_attribution_tests.pages import Shown, commands
from crm_attribution_tests.pipeline.project import SAMPLE_MAPPING
from crm_attribution_tests.report import checked

pytestmark = pytest.mark.pipeline

ON_DEMO = [shown for shown in commands() if "--demo" in shown.words]
DEMO = [shown for shown in commands() if shown.text == "make demo"]


@dataclass
class Played:
    """A directory with the demo in data/demo, and what the demo printed."""

    folder: Path
    printed: str

    def run(self, *arguments: str) -> str:
        return run(self.folder, *arguments)


def run(folder: Path, *arguments: str) -> str:
    """Standard output of `crm-attribution …` in a folder."""
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = forked.command(arguments, env, folder, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "data").mkdir()
    copy(SAMPLE_MAPPING, folder / "data")
    return Played(folder, run(folder, "demo"))


def test_the_demo_prints_what_the_readme_shows(played: Played) -> None:
    (shown,) = DEMO
    assert shown.missing(played.printed) is None


def test_each_figure_of_the_demo_s_report_stands_in_the_published_file(played: Played) -> None:
    data = played.folder / "data" / "demo"
    assert checked.differences(data / "reports" / "attribution.html", data / "finance.duckdb") == {}


@pytest.mark.parametrize("shown", ON_DEMO, ids=lambda shown: f"{shown.page}: {shown.text[:60]}")
def test_a_command_prints_what_its_page_shows(played: Played, shown: Shown) -> None:
    """In the order of the pages: later commands find what earlier ones changed."""
    printed = played.run(*shown.words[1:])
    assert shown.missing(printed) is None, printed


def test_a_line_that_is_not_printed_is_found() -> None:
    shown = Shown("page", "command", ["one", "…", "three"])
    assert (shown.missing("one\ntwo\nthree"), shown.missing("three\none"), shown.missing("")) == (None, "three", "one")
