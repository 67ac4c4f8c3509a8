"""Which test covers which line: a plugin of pytest that runs coverage.py with one context per test.

What a fixture of a wider scope runs counts for every test that uses it, not only for the first. A recording is kept:
lines that moved since are found again, and only test files that changed are run again.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from hashlib import sha256
from pathlib import Path
from typing import Any

import coverage
import pytest

Lines = dict[str, dict[int, set[str]]]


@dataclass
class Covering:
    """What the tests of a tree cover.

    Attributes:
        seconds: test -> processor time it took, of its processes too, without the fixtures it shares with others.
        shared: test -> those fixtures.
        setup: shared fixture -> processor time it took.
        lines: file -> line -> tests. Files and tests are named from the root of the tree.
        digests: test file -> SHA-256 of its content when it was run.
        texts: file -> its content when it was measured.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: Lines = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    shared: dict[str, list[str]] = field(default_factory=dict)
    setup: dict[str, float] = field(default_factory=dict)

    def cost(self, test: str, paid: Collection[str] = ()) -> float:
        """Seconds of a test with the fixtures it shares, of which some may be there."""
        shared = sum(self.setup.get(name, 0.0) for name in self.shared.get(test, ()) if name not in paid)
        return self.seconds.get(test, 1.0) + shared

    def fair(self, tests: Collection[str]) -> dict[str, float]:
        """Seconds of each test with its part of the fixtures that these tests share."""
        users = Counter(name for test in tests for name in self.shared.get(test, ()))
        return {
            test: self.seconds.get(test, 1.0)
            + sum(self.setup.get(name, 0.0) / users[name] for name in self.shared.get(test, ()))
            for test in tests
        }

    def tests(self, file: str, line: int) -> set[str]:
        """The tests of a line; of one that only runs when the module is imported, those of any line of the file."""
        lines = self.lines.get(file, {})
        return lines.get(line) or set().union(*lines.values())

    def stale(self, root: Path, test_files: Sequence[str]) -> list[str]:
        """The test files that are new or have changed."""
        return [name for name in test_files if self.digests.get(name) != _digest(root / name)]

    def replace(self, root: Path, newer: Covering) -> None:
        """Take a newer recording of some test files; what is known of the others is moved to the lines of today."""
        self.lines = {file: _moved(lines, self.texts[file], root / file) for file, lines in self.lines.items()}
        self.texts = {file: (root / file).read_text() for file in self.lines if (root / file).exists()}
        gone = {test for test in self.seconds if not (root / _file(test)).exists() or _file(test) in newer.digests}
        self.seconds = {test: each for test, each in self.seconds.items() if test not in gone} | newer.seconds
        for lines in self.lines.values():
            for tests in lines.values():
                tests -= gone
        for file, found in newer.lines.items():
            mine = self.lines.setdefault(file, {})
            for line, tests in found.items():
                mine.setdefault(line, set()).update(tests)
        self.shared = {test: each for test, each in self.shared.items() if test not in gone} | newer.shared
        self.setup |= newer.setup
        self.digests |= newer.digests
        self.texts |= newer.texts

    @classmethod
    def load(cls, path: Path) -> Covering:
        if not path.exists():
            return cls()
        found = json.loads(path.read_text())
        names = list(found["seconds"])
        lines = {
            file: {int(line): {names[at] for at in tests} for line, tests in by_line.items()}
            for file, by_line in found["lines"].items()
        }
        return cls(found["seconds"], lines, found["digests"], found["texts"], found["shared"], found["setup"])

    def save(self, path: Path) -> None:
        place = {name: at for at, name in enumerate(self.seconds)}
        lines = {
            file: {line: sorted(place[test] for test in tests if test in place) for line, tests in by_line.items()}
            for file, by_line in self.lines.items()
        }
        found = {"seconds": self.seconds, "lines": lines, "digests": self.digests, "texts": self.texts}
        found |= {"shared": self.shared, "setup": self.setup}
        path.write_text(json.dumps(found))


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _file(test: str) -> str:
    return test.partition("::")[0]


def _moved(lines: dict[int, set[str]], before: str, path: Path) -> dict[int, set[str]]:
    """The same under the numbers that the lines have now; lines that changed have the tests of their block."""
    now = path.read_text() if path.exists() else ""
    if now == before:
        return lines
    moved: dict[int, set[str]] = {}
    for kind, a, b, c, d in SequenceMatcher(None, before.splitlines(), now.splitlines(), autojunk=False).get_opcodes():
        if kind == "equal":
            moved |= {c + at + 1: lines[a + at + 1] for at in range(b - a) if a + at + 1 in lines}
        elif kind == "replace":
            block = set().union(*(lines.get(at + 1, set()) for at in range(a, b)))
            moved |= {at + 1: set(block) for at in range(c, d) if block}
    return moved


def _spent() -> float:
    """Processor time of this process and of those it has waited for: what a busy machine does not change."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass(eq=False)  # pluggy keeps plugins in a dictionary
class Recorder:
    """The plugin."""

    root: Path
    sources: Sequence[str]
    seconds: dict[str, float] = field(default_factory=dict)
    users: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    failed: set[str] = field(default_factory=set)
    setup: dict[str, float] = field(default_factory=dict)
    waited: float = 0.0
    now: str = ""

    def __post_init__(self) -> None:
        include = [f"{self.root}/{source}" for source in self.sources]
        self.coverage = coverage.Coverage(data_file=None, include=include, config_file=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.now = item.nodeid
        self.coverage.switch_context(item.nodeid)
        started, self.waited = _spent(), 0.0
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = round(_spent() - started - self.waited, 2)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        result = yield
        definitions: dict[str, Any] = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
        for name, found in definitions.items():
            if found[-1].scope != "function":
                self.users[f"fixture {found[-1].baseid} {name}"].add(item.nodeid)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        name = f"fixture {fixturedef.baseid} {fixturedef.argname}"
        self.coverage.switch_context(name)
        started = _spent()
        try:
            return (yield)
        finally:
            self.setup[name] = round(_spent() - started, 2)
            self.waited += self.setup[name]
            self.coverage.switch_context(self.now)

    def covering(self, test_files: Sequence[str]) -> Covering:
        """What was found. A test that fails by itself covers nothing."""
        data = self.coverage.get_data()
        seconds = {test: each for test, each in self.seconds.items() if test not in self.failed}
        lines: Lines = {}
        for file in data.measured_files():
            by_line = {
                line: {test for context in contexts for test in self.users.get(context, {context}) if test in seconds}
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            lines[str(Path(file).relative_to(self.root))] = {line: tests for line, tests in by_line.items() if tests}
        digests = {name: _digest(self.root / name) for name in test_files}
        texts = {file: (self.root / file).read_text() for file in lines}
        shared = {test: [name for name, users in self.users.items() if test in users] for test in seconds}
        return Covering(seconds, lines, digests, texts, shared, self.setup)


def record(root: Path, sources: Sequence[str], test_files: Sequence[str], arguments: Sequence[str]) -> Covering:
    """Run pytest on some files and return what covers what."""
    recorder = Recorder(root, sources)
    recorder.coverage.start()
    pytest.main(["-p", "no:cacheprovider", *arguments, *test_files], plugins=[recorder])
    recorder.coverage.stop()
    return recorder.covering(test_files)
