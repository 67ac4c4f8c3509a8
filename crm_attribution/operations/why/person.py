"""Why a person is one person: contacts, edges, refused edges, merges and splits, memberships."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution import identifiers
from crm_attribution.contracts.identity import NODE_TYPES
from crm_attribution.errors import NotKnown
from crm_attribution.identifiers import record_ids
from crm_attribution.identity.durable import live_persons
from crm_attribution.identity.rules.edges import strength
from crm_attribution.operations.why.brief import milestone_line, since_when
from crm_attribution.operations.why.tree import Context, Node
from crm_attribution.operations.why.words import REFUSALS
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]


def explain(context: Context, asked: str) -> Node | None:
    """The tree of a person id, a former one included, or of an identifier that names a person."""
    named = _named(context, asked)
    if named is None:
        return None
    known = context.session.read_keys("identity.person", ids_frame("person_id", [named]))
    if known.is_empty():
        return None
    person_id = live_persons(context.session, [named])[named]
    row = context.session.read_keys("identity.person", ids_frame("person_id", [person_id])).row(0, named=True)
    alias = context.session.read_keys("identity.alias", ids_frame("person_id", [person_id]))
    facts = {
        "person_id": person_id,
        "asked_for": context.identifier(*asked.split(":", 1)) if asked != named else None,
        "former_id": named if named != person_id else None,
        "root_contact": row["root_contact_id"] and str(row["root_contact_id"]),
        "speaks_for_it": row["contact_id"] and f"contact:{row['contact_id']}",
        "contacts": row["contacts"],
        "identifiers": row["identifiers"],
        "first_seen": row["first_seen"],
    }
    children = [
        *_contacts(context, alias),
        *_edges(context, alias),
        *_history(context, person_id, named),
        *_memberships(context, person_id),
        *_milestones(context, person_id),
    ]
    return context.node(f"person {person_id}", facts, children)


def _named(context: Context, asked: str) -> str | None:
    """The person id that was meant: itself, or that of the identifier."""
    kind, colon, value = asked.partition(":")
    if not colon or kind not in NODE_TYPES:
        return asked
    value = identifiers.normalise_email(value) or value if kind == "email" else value.strip()
    key = pl.DataFrame({"identifier_type": [kind], "identifier": [value]})
    found = context.session.read_keys("identity.alias", key)
    if found.height:
        return str(found["person_id"][0])
    refused = context.session.read_keys("identity.edge_rejected", key)
    if refused.height:
        rules = ", ".join(f"{rule} ({n})" for rule, n in refused.group_by("rule").len().sort("rule").rows())
        owners = ", ".join(refused["node_type"].head(3) + ":" + refused["node"].head(3))
        shown = Context(context.session, context.rules)
        raise NotKnown(
            f"{shown.identifier(kind, value)} names no person: its edges are refused by {rules}; "
            f"it is on {shown.text(owners)}"
        )
    contact = identifiers.record_id(value) if kind == "contact" else None
    if contact is not None and (waits := since_when(context, "contacts", contact)):
        raise NotKnown(f"contact:{contact} is in quarantine since {waits}; no version of it is stored")
    return None


# --- contacts


def _contacts(context: Context, alias: pl.DataFrame) -> list[Node]:
    ids = sorted(record_ids(alias.filter(pl.col("identifier_type") == "contact")["identifier"]))
    contact = pl.lit("contacts").alias("object_type")
    keys = records_frame("id", ids)
    records = context.session.read_keys("raw.contact", keys).select("id", "created_at", "archived", "email")
    merges = context.session.read_keys("raw.merge", keys.select(contact, absorbed_id="id"))
    gone = context.session.read_keys("raw.deletion", keys.select(contact, object_id="id")).filter(
        pl.col("kind") == "privacy"
    )
    known = {row["id"]: row for row in records.iter_rows(named=True)}
    absorbed = {row["absorbed_id"]: row for row in merges.iter_rows(named=True)}
    erased = {row["object_id"]: row for row in gone.iter_rows(named=True)}

    def line(contact_id: int) -> Node:
        record, merge, privacy = known.get(contact_id), absorbed.get(contact_id), erased.get(contact_id)
        facts: Row = {"state": "live", "source": f"raw.contact:{contact_id}"}
        if merge is not None:
            facts = {
                "state": f"absorbed by contact:{merge['survivor_id']}",
                "at": merge["merged_at"],
                "learned_from": merge["source"],
                "source": f"raw.merge:contacts:{contact_id}",
            }
        elif privacy is not None:
            done = privacy["erased_at"] is not None
            facts = {
                "state": "erased" if done else "erasure waits",
                "at": privacy["deleted_at"],
                "source": f"raw.deletion:contacts:{contact_id}:privacy",
            }
        elif record is None:
            facts = {"state": "no record"}
        elif record["archived"]:
            facts["state"] = "archived"
        facts["in_quarantine_since"] = since_when(context, "contacts", contact_id)
        if record is not None:
            facts |= {"created": record["created_at"], "email": record["email"] and context.email(record["email"])}
        return context.node(f"contact:{contact_id}", facts)

    def place(contact_id: int) -> tuple[bool, bool, int]:
        return contact_id in absorbed, contact_id not in known, contact_id

    return context.several("contacts", sorted(ids, key=place), line)


# --- edges


def _edges(context: Context, alias: pl.DataFrame) -> list[Node]:
    nodes = alias["node_id"].drop_nulls().unique()
    ends = pl.DataFrame({"node_id": nodes})
    edges = context.session.read_keys("identity.edge", ends)
    refused = pl.concat(
        [
            context.session.read_keys("identity.edge_rejected", ends),
            context.session.read_keys("identity.edge_rejected", ends.rename({"node_id": "identifier_id"})),
        ]
    ).unique(maintain_order=True)
    key = ["node_type", "node", "identifier_type", "identifier"]
    held = edges.join(refused, on=key, how="anti").sort(strength(pl.col("rule")), *key)
    return [
        *context.several("edges that join it", held.rows(named=True), lambda row: _edge(context, row)),
        *context.several(
            "edges refused",
            refused.sort("rule", *key).rows(named=True),
            lambda row: _refused(context, row),
        ),
    ]


def _ends(context: Context, row: Row, rule: str) -> str:
    owner = context.identifier(row["node_type"], row["node"])
    return f"{owner} — {rule} — {context.identifier(row['identifier_type'], row['identifier'])}"


def _edge(context: Context, row: Row) -> Node:
    facts = {"source": row["source"], "first_seen": row["first_seen"], "last_seen": row["last_seen"]}
    return context.node(_ends(context, row, row["rule"]), facts)


def _refused(context: Context, row: Row) -> Node:
    facts = {"refused_by": row["rule"], "why": REFUSALS.get(row["rule"]), "source": row["source"]}
    return context.node(_ends(context, row, row["edge_rule"] or "edge"), facts)


# --- what happened to it, and where it belongs


def _history(context: Context, person_id: str, named: str) -> list[Node]:
    who = {person_id, named}
    rows = pl.concat(
        [
            context.session.read_keys("identity.person_change", ids_frame("person_id", who)),
            context.session.read_keys("identity.person_change", ids_frame("other_person_id", who)),
        ]
    )
    rows = rows.unique(maintain_order=True).sort("recorded_at", "kind", "other_person_id")
    text = {"merge": "took in", "split": "gave off"}
    return context.several(
        "merges and splits",
        rows.rows(named=True),
        lambda row: context.node(
            f"{row['person_id']} {text[row['kind']]} {row['other_person_id']}",
            {"kind": row["kind"], "cause": row["cause"], "recorded": row["recorded_at"]},
        ),
    )


def _memberships(context: Context, person_id: str) -> list[Node]:
    rows = context.session.read_keys("identity.membership", ids_frame("person_id", [person_id]))
    names = context.session.read_keys("identity.account", rows.select("account_id").unique())
    called = dict(names.select("account_id", "name").iter_rows())
    return context.several(
        "memberships",
        rows.sort("valid_from", "account_id").rows(named=True),
        lambda row: context.node(
            row["account_id"],
            {
                "name": called.get(row["account_id"]),
                "from": row["valid_from"],
                "to": row["valid_to"],
                "basis": row["basis"],
                "by": f"contact:{row['contact_id']}",
            },
        ),
    )


def _milestones(context: Context, person_id: str) -> list[Node]:
    rows = context.session.read_keys("events.milestone", ids_frame("person_id", [person_id]))
    return context.several(
        "milestones",
        rows.sort("occurred_at", "milestone").rows(named=True),
        lambda row: milestone_line(context, row),
    )
