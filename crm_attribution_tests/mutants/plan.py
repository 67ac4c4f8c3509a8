"""Which code is mutated, how, and by which tests each mutant is judged."""

from __future__ import annotations

import ast
import fnmatch
import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import parso
import yaml
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code

from crm_attribution_tests.mutants.covering import Covering
from crm_attribution_tests.mutants.operators import inert, operators

GROUPS: dict[str, list[str]] = {
    "events": ["crm_attribution/events/*.py"],
    "identity": ["crm_attribution/identity/*.py"],
    "attribution": ["crm_attribution/attribution/*.py"],
    "conversions": ["crm_attribution/conversions/*.py"],
    "ledger": ["crm_attribution/ledger/*.py"],
    "delivery": ["crm_attribution/delivery/*.py"],
    "destinations": ["crm_attribution/destinations/*.py"],
    "session": [
        f"crm_attribution/warehouse/{name}.py"
        for name in ("session", "tables", "changes", "quarantine", "sql", "state", "schema", "rewrite")
    ],
    "finance": ["crm_attribution/finance/*.py"],
    "other rules": ["crm_attribution/raw/rules/*.py", "crm_attribution/privacy/rules.py"],
    "marts": [
        "dbt_like_sql/marts/*.sql",
        "dbt_like_sql/staging/*.sql",
        "crm_attribution/marts/*.py",
        "crm_attribution/traits/*.sql",
    ],
}
"""Name of a row of the table -> patterns of its files; `*` crosses folders. Data tests are no code to be tested."""

TESTS = [
    *("attribution", "contracts", "conversions", "delivery", "destinations", "events", "flow", "identity", "marts"),
    *("finance", "ledger", "operations", "privacy", "raw", "sources", "warehouse"),
]
"""Folders of tests that judge. Those that run the command line or kill processes take too long for each mutant."""

MARKERS = "not (pipeline or crash)"

_MARTS = ("worlds_that_differ", "rows", "finance_rows", "models", "data_tests", "privacy", "spend_law", "arr_year")
OF_SQL = {
    "dbt_like_sql/": [
        *(f"marts/test_{name}.py" for name in _MARTS),
        "finance/test_quarter.py",
        "conversions/test_recipients.py",
    ],
    "crm_attribution/traits/": ["conversions/test_traits.py"],
}
"""Folder of SQL files, which coverage does not see -> the tests that make tables of them."""

STEPS = (0.25, 1.0, 4.0)
"""Seconds up to which tests are about as fast."""

