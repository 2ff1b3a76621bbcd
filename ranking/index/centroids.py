"""Centroids: fitted by spherical k-means, and found for a vector through groups of them.

A vector is tried with a few groups' centroids only, which costs less than half of trying all in a matrix product. Of a
million vectors of a mixture 99 in 100 get the centroid of highest product, the others one nearly as high; fewer do
where centroids are few and clusters overlap. What that costs, visits make up for: they are chosen afterwards.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from features.fold.lanes import LANES, across
from features.types import DoubleArray, FloatArray, IntArray, RowArray

CHUNK = 4096
"""Vectors at a time: milliseconds."""
GROUPS = 2
"""Groups, in square roots of how many centroids there are."""
TRIED = 4
"""Groups that a vector is tried with."""
GROUPING = 5
"""Rounds in which groups are fitted to centroids."""
Pause = Callable[[], None]


class Tiles(NamedTuple):
    """Centroids side by side: (tiles, dims, LANES) float32, and the number of each (tiles, LANES); -1 for none."""

    numbers_of: FloatArray
    names: IntArray


class Nearest:
    """Finds a centroid of high product with each vector, and the highest for nearly all.

    Groups are fitted to the centroids as centroids to vectors. Centroids stand in tiles of ``LANES``, number by
    number, so that a vector's products with a tile come side by side: first the groups' own, then each group's.

    Parameters
    ----------
    centroids : array (lists, dims) float32
    """

    def __init__(self, centroids: FloatArray) -> None:
        count, dims = centroids.shape
        groups = min(count, math.ceil(GROUPS * math.sqrt(count)))
        first = centroids[np.random.default_rng(0).permutation(count)[:groups]]
        middles = k_means(centroids, first, GROUPING, _Highest, lambda: None)
        group = _Highest(middles)(centroids)
        order = np.argsort(group, kind="stable")
        self._sizes = np.concatenate([[groups], np.bincount(group, minlength=groups)])
        self._ends = np.cumsum(-(-self._sizes // LANES))
        self._tiles = np.zeros((int(self._ends[-1]), dims, LANES), np.float32)
        self._numbers = np.full((len(self._tiles), LANES), -1, np.int64)
        parts = np.split(order, np.cumsum(self._sizes[1:])[:-1])
        for part, block, stop in zip(
            [middles, *(centroids[part] for part in parts)], [np.arange(groups), *parts], self._ends, strict=True
        ):
            start = int(stop) - -(-len(block) // LANES)
            wide = np.zeros(((int(stop) - start) * LANES, dims), np.float32)
            wide[: len(block)] = part
            self._tiles[start:stop] = wide.reshape(-1, LANES, dims).transpose(0, 2, 1)
            self._numbers[start:stop].reshape(-1)[: len(block)] = block

    def __call__(self, vectors: FloatArray) -> IntArray:
        """The number of the centroid for each vector (n,)."""
        near = np.empty(len(vectors), np.int64)
        _assign(np.ascontiguousarray(vectors), self._tiles, self._ends, self._sizes, self._numbers, near)
        return near

    @property
    def placed(self) -> Tiles:
        """The centroids as they stand, without those of groups."""
        first = int(self._ends[0])
        return Tiles(self._tiles[first:], self._numbers[first:])


class _Highest:
    """``Nearest`` where centroids are few: all are tried."""

    def __init__(self, centroids: FloatArray) -> None:
        self._across = np.ascontiguousarray(centroids.T)

    def __call__(self, vectors: FloatArray) -> IntArray:
        near: IntArray = np.argmax(vectors @ self._across, axis=1)
        return near


def k_means(
    sample: FloatArray,
    centroids: FloatArray,
    rounds: int,
    nearest_of: Callable[[FloatArray], Callable[[FloatArray], IntArray]],
    pause: Pause,
) -> FloatArray:
    """Centroids (m, dims) of unit length after so many rounds of spherical k-means over a sample (n, dims)."""
    for _ in range(rounds):
        nearest = nearest_of(centroids)
        sums, sizes = np.zeros(centroids.shape, np.float64), np.zeros(len(centroids), np.int64)
        for start in range(0, len(sample), CHUNK):
            pause()
            chunk = sample[start : start + CHUNK]
            _sum_by(chunk, nearest(chunk), sums, sizes)
        centroids = _centred(centroids, sums, sizes)
    return centroids


def _centred(centroids: FloatArray, sums: DoubleArray, sizes: IntArray) -> FloatArray:
    """The directions of the sums; a list that got nothing halves the one that got most."""
    lengths = np.linalg.norm(sums, axis=1)
    there = lengths > 0
    fresh = centroids.copy()
    fresh[there] = sums[there] / lengths[there, None]
    signs = np.where(np.arange(centroids.shape[1]) % 2, 1 / 1024, -1 / 1024).astype(np.float32)
    for empty in np.flatnonzero(sizes == 0):
        full = int(sizes.argmax())
        fresh[empty], fresh[full] = fresh[full] * (1 + signs), fresh[full] * (1 - signs)
        sizes[empty] = sizes[full] // 2
        sizes[full] -= sizes[empty]
    return fresh


@njit(nogil=True, cache=True)
def _sum_by(vectors: FloatArray, near: IntArray, sums: DoubleArray, sizes: IntArray) -> None:
    for i in range(vectors.shape[0]):
        at = near[i]
        if at >= 0:
            sizes[at] += 1
            for k in range(vectors.shape[1]):
                sums[at, k] += vectors[i, k]


@njit(nogil=True, cache=True)
def _assign(
    vectors: FloatArray, tiles: FloatArray, ends: IntArray, sizes: IntArray, numbers: IntArray, near: IntArray
) -> None:
    """Write the centroid (n,) of each vector; of the groups' and of a group's, the first of equals.

    Group by group, so that its tiles are read once for all vectors that try it.
    """
    groups, each, dims = int(sizes[0]), min(TRIED, int(sizes[0])), vectors.shape[1]
    flat, laid, room = vectors.reshape(-1), tiles.reshape(-1), np.empty(-(-sizes.max() // LANES) * LANES, np.float32)
    tries, places = np.empty(len(vectors) * each, np.int32), np.zeros(groups + 1, np.int64)
    best, some = np.full(len(vectors), -np.inf, np.float32), np.empty(each, np.int32)
    near[:] = numbers[ends[0], 0]
    for i in range(len(vectors)):
        _products(laid, 0, ends[0], flat, i * dims, dims, room)
        for group in _best(room[:groups], some):
            places[group + 1] += 1
        tries[i * each : (i + 1) * each] = some
    places = np.cumsum(places)
    tried, at = np.empty(len(tries), np.int32), places.copy()
    for n in range(len(tries)):
        tried[at[tries[n]]] = n // each
        at[tries[n]] += 1
    for group in range(groups):
        start, stop, size = ends[group], ends[group + 1], int(sizes[group + 1])
        for n in range(places[group], places[group + 1]):
            _products(laid, start, stop, flat, tried[n] * dims, dims, room)
            highest = _highest(room, size)
            if size and room[highest] > best[tried[n]]:
                best[tried[n]], near[tried[n]] = room[highest], numbers[start + highest // LANES, highest % LANES]


@njit(nogil=True, cache=True)
def _best(scores: FloatArray, some: RowArray) -> RowArray:
    """Fill ``some`` (k,) with where the k highest of at least as many scores are, highest first."""
    last = some.shape[0] - 1
    for j in range(scores.shape[0]):
        if j <= last or scores[j] > scores[some[last]]:
            at = min(j, last)
            while at > 0 and scores[some[at - 1]] < scores[j]:
                some[at] = some[at - 1]
                at -= 1
            some[at] = j
    return some


@njit(nogil=True, cache=True)
def _highest(scores: FloatArray, size: int) -> int:
    at = 0
    for j in range(1, size):
        if scores[j] > scores[at]:
            at = j
    return at


@njit(nogil=True, cache=True)
def _products(
    tiles: FloatArray, first: int, stop: int, vectors: FloatArray, start: int, dims: int, out: FloatArray
) -> None:
    """Write the products of some tiles with the vector that stands from ``start``; all is flat."""
    for tile in range(first, stop):
        across(tiles, tile * dims * LANES, vectors, start, dims, out, (tile - first) * LANES)


@njit(nogil=True, cache=True)
def products_of(vector: FloatArray, placed: Tiles, out: FloatArray) -> None:
    """Write the products of all centroids (lists,) with a vector, by number."""
    room, laid, dims = np.empty(LANES, np.float32), placed.numbers_of.reshape(-1), vector.shape[0]
    for tile in range(placed.names.shape[0]):
        across(laid, tile * dims * LANES, vector, 0, dims, room, 0)
        for j in range(LANES):
            if placed.names[tile, j] >= 0:
                out[placed.names[tile, j]] = room[j]
