"""The graph core against an independent library, and increments against rebuilds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_attribution.identity.rules.graph import Ints, contract, extend, labels, labels_among, number
from crm_attribution.identity.rules.graph import _number_by_text as by_text

NODES = 40


def relabel(label: Ints, gone: Ints, now: Ints) -> Ints:
    """Labels after a contraction, sorted by `gone`: what the steps do in SQL."""
    if not len(gone):
        return label
    place = np.minimum(np.searchsorted(gone, label), len(gone) - 1)
    return np.where(gone[place] == label, now[place], label)


EDGES = st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=60)


def ends(edges: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array(edges, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def oracle(edges: list[tuple[int, int]]) -> list[int]:
    graph = nx.Graph(edges)
    graph.add_nodes_from(range(NODES))
    found = {node: min(part) for part in nx.connected_components(graph) for node in part}
    return [found[node] for node in range(NODES)]


@given(EDGES)
def test_labels_are_the_smallest_nodes_of_the_components(edges: list[tuple[int, int]]):
    assert labels(NODES, *ends(edges)).tolist() == oracle(edges)


@given(EDGES, st.lists(st.integers(0, 60), max_size=4))
def test_any_chain_of_contractions_is_a_rebuild(edges: list[tuple[int, int]], cuts: list[int]):
    label: Ints = np.arange(NODES)
    stops = sorted({0, len(edges), *(min(cut, len(edges)) for cut in cuts)})
    for start, stop in pairwise(stops):
        u, v = ends(edges[start:stop])
        label = relabel(label, *contract(label[u], label[v]))
    assert label.tolist() == oracle(edges)


@given(EDGES.filter(bool), st.data())
def test_a_removal_needs_only_the_components_it_touches(edges: list[tuple[int, int]], data: st.DataObject):
    gone = data.draw(st.sampled_from(edges))
    before, left = np.array(oracle(edges)), [edge for edge in edges if edge != gone]
    nodes = np.flatnonzero(before == before[gone[0]])
    u, v = ends([edge for edge in left if edge[0] in nodes])
    after = before.copy()
    after[nodes] = labels_among(nodes, u, v)
    assert after.tolist() == oracle(left)


@pytest.mark.parametrize("way", [number, lambda left, right: by_text(pl.concat([left, right]), len(left))])
@given(st.lists(st.tuples(st.text("ab", max_size=3), st.text("ab", max_size=3)), min_size=1, max_size=30))
def test_the_dictionary_gives_each_text_one_number(way: Any, pairs: list[tuple[str, str]]):
    """By hash, and by text, which is the way out where two texts share a hash."""
    left, right = (pl.Series([pair[side] for pair in pairs], dtype=pl.String) for side in (0, 1))
    names, u, v = way(left, right)
    assert names.n_unique() == len(names) == len({*left, *right})
    assert [*zip(names.gather(u), names.gather(v), strict=True)] == pairs


def test_texts_that_share_a_hash_stay_apart(monkeypatch: pytest.MonkeyPatch):
    """The first hash is the text's length: `b` and `c` share it, wherever in the order they stand."""
    true_hash = pl.Series.hash

    def short(texts: pl.Series, seed: int) -> pl.Series:
        return true_hash(texts, seed=seed) if seed == 2 else texts.str.len_chars().cast(pl.UInt64)

    monkeypatch.setattr(pl.Series, "hash", short)
    for pairs in ([("aa", "b"), ("b", "c")], [("b", "c"), ("b", "aa")], [("aaa", "b"), ("bb", "cc")]):
        left, right = (pl.Series([pair[side] for pair in pairs]) for side in (0, 1))
        names, u, v = number(left, right)
        assert [*zip(names.gather(u), names.gather(v), strict=True)] == pairs


def test_the_dictionary_grows_by_what_it_does_not_know():
    wanted = pl.DataFrame({"node_type": ["email", "email", "contact"], "identifier": ["b", "b", "1"]})
    known = pl.DataFrame({"node_type": ["contact"], "identifier": ["1"]})
    assert extend(known, wanted, 7).rows() == [(7, "email", "b", 7)]
