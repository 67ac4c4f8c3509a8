"""`crm-attribution why`: from a number in a mart back to edges, rules and source rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from crm_attribution.errors import ConfigurationError
from crm_attribution.mapping import Rules
from crm_attribution.operations.why import Node, explain, number
from crm_attribution.operations.why.tree import Context
from crm_attribution.orchestration.resources import open_pipeline, open_warehouse
from crm_attribution.settings import Settings
from crm_attribution.warehouse.session import Session

_PATIENCE = 5.0
"""Seconds to wait for the writer's file: a question, not a run."""

_WIDTH = 110
"""Characters of a line; what does not fit goes to further lines; the terminal breaks longer ones."""


_NEVER_CUT = 10_000


def why(given: Settings, kind: str | None, asked: str, limit: int = 20, *, show_personal: bool = False) -> Node:
    """The tree behind a person, event, milestone, account or deal; without a kind, whatever has the id.

    Raises:
        NotKnown: nothing of that kind has this id.
        WarehouseBusy: a run holds the warehouse.
        ConfigurationError: the warehouse is empty.
    """
    with _opened(given) as (session, rules):
        return explain(session, kind, asked, rules, limit=limit, show_personal=show_personal)


def why_number(
    given: Settings, table: str, conditions: Sequence[str], limit: int = 20, *, show_personal: bool = False
) -> Node:
    """The tree behind the rows of a mart.

    Raises:
        NotKnown: no row is so.
        WarehouseBusy: a run holds the warehouse.
        ConfigurationError: the warehouse is empty, or there is no such mart or column.
    """
    with _opened(given) as (session, rules):
        return number.explain(Context(session, rules, limit, show_personal), table, conditions)


@contextmanager
def _opened(given: Settings) -> Iterator[tuple[Session, Rules]]:
    rules = open_pipeline(given).rules
    warehouse = open_warehouse(given, _PATIENCE)
    if not warehouse.path.exists():
        raise ConfigurationError("the warehouse is empty: materialize the first hour (crm-attribution backfill)")
    with warehouse.session() as session:
        yield session, rules


def show(node: Node, console: Console | None = None) -> None:
    """The tree for people. Lines are never cut, so that ids can be copied."""
    (console or Console(width=_NEVER_CUT)).print(_tree(node))


def _tree(node: Node) -> Tree:
    lines = [node.what]
    for name, value in node.facts.items():
        fact = f"{name.replace('_', ' ')}: {_text(value)}"
        fits = len(lines[-1]) + len(fact) + 2 <= _WIDTH
        if fits and len(lines) == 1 and lines[0] == node.what:
            lines[0] += f"  {fact}"
        elif fits:
            lines[-1] += f", {fact}"
        else:
            lines.append(fact)
    label = Text("\n".join(lines))
    label.stylize("bold", 0, len(node.what))
    branch = Tree(label)
    branch.children.extend(_tree(child) for child in node.children)
    return branch


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
