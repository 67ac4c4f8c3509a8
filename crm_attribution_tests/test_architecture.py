"""Who may import what, read from the import statements themselves; and what no tracked file may hold."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crm_attribution"

ORDER = [
    *(
        "errors",
        "registry",
        "layered_yaml",
        "clock",
        "identifiers",
        "money",
        "redaction",
        "stopping",
        "findings",
        "words",
    ),
    "settings",
    *("hubspot.texts", "hubspot.objects", "contracts"),
    *("attribution.models", "http", "destinations", "mapping", "raw.rules"),
    *("warehouse", "marts", "report", "hubspot", "clicks", "webhook", "sources", "ledger", "configuration"),
    *("raw", "identity", "events", "attribution", "finance", "conversions", "delivery", "privacy", "preflight"),
    *("layers", "orchestration", "operations", "definitions", "cli"),
]
"""Folders and root modules. Each imports only what stands before it; `sandbox` imports nothing of it. A part of a
folder that others need earlier has a place of its own."""


@dataclass(frozen=True)
class Rule:
    """`what` (a module, or a dotted name that is called) is named only by files that match one of `only`."""

    what: str
    only: list[str]


@dataclass(frozen=True)
class Ban:
    """Files that match `who` import none of `what`; `OBJECTS` may be imported by all."""

    who: str
    what: list[str]


RULES = [
    Rule("dagster", ["orchestration/*", "definitions.py"]),
    Rule("duckdb", ["warehouse/*", "marts/*"]),
    Rule("duckdb.connect", ["warehouse/engine.py"]),
    Rule("sqlalchemy", ["ledger/*", "orchestration/event_log.py"]),
    Rule("vl_convert", ["report/charts.py"]),
    Rule("jinja2", ["report/page.py"]),
    Rule("requests", ["http/*"]),
    Rule("urllib3", ["http/*"]),
    Rule("pandera", ["contracts/*"]),
    Rule("os.environ", ["settings/*"]),
    Rule("os.getenv", ["settings/*"]),
    Rule("datetime.datetime.now", ["clock.py"]),
    Rule("datetime.datetime.utcnow", []),
    Rule("datetime.date.today", []),
    Rule("time.time", []),
    Rule("crm_attribution.sandbox", ["sandbox/*"]),
]
HTTP = ["http", "urllib.request", "crm_attribution.http.transport"]
OBJECTS = "crm_attribution.hubspot.objects"
"""Descriptions of HubSpot's object types: values, which rules may know."""

BANS = [
    Ban("*/rules/*", [*HTTP, "crm_attribution.warehouse", "crm_attribution.hubspot", "crm_attribution.marts"]),
    Ban("*/rules.py", [*HTTP, "crm_attribution.warehouse", "crm_attribution.hubspot", "crm_attribution.marts"]),
    Ban("contracts/*", [*HTTP]),
    Ban(
        "attribution/models/*", [*HTTP, "crm_attribution.warehouse", "crm_attribution.hubspot", "crm_attribution.marts"]
    ),
    Ban("destinations/*", [*HTTP, "crm_attribution.warehouse", "crm_attribution.marts"]),
    Ban("hubspot/*", ["crm_attribution.warehouse", "crm_attribution.marts"]),
    Ban("clicks/*", [*HTTP, "crm_attribution.warehouse", "crm_attribution.marts", "crm_attribution.hubspot"]),
    Ban("sources/*", ["crm_attribution.warehouse", "crm_attribution.marts", "crm_attribution.hubspot.client"]),
    Ban("ledger/*", [*HTTP, "crm_attribution.warehouse", "crm_attribution.marts"]),
    Ban("warehouse/*", HTTP),
    Ban("marts/*", HTTP),
    Ban(
        "webhook/*",
        [*HTTP, "polars", "crm_attribution.contracts", "crm_attribution.warehouse", "crm_attribution.marts"],
    ),
]


