"""Persons: the graph brought up to date with what changed, and the durable ids of the components it touches."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.contracts.topics import EMAIL
from crm_attribution.identity import evidence as sources
from crm_attribution.identity import nodes as graph
from crm_attribution.identity.durable import Moved, store
from crm_attribution.identity.rules import protection
from crm_attribution.identity.scope import EDGE, REJECTED, Scope, cannot_link, live, numbered, touched_by, whole
from crm_attribution.mapping import Rules
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.session import Session


def update(session: Session, changes: Changes, rules: Rules, as_of: datetime) -> Moved:
    """Recompute the persons of what changed."""
    if changes.everything:
        session.truncate([EDGE, REJECTED])
        evidence = sources.everything(session, rules)
    elif changes.of(topics.CONTACTS, topics.LINK_CLICK, topics.FORM_SUBMISSION):
        evidence = sources.of_changes(session, changes, rules)
    else:
        return Moved()
    fresh = numbered(session, evidence.fresh)
    keys = pl.concat([frame.select("node_id", "identifier_id") for frame in (fresh, evidence.old)]).drop_nulls()
    if changes.everything:
        session[EDGE].append_new(fresh)
        graph.forget_unseen(session)
        scope = whole(session, fresh, rules)
    else:
        session[EDGE].replace(fresh, keys)
        session.journal.add(EMAIL, _emails_of_gone_contacts(session, fresh))
        scope = touched_by(session, fresh, evidence, rules)
    settled = protection.settle(
        scope.nodes,
        scope.allowed,
        live(session, scope.nodes),
        cannot_link(rules, scope.nodes),
        rules.identity,
        scope.edges.filter(pl.col("rule") == "primary_email")["node_id"],
    )
    refused = pl.concat([scope.refused, settled.refused])
    _store_refused(session, scope, refused, whole=changes.everything)
    moved = store(session, scope, refused, settled.person, as_of, evidence.erased, whole=changes.everything)
    _forget_erased(session, evidence)
    return moved


def _emails_of_gone_contacts(session: Session, edges: pl.DataFrame) -> pl.Series:
    """Numbers of the e-mails of contacts that are archived or were: whom these name may be another now."""
    owners = edges.select("contact_id").drop_nulls().unique()
    known = owners.select(pl.lit("contacts").alias("object_type"), object_id="contact_id")
    gone = session.read_keys("raw.deletion", known, ["object_id"])["object_id"]
    theirs = pl.col("contact_id").is_in(gone.implode()) & (pl.col("identifier_type") == "email")
    return edges.filter(theirs)["identifier_id"]


def _store_refused(session: Session, scope: Scope, refused: pl.DataFrame, *, whole: bool) -> None:
    rows = (
        scope.edges.rename({"rule": "edge_rule"})
        .join(refused.rename({"refusal": "rule"}), on=["node_id", "identifier_id"])
        .drop("first_seen", "last_seen")
    )
    if whole:
        session[REJECTED].append_new(rows)
    else:
        session[REJECTED].replace(rows, scope.nodes.select("node_id"))


def _forget_erased(session: Session, evidence: sources.Evidence) -> None:
    """Take erased contacts' identifiers out of the dictionary, where nothing else shows them."""
    if not evidence.erased:
        return
    seen = pl.concat([evidence.old["node_id"], evidence.old["identifier_id"]]).unique().to_frame("node_id")
    shown = [
        session.read_keys(EDGE, seen)["node_id"],
        session.read_keys(EDGE, seen.select(identifier_id="node_id"))["identifier_id"],
    ]
    graph.forget(session, seen.filter(~pl.col("node_id").is_in(pl.concat(shown).implode()))["node_id"])
