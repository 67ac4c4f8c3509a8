"""Mutation testing: change the code in small ways and see whether a test fails. Started by `make mutants`.

cosmic-ray makes the mutants and keeps the session (`build/mutants/session.sqlite`; `cr-html` and `cr-report` read it).
What it has not got is here: mutations of Polars and SQL (`operators.py`), the tests that cover a line (`covering.py`),
and processes that do not import everything again for each mutant (`trial.py`). Looked at and left:

* cosmic-ray's own command line has one test command for all mutants, and starts an interpreter for each.
* mutmut 3 changes functions only: no dataclass defaults, no constants, no function with a decorator, no SQL in files or
  in strings of three quotes; and of each of our many messages it makes three mutants.
* mutatest and mutpy have had no release since 2022.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import multiprocessing
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from multiprocessing.connection import Connection, wait
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

from crm_attribution_tests.mutants import plan, trial, warm
from crm_attribution_tests.mutants.covering import Covering, record
from crm_attribution_tests.mutants.plan import GROUPS, Mutant

ROOT = Path(__file__).parents[2]
FIRST = 5
"""Tests that noticed most mutants of a file, which come first for another."""
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Build:
    """What a run leaves behind: the copies in which mutants run, what the tests of the last one of each printed, which
    test covers which line, and cosmic-ray's session."""

    folder: Path

    def tree(self, number: int = 0) -> Path:
        """The copy of a process: a mutant stands in it while its tests run."""
        return self.folder / (f"tree_{number}" if number else "tree")

    def output(self, number: int = 0) -> Path:
        return self.folder / f"output_{number}.txt"

    @property
    def covering(self) -> Path:
        return self.folder / "covering.json"

    @property
    def session(self) -> Path:
        return self.folder / "session.sqlite"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m crm_attribution_tests.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", help="files or folders; by default those that differ from --base")
    parser.add_argument("--all", action="store_true", help="every file of the groups")
    parser.add_argument("--base", help="branch the changes are compared with (default: main as it was fetched last)")
    parser.add_argument("--sample", type=int, help="so many mutants of each group at most")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--again", action="store_true", help="only those that survived the last run")
    kept.add_argument("--go-on", action="store_true", help="keep the last run's outcomes and try what it did not reach")
    parser.add_argument(
        "--seconds", type=float, default=40.0, help="of processor time for each mutant at most (default: 40)"
    )
    parser.add_argument("--processes", type=int, default=2, help="side by side, each in a copy of its own (default: 2)")
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build" / "mutants", help="folder of the copy and the session, one a run"
    )
    return parser.parse_args()


def main() -> int:
    given = arguments()
    build = Build(given.build.absolute())
    build.folder.mkdir(parents=True, exist_ok=True)
    lock = (build.folder / "lock").open("w")  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another run works in {build.folder}: wait for it, or give this one a folder of its own with --build")
    trial.preload()
    for number in range(given.processes):
        trial.copy(ROOT, build.tree(number))
    files = _files(given)
    with use_db(str(build.session), WorkDB.Mode.create) as session:
        chosen = _again(build.tree(), session) if given.again else _chosen(build.tree(), given, files)
        if not chosen:
            print("nothing to mutate")
            return 0
        covering = _covering(build, given.processes)
        if not (given.again or given.go_on):
            session.clear()
        outcomes = _kept(session, chosen) if given.go_on else {}
        with contextlib.suppress(KeyboardInterrupt):  # what is known by then is shown; `--go-on` tries the others
            _run(build, session, chosen, covering, given, outcomes)
    _report(chosen, outcomes)
    return 0


def _files(given: argparse.Namespace) -> list[str]:
    known = [name for name in plan.tracked(ROOT) if plan.group_of(name)]
    if given.all:
        return known
    if given.files:
        return [
            name
            for name in known
            if any(name == file or name.startswith(f"{file.rstrip('/')}/") for file in given.files)
        ]
    wanted = set(plan.changed(ROOT, given.base))
    return [name for name in known if name in wanted]


