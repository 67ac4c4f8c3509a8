"""Persons: the graph brought up to date with what changed, and the durable ids of the components it touches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from crm_attribution.contracts import topics
from crm_attribution.contracts.topics import EMAIL
from crm_attribution.identifiers import record_ids
from crm_attribution.identity import evidence as sources
from crm_attribution.identity import nodes as graph
from crm_attribution.identity.rules import person_ids as memory
from crm_attribution.identity.rules import protection
from crm_attribution.identity.rules.graph import contract, labels_among
from crm_attribution.mapping import Rules
from crm_attribution.raw.merges import survivors_of
from crm_attribution.warehouse.changes import Changes
from crm_attribution.warehouse.frames import ids_frame, records_frame
from crm_attribution.warehouse.session import Session

EDGE, REJECTED, ALIAS, PERSON = "identity.edge", "identity.edge_rejected", "identity.alias", "identity.person"


@dataclass
class Moved:
    """What an update did to persons.

    Attributes:
        persons: every person that gained, lost or changed.
        contacts: contacts that are another person's now.
        between: the persons these contacts left and came to.
    """

    persons: set[str] = field(default_factory=set)
    contacts: set[int] = field(default_factory=set)
    between: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Scope:
    """Whole components: their nodes, all edges of these, and which edges their identifiers disable."""

    nodes: pl.DataFrame
    edges: pl.DataFrame
    refused: pl.DataFrame

    @property
    def allowed(self) -> pl.DataFrame:
        return self.edges.join(self.refused, on=["node_id", "identifier_id"], how="anti")


def update(session: Session, changes: Changes, rules: Rules, as_of: datetime) -> Moved:
    """Recompute the persons of what changed."""
    if changes.everything:
        session.truncate([EDGE, REJECTED])
        evidence = sources.everything(session, rules)
    elif changes.of(topics.CONTACTS, topics.LINK_CLICK, topics.FORM_SUBMISSION):
        evidence = sources.of_changes(session, changes, rules)
    else:
        return Moved()
    fresh = _numbered(session, evidence.fresh)
    keys = pl.concat([frame.select("node_id", "identifier_id") for frame in (fresh, evidence.old)]).drop_nulls()
    if changes.everything:
        session[EDGE].append_new(fresh)
        graph.forget_unseen(session)
        scope = _all(session, fresh, rules)
    else:
        session[EDGE].replace(fresh, keys)
        session.journal.add(EMAIL, _emails_of_gone_contacts(session, fresh))
        scope = _touched(session, fresh, evidence, rules)
    settled = protection.settle(
        scope.nodes,
        scope.allowed,
        _live(session, scope.nodes),
        _apart(rules, scope.nodes),
        rules.identity,
        scope.edges.filter(pl.col("rule") == "primary_email")["node_id"],
    )
    refused = pl.concat([scope.refused, settled.refused])
    _store_refused(session, scope, refused, whole=changes.everything)
    moved = _store_persons(session, scope, refused, settled.person, as_of, evidence.erased, whole=changes.everything)
    _forget_erased(session, evidence)
    return moved


def _emails_of_gone_contacts(session: Session, edges: pl.DataFrame) -> pl.Series:
    """Numbers of the e-mails of contacts that are archived or were: whom these name may be another now."""
    owners = edges.select("contact_id").drop_nulls().unique()
    known = owners.select(pl.lit("contacts").alias("object_type"), object_id="contact_id")
    gone = session.read_keys("raw.deletion", known, ["object_id"])["object_id"]
    theirs = pl.col("contact_id").is_in(gone.implode()) & (pl.col("identifier_type") == "email")
    return edges.filter(theirs)["identifier_id"]


# --- the graph


def _numbered(session: Session, edges: pl.DataFrame) -> pl.DataFrame:
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


def _all(session: Session, edges: pl.DataFrame, rules: Rules) -> _Scope:
    """The whole graph, its components from scratch."""
    merges = session.query("SELECT absorbed_id, survivor_id FROM raw.merge WHERE object_type = 'contacts'")
    roots = dict(merges.iter_rows())
    refused = protection.of_identifiers(edges, roots, rules.identity, _archived(session))
    nodes = session.read(graph.NODE).sort("node_id")
    return _labelled(session, nodes, edges, refused)


def _touched(session: Session, fresh: pl.DataFrame, evidence: sources.Evidence, rules: Rules) -> _Scope:
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
    owners = lookup_contacts(session, evidence.contacts)
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


def lookup_contacts(session: Session, contacts: set[int]) -> pl.Series:
    """Node numbers of those contact ids that the dictionary knows."""
    return graph.lookup(session, "contact", pl.Series(map(str, sorted(contacts)), dtype=pl.String))["node_id"]


def _contracted(session: Session, nodes: pl.DataFrame, edges: pl.DataFrame, refused: pl.DataFrame) -> _Scope:
    """Only new edges: the components at their ends become one, without reading what is inside them."""
    scope = _Scope(nodes, edges, refused)
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
    return _Scope(renamed.drop("label"), edges, refused)


def _labelled(session: Session, nodes: pl.DataFrame, edges: pl.DataFrame, refused: pl.DataFrame) -> _Scope:
    """Compute components from all edges of the nodes."""
    scope = _Scope(nodes, edges, refused)
    ids, kept = nodes["node_id"].to_numpy(), scope.allowed
    ends = np.asarray(kept["node_id"], np.int64), np.asarray(kept["identifier_id"], np.int64)
    labels = nodes.with_columns(component=pl.Series(labels_among(ids, *ends)) if nodes.height else "component")
    graph.set_components(session, labels.filter(labels["component"] != nodes["component"]))
    return _Scope(labels, edges, refused)


def _live(session: Session, nodes: pl.DataFrame) -> pl.Series:
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


def _apart(rules: Rules, nodes: pl.DataFrame) -> list[tuple[int, int]]:
    """Pairs of the mapping's `identity.exclude` whose both ends are among these nodes."""
    pairs = rules.identity.exclude
    text = pl.format("{}:{}", "node_type", "identifier")
    named = nodes.filter(text.is_in([end for pair in pairs for end in pair])).select(text, "node_id")
    number = dict(named.iter_rows())
    return [(number[one], number[other]) for one, other in pairs if one in number and other in number]


