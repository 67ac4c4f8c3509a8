"""The graph core, in integers: components of all edges, of new edges only, and the dictionary that names the nodes.

A component's label is its smallest node, so a label is a pure function of the edges. A rebuild gives all edges to
scipy; new edges are contracted to the labels of their ends and joined there, at a cost that depends only on the new
edges; where edges were removed, their components are labelled again from the remaining edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]

NODE = {"node_type": pl.String, "identifier": pl.String}


def labels(nodes: int, u: Ints, v: Ints) -> Ints:
    """Return the smallest node of each node's component, Int64 by node.

    Args:
        nodes: how many there are; they are numbered from 0.
        u: one end of each edge.
        v: the other end.
    """
    from scipy.sparse import coo_matrix  # most hours bring no edge that needs it, and loading it takes long
    from scipy.sparse.csgraph import connected_components

    index = np.int32 if nodes < 2**31 else np.int64
    ones = np.ones(len(u), np.int8)
    graph = coo_matrix((ones, (u.astype(index, copy=False), v.astype(index, copy=False))), shape=(nodes, nodes))
    count, component = connected_components(graph, directed=False)
    smallest = np.empty(count, np.int64)
    smallest[component[::-1]] = np.arange(nodes - 1, -1, -1)  # of one component the smallest is written last
    return np.asarray(smallest[component], np.int64)


def labels_among(nodes: Ints, u: Ints, v: Ints) -> Ints:
    """`labels` for a few nodes of a large graph.

    Args:
        nodes: their ids, ascending, without repetition; every end is one of them.
        u: one end of each edge.
        v: the other end.
    """
    if len(nodes) and nodes[-1] == len(nodes) - 1:  # 0, 1, 2, …: their own places
        return labels(len(nodes), u, v)
    return nodes[labels(len(nodes), np.searchsorted(nodes, u), np.searchsorted(nodes, v))]


def contract(u: Ints, v: Ints) -> tuple[Ints, Ints]:
    """Return which labels change through new edges, given the labels of their ends.

    Returns:
        the labels that disappear, and for each the new label of its nodes.
    """
    touched = np.unique(np.concatenate([u, v]))
    now = labels_among(touched, u, v)
    moved = now != touched
    return touched[moved], now[moved]


def number(left: pl.Series, right: pl.Series) -> tuple[pl.Series, Ints, Ints]:
    """Number each distinct text.

    Texts are distinguished by a sorted 64-bit hash: far cheaper than a join of texts. If two texts share a hash,
    which a second hash shows, the texts themselves decide.

    Returns:
        the texts by number, and the numbers of `left` and `right`.
    """
    texts = pl.concat([left, right.rename(left.name)])
    first, second = texts.hash(seed=1), texts.hash(seed=2).to_numpy()
    order = first.arg_sort().to_numpy()  # polars sorts on all cores
    ranked, check = first.to_numpy()[order], second[order]
    new = np.empty(len(order), np.bool_)
    new[:1], new[1:] = True, ranked[1:] != ranked[:-1]
    if not np.all(new[1:] | (check[1:] == check[:-1])):
        return _number_by_text(texts, len(left))
    index = np.int32 if len(order) < 2**31 else np.int64
    representatives = order[new]  # one place of each distinct text, in order, so that no text is moved
    chosen = np.zeros(len(order), np.bool_)
    chosen[representatives] = True
    numbers = (np.cumsum(chosen, dtype=index) - 1)[representatives]
    codes: Ints = np.empty(len(order), index)
    codes[order] = numbers[np.cumsum(new, dtype=index) - 1]
    return texts.filter(pl.Series(chosen)), codes[: len(left)], codes[len(left) :]


def _number_by_text(texts: pl.Series, lefts: int) -> tuple[pl.Series, Ints, Ints]:
    frame = texts.to_frame("text")
    known = frame.unique(maintain_order=True).with_row_index("node")
    codes = frame.join(known, on="text", how="left", maintain_order="left")["node"].to_numpy().astype(np.int64)
    return known["text"], codes[:lefts], codes[lefts:]


def extend(known: pl.DataFrame, wanted: pl.DataFrame, first: int) -> pl.DataFrame:
    """Make new nodes for identifiers that are not in the dictionary, each its own component.

    Args:
        known: the dictionary's rows of `wanted`: node_type String, identifier String.
        wanted: node_type String, identifier String; in any order, with repetitions.
        first: the number of the first new node.

    Returns:
        identity.node rows: node_id Int64, node_type String, identifier String, component Int64.
    """
    new = wanted.unique().join(known, on=list(NODE), how="anti").sort("node_type", "identifier")
    node = pl.int_range(pl.len(), dtype=pl.Int64) + first
    return new.select(node_id=node, node_type="node_type", identifier="identifier", component=node)
