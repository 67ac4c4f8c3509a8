"""What happened to records, in the order it did: what webhooks are made of.

A row is kept for every applied line until it is taken. It refers to the histories' own entries, so that a large
portal costs some 200 bytes a line.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from crm_attribution.sandbox.portal.associations import Graph, Node
from crm_attribution.sandbox.portal.records import Entry, Record


class Happening(NamedTuple):
    """One thing that happened.

    Attributes:
        what: creation, propertyChange, associationChange, merge, deletion, restore or privacyDeletion.
        details: of a creation or change property name, entry, name, entry, …; of an association the other end, whether
            it is the primary one, whether it was removed and its label; of a merge the two merged ids and how many
            properties moved.
    """

    at: int
    what: str
    kind: str
    id: str
    source: str
    details: tuple[Any, ...] = ()

    def changes(self) -> list[tuple[str, Entry]]:
        """The changed properties of a creation or change."""
        return list(zip(self.details[::2], self.details[1::2], strict=True))


class Feed:
    """Rows not taken yet."""

    def __init__(self) -> None:
        self._rows: deque[Happening] = deque()

    def __len__(self) -> int:
        return len(self._rows)

    def take(self) -> list[Happening]:
        """Everything since the last time, oldest first."""
        rows, self._rows = list(self._rows), deque()
        return rows

    def note(self, record: Record, at: int, what: str, source: str = "CRM_UI", details: tuple[Any, ...] = ()) -> None:
        self._rows.append(Happening(at, what, record.kind.name, record.id, source, details))

    def joined(self, at: int, source: str, one: Node, other: Node, *, primary: bool, label: str | None = None) -> None:
        """Two records are associated. A primary association comes in addition to an unlabeled one."""
        self._rows.append(Happening(at, "associationChange", one.kind, one.id, source, (other, primary, False, label)))

    def parted(self, at: int, source: str, one: Node, other: Node, *, primary: bool, label: str | None = None) -> None:
        self._rows.append(Happening(at, "associationChange", one.kind, one.id, source, (other, primary, True, label)))


class Bonds:
    """What one line changed between two records and around them: compared before and after the line."""

    def __init__(self, graph: Graph, owner: Node, target: Node) -> None:
        self._graph, self.owner, self.target = graph, owner, target
        self._primary = graph.primary_company(owner)
        self._labels = graph.labels(owner, target)

    def report(self, feed: Feed, at: int, source: str) -> None:
        """One row for each association type that came or went; a former primary company loses only the flag."""
        before, after = self._labels, self._graph.labels(self.owner, self.target)
        primary = self._graph.primary_company(self.owner)
        if primary != self._primary:
            if self._primary is not None:
                feed.parted(at, source, self.owner, Node("companies", self._primary), primary=True)
            if primary is not None:
                feed.joined(at, source, self.owner, Node("companies", primary), primary=True)
        if before is None and after is not None:
            feed.joined(at, source, self.owner, self.target, primary=False)
        for label in sorted((after or set()) - (before or set())):
            feed.joined(at, source, self.owner, self.target, primary=False, label=label)
        for label in sorted((before or set()) - (after or set())):
            feed.parted(at, source, self.owner, self.target, primary=False, label=label)
        if before is not None and after is None:
            feed.parted(at, source, self.owner, self.target, primary=False)
