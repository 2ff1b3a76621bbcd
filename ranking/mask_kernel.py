"""Trees without branches: 512 rows at a time go through every tree, and no row's value steers the control flow.

A tile is 8 blocks of 64 rows. Every feature value becomes a byte: its rank among the cuts in use, or its place among
the categories that sets name. Each distinct test of the ensemble is made once a tile and kept as 8 words of 64 row
bits. A node then costs one vector load, an AND and an XOR: the rows that reach its children. A row's leaf is read off
bit planes of the leaves' words, and leaf values are added in float64 in tree order, as LightGBM adds them. That
outcomes of tests need not steer control flow is QuickScorer's insight (Lucchese et al., SIGIR 2015); here rows, not
leaves, share a word.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.types import ByteArray, DoubleArray, HashArray, IntArray
from ranking.mask_fold import FEW_ROWS, folded, known_outcomes, open_tests, worth_folding
from ranking.mask_lanes import BLOCK, LANES, SLOT_BYTES, add_leaves, any_of, at_most, leaf_planes, split
from ranking.mask_model import LEAF_SLOT, SLOTS, TILE, Members, Model, Nodes, aligned, stride_of


class Scratch(NamedTuple):
    """Slots of 8 words for one tile: the rows of each place, test, node and leaf, and bits of leaves."""

    places: HashArray
    tests: HashArray
    rows: HashArray
    planes: HashArray


@njit(nogil=True, cache=True)
def new_scratch(model: Model) -> Scratch:
    """Scratch of one call."""
    known = 0
    for i in range(len(model.members.feature)):
        known = max(known, model.members.known_start[i + 1] - model.members.known_start[i])
    places, tests = aligned((known + 2) * SLOT_BYTES), aligned(len(model.nodes.test_column) * SLOT_BYTES)
    rows, planes = aligned(SLOTS * SLOT_BYTES), aligned(8 * SLOT_BYTES)
    return Scratch(places.view(np.uint64), tests.view(np.uint64), rows.view(np.uint64), planes.view(np.uint64))


@njit(nogil=True, cache=True, error_model="numpy")
def make_tests(
    model: Model, codes: ByteArray, stride: int, start: int, rows: int, which: IntArray, scratch: Scratch
) -> None:
    """The words of some tests of a tile, ranks first, then each feature of categories."""
    nodes, ranks, blocks, tests = model.nodes, len(model.ranks.missing_code), -(-rows // BLOCK), scratch.tests
    for p in which:
        column, most = int(nodes.test_column[p]), nodes.test_most[p]
        if column < ranks:
            for lane in range(blocks):
                tests[p * LANES + lane] = at_most(codes, column * stride + start + lane * BLOCK, most)
    members = model.members
    for i in range(len(members.feature)):
        find_places(members, i, codes, stride, start, rows, scratch.places)
        for p in which:
            if nodes.test_column[p] == ranks + i:
                chosen = nodes.test_most[p]
                first, stop = members.set_start[chosen], members.set_start[chosen + 1]
                any_of(scratch.places, members.set_places, first, stop, tests, p)


@njit(nogil=True, cache=True, error_model="numpy")
def find_places(members: Members, i: int, codes: ByteArray, stride: int, start: int, rows: int, out: HashArray) -> None:
    """A slot for each place of a feature: the rows of a tile that stand there."""
    out[: (members.known_start[i + 1] - members.known_start[i] + 2) * LANES] = 0
    at, wide = members.place[i] * stride + start, members.place[i + 1] - members.place[i] == 2
    for j in range(rows):
        place = np.intp(codes[at + j]) + (256 * np.intp(codes[at + stride + j]) if wide else 0)
        out[place * LANES + j // BLOCK] |= np.uint64(1) << np.uint64(j % BLOCK)


@njit(nogil=True, cache=True, error_model="numpy")
def add_trees(nodes: Nodes, limit: int, blocks: int, scratch: Scratch, scores: DoubleArray) -> None:
    """Add the first ``limit`` trees of each head to scores (heads * 512,) of a tile whose tests are made."""
    _, tests, rows, planes = scratch
    for head in range(len(nodes.head_start) - 1):
        first = nodes.head_start[head]
        for t in range(first, min(first + limit, nodes.head_start[head + 1])):
            start, size = nodes.leaf_start[t], nodes.leaf_start[t + 1] - nodes.leaf_start[t] - 1
            rows[:LANES] = ~np.uint64(0)
            if size == 0:
                rows[LEAF_SLOT * LANES : (LEAF_SLOT + 1) * LANES] = ~np.uint64(0)
            rows[(LEAF_SLOT + size + 1) * LANES : (LEAF_SLOT + size + 9) * LANES] = 0
            for i in range(size):
                split(rows, i, nodes.records, start - t + i, tests)
            leaf_planes(rows, LEAF_SLOT, (size + 8) >> 3, planes)
            for lane in range(blocks):
                if size < 64:
                    add_leaves(planes, lane, 6, nodes.leaves, start, scores, head * TILE + lane * BLOCK)
                else:
                    add_leaves(planes, lane, 8, nodes.leaves, start, scores, head * TILE + lane * BLOCK)


@njit(nogil=True, cache=True, error_model="numpy")
def raw_scores(model: Model, codes: ByteArray, n: int, limit: int, used: int) -> DoubleArray:
    """Raw scores (n, heads) float64 of coded rows, by the first ``limit`` trees of each head, of ``used`` tests."""
    nodes, heads, stride = model.nodes, len(model.nodes.head_start) - 1, stride_of(n)
    which = np.arange(used)
    if n > FEW_ROWS:
        outcomes = known_outcomes(model, codes, stride, n, used)
        if worth_folding(model.test_nodes, outcomes, n):
            nodes = folded(nodes, outcomes, limit)
            which = open_tests(outcomes)
    scratch = new_scratch(model)
    scores = aligned(heads * TILE * 8).view(np.float64)
    out = np.empty((n, heads))
    for start in range(0, n, TILE):
        here = min(TILE, n - start)
        scores[:] = 0.0
        make_tests(model, codes, stride, start, here, which, scratch)
        add_trees(nodes, limit, -(-here // BLOCK), scratch, scores)
        for j in range(here):
            for head in range(heads):
                out[start + j, head] = scores[head * TILE + j]
    return out
