"""The tree of an explanation, and what all explanations share: session, limit and masking."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from crm_attribution.clock import iso
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.session import Session

MASK = "***"

_ADDRESS = re.compile(r"([^\s@:/?&=#,;<>()\"]*)(@|%40)(?=[^\s@:/?&=#,;<>()\"])")


@dataclass(frozen=True)
class Node:
    """One thing, what is known of it, and what it rests on.

    Attributes:
        what: the thing in a few words.
        facts: name -> text, number, truth value or list of texts; times are ISO 8601, UTC. What is not known is left
            out.
        children: what lies behind it.
    """

    what: str
    facts: dict[str, Any] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """`what`, `facts`, `children`: nothing JSON does not know."""
        return {"what": self.what, "facts": self.facts, "children": [child.as_dict() for child in self.children]}


@dataclass(frozen=True)
class Context:
    """Where an explanation reads, by which rules, how much of a list it shows, and whether e-mails are masked."""

    session: Session
    rules: Rules
    limit: int = 20
    show_personal: bool = False

    def identifier(self, kind: str, value: str) -> str:
        """`email:a***@firm.example`: an identifier by its type, an e-mail's local part masked."""
        return f"{kind}:{self.email(value) if kind == 'email' else value}"

    def email(self, address: str) -> str:
        """An address as it may be shown."""
        return address if self.show_personal else masked(address)

    def text(self, value: Any) -> Any:
        """A value as it may be shown: times as text, e-mails within a text masked."""
        if isinstance(value, date):
            return iso(value) if isinstance(value, datetime) else value.isoformat()
        if isinstance(value, list | tuple):
            return [self.text(item) for item in value]
        if isinstance(value, str) and not self.show_personal:
            return _ADDRESS.sub(lambda found: _short(found[1]) + found[2], value)
        return value

    def node(self, what: str, facts: dict[str, Any] | None = None, children: Iterable[Node] = ()) -> Node:
        """A node without what is unknown, and without personal data unless it was asked for."""
        known = {name: self.text(value) for name, value in (facts or {}).items() if value is not None}
        return Node(self.text(what), known, list(children))

    def several(self, what: str, items: Sequence[Any], line: Callable[[Any], Node], **facts: Any) -> list[Node]:
        """A list under one node, at most `limit` of it shown; nothing where the list is empty."""
        if not items:
            return []
        shown = items[: self.limit]
        cut = {"shown": len(shown)} if len(shown) < len(items) else {}
        return [self.node(what, {"count": len(items), **cut, **facts}, (line(item) for item in shown))]


def masked(email: str) -> str:
    """The first character and the domain of an address."""
    local, _, domain = email.rpartition("@")
    return f"{_short(local)}@{domain}"


def _short(local: str) -> str:
    return f"{local[:1]}{MASK}"
