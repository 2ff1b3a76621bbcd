"""Centroids: fitted by spherical k-means, and found for a vector through groups of them.

A vector is tried with a few groups' centroids only, which costs less than half of trying all in a matrix product. Of a
million vectors of a mixture 99 in 100 get the centroid of highest product, the others one nearly as high; fewer do
where centroids are few and clusters overlap. What that costs, visits make up for: they are chosen afterwards.
"""

import math
from collections.abc import Callable

import numpy as np
from numba import njit

from features.types import DoubleArray, FloatArray, IntArray

CHUNK = 1024
"""Vectors at a time: milliseconds."""
GROUPS = 2
"""Groups, in square roots of how many centroids there are."""
TRIED = 4
"""Groups that a vector is tried with."""
GROUPING = 5
"""Rounds in which groups are fitted to centroids."""
WIDTH = 16
"""Centroids of a group stand side by side in rooms of so many, as wide as the widest register."""
Pause = Callable[[], None]


class Nearest:
    """Finds a centroid of high product with each vector, and the highest for nearly all.

    Groups are fitted to the centroids as centroids to vectors. The first block holds the groups' own centroids, each
    other block a group's, number by number, so that a vector's products with all of a block come side by side.

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
        self._numbers = np.argsort(group, kind="stable")
        self._sizes = np.concatenate([[groups], np.bincount(group, minlength=groups)])
        self._widths = -(-self._sizes // WIDTH) * WIDTH
        self._starts = np.cumsum(self._widths * dims) - self._widths * dims
        self._blocks = np.zeros(int(self._widths.sum()) * dims, np.float32)
        parts = np.split(centroids[self._numbers], np.cumsum(self._sizes[1:])[:-1])
        for part, start, width in zip([middles, *parts], self._starts, self._widths, strict=True):
            self._blocks[start : start + width * dims].reshape(dims, width)[:, : len(part)] = part.T

    def __call__(self, vectors: FloatArray) -> IntArray:
        """The number of the centroid for each vector (n,)."""
        near = np.empty(len(vectors), np.int64)
        _assign(vectors, self._blocks, self._starts, self._widths, self._sizes, self._numbers, near)
        return near


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
    vectors: FloatArray,
    blocks: FloatArray,
    starts: IntArray,
    widths: IntArray,
    sizes: IntArray,
    numbers: IntArray,
    near: IntArray,
) -> None:
    """Write the centroid (n,) of each vector; of the groups' and of a group's, the first of equals."""
    groups, dims = int(sizes[0]), vectors.shape[1]
    places = np.cumsum(sizes) - groups
    of_groups, room = np.empty(widths[0], np.float32), np.empty(widths.max(), np.float32)
    lowest = np.float32(-np.inf)
    for i in range(vectors.shape[0]):
        _products(blocks[: widths[0] * dims], vectors[i], of_groups)
        best, near[i] = lowest, numbers[0]
        for _ in range(min(TRIED, groups)):
            group = _highest(of_groups, groups)
            of_groups[group] = lowest
            width, start = widths[group + 1], starts[group + 1]
            if width:
                _products(blocks[start : start + width * dims], vectors[i], room[:width])
                at = _highest(room, int(sizes[group + 1]))
                if room[at] > best:
                    best, near[i] = room[at], numbers[places[group] + at]


@njit(nogil=True, cache=True)
def _highest(scores: FloatArray, size: int) -> int:
    at = 0
    for j in range(1, size):
        if scores[j] > scores[at]:
            at = j
    return at


@njit(nogil=True, cache=True, fastmath={"contract"})
def _products(block: FloatArray, vector: FloatArray, out: FloatArray) -> None:
    """Write the products (width,) of a vector with a block (dims, width), laid flat; four numbers at a time."""
    dims, width = vector.shape[0], out.shape[0]
    whole = dims - dims % 4
    out[:] = 0
    for k in range(0, whole, 4):
        a, b, c, d = vector[k], vector[k + 1], vector[k + 2], vector[k + 3]
        of_a, of_b = block[k * width : (k + 1) * width], block[(k + 1) * width : (k + 2) * width]
        of_c, of_d = block[(k + 2) * width : (k + 3) * width], block[(k + 3) * width : (k + 4) * width]
        for j in range(width):
            out[j] += (a * of_a[j] + b * of_b[j]) + (c * of_c[j] + d * of_d[j])
    for k in range(whole, dims):
        of_one = block[k * width : (k + 1) * width]
        for j in range(width):
            out[j] += vector[k] * of_one[j]
