"""The identity graph against its peers, in one run. Prints ratios; asserts nothing about time.

Usage: python benchmarks/identity.py [edges, by default 10000000]

The graph is a CRM's: contacts with one to four identifiers each, some of them shared by two or three contacts, the
edges shuffled, every identifier a text. Rebuild: texts to numbers (the dictionary), numbers to components.
Increment: 10,000 new edges on a stored dictionary of that size, through the same steps that the pipeline uses: look
the texts up, add the new ones, contract, store the labels that moved.
Peers: scipy's bare connected_components on ready integers, and splink's clustering where splink is installed (it is no
dependency: make an environment of its own for it, and run this file there with this package on the path).
"""

from __future__ import annotations

import gc
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from crm_attribution.identity import nodes as graph
from crm_attribution.identity.rules.graph import Ints, contract, labels, number
from crm_attribution.warehouse.connection import Warehouse
from crm_attribution.warehouse.session import Session

NEW = 10_000
INCREMENTS = 3


def timed(name: str, act: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    started = time.perf_counter()
    answer = act()
    taken = time.perf_counter() - started
    print(f"  {name:<58} {taken:8.2f} s", flush=True)
    return taken, answer


def texts(edges: int, seed: int = 1) -> tuple[pl.Series, pl.Series]:
    """Both ends of each edge, as texts."""
    chance = np.random.default_rng(seed)
    contacts = edges * 2 // 5
    owner = chance.integers(0, contacts, edges)
    other = np.where(chance.random(edges) < 0.15, chance.integers(0, contacts, edges), owner)
    frame = pl.DataFrame({"c": owner, "e": other, "k": chance.integers(0, 3, edges)})
    return (
        frame.select(pl.format("contact:{}", pl.col("c") + 100_000).alias("t"))["t"],
        frame.select(pl.format("email:person{}.{}@firm{}.example", "e", "k", pl.col("e") % 60_000).alias("t"))["t"],
    )


def bare(nodes: int, u: Ints, v: Ints) -> Any:
    ones = np.ones(len(u), np.int8)
    return connected_components(coo_matrix((ones, (u, v)), shape=(nodes, nodes)).tocsr(), directed=False)


def rebuild(left: pl.Series, right: pl.Series) -> tuple[pl.Series, Ints]:
    names, u, v = number(left, right)
    return names, labels(len(names), u, v)


def splink(nodes: int, u: Ints, v: Ints) -> Any:
    from splink import DuckDBAPI  # type: ignore[import-not-found,unused-ignore]
    from splink.clustering import cluster_pairwise_predictions_at_threshold as cluster

    all_nodes = pl.DataFrame({"unique_id": np.arange(nodes)}).to_arrow()
    pairs = pl.DataFrame({"unique_id_l": u, "unique_id_r": v, "match_probability": np.ones(len(u))}).to_arrow()
    return cluster(
        all_nodes, pairs, db_api=DuckDBAPI(), node_id_column_name="unique_id", threshold_match_probability=0.5
    ).as_duckdbpyrelation()


def store(session: Session, names: pl.Series, label: Ints) -> None:
    """The dictionary as a rebuild leaves it."""
    kind = names.str.split_exact(":", 1).struct.rename_fields(["node_type", "identifier"]).struct.unnest()
    frame = kind.with_columns(node_id=pl.Series(np.arange(len(names))), component=pl.Series(label))
    graph.add(session, frame)
    session.connection.execute("CHECKPOINT")


def increment(session: Session, contacts: int, seed: int) -> int:
    """New edges: half to new e-mails, half between what is known."""
    chance = np.random.default_rng(seed)
    new = chance.random(NEW) < 0.5
    other = chance.integers(0, contacts, NEW)
    frame = pl.DataFrame({"c": chance.integers(0, contacts, NEW), "e": other, "new": new})
    known = pl.format("person{}.0@firm{}.example", "e", pl.col("e") % 60_000)
    fresh = pl.format("new{}.{}@firm.example", pl.lit(seed), "e")
    edges = frame.select(
        node=(pl.col("c") + 100_000).cast(pl.String), identifier=pl.when("new").then(fresh).otherwise(known)
    )
    with session.transaction():
        ends = pl.concat(
            [
                edges.select(node_type=pl.lit("contact"), identifier="node"),
                edges.select(node_type=pl.lit("email"), identifier="identifier"),
            ]
        )
        nodes = graph.encode(session, ends).select("identifier", "component")
        label = edges.join(nodes.rename({"identifier": "node", "component": "one"}), on="node").join(
            nodes.rename({"component": "other"}), on="identifier"
        )
        gone, now = contract(label["one"].to_numpy(), label["other"].to_numpy())
        graph.rename_components(session, gone, now)
    return len(gone)


def measure(edges: int, *, peers: bool) -> tuple[float, float, float]:
    """Seconds of scipy's call, of the rebuild, and of one increment."""
    print(f"{edges:,} edges")
    left, right = texts(edges)
    full, (names, label) = timed("rebuild: dictionary and components", partial(rebuild, left, right))
    _, u, v = number(left, right)
    print(f"  {len(names):,} identifiers, {len(np.unique(label)):,} components")
    call, _ = timed("scipy's bare call, integers ready", partial(bare, len(names), u, v))
    if peers and importlib.util.find_spec("splink") is not None:
        other, _ = timed("splink's clustering, integers ready", partial(splink, len(names), u, v))
        print(f"  splink / scipy {other / call:.1f}")
    elif peers:
        print("  splink is not installed: skipped")
    with tempfile.TemporaryDirectory() as folder, Warehouse(Path(folder)).session() as session:
        store(session, names, label)
        contacts = edges * 2 // 5
        runs = [
            timed(f"{NEW:,} new edges, increment {n + 1}", partial(increment, session, contacts, n + 2))[0]
            for n in range(INCREMENTS)
        ]
    return call, full, float(np.median(runs))


def main() -> None:
    edges = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    _, _, small = measure(edges // 10, peers=False)
    call, full, large = measure(edges, peers=True)
    print("ratios")
    print(f"  rebuild / scipy's bare call         {full / call:6.2f}   goal <= 3")
    print(f"  increment / rebuild                 {large / full:6.3f}   goal <= 0.1")
    print(f"  increment on the graph / on a tenth {large / small:6.2f}   goal <= 1.5")


if __name__ == "__main__":
    main()
