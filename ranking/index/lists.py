"""Inverted lists, mutable in place: how they are fitted and filled, and what they find.

A list holds rows and a byte a number of their vectors, which stand in the exact index. A vector that does not fit the
ranges of these bytes stands in no list but outside, and every search scores it. Fitting and
filling go in chunks of fractions of a second, and call ``pause`` between them, so that whoever runs them can give up.
They read the exact index as it is while others change it: a vector read half-changed is finite, and its row is renewed
later, with all that changed meanwhile.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from features.fold.stretch import Stretch
from features.types import BoolArray, ByteArray, FloatArray, HashArray, IntArray, RowArray
from ranking.index.centroids import CHUNK, Nearest, Pause, k_means
from ranking.index.chains import Chains
from ranking.index.exact import ExactIndex
from ranking.index.probe import best_of, nearest_of
from ranking.index.ranges import ranges_of
from ranking.index.rough import Rough

SAMPLE, ROUNDS = 64, 10
"""Vectors a list that centroids are fitted to, and how often."""
FARTHER = 0.75
"""The power by which visits grow with more wanted, where that was not tried; see ADR 7."""
ANY = int(np.iinfo(np.int32).max)
"""More than any search asks for."""


@dataclass(frozen=True)
class Placed:
    """Where vectors were filed: rows (n,), their lists (n,), and a mark (n,) of each vector's bits."""

    rows: RowArray
    lists: RowArray
    marks: RowArray


@dataclass(frozen=True)
class Fitted:
    """What a training learned: centroids (lists, dims), ranges (2 · dims + 1,), and from how many.

    The rest is as in ``Lists``.
    """

    centroids: FloatArray
    ranges: FloatArray
    visits: int
    size: int
    placed: Placed
    farther: float = FARTHER
    most: int = ANY


class Lists:
    """Lists with centroids and ranges, filled and changed by row.

    Parameters
    ----------
    centroids : array (lists, dims) float32
    ranges : array (2 · dims + 1,) float32
        See ``ranking.index.rough.Rough``.

    Attributes
    ----------
    visits : int
        How many lists a search for the best 100 visits.
    farther : float
        The power by which visits grow with more wanted.
    most : int
        For more, or for any where it is 0, lists find too little: who asks has to search one and all.
    size : int
        How many vectors they were trained for.
    balance : float
        How uneven they were once they were filled.
    expected : int
        How many vectors were outside then.
    outside : array (n,) int32
        The rows whose vectors fit no ranges, ascending; replaced, and never changed.
    """

    def __init__(self, centroids: FloatArray, ranges: FloatArray) -> None:
        self.centroids = centroids
        self._ranges = ranges
        self._nearest = Nearest(centroids)
        self._placed = self._nearest.placed
        self._rough = Rough(ranges)
        self._chains = Chains(len(centroids), self._rough.width)
        self._by_row = Stretch[ByteArray]((self._rough.width,), np.uint8)
        self.visits, self.farther, self.most = 1, FARTHER, ANY
        self.size = self.expected = 0
        self.balance = 1.0
        self.outside = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return len(self.centroids)

    @property
    def imbalance(self) -> float:
        """1 where all lists are equally long; a search reads so many times as much."""
        sizes = self._chains.sizes.astype(np.float64)
        return float(len(self) * (sizes @ sizes) / max(sizes.sum(), 1) ** 2)

    def add(self, rows: RowArray, vectors: FloatArray, lists: IntArray | None = None) -> None:
        """File vectors (n, dims) of rows in the nearest lists, or in given ones, or outside, and nowhere else."""
        for start in range(0, len(rows), CHUNK):
            some, chunk = rows[start : start + CHUNK], vectors[start : start + CHUNK]
            near = self._nearest(chunk) if lists is None else lists[start : start + CHUNK]
            codes = self._room(int(some.max()) + 1)
            fits = self._rough.put(codes, some, chunk)
            if not fits.all():
                self._chains.drop(some[~fits])
                self._set_outside(some, some[~fits])
                some, near = some[fits], near[fits]
            elif len(self.outside):
                self._set_outside(some, some[:0])
            self._chains.put(some, near)
            # Twice, since where a filter leaves few rows, to look their slots up costs as much as their bytes.
            self._chains.pool.codes[self._chains.slots(some)] = codes[some]

    def _set_outside(self, rows: RowArray, outside: RowArray) -> None:
        """Have of some rows these stand outside, and no others."""
        stay = self.outside[~np.isin(self.outside, rows)]
        self.outside = np.union1d(stay, outside)

    def _room(self, rows: int) -> ByteArray:
        """Bytes by row for so many rows, and for as many again: what grows by little is not kept in huge pages."""
        codes = self._by_row.array
        return codes if rows <= len(codes) else self._by_row.grow(2 * rows)

    def renew(self, exact: ExactIndex, rows: RowArray) -> None:
        """File rows anew that an exact index has changed, or drop those it holds no more."""
        there = exact.holds(rows)
        self._chains.drop(rows[~there])
        if len(self.outside):
            self._set_outside(rows[~there], rows[:0])
        self.add(rows[there], exact.matrix[rows[there]])

    def nearest(
        self, matrix: FloatArray, vector: FloatArray, k: int, allowed: BoolArray | None, visits: int
    ) -> tuple[RowArray, FloatArray]:
        """The best k that some lists hold or that are outside: rows and products, highest first, ties by row.

        A byte a number orders what lists hold roughly; half as many again as k are scored by their floats in a matrix
        by row, and all that are outside. ``allowed`` is a mask by row.
        """
        mask = np.zeros(0, np.bool_) if allowed is None else allowed
        return nearest_of(
            np.ascontiguousarray(vector, np.float32),
            self._placed,
            self._chains.pool,
            self._rough.reach,
            self._visits(visits),
            mask,
            allowed is not None,
            k,
            matrix,
            self.outside,
        )

    def _visits(self, visits: int) -> int:
        return max(1, min(len(self), visits))

    def best(self, matrix: FloatArray, vector: FloatArray, k: int, rows: RowArray) -> tuple[RowArray, FloatArray]:
        """The best k of many rows, and their products: highest first, ties by row.

        A byte a number orders them roughly; half as many again as k are scored by their floats in a matrix by row, and
        all that are outside or have no bytes.
        """
        wanted, outside = np.ascontiguousarray(vector, np.float32), self.outside[:0]
        if len(self.outside):
            apart = np.isin(rows, self.outside)
            rows, outside = rows[~apart], rows[apart]
        return best_of(wanted, self._by_row.array, self._rough.reach, rows, outside, k, matrix)

    def fitted(self, exact: ExactIndex) -> Fitted:
        """What another start can begin from."""
        rows, lists = self._chains.filed()
        placed = Placed(rows, lists, marks_of(exact.matrix, rows))
        told = self.visits, self.size, placed, self.farther, self.most
        return Fitted(self.centroids, self._ranges, *told)

    def memory(self) -> dict[str, int]:
        """Bytes by part; of bytes by row as far as they are used."""
        chains, by_row = self._chains, self._rough.width * int(self._chains.sizes.sum())
        return {"rough": by_row + chains.bytes_of_rows, "lists": chains.nbytes, "centroids": 2 * self.centroids.nbytes}