def _store_refused(session: Session, scope: _Scope, refused: pl.DataFrame, *, whole: bool) -> None:
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


# --- durable ids


def _store_persons(
    session: Session,
    scope: _Scope,
    refused: pl.DataFrame,
    person: pl.DataFrame,
    as_of: datetime,
    erased: set[int],
    *,
    whole: bool,
) -> Moved:
    allowed = scope.edges.join(refused, on=["node_id", "identifier_id"], how="anti")
    nodes = scope.nodes.join(person, on="node_id")
    contacts = (
        allowed.filter(pl.col("rule") == "self")
        .join(person, on="node_id")
        .select("contact_id", created_at="first_seen", component="part")
    )
    numbers = scope.nodes.select("node_id")
    had = session.read(ALIAS) if whole else session.read_keys(ALIAS, numbers)
    before = had.filter(pl.col("identifier_type") == "contact").select(
        "person_id", contact_id=pl.col("identifier").cast(pl.Int64, strict=False)
    )
    known = session.read_keys(PERSON, had.select("person_id").unique())
    seen = {row[0]: memory.KnownPerson(*row) for row in known.select("person_id", "first_seen").iter_rows()}
    minted_by = contacts.select(root_contact_id="contact_id")
    taken = set(session.read_keys(PERSON, minted_by)["person_id"])
    result = memory.assign(contacts, before, seen, taken)
    owner = pl.DataFrame(list(result.persons.items()), schema={"contact_id": pl.Int64, "person_id": pl.String},
                         orient="row")  # fmt: skip
    homes = contacts.join(owner, on="contact_id").select("component", "person_id").unique()
    placed = nodes.drop("component").join(homes, left_on="part", right_on="component")
    alias = placed.select("node_id", "person_id", "identifier", identifier_type="node_type")
    changed = session[ALIAS].replace(alias, None if whole else numbers)
    rows = _person_rows(session, placed, allowed, contacts.join(owner, on="contact_id"), result, known)
    nameless = {
        name: pl.when(~pl.col(name).is_in(list(erased))).then(name) for name in ("root_contact_id", "contact_id")
    }
    rows = rows.with_columns(**nameless)
    affected = pl.concat([known.select("person_id"), rows.select("person_id")]).unique()
    changed_person = session[PERSON].replace(rows, affected)
    if result.changes:
        columns = ["person_id", "other_person_id", "kind", "cause"]
        causes = pl.DataFrame(result.changes, schema=columns, orient="row")
        session["identity.person_change"].append(causes.with_columns(recorded_at=pl.lit(as_of)))
    left = before.join(owner, on="contact_id", suffix="_now").filter(pl.col("person_id") != pl.col("person_id_now"))
    return Moved(
        set(changed["person_id"]) | set(changed_person["person_id"]),
        set(left["contact_id"]),
        {*left["person_id"], *left["person_id_now"]},
    )


