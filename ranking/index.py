"""Vectors by item row that come and go: an exact index, and one that plans between exact and inverted lists.

Both keep the same contract (``ranking.types.VectorIndex``): scores are inner products, computed alike wherever a
vector is kept, so that equal vectors tie to the bit and ties go by row. Callers hold the state's mutex.
"""

import math
from typing import TypeVar

import faiss
import numpy as np
from numba import njit

from features.errors import FeatureError
from features.types import BoolArray, DoubleArray, FloatArray, IntArray, RowArray
from ranking.lists import TRIED, Lists, make_lists, probe, visits_of

BLOCK = 1024
LINE = 16
"""Numbers in one line of the processor's cache."""
AHEAD = 32
"""Vectors that are fetched from memory at a time: their lines come side by side, not one after the other."""
SPARSE = 16
"""A filter that leaves less than one in so many is answered exactly over what it leaves."""
Scores = TypeVar("Scores", FloatArray, DoubleArray)


class ExactIndex:
    """A matrix of vectors, searched whole.

    Each score is one sum from the first number to the last, eight of them side by side; a vector taken out is replaced
    by the last one. A vector of zeros says nothing of an item and is kept out: putting one removes.

    Parameters
    ----------
    dims : int
        Length of a vector.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self._size = 0
        self._matrix = np.zeros((BLOCK, dims), np.float32)
        self._rows = np.zeros(BLOCK, np.int32)
        self._place = np.full(BLOCK, -1, np.int64)

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> RowArray:
        """The rows that are there (n,), in no order; a view that the next change overwrites."""
        return self._rows[: self._size]

    def holds(self, rows: RowArray) -> BoolArray:
        """Which rows (n,) are there."""
        known = (rows >= 0) & (rows < len(self._place))
        return known & (self._place[np.where(known, rows, 0)] >= 0)

    def put(self, rows: RowArray, vectors: FloatArray) -> None:
        """Add vectors (n, dims) float32, or replace those of rows that are there; of a row named twice the last stays.

        Raises
        ------
        FeatureError
            If the shapes do not fit, or a number is not finite; the index is then as it was.
        """
        _check(rows, vectors, self.dims)
        if len(rows):
            self._reserve(self._size + len(rows), int(rows.max()) + 1)
            self._size = _put(self._matrix, self._rows, self._place, self._size, rows, vectors)

    def remove(self, rows: RowArray) -> None:
        """Take rows out; rows that are not there are ignored."""
        self._size = _remove(self._matrix, self._rows, self._place, self._size, rows)

    def vectors(self, rows: RowArray) -> FloatArray:
        """The vectors (n, dims) of rows that are there."""
        return self._matrix[self._place[rows]]

    def search(self, vector: FloatArray, k: int, allowed: BoolArray | None = None) -> tuple[RowArray, FloatArray]:
        """At most k rows by inner product, highest first, ties by row; ``allowed`` is a mask by row."""
        return self.best(vector, k, self.places(allowed))

    def places(self, allowed: BoolArray | None) -> IntArray:
        """Where the vectors stand whose rows a mask allows, by row; all of them without a mask."""
        if allowed is None:
            return np.arange(self._size)
        places = self._place[np.flatnonzero(allowed[: len(self._place)])]
        there: IntArray = places[places >= 0]
        return there

    def best(self, vector: FloatArray, k: int, places: IntArray) -> tuple[RowArray, FloatArray]:
        """``search`` among the vectors at some places."""
        return top_k(self._rows[places], self._scores(vector, places), k)

    def scores(self, vector: FloatArray, rows: RowArray) -> FloatArray:
        """The inner products (n,) of rows that are there, the same bits as in ``search``."""
        return self._scores(vector, self._place[rows])

    def _scores(self, vector: FloatArray, places: IntArray) -> FloatArray:
        out = np.empty(len(places), np.float32)
        _dot(self._matrix, places, np.ascontiguousarray(vector, np.float32), out)
        return out

    def _reserve(self, size: int, rows: int) -> None:
        capacity = len(self._matrix)
        if size > capacity:
            more = max(2 * capacity, size) - capacity
            self._matrix = np.pad(self._matrix, ((0, more), (0, 0)))
            self._rows = np.pad(self._rows, (0, more))
        if rows > len(self._place):
            more = max(2 * len(self._place), rows) - len(self._place)
            self._place = np.pad(self._place, (0, more), constant_values=-1)


class FaissIndex:
    """Many vectors: exact below a threshold, beyond it inverted lists of faiss that are mutable in place.

    A search plans by selectivity: few allowed rows are scored exactly, many are found through the lists nearest to
    the vector, under a bitmap. What the lists find is scored anew, exactly; where they find too little, all is scored.
    Of equal scores at the end of an answer, the lists may give any.

    Parameters
    ----------
    dims : int
        Length of a vector.
    threshold : int
        Vectors at which lists are first trained; below half of it they are given up.
    probes : float, optional
        The share of lists that a search without a filter visits; by default as many as ``RECALL`` takes, found anew
        with every training.
    """

    def __init__(self, dims: int, threshold: int = 20_000, probes: float | None = None) -> None:
        self.dims = dims
        self.threshold = threshold
        self.probes = probes
        self._exact = ExactIndex(dims)
        self._lists: Lists | None = None
        self._visits = 0

    def __len__(self) -> int:
        return len(self._exact)

    def put(self, rows: RowArray, vectors: FloatArray) -> None:
        """Add vectors (n, dims) float32, or replace those of rows that are there; see ``ExactIndex.put``."""
        self._exact.put(rows, vectors)
        if self._lists is not None:
            once = np.unique(rows)
            self._lists.remove_ids(faiss.IDSelectorArray(once.astype(np.int64)))
            there = once[self._exact.holds(once)]
            self._lists.add_with_ids(self._exact.vectors(there), there.astype(np.int64))
        elif len(self) >= self.threshold:
            self.retrain()

    def remove(self, rows: RowArray) -> None:
        """Take rows out; rows that are not there are ignored."""
        self._exact.remove(rows)
        if 2 * len(self) < self.threshold:
            self._lists = None
        if self._lists is not None:
            self._lists.remove_ids(faiss.IDSelectorArray(np.unique(rows).astype(np.int64)))

    def search(self, vector: FloatArray, k: int, allowed: BoolArray | None = None) -> tuple[RowArray, FloatArray]:
        """At most k rows by inner product, highest first, ties by row; ``allowed`` is a mask by row."""
        places = None if allowed is None or self._lists is None else self._exact.places(allowed)
        there = len(self) if places is None else len(places)
        few = there * SPARSE < len(self) or not 0 < k * SPARSE <= there
        if self._lists is not None and not few:
            # The more are wanted, or the rarer they are under a filter, the farther away they lie.
            visits = math.ceil(self._visits * math.sqrt(max(k / TRIED, 1.0) * len(self) / there))
            found = probe(self._lists, vector, k, allowed, visits)
            if len(found) >= min(k, there):
                return top_k(found, self._exact.scores(vector, found), k)
        if places is None:
            return self._exact.search(vector, k, allowed)
        return self._exact.best(vector, k, places)

    def retrain(self) -> None:
        """Fit the lists' centroids to what is there now, and fill them; searches before and after see the same rows."""
        if not len(self):
            self._lists = None
            return
        rows = np.sort(self._exact.rows)
        vectors = self._exact.vectors(rows)
        self._lists = make_lists(vectors, rows)
        share = self.probes
        tried = visits_of(self._lists, vectors, rows) if share is None else math.ceil(share * self._lists.nlist)
        self._visits = max(1, tried)


