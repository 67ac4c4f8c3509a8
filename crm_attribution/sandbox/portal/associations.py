"""Who is associated with whom, with labels and the primary company.

Type ids are directional; the unlabeled type comes with every label; a contact or deal has one primary company:
https://developers.hubspot.com/docs/api/crm/associations
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

UNLABELED = {
    ("contacts", "companies"): 279,
    ("companies", "contacts"): 280,
    ("deals", "contacts"): 3,
    ("contacts", "deals"): 4,
    ("deals", "companies"): 341,
    ("companies", "deals"): 342,
    ("contacts", "contacts"): 449,
    ("companies", "companies"): 450,
    ("deals", "deals"): 451,
    ("meetings", "contacts"): 200,
    ("contacts", "meetings"): 199,
    ("calls", "contacts"): 194,
    ("contacts", "calls"): 193,
}
PRIMARY = {
    ("contacts", "companies"): 1,
    ("companies", "contacts"): 2,
    ("deals", "companies"): 5,
    ("companies", "deals"): 6,
}

PARENT = {"Parent Company": 14, "Child Company": 13}
"""HubSpot's own labels between companies: what the other end is, and the type id read from here."""


class Node(NamedTuple):
    """A record by object type and id: ids are unique only within a type."""

    kind: str
    id: str


@dataclass
class Link:
    """One association, the same object seen from both ends; between companies one may be the parent."""

    primary: bool = False
    parent: Node | None = None
    labels: list[str] = field(default_factory=list)


class AssociationType(NamedTuple):
    category: str
    type_id: int
    label: str | None


def orient(one: Node, other: Node) -> tuple[Node, Node]:
    """The pair with the company last, as primary is a fact about the contact or deal."""
    return (other, one) if one.kind == "companies" and other.kind != "companies" else (one, other)


class Graph:
    """Associations in both directions."""

    def __init__(self) -> None:
        self._ends: dict[Node, dict[Node, Link]] = {}
        self._label_ids: dict[tuple[str, str, str], int] = {}

    def links(self, node: Node, kind: str) -> Iterator[tuple[Node, Link]]:
        """The associations of a record with records of one type, in the order they were made."""
        return ((end, link) for end, link in self._ends.get(node, {}).items() if end.kind == kind)

    def neighbours(self, node: Node) -> list[tuple[Node, Link]]:
        return list(self._ends.get(node, {}).items())

    def primary_company(self, node: Node) -> str | None:
        """The company HubSpot calls primary, None without one."""
        return next((end.id for end, link in self.links(node, "companies") if link.primary), None)

    def labels(self, one: Node, other: Node) -> set[str] | None:
        """The written labels between two records, None when they are not associated."""
        link = self._ends.get(one, {}).get(other)
        return None if link is None else set(link.labels)

    def associate(self, one: Node, other: Node, primary: bool | None, label: str | None) -> None:
        """Join two records; written labels replace those that were there.

        Without `primary`, the first company of a contact or deal becomes its primary one.
        """
        owner, target = orient(one, other)
        link = self._ends.get(owner, {}).get(target)
        if link is None:
            link = Link()
            self._ends.setdefault(owner, {})[target] = link
            self._ends.setdefault(target, {})[owner] = link
        if label in PARENT and owner.kind == target.kind == "companies":
            link.parent = target if label == "Parent Company" else owner
        elif label is not None:
            link.labels = [label]
        if (owner.kind, target.kind) not in PRIMARY or owner.kind == "companies":
            return
        if primary is None:
            primary = link.primary or self.primary_company(owner) is None
        if primary:
            for _, former in self.links(owner, "companies"):
                former.primary = False
        link.primary = primary

    def dissociate(self, one: Node, other: Node, label: str | None) -> bool:
        """Take one label off, or with none given part the two; False when they are not associated so."""
        link = self._ends.get(one, {}).get(other)
        if link is None:
            return False
        if label in PARENT and link.parent is not None:
            link.parent = None
            return True
        if label is not None:
            if label not in link.labels:
                return False
            link.labels.remove(label)
            return True
        del self._ends[one][other]
        self._ends[other].pop(one, None)
        return True

    def forget(self, node: Node) -> None:
        """Part a record from everything."""
        for end in self._ends.pop(node, {}):
            self._ends[end].pop(node, None)

    def move(self, old: Node, new: Node) -> None:
        """Put a merged record's associations on its survivor; a second primary company loses the flag."""
        for end, link in self.neighbours(old):
            if end == new:
                continue
            owner, target = orient(new, end)
            keep = self._ends.get(new, {}).get(end)
            taken = owner == new and self.primary_company(owner) not in (None, target.id)
            if keep is None:
                keep = Link()
                self._ends.setdefault(new, {})[end] = keep
                self._ends.setdefault(end, {})[new] = keep
            keep.labels.extend(label for label in link.labels if label not in keep.labels)
            keep.primary = keep.primary or (link.primary and not taken)
            keep.parent = keep.parent or (new if link.parent == old else link.parent)
        self.forget(old)

    def types(self, one: Node, other: Node, link: Link) -> list[AssociationType]:
        """The association types of a link, read from `one` to `other`."""
        pair = (one.kind, other.kind)
        found = [AssociationType("HUBSPOT_DEFINED", PRIMARY[pair], "Primary")] if link.primary else []
        found.append(AssociationType("HUBSPOT_DEFINED", UNLABELED[pair], None))
        if link.parent is not None:
            label = "Parent Company" if link.parent == other else "Child Company"
            found.append(AssociationType("HUBSPOT_DEFINED", PARENT[label], label))
        found.extend(AssociationType("USER_DEFINED", self._label_id(*pair, label), label) for label in link.labels)
        return found

    def type_id(self, one: Node, other: Node, *, primary: bool = False, label: str | None = None) -> int:
        """The id of one association type, read from `one` to `other`."""
        if label is not None:
            return self._label_id(one.kind, other.kind, label)
        return (PRIMARY if primary else UNLABELED)[one.kind, other.kind]

    def _label_id(self, one: str, other: str, label: str) -> int:
        """Custom labels get small ids of the account, one for each direction, in the order they are first seen."""
        return self._label_ids.setdefault((one, other, label), 1 + 2 * len(self._label_ids) + 100)
