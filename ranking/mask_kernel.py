"""Trees without branches: 512 rows at a time go through every tree, and no row's value steers the control flow.

A tile is 8 blocks of 64 rows. Every feature value becomes a byte: its rank among the cuts in use, or its membership of
eight category sets. Each distinct test of the ensemble is made once a tile and kept as 8 words of 64 row bits. A node
then costs one vector load, an AND and an XOR: the rows that reach its children. A row's leaf is read off bit planes of
the leaves' words, and leaf values are added in float64 in tree order, as LightGBM adds them. That outcomes of tests
need not steer control flow is QuickScorer's insight (Lucchese et al., SIGIR 2015); here rows, not leaves, share a word.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.types import ByteArray, DoubleArray, FloatArray, HashArray, IntArray
from ranking.mask_lanes import BLOCK, LANES, SLOT_BYTES, add_leaves, at_most, count_below, leaf_planes, split

TILE = BLOCK * LANES
MAX_CUTS = 255  # a rank is a byte
MAX_LEAVES = 256  # a leaf's number is a byte
_SLOTS = 2 * MAX_LEAVES + 8


class Ranks(NamedTuple):
    """How float32 values become ranks: a grid of cuts feeds a column for each way nodes treat what is missing.

    Attributes
    ----------
    feature, cuts, pivots : (g,) int64; (g * 256,) float32, padded with inf; (g * 16,) float32, each 16th cut
    column_start : (g + 1,) int64 columns of each grid
    missing_code, missing_below : (c,) uint8, float32; NaN and what is at most ``missing_below`` in size get the code
    """

    feature: IntArray
    cuts: FloatArray
    pivots: FloatArray
    column_start: IntArray
    missing_code: ByteArray
    missing_below: FloatArray


class Members(NamedTuple):
    """How categories become memberships, eight sets a column; these columns follow those of ranks.

    Attributes
    ----------
    feature, known_start, known : (f,), (f + 1,), flat int64: the sorted categories in a feature's sets
    column_start : (f + 1,) int64 columns of each feature
    table_start, table : (c + 1,), flat; a column's bytes for no known and each known category, 0 bits for its sets
    """

    feature: IntArray
    known_start: IntArray
    known: IntArray
    column_start: IntArray
    table_start: IntArray
    table: ByteArray


class Nodes(NamedTuple):
    """The trees, head after head: tests in order of first use, nodes in topological order, leaves.

    Attributes
    ----------
    test_column, test_mask, test_most : (p,) int32, uint8, uint8; a row passes when ``byte & mask <= most``
    head_start : (h + 1,) int64 trees of each head
    leaf_start : (t + 1,) int64 leaves of each tree, whose nodes start at ``leaf_start[t] - t``
    records : (n,) uint64: byte offsets of a node's test, left and right slot in 32, 16 and 16 bits; a slot is 8 words,
        a node's has its number, a leaf's the tree's node count plus the leaf's number
    leaves : (leaves,) float64 values
    """

    test_column: NDArray[np.int32]
    test_mask: ByteArray
    test_most: ByteArray
    head_start: IntArray
    leaf_start: IntArray
    records: HashArray
    leaves: DoubleArray


class Scratch(NamedTuple):
    """Slots of 8 words for one tile: rows that pass each test, rows at each node and leaf, bits of the rows' leaves."""

    tests: HashArray
    rows: HashArray
    planes: HashArray


@njit(nogil=True, cache=True)
def aligned(size: int) -> ByteArray:
    """Bytes that start at a cache line, as a vector that straddles two costs double."""
    whole = np.empty(size + 64, np.uint8)
    skip = -whole.ctypes.data % 64
    return whole[skip : skip + size]


@njit(nogil=True, cache=True)
def new_scratch(used: int) -> Scratch:
    """Scratch of one call that makes so many tests."""
    tests, rows = aligned(used * SLOT_BYTES), aligned(_SLOTS * SLOT_BYTES)
    return Scratch(tests.view(np.uint64), rows.view(np.uint64), aligned(8 * SLOT_BYTES).view(np.uint64))