def _chosen(tree: Path, given: argparse.Namespace, files: list[str]) -> list[Mutant]:
    """The sample, without those known to be equivalent; by turns of each group, so that a run can stop at any time."""
    known = plan.equivalent()
    groups: list[list[Mutant]] = []
    for places in plan.sample(plan.places(tree, files), None, given.seed):
        mine: dict[tuple[str, str, str], Mutant] = {}
        for place in places:
            if given.sample is not None and len(mine) >= given.sample:
                break
            found = plan.mutant(tree, place)
            if found is not None and found.change not in known:
                mine.setdefault(found.change, found)
        groups.append(list(mine.values()))
    return [each for turn in zip_longest(*groups) for each in turn if each is not None]


def _again(tree: Path, session: WorkDB) -> list[Mutant]:
    """The survivors of the last session, as far as their code still stands there."""
    known = plan.equivalent()
    wanted = {
        item.job_id: item.mutations[0]
        for item, result in session.completed_work_items
        if result.test_outcome == TestOutcome.SURVIVED
    }
    chosen: dict[str, Mutant] = {}
    kinds = {(str(spec.module_path), spec.operator_name) for spec in wanted.values()}
    for place in plan.places(tree, {file for file, _ in kinds if (tree / file).exists()}):
        if (place.file, place.operator) not in kinds:
            continue
        found = plan.mutant(tree, place)
        if found is None or found.key not in wanted or found.change in known:
            continue
        if found.key not in chosen or found.occurrence == wanted[found.key].occurrence:  # two lines may be alike
            chosen[found.key] = found
    return list(chosen.values())


def _covering(build: Build, processes: int) -> Covering:
    """What covers what, brought up to date."""
    covering = Covering.load(build.covering)
    tests = [
        name
        for name in plan.tracked(ROOT)
        if (build.tree() / name).exists()  # work may go on beside a run
        and name.startswith(tuple(f"crm_attribution_tests/{folder}/" for folder in plan.TESTS))
        and name.rpartition("/")[2].startswith("test_")
    ]
    stale = covering.stale(build.tree(), tests)
    if stale:
        print(f"running {len(stale)} test files to see what they cover", flush=True)
        newer = [build.folder / f"newer_{number}.json" for number in range(processes)]

        def work(number: int) -> None:
            def recorded() -> int:
                options = ["-q", "-p", "no:anyio", "--assert=plain", "--hypothesis-seed=0", "-m", plan.MARKERS]
                record(build.tree(number), ["crm_attribution/*"], parts[number], options).save(newer[number])
                return 0

            sys.exit(trial.in_child(build.tree(number), build.output(number), recorded, 7200.0) or 0)

        parts = plan.parts(stale, processes)
        children = [FORK.Process(target=work, args=(number,)) for number in range(processes) if parts[number]]
        for each in children:
            each.start()
        for each in children:
            each.join()
        for number in range(len(children)):
            if children[number].exitcode != 0 or not newer[number].exists():
                sys.exit(f"the tests could not be run; see {build.output(number)}")
            covering.replace(build.tree(), Covering.load(newer[number]))
            newer[number].unlink()
        covering.save(build.covering)
    return covering


def _kept(session: WorkDB, chosen: Sequence[Mutant]) -> dict[str, str]:
    """Key -> outcome, of those that a session holds."""
    mine = {each.key for each in chosen}
    return {
        item.job_id: trial.SURVIVED if result.test_outcome == TestOutcome.SURVIVED else trial.KILLED
        for item, result in session.completed_work_items
        if item.job_id in mine
    }


@dataclass(frozen=True)
class Tried:
    """What became of a mutant, and which test noticed it."""

    outcome: str
    tests: int
    seconds: float
    printed: str
    by: str | None