def top_k(rows: RowArray, scores: Scores, k: int) -> tuple[RowArray, Scores]:
    """The k rows of highest score, highest first, ties by row; scores hold no NaN."""
    if 0 < k < len(rows):
        least = np.partition(scores, -k)[-k]
        high = np.flatnonzero(scores >= least)
        rows, scores = rows[high], scores[high]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def _check(rows: RowArray, vectors: FloatArray, dims: int) -> None:
    if vectors.shape != (len(rows), dims):
        raise FeatureError(f"Vectors of shape {vectors.shape} for {len(rows)} rows.", f"Give ({len(rows)}, {dims}).")
    if len(rows) and rows.min() < 0:
        raise FeatureError(f"Row {rows.min()} cannot be indexed.", "Rows are 0 or more.")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise FeatureError(f"The vector of row {rows[bad[0]]} is not finite.", "Leave out what has no vector.")


@njit(nogil=True, cache=True)
def _put(matrix: FloatArray, have: RowArray, place: IntArray, size: int, rows: RowArray, vectors: FloatArray) -> int:
    for i in range(rows.shape[0]):
        row, vector = rows[i], vectors[i]
        if not vector.any():
            size = _remove(matrix, have, place, size, rows[i : i + 1])
            continue
        if place[row] < 0:
            place[row] = size
            have[size] = row
            size += 1
        matrix[place[row]] = vector
    return size


@njit(nogil=True, cache=True)
def _remove(matrix: FloatArray, have: RowArray, place: IntArray, size: int, rows: RowArray) -> int:
    for row in rows:
        if 0 <= row < place.shape[0] and place[row] >= 0:
            size -= 1
            at, last = place[row], have[size]
            matrix[at] = matrix[size]
            have[at] = last
            place[last] = at
            place[row] = -1
    return size


@njit(nogil=True, cache=True)
def _dot(matrix: FloatArray, places: IntArray, vector: FloatArray, out: FloatArray) -> np.float32:
    """Write the inner products of the vectors at some places; the sum it returns has it fetch them."""
    size, fetched = places.shape[0], np.float32(0)
    for start in range(0, size, AHEAD):
        stop = min(start + AHEAD, size)
        for i in range(start, stop):
            row = matrix[places[i]]
            for k in range(0, row.shape[0], LINE):
                fetched += row[k]
        for i in range(start, stop, 8):
            if i + 8 <= stop:
                _dot_eight(matrix, places[i : i + 8], vector, out[i : i + 8])
            else:
                for j in range(i, stop):
                    total = np.float32(0)
                    for k in range(vector.shape[0]):
                        total += vector[k] * matrix[places[j], k]
                    out[j] = total
    return fetched


@njit(nogil=True, cache=True, inline="always")
def _dot_eight(matrix: FloatArray, at: IntArray, vector: FloatArray, out: FloatArray) -> None:
    """Eight sums side by side: each waits for itself alone, and none is reordered."""
    r0, r1, r2, r3 = matrix[at[0]], matrix[at[1]], matrix[at[2]], matrix[at[3]]
    r4, r5, r6, r7 = matrix[at[4]], matrix[at[5]], matrix[at[6]], matrix[at[7]]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0)
    for k in range(vector.shape[0]):
        weight = vector[k]
        s0 += weight * r0[k]
        s1 += weight * r1[k]
        s2 += weight * r2[k]
        s3 += weight * r3[k]
        s4 += weight * r4[k]
        s5 += weight * r5[k]
        s6 += weight * r6[k]
        s7 += weight * r7[k]
    out[0], out[1], out[2], out[3] = s0, s1, s2, s3
    out[4], out[5], out[6], out[7] = s4, s5, s6, s7
