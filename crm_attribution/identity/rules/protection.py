"""What may join two people, decided on the whole edge set and never on arrival order.

Two kinds of rules. Those of an identifier look at all its edges: blocked values, role mailboxes, shared identifiers.
Those of a component look at all its edges in the order of their strength: the mapping's cannot-link pairs, weak edges
between two persons who both hold live contacts, too many e-mails, too large a person.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from crm_attribution.identity.rules.edges import CLICK_TYPES, NO_CLICK_ID, WEAK, strength
from crm_attribution.identity.rules.graph import labels_among
from crm_attribution.mapping import Identity

OF_IDENTIFIER = ("blocked_value", "role_mailbox", "shared_identifier")
OF_COMPONENT = ("manual_exclude", "two_live_contacts", "person_emails", "person_size")
EVERY_RULE = (*OF_IDENTIFIER, *OF_COMPONENT)

FORMER = "email_history"
"""A former address never joins two live contacts that each have a present one: addresses are handed on."""

_EMPTY = r"^[0-]*$"


def of_identifiers(
    edges: pl.DataFrame, roots: dict[int, int], rules: Identity, archived: pl.Series | None = None
) -> pl.DataFrame:
    """Edges that their identifier disables.

    Args:
        edges: node_id, identifier_id, node_type, node, identifier_type, identifier, rule; all edges of every
            identifier in it.
        roots: absorbed contact id -> live contact id (a merged record is one contact, not two).
        rules: blocked values, role mailboxes, the limit for shared identifiers.
        archived: ids of archived contacts: deleted and created again, a record is no second sharer.

    Returns:
        node_id, identifier_id, refusal.
    """
    value, email = pl.col("identifier").str.to_lowercase(), pl.col("identifier_type") == "email"
    local, domain = value.str.split("@").list.first(), value.str.split("@").list.last()
    contact = pl.col("node_type").is_in(["contact", "link_contact"])
    root = pl.col("node").cast(pl.Int64, strict=False).replace(roots)
    many = rules.shared_identifier_contacts
    counts = contact if archived is None else contact & ~root.is_in(archived.implode())
    contacts = pl.when(counts).then(root).drop_nulls().n_unique().over("identifier_id")
    others = pl.when(~contact).then(pl.col("node")).drop_nulls().n_unique().over("identifier_id")
    blocked = (
        value.is_in(rules.blocked_values)
        | pl.col("identifier").str.starts_with(NO_CLICK_ID)
        | value.str.contains(_EMPTY)
        | (email & (local.is_in(rules.blocked_values) | local.str.contains(_EMPTY)))
        | (email & domain.is_in(rules.blocked_domains))
    )
    return (
        edges.filter(pl.col("identifier_type").is_in(["email", *CLICK_TYPES]))
        .with_columns(_shared=(contacts > many) | (others > many))
        .filter(pl.col("rule") != "include")
        .with_columns(
            refusal=pl.when(blocked)
            .then(pl.lit("blocked_value"))
            .when(email & local.is_in(rules.role_mailboxes))
            .then(pl.lit("role_mailbox"))
            .when("_shared")
            .then(pl.lit("shared_identifier"))
        )
        .drop_nulls("refusal")
        .select("node_id", "identifier_id", "refusal")
    )


@dataclass(frozen=True)
class Settled:
    """What became of some components.

    Attributes:
        person: node_id and `part`, the smallest node of what it belongs to in the end.
        refused: node_id, identifier_id, refusal: edges disabled by the rules of components.
    """

    person: pl.DataFrame
    refused: pl.DataFrame


def settle(
    nodes: pl.DataFrame,
    edges: pl.DataFrame,
    live: pl.Series,
    cannot_link: list[tuple[int, int]],
    rules: Identity,
    addressed: pl.Series | None = None,
) -> Settled:
    """The persons within some components.

    Where a component breaks no limit all its edges hold, which needs no look at their order; else its edges
    are taken strongest first, and one that would break a limit is refused.

    Args:
        nodes: identity.node rows of whole components (`component` over all edges their identifiers allow).
        edges: all edges of these nodes that their identifiers allow: node_id, identifier_id, node_type, node,
            identifier_type, identifier, rule, first_seen.
        live: node ids of live contacts.
        cannot_link: pairs of nodes that `identity.exclude` separates.
        rules: limits.
        addressed: node ids of contacts that have a present address, whether or not it may join; None: by `edges`.
    """
    nodes = nodes.sort("node_id")
    ids = nodes["node_id"].to_numpy()
    u, v = edges["node_id"].to_numpy(), edges["identifier_id"].to_numpy()
    weak = edges["rule"].is_in([*WEAK, FORMER]).to_numpy()
    own = edges.filter(pl.col("rule") == "primary_email")["node_id"] if addressed is None else addressed
    facts = nodes.with_columns(
        part=pl.Series(ids if not len(u) else labels_among(ids, u[~weak], v[~weak])),
        live=pl.col("node_id").is_in(live.implode()),
    ).with_columns(addressed=pl.col("live") & pl.col("node_id").is_in(own.implode()))
    contested = _contested(facts, cannot_link, rules)
    settled = facts.select("node_id", part="component")
    none = pl.DataFrame(schema={"node_id": pl.Int64, "identifier_id": pl.Int64, "refusal": pl.String})
    if contested.is_empty():
        return Settled(settled, none)
    component = nodes.select("node_id", "component")
    disputed = edges.join(component, on="node_id").filter(pl.col("component").is_in(contested.implode()))
    inside = facts.filter(pl.col("component").is_in(contested.implode()))
    part, refused = _taken_by_strength(inside, disputed, cannot_link, rules)
    return Settled(pl.concat([settled.join(part, on="node_id", how="anti"), part]).sort("node_id"), refused)


def _contested(facts: pl.DataFrame, cannot_link: list[tuple[int, int]], rules: Identity) -> pl.Series:
    """Components in which some limit is broken if all edges hold."""
    email = pl.col("node_type") == "email"
    sized = facts.group_by("component").agg(
        size=(email | (pl.col("node_type") == "contact")).sum(),
        emails=email.sum(),
        live=pl.when("live").then("part").drop_nulls().n_unique(),
    )
    over = sized.filter(
        (pl.col("size") > rules.person_size) | (pl.col("emails") > rules.person_emails) | (pl.col("live") > 1)
    )["component"]
    if not cannot_link:
        return over
    home = facts.select("node_id", "component")
    pairs = pl.DataFrame(cannot_link, schema={"one": pl.Int64, "other": pl.Int64}, orient="row")
    split = pairs.join(home, left_on="one", right_on="node_id").join(
        home, left_on="other", right_on="node_id", suffix="_other"
    )
    return pl.concat([over, split.filter(pl.col("component") == pl.col("component_other"))["component"]]).unique()


@dataclass
class _Part:
    contacts: int
    live: int
    addressed: int
    emails: int
    size: int
    cannot_link: set[int]

    def with_(self, other: _Part) -> _Part:
        return _Part(
            self.contacts + other.contacts,
            self.live + other.live,
            self.addressed + other.addressed,
            self.emails + other.emails,
            self.size + other.size,
            self.cannot_link | other.cannot_link,
        )


def _taken_by_strength(
    facts: pl.DataFrame, edges: pl.DataFrame, cannot_link: list[tuple[int, int]], rules: Identity
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Edges taken strongest first; ties by age, then by name: nothing that depends on who came when to us."""
    parent: dict[int, int] = {}
    parts: dict[int, _Part] = {}
    separated: dict[int, set[int]] = {}
    for one, other in cannot_link:
        separated.setdefault(one, set()).add(other)
        separated.setdefault(other, set()).add(one)
    for node, kind, live, addressed in facts.select("node_id", "node_type", "live", "addressed").iter_rows():
        contact, email = int(kind == "contact"), int(kind == "email")
        parent[node] = node
        parts[node] = _Part(contact, int(live), int(addressed), email, contact + email, separated.get(node, set()))

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    order = edges.sort(
        strength(pl.col("rule")), "first_seen", "node_type", "node", "identifier_type", "identifier"
    ).select("node_id", "identifier_id", "rule")
    refused: list[tuple[int, int, str]] = []
    for u, v, rule in order.iter_rows():
        a, b = sorted((find(u), find(v)))
        if a == b:
            continue
        forbidden = any(other in parent and find(other) == b for other in parts[a].cannot_link)
        why = _refusal(parts[a], parts[b], rule, forbidden, rules)
        if why is not None:
            refused.append((u, v, why))
            continue
        parent[b] = a
        host, guest = parts[a], parts.pop(b)
        parts[a] = host.with_(guest)
    person = pl.DataFrame(
        {"node_id": list(parent), "part": [find(node) for node in parent]},
        schema={"node_id": pl.Int64, "part": pl.Int64},
    )
    schema = {"node_id": pl.Int64, "identifier_id": pl.Int64, "refusal": pl.String}
    return person, pl.DataFrame(refused, schema=schema, orient="row")


def _refusal(one: _Part, other: _Part, rule: str, forbidden: bool, rules: Identity) -> str | None:
    if rule == "include":
        return None
    if forbidden:
        return "manual_exclude"
    if rule in ("merge", "self"):
        return None
    if rule in WEAK and one.live and other.live:
        return "two_live_contacts"
    if rule == FORMER and one.addressed and other.addressed:
        return "two_live_contacts"
    if one.contacts and other.contacts and one.emails + other.emails > rules.person_emails:
        return "person_emails"
    return "person_size" if one.size and other.size and one.size + other.size > rules.person_size else None
