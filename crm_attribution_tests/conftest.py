from __future__ import annotations

import gc
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from crm_attribution.sources import sources
from crm_attribution.warehouse.session import Session
from crm_attribution_tests import in_memory, sandbox_process
from crm_attribution_tests.flow.chain import Chain
from crm_attribution_tests.flow.stories import portal
from crm_attribution_tests.flow.story import LAST_DAY
from crm_attribution_tests.helpers import new_warehouse
from crm_attribution_tests.laws import TIMES

sources()  # registers the contracts that stand in the files of sources

settings.register_profile("law", deadline=None, max_examples=100 * TIMES, derandomize=TIMES == 1, database=None)
settings.load_profile("law")
"""An example that is slow on a busy machine is no failure; a run finds what the run before it found."""
settings.register_profile("any failure", parent=settings.get_profile("law"), phases=[Phase.explicit, Phase.generate])
"""For mutants: that a test fails is enough, the smallest example is not looked for."""


_FOLDER = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Temporary folders of tests lie in memory where there is room and nobody named a place (`--basetemp`)."""
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        folder = in_memory.make()
        if folder is not None:
            config.stash[_FOLDER] = folder
            config.option.basetemp = folder / "tests"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Memory is given back; what failed is kept on request (`--basetemp`)."""
    if _FOLDER in config.stash:
        shutil.rmtree(config.stash[_FOLDER], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let `Sandbox.start` know the markers of the test that runs."""
    sandbox_process.LANES = {mark.name for mark in item.iter_markers()}
    return (yield)


_LONG = ("pipeline", "crash", "sandbox", "warehouse", "slow")
"""Markers of modules that take long, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that take long begin first, so that at the end no worker waits for another."""
    place: dict[object, int] = {}
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        found = min((number for number, name in enumerate(_LONG) if name in marks), default=len(_LONG))
        module = item.nodeid.partition("::")[0]
        place[module] = min(found, place.get(module, found))
    items.sort(key=lambda item: place[item.nodeid.partition("::")[0]])


def pytest_collection_finish() -> None:
    """What is imported stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Every story of `flow/stories`, read and derived at once, after the last of them. Tests leave it as it is."""
    with Chain.start(tmp_path_factory.mktemp("stories"), portal(), LAST_DAY) as chain:
        chain.run()
        yield chain


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """An empty warehouse, open."""
    with new_warehouse(tmp_path).session() as opened:
        yield opened
