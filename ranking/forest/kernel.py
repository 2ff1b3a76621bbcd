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

from features.fold.lanes import prefetch
from features.types import BoolArray, ByteArray, DoubleArray, HashArray, IntArray
from ranking.forest.fold import FEW_ROWS, folded, known_outcomes, same_of, worth_folding
from ranking.forest.lanes import BLOCK, LANES, SLOT_BYTES, at_most, leaf_planes, split, turn_in, turn_out
from ranking.forest.leaves import IN_REGISTERS, ORDER, add_leaves
from ranking.forest.model import BAND, LEAF_SLOT, SLOTS, TILE, Members, Model, Nodes, aligned, stride_of

AHEAD = 8
"""So many trees before it is walked a tree is fetched: after other work none of it is in the caches."""
PLACE = np.argsort(np.array(ORDER))
"""Where a row of 64 has its score; see ``ranking.forest.leaves``."""


class Scratch(NamedTuple):
    """Slots of 8 words for one tile: tests, rows of each node and leaf, bits of leaves, half-turned words of places.

    places (f, 512) int64: where rows stand in each feature of categories, by row of a block and block.
    """

    tests: HashArray
    rows: HashArray
    planes: HashArray
    half: HashArray
    places: IntArray


@njit(nogil=True, cache=True)
def new_scratch(model: Model) -> Scratch:
    """Scratch of one call."""
    tests = aligned(model.slots_in_all * SLOT_BYTES)
    rows, planes = aligned(SLOTS * SLOT_BYTES), aligned(8 * SLOT_BYTES)
    half, features = aligned(BLOCK * SLOT_BYTES), len(model.members.feature)
    places = aligned(features * TILE * 8).view(np.int64).reshape(features, TILE)
    words = tests.view(np.uint64), rows.view(np.uint64), planes.view(np.uint64), half.view(np.uint64)
    return Scratch(words[0], words[1], words[2], words[3], places)


@njit(nogil=True, cache=True, error_model="numpy")
def make_rank_tests(
    nodes: Nodes, codes: ByteArray, stride: int, start: int, blocks: int, which: IntArray, tests: HashArray
) -> None:
    """The words of some tests of ranks in a tile."""
    for p in which:
        at, most, slot = int(nodes.test_column[p]) * stride + start, nodes.test_most[p], np.int64(nodes.test_slot[p])
        for lane in range(blocks):
            tests[slot * LANES + lane] = at_most(codes, at + lane * BLOCK, most)


@njit(nogil=True, cache=True, error_model="numpy")
def make_set_tests(members: Members, i: int, chunk: int, until: int, alike: bool, scratch: Scratch) -> int:
    """The words of a feature's tests of categories in a tile, from a chunk to trees before ``until``; the next chunk.

    A row's word has a bit for each of 64 sets, a test a bit for each row: bits are transposed.
    """
    wide, places = members.known_start[i + 1] - members.known_start[i] + 1, scratch.places[i]
    while chunk < members.chunk_start[i + 1] and members.chunk_age[chunk] < until:
        word = members.word_start[i] + (chunk - members.chunk_start[i]) * wide
        for ahead in range(word + wide, min(word + 2 * wide, len(members.words)), LANES):
            prefetch(members.words, ahead)
        if alike:
            spread(members.words[word + places[0]], members.chunk_slots, chunk * BLOCK, scratch.tests)
        else:
            for row in range(0, BLOCK, 8):
                turn_in(members.words, word, places, row, scratch.half)
            for row in range(8):
                turn_out(scratch.half, row, members.chunk_slots, chunk * BLOCK, scratch.tests)
        chunk += 1
    return int(chunk)


