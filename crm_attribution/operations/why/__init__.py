"""What lies behind a person, an account, an event or a milestone: edges, rules and source rows, found by key."""

from __future__ import annotations

from collections.abc import Callable

from crm_attribution.errors import NotKnown
from crm_attribution.mapping import Rules
from crm_attribution.operations.why import account, deal, event, milestone, person
from crm_attribution.operations.why.tree import MASK, Context, Node
from crm_attribution.warehouse.session import Session

__all__ = ["KINDS", "MASK", "Node", "explain"]

_EXPLAIN: dict[str, Callable[[Context, str], Node | None]] = {
    "person": person.explain,
    "event": event.explain,
    "milestone": milestone.explain,
    "account": account.explain,
    "deal": deal.explain,
}

KINDS = {
    "person": "a person id (a former one too), contact:ID, email:ADDRESS, or a click id as gclid:VALUE",
    "event": "an event id",
    "milestone": "a milestone id, also as MILESTONE:ID, or the id of one of its events",
    "account": "company:ID, domain:NAME or deal:ID",
    "deal": "a deal id, also as deal:ID or that of a deal merged into it",
}
"""What can be explained -> how it is named."""

_GUESSES = ("deal", "milestone", "event", "account", "person")
"""Where only an id is given: a number is a deal's; an id of a milestone is also that of an event, and says more."""


def explain(
    session: Session, kind: str | None, asked: str, rules: Rules, *, limit: int = 20, show_personal: bool = False
) -> Node:
    """The tree behind one thing.

    Args:
        session: an open session; nothing is written.
        kind: one of `KINDS`; None to try those that name things so, in the order of `_GUESSES`.
        asked: the id as a user typed it.
        rules: the mapping file, to name the rules.
        limit: how much of each list is shown; counts are of all.
        show_personal: unmasked e-mails instead of `a***@domain`.

    Raises:
        NotKnown: nothing of that kind has this id. The message masks e-mails.
    """
    context = Context(session, rules, limit, show_personal)
    asked = asked.strip()
    for tried in (kind,) if kind is not None else _GUESSES:
        if (found := _EXPLAIN[tried](context, asked)) is not None:
            return found
    forms = "; ".join(f"{name}: {form}" for name, form in KINDS.items())
    shown = Context(session, rules).text(asked)
    raise NotKnown(f"{f'no {kind}' if kind else 'nothing'} has the id {shown!r}. Possible forms: {forms}")
