"""Tests that all rows of a request pass, or none, and the trees without them.

What the person and the moment decide is the same for all candidates, so about as many nodes as there are such columns
ask a question whose answer is known. Such a node is its child; the other side is never reached.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.types import ByteArray, DoubleArray, HashArray, IntArray
from ranking.forest.lanes import BLOCK
from ranking.forest.model import LEAF_SLOT, MAX_LEAVES, TILE, Members, Model, Nodes

OutcomeArray = NDArray[np.int8]
_Slots = NDArray[np.uint16]

OPEN, PASS, FAIL = 6, 22 - 128, 6 - 128
"""Outcomes of a test: not the same for all rows, all pass, none does.

Below 0 where it is known; the low five bits say where in a node's record the slot stands that all rows go to.
"""
_SHIFT = 31
_LEFT, _RIGHT, _SLOT = np.uint64(22), np.uint64(6), np.uint64(1023)
_LEAF_BIT = 8  # of the number of a slot, as LEAF_SLOT is 256

FOLD_FROM = 1.5
"""Tiles times the share of nodes whose outcome is known, from which the pass costs less than it saves."""

FEW_ROWS = 2 * TILE
"""So few are not looked at: three quarters of the nodes would have to be known."""


class Same(NamedTuple):
    """What rows have in common.

    Attributes
    ----------
    low, high : (c,) uint8: the least and the highest rank in each column
    places : (f,) int64: the one place in each feature of categories, -1 where there are several
    """

    low: ByteArray
    high: ByteArray
    places: IntArray


@njit(nogil=True, cache=True)
def same_of(model: Model, codes: ByteArray, stride: int, n: int) -> Same:
    """What n > 0 rows have in common."""
    members, ranks = model.members, len(model.ranks.missing_code)
    low, high = np.zeros(ranks, np.uint8), np.zeros(ranks, np.uint8)
    for c in range(ranks):
        column = codes[c * stride : c * stride + n]
        low[c], high[c] = column.min(), column.max()
    places = np.empty(len(members.feature), np.int64)
    for i in range(len(places)):
        places[i] = one_place(members, i, codes, stride, n)
    return Same(low, high, places)


@njit(nogil=True, cache=True)
def known_outcomes(model: Model, same: Same, used: int) -> OutcomeArray:
    """Outcomes (used,) of the tests of rows."""
    nodes, members, ranks = model.nodes, model.members, len(same.low)
    outcomes = np.empty(used, np.int8)
    for p in range(used):
        c, most = nodes.test_column[p], nodes.test_most[p]
        if c < ranks:
            outcomes[p] = PASS if same.high[c] <= most else FAIL if same.low[c] > most else OPEN
        elif same.places[c - ranks] < 0:
            outcomes[p] = OPEN
        else:
            i = c - ranks
            wide = members.known_start[i + 1] - members.known_start[i] + 1
            word = members.word_start[i] + (most // BLOCK - members.chunk_start[i]) * wide + same.places[i]
            outcomes[p] = PASS if members.words[word] >> np.uint64(most % BLOCK) & np.uint64(1) else FAIL
    return outcomes


@njit(nogil=True, cache=True)
def one_place(members: Members, i: int, codes: ByteArray, stride: int, n: int) -> int:
    """The place that all rows have in a feature of categories; -1 where they differ."""
    place = 0
    for b in range(members.place[i + 1] - members.place[i]):
        first = (members.place[i] + b) * stride
        if (codes[first : first + n] != codes[first]).any():
            return -1
        place += int(codes[first]) << (8 * b)
    return place


@njit(nogil=True, cache=True)
def worth_folding(nodes_below: IntArray, same: Same, n: int) -> bool:
    """Whether the pass over all nodes costs less than it saves in the tiles; see ``Model.nodes_below``."""
    known, ranks = 0, len(same.low)
    for c in range(ranks):
        below = nodes_below[c]
        known += below[same.low[c]] + below[-1] - below[same.high[c]]
    for i in range(len(same.places)):
        known += nodes_below[ranks + i, -1] if same.places[i] >= 0 else 0
    return bool(known * -(-n // TILE) > FOLD_FROM * nodes_below[:, -1].sum())


@njit(nogil=True, cache=True, error_model="numpy")
def folded(nodes: Nodes, outcomes: OutcomeArray, limit: int) -> Nodes:
    """The first ``limit`` trees of each head without the tests whose outcome is known."""
    heads = len(nodes.head_start) - 1
    head_start = np.zeros(heads + 1, np.int64)
    for head in range(heads):
        trees = min(limit, nodes.head_start[head + 1] - nodes.head_start[head])
        head_start[head + 1] = head_start[head] + trees
    leaf_start = np.zeros(head_start[heads] + 1, np.int64)
    most = len(nodes.leaves)
    records, leaves = np.empty(most + 1, np.uint64), np.empty(most + 1, np.float64)
    end, queue = np.empty(LEAF_SLOT + MAX_LEAVES, np.uint16), np.empty(LEAF_SLOT + MAX_LEAVES, np.uint16)
    for slot in range(LEAF_SLOT, len(end)):
        end[slot] = slot
    for head in range(heads):
        for age in range(head_start[head + 1] - head_start[head]):
            t, out = nodes.head_start[head] + age, head_start[head] + age
            start = leaf_start[out]
            count = fold_tree(nodes, t, outcomes, end, queue, records[start - out :], leaves[start:])
            leaf_start[out + 1] = start + count
    tests = nodes.test_column, nodes.test_most, nodes.test_slot
    return Nodes(*tests, head_start, leaf_start, records, nodes.asks, leaves)


@njit(nogil=True, cache=True, error_model="numpy")
def fold_tree(
    nodes: Nodes, t: int, outcomes: OutcomeArray, end: _Slots, queue: _Slots, records: HashArray, leaves: DoubleArray
) -> int:
    """Write the nodes and leaves of a tree that rows can reach, breadth first; how many leaves.

    end (slots,) is where rows at a slot go without any test that is open; a leaf's is its own. Selections are masks
    made of bits, since processors cannot foretell these branches: with them the pass takes three times as long.
    """
    first = nodes.leaf_start[t]
    size = nodes.leaf_start[t + 1] - first - 1
    node = first - t
    for i in range(size - 1, -1, -1):
        record = nodes.records[node + i]
        known = np.int64(outcomes[nodes.asks[node + i]])
        through = np.int64(end[np.int64(record >> np.uint64(known & _SHIFT) & _SLOT)])
        end[i] = i ^ ((through ^ i) & (known >> 7))
    queue[0] = end[0] if size else LEAF_SLOT
    if queue[0] >= LEAF_SLOT:
        leaves[0] = nodes.leaves[first + np.int64(queue[0]) - LEAF_SLOT]
        return 1
    done, waiting, found = np.int64(0), np.int64(1), np.int64(0)
    while done < waiting:
        record = nodes.records[node + np.int64(queue[done])]
        packed = record >> np.uint64(32) << np.uint64(32)
        for shift in (_LEFT, _RIGHT):
            slot = np.int64(end[np.int64(record >> shift & _SLOT)])
            leaf = slot >> _LEAF_BIT
            queue[waiting] = slot
            leaves[found] = nodes.leaves[first + (slot & (LEAF_SLOT - 1) & -leaf)]
            to = waiting + ((LEAF_SLOT + found - waiting) & -leaf)
            packed |= np.uint64(to) << shift
            found, waiting = found + leaf, waiting + 1 - leaf
        records[done] = packed
        done += 1
    return int(found)