def named(source: str, module: str) -> Iterator[str]:
    """Every module a source imports and every dotted name it reaches through an import, in full."""
    tree = ast.parse(source)
    short: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name
                short[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            for name in node.names:
                yield f"{base}.{name.name}"
                short[name.asname or name.name] = f"{base}.{name.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain: list[str] = []
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                chain.insert(0, inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in short:
                yield ".".join([short[inner.id], *chain])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            yield from (argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant))  # type: ignore[misc]


def within(name: str, what: str) -> bool:
    return name == what or name.startswith(f"{what}.")


def offences(path: str, source: str) -> list[str]:
    """What a file of the package (path relative to it) names and may not."""
    module = "crm_attribution." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    names = set(named(source, module + (".__init__" if path.endswith("__init__.py") else "")))
    found = {
        rule.what
        for rule in RULES
        if not any(fnmatchcase(path, pattern) for pattern in rule.only) and any(within(n, rule.what) for n in names)
    }
    for ban in BANS:
        if fnmatchcase(path, ban.who):
            found |= {what for what in ban.what if any(within(n, what) and not within(n, OBJECTS) for n in names)}
    if path.startswith("sandbox/"):
        found |= {
            name
            for name in names
            if within(name, "crm_attribution")
            and not within(name, "crm_attribution.sandbox")
            and name != "crm_attribution"
        }
    return sorted(found)


MODULES = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def module_of(path: str) -> str:
    """`raw.rules.merges` for raw/rules/merges.py, `raw` for raw/__init__.py."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def imports(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """module -> modules of the package it imports, also inside functions and for type checking."""
    known = {module_of(path) for path in sources}
    found: dict[str, set[str]] = {}
    for path, source in sources.items():
        module = module_of(path)
        inside = f"crm_attribution.{module}" + (".__init__" if path.endswith("__init__.py") else "")
        names = {n.removeprefix("crm_attribution.") for n in named(source, inside) if n.startswith("crm_attribution.")}
        hits = {name if name in known else name.rpartition(".")[0] for name in names}
        found[module] = (hits & known) - {module}
    return found


def upwards(sources: Mapping[str, str]) -> list[str]:
    """Imports of a folder that stands at the same place or later in `ORDER`."""
    return sorted(
        f"{module} imports {other}"
        for module, others in imports(sources).items()
        for other in others
        if (here := place(module)) is not None and (there := place(other)) is not None and there > here
    )


def place(module: str) -> int | None:
    """Where a module stands in `ORDER`, by the longest name in it that it is within."""
    inside = [name for name in ORDER if within(module, name)]
    return ORDER.index(max(inside, key=len)) if inside else None


def circles(sources: Mapping[str, str]) -> list[list[str]]:
    """Groups of modules that import one another. A package and its own modules are one place."""
    graph = networkx.DiGraph(
        (module, other) for module, others in imports(sources).items() for other in others if module and other
    )
    return sorted(sorted(group) for group in networkx.strongly_connected_components(graph) if len(group) > 1)


def test_every_folder_has_its_place_in_the_order():
    assert {module_of(path).split(".")[0] for path in MODULES} - {"sandbox", "__init__"} <= set(ORDER)
    assert [name for name in ORDER if not any(within(module_of(path), name) for path in MODULES)] == []


def test_no_folder_imports_a_later_one():
    assert upwards(MODULES) == []


def test_a_part_of_a_folder_may_stand_before_it():
    planted = {**MODULES, "attribution/models/bad.py": "from crm_attribution.attribution.rules import credits"}
    assert upwards(planted) == ["attribution.models.bad imports attribution.rules.credits"]


def test_no_imports_run_in_a_circle():
    assert circles(MODULES) == []


def test_a_planted_upward_import_is_found():
    planted = {**MODULES, "raw/bad.py": "def f():\n    from crm_attribution.identity.update import update"}
    assert upwards(planted) == ["raw.bad imports identity.update"]


def test_a_planted_circle_is_found():
    planted = {
        **MODULES,
        "raw/one.py": "from crm_attribution.raw import two",
        "raw/two.py": "from crm_attribution.raw.three import x",
        "raw/three.py": "def f():\n    from crm_attribution.raw.one import y",
    }
    assert circles(planted) == [["raw.one", "raw.three", "raw.two"]]


def test_every_module_names_only_what_it_may():
    broken = {path: found for path, source in MODULES.items() if (found := offences(path, source))}
    assert not broken


@pytest.mark.parametrize(
    ("path", "source", "what"),
    [
        ("raw/bad.py", "import dagster as dg", "dagster"),
        ("raw/bad.py", "def f():\n    from dagster import asset", "dagster"),
        ("operations/status.py", "from dagster._core.storage import tags", "dagster"),
        ("raw/bad.py", "import duckdb", "duckdb"),
        ("marts/bad.py", "import duckdb\nduckdb.connect()", "duckdb.connect"),
        ("hubspot/bad.py", "import requests.adapters", "requests"),
        ("raw/bad.py", "from pandera.errors import SchemaError", "pandera"),
        ("operations/bad.py", "import os\nHOME = os.environ['HOME']", "os.environ"),
        ("operations/bad.py", "from os import environ as e", "os.environ"),
        ("operations/bad.py", "import os as system\nsystem.getenv('HOME')", "os.getenv"),
        ("delivery/bad.py", "from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("delivery/bad.py", "import datetime as dt\ndt.datetime.now(dt.UTC)", "datetime.datetime.now"),
        ("delivery/bad.py", "import time\ntime.time()", "time.time"),
        ("delivery/bad.py", "from time import time as t", "time.time"),
        ("cli.py", "from crm_attribution import sandbox", "crm_attribution.sandbox"),
        ("cli.py", "from crm_attribution.sandbox.world import World", "crm_attribution.sandbox"),
        (
            "cli.py",
            "import importlib\nimportlib.import_module('crm_attribution.sandbox')",
            "crm_attribution.sandbox",
        ),
        ("sandbox/bad.py", "from crm_attribution.clock import iso", "crm_attribution.clock.iso"),
        ("sandbox/hubspot/bad.py", "from ...hubspot import paths", "crm_attribution.hubspot.paths"),
        ("events/rules/bad.py", "from crm_attribution.warehouse.session import Session", "crm_attribution.warehouse"),
        ("events/rules/bad.py", "from ...warehouse import session", "crm_attribution.warehouse"),
        ("conversions/rules.py", "from crm_attribution.hubspot.client import HubSpotClient", "crm_attribution.hubspot"),
        ("events/rules/bad.py", "import http.client", "http"),
        ("clicks/bad.py", "from crm_attribution import warehouse", "crm_attribution.warehouse"),
        ("webhook/bad.py", "from crm_attribution.warehouse.connection import Warehouse", "crm_attribution.warehouse"),
        ("warehouse/bad.py", "from crm_attribution.http.transport import Transport", "crm_attribution.http.transport"),
    ],
)
def test_a_module_that_breaks_a_rule_is_found(path, source, what):
    assert what in offences(path, source)


def test_what_the_rules_allow_is_not_found():
    assert offences("warehouse/good.py", "import duckdb\nimport time\ntime.monotonic()") == []
    assert offences("clock.py", "from datetime import UTC, datetime\ndatetime.now(UTC)") == []
    assert offences("sandbox/good.py", "from crm_attribution.sandbox.portal import Portal") == []
    assert offences("orchestration/good.py", "import dagster as dg\nfrom crm_attribution.raw import merges") == []


def swallowing(source: str) -> list[int]:
    """Lines where an error of DuckDB's is caught and not raised again: a commit after it returns and keeps nothing."""
    handlers = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler)]
    suppressed = [
        call.lineno
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and "suppress" in ast.unparse(call.func) and "duckdb" in ast.unparse(call)
    ]
    return suppressed + [
        handler.lineno
        for handler in handlers
        if handler.type is not None
        and re.search(r"duckdb\.|_ABOUT_THE", ast.unparse(handler.type))
        and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    ]


