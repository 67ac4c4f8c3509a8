"""What lies behind a person, an account, an event or a milestone: edges, rules and source rows, found by key."""

from __future__ import annotations

from collections.abc import Callable

from crm_attribution.errors import NotKnown
from crm_attribution.mapping import Rules
from crm_attribution.operations.why import account, event, milestone, person
from crm_attribution.operations.why.tree import MASK, Context, Node
from crm_attribution.warehouse.session import Session

__all__ = ["KINDS", "MASK", "Node", "explain"]

_EXPLAIN: dict[str, Callable[[Context, str], Node | None]] = {
    "person": person.explain,
    "event": event.explain,
    "milestone": milestone.explain,
    "account": account.explain,
}

KINDS = {
    "person": "a person id (a former one too), contact:ID, email:ADDRESS, or a click id as gclid:VALUE",
    "event": "an event id",
    "milestone": "a milestone id, also as MILESTONE:ID, or the id of one of its events",
    "account": "company:ID, domain:NAME or deal:ID",
}
"""What can be explained -> how it is named."""


def explain(
    session: Session, kind: str, asked: str, rules: Rules, *, limit: int = 20, show_personal: bool = False
) -> Node:
    """The tree behind one thing.

    Args:
        session: an open session; nothing is written.
        kind: one of `KINDS`.
        asked: the id as a user typed it.
        rules: the mapping file, to name the rules.
        limit: how much of each list is shown; counts are of all.
        show_personal: unmasked e-mails instead of `a***@domain`.

    Raises:
        NotKnown: nothing of that kind has this id. The message masks e-mails.
    """
    context = Context(session, rules, limit, show_personal)
    found = _EXPLAIN[kind](context, asked.strip())
    if found is None:
        forms = "; ".join(f"{name}: {form}" for name, form in KINDS.items())
        shown = Context(session, rules).text(asked.strip())
        raise NotKnown(f"no {kind} has the id {shown!r}. Possible forms: {forms}")
    return found
