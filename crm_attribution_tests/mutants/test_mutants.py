"""The lane itself: what its operators make, what a recording says after the code has moved, and the list of mutants
that nothing can tell from the code."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import parso
import pytest
from cosmic_ray.ast import ast_nodes
from cosmic_ray.mutating import mutate_code

from crm_attribution_tests.mutants.covering import Covering
from crm_attribution_tests.mutants.operators import inert, operators, sql_mutants
from crm_attribution_tests.mutants.plan import EQUIVALENT, GROUPS, equivalent, group_of, mutant, places, tracked
from crm_attribution_tests.mutants.trial import InOrder, changed, in_child
from crm_attribution_tests.mutants.warm import importers, reached

ROOT = Path(__file__).parents[2]


def mutants(code: str, file: str = "x.py") -> set[str]:
    """What our own operators make of some code."""
    found = set()
    for name, operator in operators(file).items():
        if name.startswith("ours/"):
            nodes = [node for node in ast_nodes(parso.parse(code)) if not inert(node)]
            count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
            found |= {str(mutate_code(code, operator, number)) for number in range(count)}
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "a.sort('x', 'y', descending=d)\\n",
            {"a.sort('y', 'x', descending=d)\\n", "a.sort('x', descending=d)\\n", "a\\n", "pass\\n"},
        ),
        ("n = c.over('x', 'y')\\n", {"n = c.over('x')\\n", "n = c\\n"}),
        ("b = a.filter(x).y\\n", {"b = a.y\\n"}),
        ("b = a.max()\\n", {"b = a.min()\\n"}),
        ("q.appendleft(x)\\n", {"q.append(x)\\n", "pass\\n"}),
        ("q.append(x)\\n", {"pass\\n"}),
        (
            "def first(a):\\n    return f(a, first=a, days=a)\\n",
            {"def first(a):\\n    return f(a, first=a, hours=a)\\n"},
        ),
        ("n += f(1)\\n", {"pass\\n"}),
        ('k = "first"\\n', {'k = "last"\\n'}),
        ("s(k=lambda r: (r.a, r.b))\\n", {"pass\\n"}),
        (
            "s(z, key=lambda r: (r.a, r.b))\\n",
            {"pass\\n", "s(z, key=lambda r: (r.b, r.a,))\\n", "s(z, key=lambda r: (r.a,))\\n"},
        ),
        ("x = 1 if a else 2\\n", {"x = 1 if True else 2\\n", "x = 1 if False else 2\\n"}),
        ('"""SELECT a FROM b WHERE c = d"""\\n', set()),
    ],
)
def test_what_is_made_of_python(code: str, expected: set[str]):
    code, wanted = code.replace("\\n", "\n"), {each.replace("\\n", "\n") for each in expected}
    assert mutants(code) == wanted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a ORDER BY x, y DESC", {"a ORDER BY y DESC, x", "a ORDER BY x", "a ORDER BY x, y"}),
        ("where m.a <= 1", {"where m.a < 1", "where m.a <= 2"}),
        ("coalesce(a, b) IS NULL", {"coalesce(b, a) IS NULL", "coalesce(a, b) IS NOT NULL"}),
        ("'a = 1' -- b = 2", set()),
        ("d.channel, a.channel", {"a.channel, a.channel", "d.channel, d.channel"}),
        ("arg_min(t, x)", {"arg_max(t, x)"}),
        ("from a.x join b.x", set()),
        ("select t.x from t join u on t.x = u.x", {"select t.x from t join u on t.x <> u.x"}),
        ("a as (\n select t.x\n),\nb as (\n select u.x\n)", set()),
        ("create or replace y as not exists (select 1 from z)", set()),
    ],
)
def test_what_is_made_of_sql(text: str, expected: set[str]):
    assert set(sql_mutants(text)) == expected


def test_a_file_of_sql_is_mutated_as_it_stands():
    assert mutants("select a\nfrom b\nwhere c < d -- e < f\n", "x.sql") == {
        "select a\nfrom b\nwhere c <= d -- e < f\n",
    }


def test_annotations_and_precautions_are_left_alone():
    code = "def f(a: int | None = None) -> int | str:\n    return z(a, strict=True) | b\n"
    (operator,) = [each for name, each in operators("x.py").items() if name.endswith("BitOr_BitAnd")]
    kept = [
        node for node in ast_nodes(parso.parse(code)) if list(operator.mutation_positions(node)) and not inert(node)
    ]
    assert [node.start_pos[0] for node in kept] == [2]
    (operator,) = [each for name, each in operators("x.py").items() if name.endswith("ReplaceTrueWithFalse")]
    assert [n for n in ast_nodes(parso.parse(code)) if list(operator.mutation_positions(n)) and not inert(n)] == []


def test_every_group_has_mutants_and_none_is_of_a_data_test():
    files = tracked(ROOT)
    assert {group_of(name) for name in files} == {*GROUPS, None}
    assert group_of("dbt_like_sql/marts/funnel.narrowing.test.sql") is None
    found = places(ROOT, ["crm_attribution/delivery/pace.py", "dbt_like_sql/staging/merge.sql"])
    made = [mutant(ROOT, place) for place in found]
    assert {"waits = self.waited + pause < self.policy.patience", "self.failures -= 1"} & {m.becomes for m in made if m}
    assert all(each.was != each.becomes for each in made if each)


def test_the_listed_equivalents_stand_in_the_code():
    """An entry whose line is gone is to be deleted, one without a reason is none."""
    for (file, was, becomes), why in equivalent().items():
        text = " ".join((ROOT / file).read_text().split())
        assert " ".join(was.split()) in text, f"{file}: {was}"
        assert was != becomes
        assert len(why.split()) >= 4, f"{EQUIVALENT.name}: {was}: say why"


def test_a_file_is_put_back_with_its_time(tmp_path: Path):
    path = tmp_path / "x.py"
    path.write_text("a")
    before = path.stat().st_mtime_ns
    with changed(path, "b"):
        assert path.read_text() == "b"
    assert (path.read_text(), path.stat().st_mtime_ns) == ("a", before)


def test_a_recording_follows_the_lines_and_forgets_tests_that_are_gone(tmp_path: Path):
    code = tmp_path / "code.py"
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text("")
    old = Covering(
        {"test_a.py::x": 1.0, "test_b.py::y": 1.0, "test_c.py::z": 1.0},
        {"code.py": {1: {"test_a.py::x"}, 2: {"test_a.py::x", "test_b.py::y", "test_c.py::z"}, 3: {"test_b.py::y"}}},
        {},
        {"code.py": "one\ntwo\nthree\n"},
    )
    code.write_text("new\none\nTWO\nthree\n")
    newer = Covering(
        {"test_a.py::w": 2.0}, {"code.py": {1: {"test_a.py::w"}}}, {"test_a.py": "d"}, {"code.py": code.read_text()}
    )
    old.replace(tmp_path, newer)
    assert old.lines == {"code.py": {1: {"test_a.py::w"}, 2: set(), 3: {"test_b.py::y"}, 4: {"test_b.py::y"}}}
    assert old.seconds == {"test_b.py::y": 1.0, "test_a.py::w": 2.0}
    assert old.tests("code.py", 2) == {"test_a.py::w", "test_b.py::y"}, "of a line no test runs, those of the file"
    old.save(tmp_path / "kept.json")
    assert Covering.load(tmp_path / "kept.json").seconds == old.seconds
    assert old.stale(tmp_path, ["test_a.py", "test_b.py"]) == ["test_a.py", "test_b.py"]


def test_what_a_mutant_can_reach_is_every_module_that_holds_something_of_its_own():
    files = [name for name in tracked(ROOT) if name.endswith(".py") and group_of(name)]
    names = {file: file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in files}
    for name in names.values():
        importlib.import_module(name)
    graph = importers(ROOT)
    loaded = {name: module for name, module in sys.modules.items() if name.startswith("crm_attribution.")}
    homes = {name: {getattr(value, "__module__", None) for value in vars(loaded[name]).values()} for name in loaded}
    for file, name in names.items():
        assert {other for other in loaded if name in homes[other]} <= reached(file, graph), file
    assert "crm_attribution.destinations" in reached("crm_attribution/destinations/meta.py", graph), "by its name alone"
    assert "crm_attribution.contracts" not in reached("crm_attribution/delivery/pace.py", graph)


def test_the_tests_of_a_mutant_run_as_they_are_judged_the_cheap_ones_first():
    class Item:
        def __init__(self, nodeid: str) -> None:
            self.nodeid = nodeid

    items: list[Any] = [Item(name) for name in ("slow", "b", "a")]
    InOrder(["a", "b", "slow"]).pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == ["a", "b", "slow"]


@pytest.mark.slow
def test_a_mutant_that_never_ends_is_told_from_one_that_waits_for_its_turn(tmp_path: Path):
    def endless() -> int:
        while True:
            pass

    def waiting() -> int:
        time.sleep(2.5)
        return 3

    (tmp_path / "tree").mkdir()
    assert in_child(tmp_path / "tree", tmp_path / "output", endless, 1.0) is None
    assert in_child(tmp_path / "tree", tmp_path / "output", waiting, 1.0) == 3