def _work(
    build: Build, number: int, covering: Covering, seconds: float, orders: Connection, others: Sequence[Connection]
) -> None:
    """In a process of its own: try the mutants that come, each with tests that are to run first, in a copy of its
    own. It ends with the process that gives them."""
    for other in others:
        other.close()
    tree, output = build.tree(number), build.output(number)
    warm.warm(tree)
    graph = warm.importers(tree)
    with contextlib.suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        while (order := orders.recv()) is not None:
            each, first = order
            tests, started = plan.judges(each, covering, seconds, first), time.monotonic()
            outcome = trial.tried(tree, output, each.file, each.code, tests, 30.0 + 3 * seconds, graph)
            printed = output.read_text(errors="replace")[-2000:] if output.exists() else ""
            by = re.search(r"^(?:FAILED|ERROR) (\S+::\S+)", printed, re.MULTILINE)
            orders.send(Tried(outcome, len(tests), time.monotonic() - started, printed, by and by[1]))


def _run(
    build: Build,
    session: WorkDB,
    chosen: Sequence[Mutant],
    covering: Covering,
    given: argparse.Namespace,
    outcomes: dict[str, str],
) -> None:
    """Try each that has no outcome yet; the outcomes are kept one by one."""
    known = {item.job_id for item in session.work_items}
    session.add_work_items(_item(each) for each in chosen if each.key not in known)
    waiting = iter([(at, each) for at, each in enumerate(chosen, 1) if each.key not in outcomes])
    busy: dict[Connection, tuple[int, Mutant]] = {}
    noticed = defaultdict[str, Counter[str]](Counter)  # file -> tests that noticed a mutant of it: they may again

    def give(orders: Connection) -> None:
        found = next(waiting, None)
        if found is None:
            orders.send(None)
            return
        busy[orders] = found
        first = [test for test, _ in noticed[found[1].file].most_common(FIRST)]
        first += plan.mentioning(build.tree(), found[1], covering)
        orders.send((found[1], list(dict.fromkeys(first))))

    ends: list[Connection] = []
    for number in range(given.processes):
        ours, theirs = FORK.Pipe()
        ends.append(ours)
        FORK.Process(target=_work, args=(build, number, covering, given.seconds, theirs, list(ends))).start()
        theirs.close()
    for ours in ends:
        give(ours)
    while busy:
        ready = wait(list(busy))
        for orders in [each for each in busy if each in ready]:
            at, each = busy.pop(orders)
            found: Tried = orders.recv()
            outcomes[each.key] = found.outcome
            noticed[each.file].update([found.by] if found.by else [])
            session.set_result(each.key, _result(each, found))
            told = f"{at}/{len(chosen)} {found.outcome} {each.file}:{each.line}"
            print(f"{told} ({found.tests} tests, {found.seconds:.1f} s)", flush=True)
            if found.outcome == trial.SURVIVED:
                print(f"  - {each.was}\n  + {each.becomes}", flush=True)
            give(orders)


def _item(each: Mutant) -> WorkItem:
    spec = MutationSpec(Path(each.file), each.operator, each.occurrence, each.start, each.end)
    return WorkItem.single(each.key, spec)


def _result(each: Mutant, found: Tried) -> WorkResult:
    told = TestOutcome.SURVIVED if found.outcome == trial.SURVIVED else TestOutcome.KILLED
    return WorkResult(WorkerOutcome.NORMAL, found.printed, told, f"-{each.was}\n+{each.becomes}\n")


def _report(chosen: Sequence[Mutant], outcomes: Mapping[str, str]) -> None:
    """The table, by group, of those tried."""
    listed = Counter(plan.group_of(file) for file, _, _ in plan.equivalent())
    tried = {each.key: (each.group, outcomes[each.key]) for each in chosen if each.key in outcomes}.values()
    print(f"\n{'group':14} {'mutants':>8} {'killed':>8} {'survived':>9} {'score':>7} {'equivalent':>11}")
    for group in [*GROUPS, "all"]:
        mine = [outcome for name, outcome in tried if group in ("all", name)]
        if not mine:
            continue
        survived = mine.count(trial.SURVIVED)
        known = listed.total() if group == "all" else listed[group]
        score = 100 * (len(mine) - survived) / len(mine)
        print(f"{group:14} {len(mine):8} {len(mine) - survived:8} {survived:9} {score:6.1f}% {known:11}")
    if len(outcomes) < len(chosen):
        print(f"stopped; {len(outcomes)} of {len(chosen)} tried, --go-on tries the others")


if __name__ == "__main__":
    sys.exit(main())
