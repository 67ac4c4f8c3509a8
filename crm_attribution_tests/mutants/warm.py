"""The copy's modules, imported once before any mutant: a child imports again only those that its mutant can change."""

from __future__ import annotations

import ast
import importlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path

PACKAGE = "crm_attribution"
FOLDERS = [
    *("contracts", "warehouse", "marts", "hubspot", "clicks", "sources", "destinations", "raw", "identity", "events"),
    *("attribution", "finance", "conversions", "ledger", "delivery", "privacy"),
]
"""Of the package those that most tests import."""

LISTS = "crm_attribution.registry"
"""A package that imports it takes its modules by the names of their files."""


def plugins() -> None:
    """Import what pytest is made of here."""
    config = importlib.import_module("_pytest.config")
    for name in config.default_plugins:
        importlib.import_module(f"_pytest.{name}")
    for each in entry_points(group="pytest11"):
        each.load()


def warm(tree: Path) -> None:
    """Import the folders from a tree, which has not happened before in this process."""
    if any(name == PACKAGE or name.startswith(f"{PACKAGE}.") for name in sys.modules):
        raise RuntimeError(f"{PACKAGE} is imported already, from elsewhere")
    sys.path.insert(0, str(tree))
    try:
        for folder in FOLDERS:
            for path in sorted((tree / PACKAGE / folder).rglob("*.py")):
                importlib.import_module(_name(path.relative_to(tree)))
    finally:
        sys.path.remove(str(tree))


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _parts(name: str) -> Iterator[str]:
    """A module and the packages it lies in."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _imported(tree: Path, name: str) -> set[str]:
    """The modules that one imports, wherever in it."""
    path = tree.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return found


def importers(tree: Path) -> dict[str, set[str]]:
    """Module -> those loaded that import it themselves, or a module of its package."""
    loaded = [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]
    found: dict[str, set[str]] = defaultdict(set)
    for name in loaded:
        wanted = _imported(tree, name)
        for each in wanted:
            for part in _parts(each):
                found[part].add(name)
        for part in list(_parts(name))[1:]:
            found[part].add(name)
        if LISTS in wanted:
            for other in loaded:
                if other.startswith(f"{name}."):
                    found[other].add(name)
    return found


def reached(file: str, graph: Mapping[str, set[str]]) -> set[str]:
    """The module of a file and all that import it, over any chain of imports."""
    waiting, found = [_name(Path(file))], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph.get(name, ())
    return found


def forget(file: str, graph: Mapping[str, set[str]]) -> None:
    """Take out of this process the modules that a change of a file can reach."""
    for name in reached(file, graph) & sys.modules.keys():
        package, _, last = name.rpartition(".")
        if hasattr(sys.modules.get(package), last):
            delattr(sys.modules[package], last)
        del sys.modules[name]
