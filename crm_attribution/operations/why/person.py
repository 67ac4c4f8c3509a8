"""Why a person is one person: contacts, edges, refused edges, merges and splits, memberships."""

from __future__ import annotations

from typing import Any

import polars as pl

from crm_attribution import identifiers
from crm_attribution.contracts.identity import NODE_TYPES
from crm_attribution.errors import NotKnown
from crm_attribution.identifiers import record_ids
from crm_attribution.identity.persons import live_persons
from crm_attribution.identity.rules.edges import strength
from crm_attribution.operations.why.brief import milestone_line
from crm_attribution.operations.why.tree import Node, Told
from crm_attribution.operations.why.words import REFUSALS
from crm_attribution.warehouse.frames import ids_frame, records_frame

Row = dict[str, Any]


def explain(told: Told, asked: str) -> Node | None:
    """The tree of a person id, a former one included, or of an identifier that names a person."""
    named = _named(told, asked)
    if named is None:
        return None
    known = told.session.read_keys("identity.person", ids_frame("person_id", [named]))
    if known.is_empty():
        return None
    person_id = live_persons(told.session, [named])[named]
    row = told.session.read_keys("identity.person", ids_frame("person_id", [person_id])).row(0, named=True)
    alias = told.session.read_keys("identity.alias", ids_frame("person_id", [person_id]))
    facts = {
        "person_id": person_id,
        "asked_for": told.identifier(*asked.split(":", 1)) if asked != named else None,
        "former_id": named if named != person_id else None,
        "root_contact": row["root_contact_id"] and str(row["root_contact_id"]),
        "speaks_for_it": row["contact_id"] and f"contact:{row['contact_id']}",
        "contacts": row["contacts"],
        "identifiers": row["identifiers"],
        "first_seen": row["first_seen"],
    }
    children = [
        *_contacts(told, alias),
        *_edges(told, alias),
        *_history(told, person_id, named),
        *_memberships(told, person_id),
        *_milestones(told, person_id),
    ]
    return told.node(f"person {person_id}", facts, children)


def _named(told: Told, asked: str) -> str | None:
    """The person id that was meant: itself, or that of the identifier."""
    kind, colon, value = asked.partition(":")
    if not colon or kind not in NODE_TYPES:
        return asked
    value = identifiers.normalise_email(value) or value if kind == "email" else value.strip()
    key = pl.DataFrame({"identifier_type": [kind], "identifier": [value]})
    found = told.session.read_keys("identity.alias", key)
    if found.height:
        return str(found["person_id"][0])
    refused = told.session.read_keys("identity.edge_rejected", key)
    if refused.height:
        rules = ", ".join(f"{rule} ({n})" for rule, n in refused.group_by("rule").len().sort("rule").rows())
        owners = ", ".join(refused["node_type"].head(3) + ":" + refused["node"].head(3))
        shown = Told(told.session, told.rules)
        raise NotKnown(
            f"{shown.identifier(kind, value)} names nobody: its edges are refused by {rules}; "
            f"it stands on {shown.text(owners)}"
        )
    return None


# --- contacts


def _contacts(told: Told, alias: pl.DataFrame) -> list[Node]:
    ids = sorted(record_ids(alias.filter(pl.col("identifier_type") == "contact")["identifier"]))
    contact = pl.lit("contacts").alias("object_type")
    keys = records_frame("id", ids)
    records = told.session.read_keys("raw.contact", keys).select("id", "created_at", "archived", "email")
    merges = told.session.read_keys("raw.merge", keys.select(contact, absorbed_id="id"))
    gone = told.session.read_keys("raw.deletion", keys.select(contact, object_id="id")).filter(
        pl.col("kind") == "privacy"
    )
    known = {row["id"]: row for row in records.iter_rows(named=True)}
    absorbed = {row["absorbed_id"]: row for row in merges.iter_rows(named=True)}
    erased = {row["object_id"]: row for row in gone.iter_rows(named=True)}

    def tell(contact_id: int) -> Node:
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
        if record is not None:
            facts |= {"created": record["created_at"], "email": record["email"] and told.email(record["email"])}
        return told.node(f"contact:{contact_id}", facts)

    def place(contact_id: int) -> tuple[bool, bool, int]:
        return contact_id in absorbed, contact_id not in known, contact_id

    return told.several("contacts", sorted(ids, key=place), tell)


# --- edges


def _edges(told: Told, alias: pl.DataFrame) -> list[Node]:
    nodes = alias["node_id"].drop_nulls().unique()
    ends = pl.DataFrame({"node_id": nodes})
    edges = told.session.read_keys("identity.edge", ends)
    refused = pl.concat(
        [
            told.session.read_keys("identity.edge_rejected", ends),
            told.session.read_keys("identity.edge_rejected", ends.rename({"node_id": "identifier_id"})),
        ]
    ).unique(maintain_order=True)
    key = ["node_type", "node", "identifier_type", "identifier"]
    held = edges.join(refused, on=key, how="anti").sort(strength(pl.col("rule")), *key)
    return [
        *told.several("edges that join it", held.rows(named=True), lambda row: _edge(told, row)),
        *told.several(
            "edges refused: they join nobody",
            refused.sort("rule", *key).rows(named=True),
            lambda row: _refused(told, row),
        ),
    ]


def _ends(told: Told, row: Row, rule: str) -> str:
    owner = told.identifier(row["node_type"], row["node"])
    return f"{owner} — {rule} — {told.identifier(row['identifier_type'], row['identifier'])}"


def _edge(told: Told, row: Row) -> Node:
    facts = {"source": row["source"], "first_seen": row["first_seen"], "last_seen": row["last_seen"]}
    return told.node(_ends(told, row, row["rule"]), facts)


def _refused(told: Told, row: Row) -> Node:
    facts = {"refused_by": row["rule"], "why": REFUSALS.get(row["rule"]), "source": row["source"]}
    return told.node(_ends(told, row, row["edge_rule"] or "edge"), facts)


# --- what happened to it, and where it belongs


def _history(told: Told, person_id: str, named: str) -> list[Node]:
    who = {person_id, named}
    rows = pl.concat(
        [
            told.session.read_keys("identity.person_change", ids_frame("person_id", who)),
            told.session.read_keys("identity.person_change", ids_frame("other_person_id", who)),
        ]
    )
    rows = rows.unique(maintain_order=True).sort("recorded_at", "kind", "other_person_id")
    text = {"merge": "took in", "split": "gave off"}
    return told.several(
        "merges and splits",
        rows.rows(named=True),
        lambda row: told.node(
            f"{row['person_id']} {text[row['kind']]} {row['other_person_id']}",
            {"kind": row["kind"], "cause": row["cause"], "recorded": row["recorded_at"]},
        ),
    )


def _memberships(told: Told, person_id: str) -> list[Node]:
    rows = told.session.read_keys("identity.membership", ids_frame("person_id", [person_id]))
    names = told.session.read_keys("identity.account", rows.select("account_id").unique())
    called = dict(names.select("account_id", "name").iter_rows())
    return told.several(
        "memberships",
        rows.sort("valid_from", "account_id").rows(named=True),
        lambda row: told.node(
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


def _milestones(told: Told, person_id: str) -> list[Node]:
    rows = told.session.read_keys("events.milestone", ids_frame("person_id", [person_id]))
    return told.several(
        "milestones",
        rows.sort("occurred_at", "milestone").rows(named=True),
        lambda row: milestone_line(told, row),
    )