EQUIVALENT = Path(__file__).with_name("equivalent.yaml")


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        line: where it is, from 1.
        was, becomes: the lines that differ, without indentation.
        code: the file as it becomes.
    """

    group: str
    file: str
    line: int
    operator: str
    occurrence: int
    start: tuple[int, int]
    end: tuple[int, int]
    was: str
    becomes: str
    code: str

    @property
    def change(self) -> tuple[str, str, str]:
        """As `equivalent.yaml` names it."""
        return self.file, self.was, self.becomes

    @property
    def key(self) -> str:
        """The same in every run while the code around it stays."""
        return sha256(f"{self.file}\n{self.was}\n{self.becomes}\n{self.operator}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Place:
    """Where an operator can change a file."""

    group: str
    file: str
    operator: str
    occurrence: int
    start: tuple[int, int]
    end: tuple[int, int]


def group_of(file: str) -> str | None:
    if file.endswith(".test.sql"):
        return None
    return next((name for name, patterns in GROUPS.items() if any(fnmatch.fnmatch(file, p) for p in patterns)), None)


def changed(root: Path, base: str | None = None) -> list[str]:
    """Files that differ from a branch (`main` as it was fetched last), uncommitted changes among them."""
    if base is None:
        base = "origin/main" if _git(root, "branch", "--remotes", "--list", "origin/main") else "main"
    return _git(root, "diff", "--name-only", "--diff-filter=d", f"{base}...") + _git(
        root, "diff", "--name-only", "HEAD"
    )


def _git(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def tracked(root: Path) -> list[str]:
    """Every file of the tree that git does not ignore."""
    names = _git(root, "ls-files", "--cached", "--others", "--exclude-standard")
    return sorted(name for name in set(names) if (root / name).is_file())


def places(root: Path, files: Iterable[str]) -> list[Place]:
    """Every mutation of some files."""
    found = []
    for file in sorted(set(files)):
        group = group_of(file)
        if group is None:
            continue
        nodes = list(ast_nodes(parso.parse((root / file).read_text())))
        for name, operator in operators(file).items():
            positions = ((node, each) for node in nodes for each in operator.mutation_positions(node))
            for occurrence, (node, (start, end)) in enumerate(positions):
                if not inert(node):
                    found.append(Place(group, file, name, occurrence, start, end))
    return found


def sample(found: Sequence[Place], size: int | None, seed: int) -> Iterator[list[Place]]:
    """Of each group its places in an order by chance, at most `size` of them when not None; no group is empty."""
    for group in GROUPS:
        mine = [place for place in found if place.group == group]
        if mine:
            random.Random(f"{seed}{group}").shuffle(mine)
            yield mine if size is None else mine[:size]


def mutant(root: Path, place: Place) -> Mutant | None:
    """The change at a place; None where the code stays the same or can not be read any more."""
    before = (root / place.file).read_text()
    after: Any = mutate_code(before, operators(place.file)[place.operator], place.occurrence)
    if after is None or after == before:
        return None
    if place.file.endswith(".py"):
        try:
            compile(after, place.file, "exec")
        except SyntaxError:
            return None
    old, new = before.splitlines(), after.splitlines()
    same = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    tail = next((at for at, (a, b) in enumerate(zip(old[::-1], new[::-1], strict=False)) if a != b), 0)
    tail = min(tail, len(old) - same, len(new) - same)
    was, becomes = (" ".join(line.strip() for line in lines[same : len(lines) - tail]) for lines in (old, new))
    return Mutant(place.group, place.file, same + 1, place.operator, place.occurrence, place.start, place.end,
                  was, becomes, after)  # fmt: skip


def equivalent() -> dict[tuple[str, str, str], str]:
    """(file, line as it was, as it becomes) -> why nothing can tell the two apart."""
    listed = yaml.safe_load(EQUIVALENT.read_text()) or []
    return {(each["file"], each["was"], each["becomes"]): each["why"] for each in listed}


def parts(test_files: Sequence[str], count: int) -> list[list[str]]:
    """The files in parts for processes of their own. A folder stays whole: its tests share fixtures."""
    folders: dict[str, list[str]] = {}
    for name in test_files:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    found: list[list[str]] = [[] for _ in range(count)]
    for names in sorted(folders.values(), key=len, reverse=True):
        min(found, key=len).extend(names)
    return found


def _step(seconds: float) -> int:
    return next((step for step, most in enumerate(STEPS) if seconds <= most), len(STEPS))


def mentioning(root: Path, each: Mutant, covering: Covering) -> list[str]:
    """The tests of a SQL file that name what the file makes, in their function or as their example."""
    if not each.file.endswith(".sql"):
        return []
    name = re.compile(rf"\b{re.escape(Path(each.file).stem)}\b")
    tests = _of_sql(each, covering)
    naming = set[tuple[str, str]]()
    for file in {test.partition("::")[0] for test in tests}:
        text = (root / file).read_text()
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        naming |= {(file, one.name) for one in functions if name.search(ast.get_source_segment(text, one) or "")}
    return [
        test
        for test in tests
        if (test.partition("::")[0], _function(test)) in naming or name.search(test.partition("[")[2])
    ]


def _function(test: str) -> str:
    return test.rpartition("::")[2].partition("[")[0]


def _of_sql(each: Mutant, covering: Covering) -> list[str]:
    files = next(names for folder, names in OF_SQL.items() if each.file.startswith(folder))
    names = tuple(f"crm_attribution_tests/{name}::" for name in files)
    return [test for test in covering.seconds if test.startswith(names)]


def judges(each: Mutant, covering: Covering, seconds: float, first: Sequence[str] = ()) -> list[str]:
    """The tests that run for a mutant, as many as `seconds` allow.

    Those of `first` come first. Then the fastest come, those of the file's own folder before others of four times their
    speed. The second example of a parametrized test comes after the first of all others that are about as fast. Tests
    that share what takes long bear it in equal parts, and come after those of up to a second that do not.
    """
    if each.file.endswith(".sql"):
        found = set(_of_sql(each, covering))
    else:
        found = covering.tests(each.file, each.line)
    folder = each.file.partition("/")[2].rpartition("/")[0].partition("/")[0]
    near = f"crm_attribution_tests/{folder}/"
    if not found:  # a module of which only definitions run, such as a dataclass
        found = {test for test in covering.seconds if test.startswith(near)}
    fair = {test: cost * (0.25 if test.startswith(near) else 1.0) for test, cost in covering.fair(found).items()}
    cheap = sorted(found, key=lambda test: (fair[test], test))
    seen = Counter[str]()
    place = {}
    for at, test in enumerate(cheap):
        function = test.partition("[")[0]
        slow = max(_step(fair[test]), 0 if covering.cost(test) <= STEPS[1] else 2)
        place[test] = (-1, first.index(test), 0) if test in first else (slow, seen[function], at)
        seen[function] += 1
    ordered = sorted(cheap, key=place.__getitem__)
    chosen: list[str] = []
    spent, paid = 0.0, set[str]()
    for test in ordered:
        more = covering.cost(test, paid)
        if chosen and spent + more > seconds:
            continue
        spent += more
        chosen.append(test)
        paid.update(covering.shared.get(test, ()))
    return chosen
