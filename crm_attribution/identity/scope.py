"""The part of the identity graph that an update judges again: whole components, with all their nodes and edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from crm_attribution.identifiers import record_ids
from crm_attribution.identity import evidence as sources
from crm_attribution.identity import nodes as graph
from crm_attribution.identity.rules import protection
from crm_attribution.identity.rules.graph import contract, labels_among
from crm_attribution.mapping import Rules
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.frames import records_frame
from crm_attribution.warehouse.session import Session

EDGE, REJECTED = "identity.edge", "identity.edge_rejected"


@dataclass(frozen=True)
class Scope:
    """Whole components: their nodes, all edges of these, and which edges their identifiers disable."""

    nodes: pl.DataFrame
    edges: pl.DataFrame
    refused: pl.DataFrame

    @property
    def allowed(self) -> pl.DataFrame:
        return self.edges.join(self.refused, on=["node_id", "identifier_id"], how="anti")


def numbered(session: Session, edges: pl.DataFrame) -> pl.DataFrame:
    ends = pl.concat(
        [
            edges.select("node_type", identifier="node"),
            edges.select(node_type="identifier_type", identifier="identifier"),
        ]
    )
    nodes = graph.encode(session, ends).select("node_id", "node_type", "identifier")
    return edges.join(
        nodes, left_on=["node_type", "node"], right_on=["node_type", "identifier"], how="left", maintain_order="left"
    ).join(
        nodes.rename({"node_id": "identifier_id"}),
        left_on=["identifier_type", "identifier"],
        right_on=["node_type", "identifier"],
        how="left",
        maintain_order="left",
    )


def whole(session: Session, edges: pl.DataFrame, rules: Rules) -> Scope:
    """The whole graph, its components from scratch."""
    merges = session.query("SELECT absorbed_id, survivor_id FROM raw.merge WHERE object_type = 'contacts'")
    roots = dict(merges.iter_rows())
    refused = protection.of_identifiers(edges, roots, rules.identity, _archived(session))
    nodes = session.read(graph.NODE).sort("node_id")
    return _labelled(session, nodes, edges, refused)


def touched_by(session: Session, fresh: pl.DataFrame, evidence: sources.Evidence, rules: Rules) -> Scope:
    """The components at the ends of the edges that came, went, or may now be judged otherwise."""
    ends = pl.concat([frame.select("node_id", "identifier_id", "identifier_type") for frame in (fresh, evidence.old)])
    about = ends.filter(~pl.col("identifier_type").is_in(["contact", "link_contact"]))
    identifiers = about.select("identifier_id").unique()
    around = session.read_keys(EDGE, identifiers)
    contacts = around.filter(pl.col("node_type").is_in(["contact", "link_contact"]))["node"]
    known = record_ids(contacts)
    roots = survivors_of(session, "contacts", known)
    archived = _archived(session, records_frame("id", {*known, *roots.values()}))
    now = protection.of_identifiers(around, roots, rules.identity, archived)
    of_identifier = pl.col("rule").is_in(list(protection.OF_IDENTIFIER))
    was = session.read_keys(REJECTED, identifiers).filter(of_identifier)
    still = now.join(was, on="identifier_id", how="semi")["identifier_id"].unique()
    judged = around.filter(~pl.col("identifier_id").is_in(still.implode()))
    owners = _lookup_contacts(session, evidence.contacts)
    touched = pl.concat(
        [
            ends["node_id"],
            ends.filter(~pl.col("identifier_id").is_in(still.implode()))["identifier_id"],
            judged["node_id"],
            owners,
        ]
    ).unique()
    labels = session.read_keys(graph.NODE, pl.DataFrame({"node_id": touched}))["component"]
    nodes = graph.of_components(session, labels).sort("node_id")
    edges = session.read_keys(EDGE, nodes.select("node_id"))
    elsewhere = session.read_keys(REJECTED, nodes.select("node_id")).filter(of_identifier)
    elsewhere = elsewhere.join(identifiers, on="identifier_id", how="anti").select(
        "node_id", "identifier_id", refusal="rule"
    )
    refused = pl.concat([now, elsewhere]).join(edges, on=["node_id", "identifier_id"], how="semi")
    pair = ["node_id", "identifier_id"]
    came, went = fresh.join(evidence.old, on=pair, how="anti"), evidence.old.join(fresh, on=pair, how="anti")
    shut = now.join(was, on=pair, how="anti").join(came, on=pair, how="anti")
    if went.height or shut.height:
        return _labelled(session, nodes, edges, refused)
    return _contracted(session, nodes, edges, refused)


def _archived(session: Session, ids: pl.DataFrame | None = None) -> pl.Series:
    """The archived contacts among some ids, or of all."""
    if ids is None:
        return session.query("SELECT id FROM raw.contact WHERE archived")["id"]
    return session.query("SELECT id FROM raw.contact SEMI JOIN ids USING (id) WHERE archived", ids=ids)["id"]


def _lookup_contacts(session: Session, contacts: set[int]) -> pl.Series:
    """Node numbers of those contact ids that the dictionary knows."""
    return graph.lookup(session, "contact", pl.Series(map(str, sorted(contacts)), dtype=pl.String))["node_id"]


def _contracted(session: Session, nodes: pl.DataFrame, edges: pl.DataFrame, refused: pl.DataFrame) -> Scope:
    """Only new edges: the components at their ends become one, without reading what is inside them."""
    scope = Scope(nodes, edges, refused)
    home = nodes.select("node_id", "component")
    across = (
        scope.allowed.select("node_id", "identifier_id")
        .join(home, on="node_id")
        .join(home, left_on="identifier_id", right_on="node_id", suffix="_other")
        .filter(pl.col("component") != pl.col("component_other"))
    )
    gone, now = contract(across["component"].to_numpy(), across["component_other"].to_numpy())
    graph.rename_components(session, gone, now)
    moves = pl.DataFrame({"component": gone, "label": now}, schema={"component": pl.Int64, "label": pl.Int64})
    renamed = nodes.join(moves, on="component", how="left", maintain_order="left").with_columns(
        component=pl.coalesce("label", "component")
    )
    return Scope(renamed.drop("label"), edges, refused)


def _labelled(session: Session, nodes: pl.DataFrame, edges: pl.DataFrame, refused: pl.DataFrame) -> Scope:
    """Compute components from all edges of the nodes."""
    scope = Scope(nodes, edges, refused)
    ids, kept = nodes["node_id"].to_numpy(), scope.allowed
    ends = np.asarray(kept["node_id"], np.int64), np.asarray(kept["identifier_id"], np.int64)
    labels = nodes.with_columns(component=pl.Series(labels_among(ids, *ends)) if nodes.height else "component")
    graph.set_components(session, labels.filter(labels["component"] != nodes["component"]))
    return Scope(labels, edges, refused)


def live(session: Session, nodes: pl.DataFrame) -> pl.Series:
    """Nodes of contacts that are neither absorbed nor archived nor erased."""
    contacts = nodes.filter(pl.col("node_type") == "contact").with_columns(
        id=pl.col("identifier").cast(pl.Int64, strict=False)
    )
    records = session.query(
        "SELECT c.id FROM raw.contact c SEMI JOIN ids USING (id) WHERE NOT c.archived", ids=contacts.select("id")
    )["id"]
    gone = session.read_keys("raw.merge", contacts.select(object_type=pl.lit("contacts"), absorbed_id="id"))[
        "absorbed_id"
    ]
    alive = pl.col("id").is_in(records.implode()) & ~pl.col("id").is_in(gone.implode())
    return contacts.filter(alive)["node_id"]


def cannot_link(rules: Rules, nodes: pl.DataFrame) -> list[tuple[int, int]]:
    """Pairs of the mapping's `identity.exclude` whose both ends are among these nodes."""
    pairs = rules.identity.exclude
    text = pl.format("{}:{}", "node_type", "identifier")
    named = nodes.filter(text.is_in([end for pair in pairs for end in pair])).select(text, "node_id")
    number = dict(named.iter_rows())
    return [(number[one], number[other]) for one, other in pairs if one in number and other in number]
