"""The arrays of compiled trees, as ``ranking.forest.compiler`` makes them and the mask kernels read them."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.types import ByteArray, DoubleArray, FloatArray, HashArray, IntArray
from ranking.forest.lanes import BLOCK, LANES

TILE = BLOCK * LANES
MAX_CUTS = 255  # a rank is a byte
MAX_LEAVES = 256  # a leaf's number is a byte
LEAF_SLOT = MAX_LEAVES  # a node has the slot of its number, a leaf this one plus its number
SLOTS = LEAF_SLOT + MAX_LEAVES + 8
BAND = 32
"""Trees of a head that are added at a time: a large market's tests would not all stay in the second cache."""


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
    """How categories become codes, in columns that follow those of ranks, and which of them a test sends left.

    Attributes
    ----------
    feature, known_start, known : (f,), (f + 1,), flat int64: the sorted categories in a feature's sets
    place : (f + 1,) int64 columns of codes: a category's place among the known from 1, 0 where unknown, in one byte or
        two, the lower first
    chunk_start, word_start : (f + 1,) int64: a feature's sets in order of use, 64 of one band a chunk, and where its
        words begin
    chunk_age : (chunks,) int64: the age of a chunk's first test
    words : flat uint64: of each chunk a word by place, whose bit b says that the place is in the chunk's set b
    chunk_slots : (chunks * 64,) int64: the slot of each set's test; beyond a band's last set one that nobody reads
    """

    feature: IntArray
    known_start: IntArray
    known: IntArray
    place: IntArray
    chunk_start: IntArray
    word_start: IntArray
    chunk_age: IntArray
    words: HashArray
    chunk_slots: IntArray


class Nodes(NamedTuple):
    """The trees, head after head: tests in order of first use, nodes in topological order, leaves.

    Attributes
    ----------
    test_column, test_most : (p,) int32; a row passes when its rank is at most that; from ``len(missing_code)`` on
        columns count the features of categories, and a row passes when its place is in the set of that number, which
        is 64 times its chunk and its bit
    test_slot : (p,) int32: where the words of a test stand. One of ranks has a slot of its own; one of a set shares it
        with those of other bands, and where trees of several bands ask for one set it is a test of each
    head_start : (h + 1,) int64 trees of each head
    leaf_start : (t + 1,) int64 leaves of each tree, whose nodes start at ``leaf_start[t] - t``
    records : (n,) uint64: byte offsets of a node's test, left and right slot in 32, 16 and 16 bits; a slot is 8 words
    asks : (n,) int32: the number of a node's test
    leaves : (leaves + 64,) float64 values, so that 64 can be read from the first of any tree on
    """

    test_column: NDArray[np.int32]
    test_most: NDArray[np.int32]
    test_slot: NDArray[np.int32]
    head_start: IntArray
    leaf_start: IntArray
    records: HashArray
    asks: NDArray[np.int32]
    leaves: DoubleArray


class Model(NamedTuple):
    """Compiled heads.

    Attributes
    ----------
    test_age : (p,) int64, ascending: the place within its head of the first tree that uses each test
    rank_tests : flat int64, ascending: the tests of ranks
    nodes_below : (columns, 257) int64: how many nodes ask a column of ranks, or from ``len(missing_code)`` on a feature
        of categories, for a most below so many; of a feature all stand in the last
    slots_in_all : int, how many slots the words of tests take, with the one that nobody reads
    """

    ranks: Ranks
    members: Members
    nodes: Nodes
    test_age: IntArray
    rank_tests: IntArray
    nodes_below: IntArray
    slots_in_all: int


@njit(nogil=True, cache=True)
def aligned(size: int) -> ByteArray:
    """Bytes that start at a cache line, as a vector that straddles two costs double."""
    whole = np.empty(size + 64, np.uint8)
    skip = -whole.ctypes.data % 64
    return whole[skip : skip + size]


@njit(nogil=True, cache=True)
def stride_of(n: int) -> int:
    """Bytes of a column of codes of n rows: whole blocks."""
    return -(-n // BLOCK) * BLOCK