@njit(nogil=True, cache=True, error_model="numpy")
def _category(known: IntArray, x: np.float32) -> np.intp:
    """1 + the place of a value's integer part among the known categories; 0 for NaN, negative, vast and unknown."""
    if not (-1.0 < x < 2147483648.0):
        return np.intp(0)
    number = np.int64(x)
    place = np.searchsorted(known, number)
    return np.intp(place + 1) if place < len(known) and known[place] == number else np.intp(0)


@njit(nogil=True, cache=True, error_model="numpy")
def bin_tile(ranks: Ranks, members: Members, features: FloatArray, start: int, codes: ByteArray) -> None:
    """Write the bytes of up to 512 rows from ``start`` into codes (columns * 512,), column after column."""
    rank, value, category = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.intp)
    for first in range(start, min(start + TILE, features.shape[0]), BLOCK):
        rows, place = min(BLOCK, features.shape[0] - first), first - start
        for g in range(len(ranks.feature)):
            x_column = features[first : first + rows, ranks.feature[g]]
            for j in range(rows):
                x = x_column[j]
                coarse = 16 * count_below(ranks.pivots, 16 * g, x)
                value[j], rank[j] = x, coarse + count_below(ranks.cuts, 256 * g + coarse, x)
            for c in range(ranks.column_start[g], ranks.column_start[g + 1]):
                code, below, at = ranks.missing_code[c], ranks.missing_below[c], c * TILE + place
                for j in range(rows):
                    codes[at + j] = rank[j] if abs(value[j]) > below else code
        for i in range(len(members.feature)):
            known = members.known[members.known_start[i] : members.known_start[i + 1]]
            for j in range(rows):
                category[j] = _category(known, features[first + j, members.feature[i]])
            for c in range(members.column_start[i], members.column_start[i + 1]):
                table, at = members.table_start[c], (len(ranks.missing_code) + c) * TILE + place
                for j in range(rows):
                    codes[at + j] = members.table[table + category[j]]


@njit(nogil=True, cache=True, error_model="numpy")
def score_tile(
    nodes: Nodes, limit: int, used: int, codes: ByteArray, blocks: int, scratch: Scratch, scores: DoubleArray
) -> None:
    """Add the first ``limit`` trees of each head, which need the first ``used`` tests, to scores (heads * 512,)."""
    tests, rows, planes = scratch
    for p in range(used):
        column, mask, most = int(nodes.test_column[p]) * TILE, nodes.test_mask[p], nodes.test_most[p]
        for lane in range(blocks):
            tests[p * LANES + lane] = at_most(codes, column + lane * BLOCK, mask, most)
    for head in range(len(nodes.head_start) - 1):
        first = nodes.head_start[head]
        for t in range(first, min(first + limit, nodes.head_start[head + 1])):
            start, size = nodes.leaf_start[t], nodes.leaf_start[t + 1] - nodes.leaf_start[t] - 1
            rows[:LANES] = ~np.uint64(0)
            rows[(2 * size + 1) * LANES : (2 * size + 9) * LANES] = 0
            for i in range(size):
                split(rows, i, nodes.records, start - t + i, tests)
            leaf_planes(rows, size, (size + 8) >> 3, planes)
            for lane in range(blocks):
                if size < 64:
                    add_leaves(planes, lane, 6, nodes.leaves, start, scores, head * TILE + lane * BLOCK)
                else:
                    add_leaves(planes, lane, 8, nodes.leaves, start, scores, head * TILE + lane * BLOCK)


@njit(nogil=True, cache=True, error_model="numpy")
def raw_scores(
    ranks: Ranks, members: Members, nodes: Nodes, features: FloatArray, limit: int, used: int
) -> DoubleArray:
    """Raw scores (n, heads) float64 of features (n, d) float32, by the first ``limit`` trees of each head."""
    heads, n = len(nodes.head_start) - 1, features.shape[0]
    codes = aligned((len(ranks.missing_code) + len(members.table_start) - 1) * TILE)
    scratch, scores = new_scratch(used), aligned(heads * TILE * 8).view(np.float64)
    out = np.empty((n, heads))
    for start in range(0, n, TILE):
        here = min(TILE, n - start)
        scores[:] = 0.0
        bin_tile(ranks, members, features, start, codes)
        score_tile(nodes, limit, used, codes, -(-here // BLOCK), scratch, scores)
        for j in range(here):
            for head in range(heads):
                out[start + j, head] = scores[head * TILE + j]
    return out
