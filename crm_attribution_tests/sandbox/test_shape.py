"""The sandbox as code: it shares nothing with the pipeline, and a platform is one file."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

from crm_attribution import sandbox
from crm_attribution.sandbox import platforms
from crm_attribution.sandbox.portal import Portal
from crm_attribution.sandbox.world import World

ROOT = Path(str(sandbox.__file__)).parent
PLATFORM = """
from crm_attribution.sandbox.platforms.meta import Meta

def create(world):
    found = Meta(world)
    found.name = "hermes"
    return found
"""


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_production_code_is_imported(path: Path):
    foreign = {name for name in imported(path) if name.split(".")[0] == "crm_attribution"}
    assert {name for name in foreign if not name.startswith("crm_attribution.sandbox")} == set()


def test_a_platform_is_found_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hermes.py").write_text(PLATFORM)
    monkeypatch.setattr(platforms, "__path__", [*platforms.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    try:
        found = platforms.create_all(World(Portal([], 0)))
    finally:  # not monkeypatch.delitem: at its end that puts back what it took away
        del sys.modules["crm_attribution.sandbox.platforms.hermes"]
    own = [
        path.stem for path in Path(str(platforms.__file__)).parent.glob("*.py") if path.stem not in ("__init__", "base")
    ]
    assert [platform.name for platform in found] == sorted([*own, "hermes"])