def _person_rows(
    session: Session,
    placed: pl.DataFrame,
    allowed: pl.DataFrame,
    contacts: pl.DataFrame,
    result: memory.Assignment,
    known: pl.DataFrame,
) -> pl.DataFrame:
    """identity.person rows of the persons in the scope, those that went included."""
    absorbed = survivors_of(session, "contacts", contacts["contact_id"]).keys()
    archived = session.query(
        "SELECT id FROM raw.contact SEMI JOIN ids USING (id) WHERE archived", ids=contacts.select(id="contact_id")
    )["id"]
    gone = pl.col("contact_id").is_in(list(absorbed))
    representatives = (
        contacts.with_columns(_gone=gone, _archived=pl.col("contact_id").is_in(archived.implode()))
        .sort("_gone", "_archived", "created_at", "contact_id")
        .group_by("person_id")
        .agg(
            contact_id=pl.col("contact_id").first(),
            contacts=pl.max_horizontal((~pl.col("_gone")).sum(), pl.lit(0)).cast(pl.Int64),
            total=pl.len(),
        )
        .with_columns(contacts=pl.when(pl.col("contacts") == 0).then("total").otherwise("contacts"))
    )
    since = (
        allowed.join(placed.select("node_id", "person_id"), on="node_id")
        .group_by("person_id")
        .agg(first_seen=pl.col("first_seen").min())
    )
    size = placed.group_by("person_id").agg(identifiers=pl.len())
    minted = pl.DataFrame(list(result.minted.items()), schema=["person_id", "_root"], orient="row",
                          schema_overrides={"person_id": pl.String, "_root": pl.Int64})  # fmt: skip
    old = known.select("person_id", "root_contact_id", _first="first_seen")
    living = (
        representatives.join(since, on="person_id", how="left")
        .join(size, on="person_id", how="left")
        .join(old, on="person_id", how="left")
        .join(minted, on="person_id", how="left")
        .select(
            "person_id",
            "contact_id",
            "contacts",
            "identifiers",
            first_seen=pl.min_horizontal("first_seen", "_first"),
            root_contact_id=pl.coalesce("root_contact_id", "_root"),
            merged_into=pl.lit(None, pl.String),
        )
    )
    into = {other: survivor for survivor, other, kind, _ in result.changes if kind == "merge"}
    went = known.join(living, on="person_id", how="anti").with_columns(
        contacts=pl.lit(0),
        identifiers=pl.lit(0),
        merged_into=pl.coalesce(
            pl.col("person_id").replace_strict(into, default=None, return_dtype=pl.String), "merged_into"
        ),
    )
    return pl.concat([living.select(known.columns), went], how="vertical_relaxed")


def live_persons(session: Session, person_ids: Iterable[str]) -> dict[str, str]:
    """Each person id ever published -> the person it is now, over any chain of merges; itself where it lives.

    An id that was never published is not in the answer.
    """
    found: dict[str, str | None] = {}
    asked = set(person_ids)
    wanted = set(asked)
    while asked:
        rows = session.read_keys("identity.person", ids_frame("person_id", asked))
        found.update(rows.select("person_id", "merged_into").iter_rows())
        asked = set(rows["merged_into"].drop_nulls()) - found.keys()

    def last(person: str) -> str:
        seen = {person}
        while (following := found.get(person)) is not None and following not in seen:
            person = following
            seen.add(person)
        return person

    return {person: last(person) for person in wanted if person in found}