def test_no_error_of_duckdb_is_swallowed():
    assert {path: found for path, source in MODULES.items() if (found := swallowing(source))} == {}
    assert swallowing("import duckdb\ntry:\n    f()\nexcept duckdb.Error:\n    pass") == [4]
    assert swallowing("with contextlib.suppress(duckdb.Error):\n    f()") == [1]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_a_rule_names_files_that_exist(rule):
    """A rule for a file that was renamed would allow nothing and nobody would see it."""
    assert all(any(fnmatchcase(path, pattern) for path in MODULES) for pattern in rule.only)


def test_every_module_says_what_it_is_for():
    silent = [
        path
        for path, source in MODULES.items()
        if source.strip() and not path.rpartition("/")[2].startswith("_") and not ast.get_docstring(ast.parse(source))
    ]
    assert not silent


# --- tracked files

# In pieces, so that this file passes its own test.
INDEXES = ["py" + "pi", "python" + "hosted", "pi" + "wheels", "ana" + "conda", "npm" + "js", "js" + "delivr"]
INDEX = re.compile(rf"(?:{'|'.join(INDEXES)})\.(?:org|com|net)|/simple/?$", re.M)
LOCAL = re.compile(r"(?<![\w.:/<-])/(?:home|root|Users|work|mnt|opt|tmp|workspace)/[A-Za-z0-9_.-]+")


def tracked() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        try:
            yield name, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    return dict(tracked())


def test_no_tracked_file_names_a_package_index(files):
    assert {name for name, text in files.items() if INDEX.search(text)} == set()


def test_no_tracked_file_holds_a_path_of_somebodys_machine(files):
    assert {name: found[0] for name, text in files.items() if (found := LOCAL.search(text))} == {}


def test_no_link_is_tracked_and_nothing_that_is_ignored(files):
    """A link is not followed where it is read as text, and leads nowhere on another machine."""
    assert files

    def listed(*options: str) -> list[str]:
        done = subprocess.run(["git", "ls-files", *options], cwd=ROOT, capture_output=True, check=True, text=True)
        return done.stdout.splitlines()

    assert [line for line in listed("-s") if line.startswith("120000")] == []
    assert listed("-ci", "--exclude-standard") == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (INDEX, f"--index-url https://{INDEXES[0]}.org/packages"),
        (INDEX, "https://mirror.example/" + "simple/\n"),
        (INDEX, f"https://files.{INDEXES[1]}.org/packages/x.whl"),
        (LOCAL, "open('/" + "home/ada/data.csv')"),
        (LOCAL, "cd /" + "root/project"),
        (LOCAL, 'PATH = "/' + 'opt/project/data"'),
    ],
)
def test_the_patterns_can_find_something(pattern, text):
    assert pattern.search(text)


def test_the_lock_file_pins_and_hashes_everything_and_names_no_index():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", text.strip()) if not entry.startswith("#")]
    unpinned = [
        entry.split()[0] for entry in entries if not re.match(r"[A-Za-z0-9._-]+(?:\[[\w,]+\])?==[^\s;]+", entry)
    ]
    unhashed = [entry.split()[0] for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)]
    assert len(entries) > 50
    assert (unpinned, unhashed) == ([], [])
    assert "://" not in text
    assert not re.search(r"^\s*(?:-i|-f|--index-url|--extra-index-url|--find-links)\b", text, re.M)
