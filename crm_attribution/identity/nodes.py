"""identity.node: the dictionary of identifiers and the component of each. Lookups by key, never the whole table."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from crm_attribution.identity.rules.graph import Ints, extend
from crm_attribution.warehouse.session import Session

NODE = "identity.node"

_ONE, _TWO = "(hash(node_type, identifier) >> 1)::BIGINT", "(hash(identifier, node_type, 2) >> 1)::BIGINT"
_HASHES = f"{_ONE} AS hash_one, {_TWO} AS hash_two"
_REHASH = f"hash_one = {_ONE}, hash_two = {_TWO}"


def encode(session: Session, wanted: pl.DataFrame) -> pl.DataFrame:
    """The dictionary's rows for some identifiers; those it does not know are added to it.

    Args:
        session: an open session, within a transaction.
        wanted: node_type, identifier; repetitions are allowed.

    Returns:
        identity.node rows, one per identifier.
    """
    asked = wanted.select("node_type", "identifier").unique()
    known = _find(session, asked)
    first = session.scalar("SELECT coalesce(max(node_id), -1) + 1 FROM identity.node")
    new = extend(known.select("node_type", "identifier"), asked, first)
    add(session, new)
    return pl.concat([known, new.select(known.columns)])


def add(session: Session, new: pl.DataFrame) -> None:
    """Put new nodes into the dictionary: node_id, node_type, identifier, component."""
    if new.height:
        session.change(f"INSERT INTO identity.node BY NAME SELECT *, {_HASHES} FROM new", new=new)


def lookup(session: Session, node_type: str, identifiers: pl.Series) -> pl.DataFrame:
    """The dictionary's rows for those of some identifiers that it knows."""
    return _find(session, pl.DataFrame({"identifier": identifiers.unique()}).with_columns(node_type=pl.lit(node_type)))


def _find(session: Session, asked: pl.DataFrame) -> pl.DataFrame:
    """Rows by two hashes: of the dictionary only columns of integers are read."""
    _same_hash(session)
    return session.query(
        "SELECT n.node_id, a.node_type, a.identifier, n.component FROM identity.node n"
        f" JOIN (SELECT *, {_HASHES} FROM asked) a USING (hash_one, hash_two)",
        asked=asked.select("node_type", "identifier"),
    )


def _same_hash(session: Session) -> None:
    """DuckDB's hash may change with its version: then all are computed again."""
    version = str(session.scalar("SELECT version()"))
    if session.state.hash_version != version:
        session.change(f"UPDATE identity.node SET {_REHASH} WHERE node_type <> 'erased'")
        session.state.hash_version = version


def emails(session: Session, numbers: Iterable[str]) -> set[str]:
    """The e-mails of some node ids, as the journal has them; those of erased persons are not known any more."""
    wanted = pl.DataFrame({"node_id": [int(number) for number in numbers]}, schema={"node_id": pl.Int64})
    return set(session.read_keys(NODE, wanted).filter(pl.col("node_type") == "email")["identifier"])


def of_components(session: Session, components: pl.Series) -> pl.DataFrame:
    """All nodes of some components."""
    return session.read_keys(NODE, pl.DataFrame({"component": components.unique()}, schema={"component": pl.Int64}))


def rename_components(session: Session, gone: Ints, now: Ints) -> None:
    """Give every node of a component its label after a contraction."""
    if len(gone):
        moves = pl.DataFrame({"gone": gone, "label": now})
        session.change(
            "UPDATE identity.node SET component = m.label FROM moves m WHERE component = m.gone", moves=moves
        )


def set_components(session: Session, labelled: pl.DataFrame) -> None:
    """Store computed labels: node_id Int64, component Int64."""
    if labelled.height:
        session.change(
            "UPDATE identity.node SET component = m.component FROM moves m WHERE identity.node.node_id = m.node_id",
            moves=labelled.select("node_id", "component"),
        )


def forget(session: Session, node_ids: pl.Series) -> None:
    """Blank the identifiers of erased persons; the numbers stay taken."""
    if len(node_ids):
        session.change(
            "UPDATE identity.node SET hash_one = NULL, hash_two = NULL, node_type = 'erased',"
            " identifier = 'erased:' || identity.node.node_id"
            " FROM erased WHERE identity.node.node_id = erased.node_id",
            erased=pl.DataFrame({"node_id": node_ids}),
        )


def forget_unseen(session: Session) -> None:
    """In a rebuild: blank what no edge shows any more, such as the identifiers of persons erased since."""
    unseen = session.query(
        "SELECT node_id FROM identity.node WHERE node_type <> 'erased'"
        " AND node_id NOT IN (SELECT node_id FROM identity.edge UNION SELECT identifier_id FROM identity.edge)"
    )
    forget(session, unseen["node_id"])