@njit(nogil=True, cache=True, error_model="numpy")
def find_places(members: Members, i: int, codes: ByteArray, stride: int, start: int, rows: int, out: IntArray) -> bool:
    """Where the rows of a tile stand in a feature; whether all at one place."""
    at, wide = members.place[i] * stride + start, members.place[i + 1] - members.place[i] == 2
    out[:], alike = 0, True
    for j in range(rows):
        place = np.int64(codes[at + j]) + (256 * np.int64(codes[at + stride + j]) if wide else 0)
        out[j % BLOCK * LANES + j // BLOCK] = place
        alike &= place == out[0]
    return alike


@njit(nogil=True, cache=True, error_model="numpy")
def spread(word: np.uint64, numbers: IntArray, first: int, tests: HashArray) -> None:
    """Slots of 64 tests that all rows pass or none does, by the bits of a word."""
    for bit in range(BLOCK):
        passes = np.uint64(0) - (word >> np.uint64(bit) & np.uint64(1))
        at = numbers[first + bit] * LANES
        for lane in range(LANES):
            tests[at + lane] = passes


@njit(nogil=True, cache=True, error_model="numpy")
def fetch_tree(nodes: Nodes, t: int) -> None:
    """Have the nodes and leaves of a tree come from memory, and do not wait for them."""
    for leaf in range(nodes.leaf_start[t], nodes.leaf_start[t + 1], LANES):
        prefetch(nodes.leaves, leaf)
        prefetch(nodes.records, leaf - t)


@njit(nogil=True, cache=True, error_model="numpy")
def add_trees(nodes: Nodes, age: int, until: int, blocks: int, scratch: Scratch, scores: DoubleArray) -> None:
    """Add the trees age <= t < until of each head to scores (heads * 512,) of a tile whose tests are made."""
    tests, rows, planes = scratch.tests, scratch.rows, scratch.planes
    for head in range(len(nodes.head_start) - 1):
        first = nodes.head_start[head]
        for t in range(first + age, min(first + until, nodes.head_start[head + 1])):
            start, size = nodes.leaf_start[t], nodes.leaf_start[t + 1] - nodes.leaf_start[t] - 1
            fetch_tree(nodes, min(t + AHEAD, len(nodes.leaf_start) - 2))
            rows[:LANES] = ~np.uint64(0)
            if size == 0:
                rows[LEAF_SLOT * LANES : (LEAF_SLOT + 1) * LANES] = ~np.uint64(0)
            rows[(LEAF_SLOT + size + 1) * LANES : (LEAF_SLOT + size + 9) * LANES] = 0
            for i in range(size):
                split(rows, i, nodes.records, start - t + i, tests)
            if size < IN_REGISTERS:
                leaf_planes(rows, LEAF_SLOT, (size + 8) >> 3, planes, 6)
                add_leaves(planes, blocks, 6, nodes.leaves, start, scores, head * TILE)
            else:
                leaf_planes(rows, LEAF_SLOT, (size + 8) >> 3, planes, 8)
                add_leaves(planes, blocks, 8, nodes.leaves, start, scores, head * TILE)


@njit(nogil=True, cache=True, error_model="numpy")
def score_tile(
    model: Model,
    nodes: Nodes,
    codes: ByteArray,
    stride: int,
    start: int,
    rows: int,
    limit: int,
    which: IntArray,
    open_sets: BoolArray,
    scratch: Scratch,
    scores: DoubleArray,
) -> None:
    """Scores (heads * 512,) of a tile, by some trees of every head after some: their tests are still in the cache."""
    members, blocks, made = model.members, -(-rows // BLOCK), np.int64(0)
    chunks, alike = members.chunk_start.copy(), np.zeros(len(open_sets), np.bool_)
    for i in range(len(open_sets)):
        alike[i] = find_places(members, i, codes, stride, start, rows, scratch.places[i])
    scores[:] = 0.0
    for age in range(0, limit, BAND):
        until = min(age + BAND, limit)
        used = int(np.searchsorted(model.test_age, until))
        more = np.searchsorted(which, used)
        make_rank_tests(nodes, codes, stride, start, blocks, which[made:more], scratch.tests)
        made = more
        for i in range(len(open_sets)):
            if open_sets[i]:
                chunks[i] = make_set_tests(members, i, chunks[i], until, alike[i], scratch)
        add_trees(nodes, age, until, blocks, scratch, scores)


@njit(nogil=True, cache=True, error_model="numpy")
def raw_scores(model: Model, codes: ByteArray, n: int, limit: int) -> DoubleArray:
    """Raw scores (n, heads) float64 of coded rows, by the first ``limit`` trees of each head."""
    nodes, heads, stride = model.nodes, len(model.nodes.head_start) - 1, stride_of(n)
    open_sets, which = np.ones(len(model.members.feature), np.bool_), model.rank_tests
    if n > FEW_ROWS:
        same = same_of(model, codes, stride, n)
        if worth_folding(model.nodes_below, same, n):
            outcomes = known_outcomes(model, same, int(np.searchsorted(model.test_age, limit)))
            nodes = folded(nodes, outcomes, limit)
            which = which[: np.searchsorted(which, len(outcomes))]
            which = which[outcomes[which] >= 0]
            open_sets[:] = same.places < 0
    scratch = new_scratch(model)
    scores = aligned(heads * TILE * 8).view(np.float64)
    out = np.empty((n, heads))
    for start in range(0, n, TILE):
        here = min(TILE, n - start)
        score_tile(model, nodes, codes, stride, start, here, limit, which, open_sets, scratch, scores)
        for j in range(here):
            at = j - j % BLOCK + PLACE[j % BLOCK]
            for head in range(heads):
                out[start + j, head] = scores[head * TILE + at]
    return out
