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

BLOCK = 1024
SPARSE = 16
"""A filter that leaves less than one in so many is answered exactly over what it leaves."""
Scores = TypeVar("Scores", FloatArray, DoubleArray)
HASHTABLE = 2
"""``faiss.DirectMap.Hashtable``: ids to list entries, which makes lists mutable in place."""


class ExactIndex:
    """A matrix of vectors, searched whole.

    Vectors stand in columns, so that a scan adds up many scores at once without reordering any sum; a vector taken
    out is replaced by the last one. A vector of zeros says nothing of an item and is kept out: putting one removes.

    Parameters
    ----------
    dims : int
        Length of a vector.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self._size = 0
        self._matrix = np.zeros((dims, BLOCK), np.float32)
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
        return np.ascontiguousarray(self._matrix[:, self._place[rows]].T)

    def search(self, vector: FloatArray, k: int, allowed: BoolArray | None = None) -> tuple[RowArray, FloatArray]:
        """At most k rows by inner product, highest first, ties by row; ``allowed`` is a mask by row."""
        rows = self.rows
        if allowed is None:
            return top_k(rows, self._scan(vector), k)
        places = _places(allowed, rows)
        if len(places) * SPARSE < self._size:
            return top_k(rows[places], self._scores(vector, places), k)
        return top_k(rows[places], self._scan(vector)[places], k)

    def scores(self, vector: FloatArray, rows: RowArray) -> FloatArray:
        """The inner products (n,) of rows that are there, the same bits as in ``search``."""
        return self._scores(vector, self._place[rows])

    def _scan(self, vector: FloatArray) -> FloatArray:
        return _scan(self._matrix, self._size, np.ascontiguousarray(vector, np.float32))

    def _scores(self, vector: FloatArray, places: IntArray) -> FloatArray:
        return _gather(self._matrix, places, np.ascontiguousarray(vector, np.float32))

    def _reserve(self, size: int, rows: int) -> None:
        capacity = self._matrix.shape[1]
        if size > capacity:
            more = max(2 * capacity, size) - capacity
            self._matrix = np.pad(self._matrix, ((0, 0), (0, more)))
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
    probes : float
        The share of lists that a search without a filter visits.
    """

    def __init__(self, dims: int, threshold: int = 20_000, probes: float = 0.125) -> None:
        self.dims = dims
        self.threshold = threshold
        self.probes = probes
        self._exact = ExactIndex(dims)
        self._lists: faiss.IndexIVFFlat | None = None

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
        rows = self._exact.rows
        there = len(rows) if allowed is None else len(_places(allowed, rows))
        few = there * SPARSE < len(rows) or not 0 < k * SPARSE <= there
        # Under a filter the best lie farther apart: the rarer they are, the more lists are visited.
        share = self.probes * math.sqrt(len(rows) / max(there, 1))
        found = rows[:0] if few or self._lists is None else _probe(self._lists, vector, k, allowed, share)
        if len(found) < min(k, there):
            return self._exact.search(vector, k, allowed)
        return top_k(found, self._exact.scores(vector, found), k)

    def retrain(self) -> None:
        """Fit the lists' centroids to what is there now, and fill them; searches before and after see the same rows."""
        n = len(self)
        if n == 0:
            self._lists = None
            return
        faiss.omp_set_num_threads(1)
        # At least 39 vectors a list: with fewer faiss calls the centroids poor.
        count = max(1, min(int(2 * math.sqrt(n)), n // 39))
        lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(self.dims), self.dims, count, faiss.METRIC_INNER_PRODUCT)
        lists.set_direct_map_type(HASHTABLE)
        rows = np.sort(self._exact.rows)
        vectors = self._exact.vectors(rows)
        lists.train(vectors)
        lists.add_with_ids(vectors, rows.astype(np.int64))
        self._lists = lists


def _probe(lists: faiss.IndexIVFFlat, vector: FloatArray, k: int, allowed: BoolArray | None, share: float) -> RowArray:
    # More threads would order equal scores by chance.
    faiss.omp_set_num_threads(1)
    # faiss holds bits and selector by their addresses alone: these names keep them until it has searched.
    bits = None if allowed is None else np.packbits(allowed, bitorder="little")
    selector = None if bits is None else faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    parameters = faiss.SearchParametersIVF()
    parameters.nprobe = min(lists.nlist, max(1, math.ceil(share * lists.nlist)))
    parameters.sel = selector
    _, ids = lists.search(np.ascontiguousarray(vector[None], np.float32), k, params=parameters)
    found: RowArray = ids[0][ids[0] >= 0].astype(np.int32)
    return found


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
def _places(allowed: BoolArray, rows: RowArray) -> IntArray:
    """The positions in ``rows`` that a mask allows; beyond the mask nothing is."""
    out = np.empty(rows.shape[0], np.int64)
    n = 0
    for i in range(rows.shape[0]):
        if rows[i] < allowed.shape[0] and allowed[rows[i]]:
            out[n] = i
            n += 1
    return out[:n]


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
        matrix[:, place[row]] = vector
    return size


@njit(nogil=True, cache=True)
def _remove(matrix: FloatArray, have: RowArray, place: IntArray, size: int, rows: RowArray) -> int:
    for row in rows:
        if 0 <= row < place.shape[0] and place[row] >= 0:
            size -= 1
            at, last = place[row], have[size]
            matrix[:, at] = matrix[:, size]
            have[at] = last
            place[last] = at
            place[row] = -1
    return size


@njit(nogil=True, cache=True)
def _scan(matrix: FloatArray, size: int, vector: FloatArray) -> FloatArray:
    """Inner products of the first ``size`` columns, block by block: the inner loop runs along memory, once a number."""
    out = np.zeros(size, np.float32)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        for k in range(vector.shape[0]):
            weight = vector[k]
            for i in range(start, stop):
                out[i] += weight * matrix[k, i]
    return out


@njit(nogil=True, cache=True)
def _gather(matrix: FloatArray, places: IntArray, vector: FloatArray) -> FloatArray:
    """Inner products of some columns, added in the order of ``_scan``."""
    out = np.zeros(places.shape[0], np.float32)
    for k in range(vector.shape[0]):
        weight = vector[k]
        for i in range(places.shape[0]):
            out[i] += weight * matrix[k, places[i]]
    return out