def fit(exact: ExactIndex, rows: RowArray, pause: Pause) -> Lists:
    """Empty lists for the vectors of some rows, by spherical k-means on a sample of them, from a fixed seed."""
    n = len(rows)
    # At least 39 vectors a list: with fewer centroids are poor.
    count = max(1, min(int(4 * math.sqrt(n)), n // 39))
    drawn = np.random.default_rng(0).permutation(n)[: max(SAMPLE * count, 1000)]
    sample = exact.matrix.take(rows[np.sort(drawn)], axis=0)
    pause()
    ranges = ranges_of(sample)
    sample = sample[Rough(ranges).fits(sample)]
    centroids = sample[np.random.default_rng(1).permutation(len(sample))[:count]]
    centroids = k_means(sample, centroids, ROUNDS, Nearest, pause)
    lists = Lists(centroids, ranges)
    lists.size = n
    return lists


def fill(lists: Lists, exact: ExactIndex, rows: RowArray, placed: Placed | None, pause: Pause) -> None:
    """File the vectors of some rows; those that were filed before, and have not changed since, where they were."""
    known = np.full(int(rows.max(initial=-1)) + 1, -1, np.int64)
    marks = np.zeros(len(known), np.int32)
    if placed is not None:
        here = placed.rows < len(known)
        known[placed.rows[here]] = placed.lists[here]
        marks[placed.rows[here]] = placed.marks[here]
    for start in range(0, len(rows), CHUNK):
        pause()
        chunk = rows[start : start + CHUNK]
        vectors = exact.matrix.take(chunk, axis=0)
        if placed is None:
            lists.add(chunk, vectors)
            continue
        same = (known[chunk] >= 0) & (marks[chunk] == marks_of(exact.matrix, chunk))
        lists.add(chunk[same], vectors[same], known[chunk[same]])
        lists.add(chunk[~same], vectors[~same])
    lists.balance, lists.expected = lists.imbalance, len(lists.outside)


def marks_of(matrix: FloatArray, rows: RowArray, pause: Pause = lambda: None) -> RowArray:
    """A mark (n,) of the bits of each row's vector; of two that differ the marks agree once in 2³² times."""
    marks = np.empty(len(rows), np.int32)
    for start in range(0, len(rows), CHUNK):
        pause()
        _mark(matrix, rows[start : start + CHUNK], _weights(matrix.shape[1]), marks[start : start + CHUNK])
    return marks


def _weights(dims: int) -> HashArray:
    weights: HashArray = np.random.default_rng(0).integers(0, 1 << 63, dims, np.uint64) * 2 + 1
    return weights


@njit(nogil=True, cache=True)
def _mark(matrix: FloatArray, rows: RowArray, weights: HashArray, marks: RowArray) -> None:
    """Write the upper half of a sum of products modulo 2⁶⁴, as multiply-shift hashing does."""
    for i in range(rows.shape[0]):
        parts, total = matrix[rows[i]].view(np.uint32), np.uint64(0)
        for k in range(parts.shape[0]):
            total += np.uint64(parts[k]) * weights[k]
        marks[i] = np.int32(np.uint32(total >> np.uint64(32)))
