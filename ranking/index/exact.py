"""Vectors by item row, searched whole: a matrix aligned to the processor's lines and a mask of the rows that are there.

The contract is ``ranking.types.VectorIndex``: scores are inner products, computed alike wherever a vector is kept
(``ranking.index.scan``), so that equal vectors tie to the bit and ties go by row. Callers hold the state's mutex.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numba import njit

from features.errors import FeatureError
from features.fold.storage import aligned
from features.types import BoolArray, DoubleArray, FloatArray, IntArray, RowArray
from ranking.index.coarse import Coarse
from ranking.index.scan import count_both, few_of_both, guess_of_both, nearest, rows_of_both

BLOCK = 1024
Scores = TypeVar("Scores", FloatArray, DoubleArray)
Answer = tuple[RowArray, FloatArray]
T = TypeVar("T")


class ExactIndex:
    """A mask of rows over a matrix of vectors.

    A vector of zeros says nothing of an item and is kept out: putting one removes.

    Parameters
    ----------
    dims : int
        Length of a vector.
    shared : callable, optional
        Gives a matrix by row (n, dims) float32 of who keeps these vectors already and sees that it is long enough;
        they are then not kept twice. By default the index keeps its own.
    coarse : bool
        Whether bytes of the vectors are kept beside them, which make a search among all or most rows several times
        as fast, with the same answer.
    """

    def __init__(self, dims: int, shared: Callable[[], FloatArray] | None = None, *, coarse: bool = False) -> None:
        self.dims = dims
        self._shared = shared
        self._own = np.zeros((0, dims), np.float32)
        self._held = np.zeros(BLOCK, np.bool_)
        self._size = 0
        self._coarse = Coarse(dims) if coarse else None

    def __len__(self) -> int:
        return self._size

    @property
    def matrix(self) -> FloatArray:
        """The vectors by row; what stands in a row that is not there means nothing."""
        return self._own if self._shared is None else self._shared()

    @property
    def rows(self) -> RowArray:
        """The rows that are there (n,), ascending."""
        return rows_of_both(self._held, self._held, self._size)

    def holds(self, rows: RowArray) -> BoolArray:
        """Which rows (n,) are there."""
        held = self._held
        known = (rows >= 0) & (rows < len(held))
        there: BoolArray = known & held[np.where(known, rows, 0)]
        return there

    def put(self, rows: RowArray, vectors: FloatArray) -> None:
        """Add vectors (n, dims) float32, or replace those of rows that are there; of a row named twice the last stays.

        Raises
        ------
        FeatureError
            If the shapes do not fit, a number is not finite, or there is no memory for all rows up to the highest; the
            index is then as it was.
        """
        _check(rows, vectors, self.dims)
        if len(rows):
            self._reserve(int(rows.max()) + 1)
            self._size += _put(self.matrix, self._held, rows, vectors)
            self._follow(rows)

    def remove(self, rows: RowArray) -> None:
        """Take rows out; rows that are not there are ignored."""
        self._size -= _remove(self._held, rows)
        self._follow(rows[(rows >= 0) & (rows < len(self._held))])

    def search(self, vector: FloatArray, k: int, allowed: BoolArray | RowArray | None = None) -> Answer:
        """At most k rows by inner product, highest first, ties by row.

        Parameters
        ----------
        vector : array (dims,) float32
        k : int
        allowed : array, optional
            The rows to search among: a mask by row, or the rows themselves, int32, ascending, each once.

        Raises
        ------
        FeatureError
            If the vector is of another length.
        """
        check_query(vector, self.dims)
        if self._coarse and k > 0 and (allowed is None or allowed.dtype == np.bool_):
            mask = self._held if allowed is None else np.ascontiguousarray(allowed, np.bool_)
            found = self._coarse.best(self.matrix, np.ascontiguousarray(vector, np.float32), k, mask)
            if found is not None:
                return found
        return self.best(vector, k, self.among(allowed))

    def search_many(
        self, vectors: FloatArray, k: int, allowed: BoolArray | RowArray | None = None, threads: int = 1
    ) -> list[Answer]:
        """``search`` for each of some vectors (m, dims), in as many threads; the same answers."""
        for vector in vectors:
            check_query(vector, self.dims)
        rows = self.among(allowed)
        with spread(threads) as over:
            return over(lambda vector: self.best(vector, k, rows), list(vectors))

    def among(self, allowed: BoolArray | RowArray | None) -> RowArray:
        """The rows that are there and allowed, ascending."""
        if allowed is None:
            return self.rows
        if allowed.dtype == np.bool_:
            mask = np.ascontiguousarray(allowed, np.bool_)
            return rows_of_both(self._held, mask, count_both(self._held, mask))
        rows = np.ascontiguousarray(allowed, np.int32)
        return rows[self.holds(rows)]

    def few(self, mask: BoolArray, most: int) -> RowArray | None:
        """The rows that are there and in a mask, ascending; None where they are more than ``most``."""
        rows = few_of_both(self._held, np.ascontiguousarray(mask, np.bool_), most)
        return rows if len(rows) <= most else None

    def count(self, mask: BoolArray) -> int:
        """How many rows are there and in a mask."""
        return count_both(self._held, np.ascontiguousarray(mask, np.bool_))

    def guess(self, mask: BoolArray) -> int:
        """About how many rows are there and in a mask, by a sample where there are many."""
        return guess_of_both(self._held, np.ascontiguousarray(mask, np.bool_))

    def best(self, vector: FloatArray, k: int, rows: RowArray) -> Answer:
        """``search`` among rows that are there."""
        k = max(0, min(k, len(rows)))
        best, scores = np.empty(k, np.int32), np.empty(k, np.float32)
        if k:
            nearest(self.matrix, rows, np.ascontiguousarray(vector, np.float32), best, scores)
        order = highest_first(scores, best)
        return best[order], scores[order]

    def memory(self) -> dict[str, int]:
        """Bytes by part; what is shared is its owner's."""
        parts = {"vectors": self._own.nbytes, "mask": self._held.nbytes}
        return parts | ({"bytes": self._coarse.memory()} if self._coarse else {})

    def _follow(self, rows: RowArray) -> None:
        if self._coarse:
            self._coarse.follow(self.matrix, self._held, rows)

    def _reserve(self, rows: int) -> None:
        if self._shared is not None and rows > len(self._shared()):
            raise FeatureError(f"Row {rows - 1} has no vector in the shared matrix.", "Keep it there first.")
        size, own = len(self._held), self._own
        if rows > size:
            size = -(-max(rows, 2 * size) // BLOCK) * BLOCK
        try:
            # The longer first: of neither is anything left if there is no memory for it.
            if self._shared is None and rows > len(own):
                own = aligned(max(rows, min(2 * len(own), size), BLOCK), self.dims)
                own[: len(self._own)] = self._own
            if size > len(self._held):
                self._held = np.pad(self._held, (0, size - len(self._held)))
        except MemoryError as error:
            told = f"There is no memory for the vectors of {rows} rows."
            raise FeatureError(told, "Number rows without large gaps.") from error
        self._own = own


@contextmanager
def spread(threads: int) -> Iterator[Callable[[Callable[[FloatArray], T], list[FloatArray]], list[T]]]:
    """Calls one by one, or side by side in threads; the answers in order either way."""
    if threads == 1:
        yield lambda call, many: [call(one) for one in many]
        return
    with ThreadPoolExecutor(threads) as pool:
        yield lambda call, many: list(pool.map(call, many))


def top_k(rows: RowArray, scores: Scores, k: int) -> tuple[RowArray, Scores]:
    """The k rows of highest score, highest first, ties by row; scores hold no NaN."""
    if 0 < 2 * k < len(rows):
        least = np.partition(scores, -k)[-k]
        high = np.flatnonzero(scores >= least)
        rows, scores = rows[high], scores[high]
    order = highest_first(scores, rows)[:k]
    return rows[order], scores[order]


def highest_first(scores: Scores, rows: RowArray) -> IntArray:
    """Positions (n,) by score, highest first, ties by row; scores hold no NaN."""
    order = np.argsort(-scores)
    ranked = scores[order]
    # Only ties leave anything to decide.
    return np.lexsort((rows, -scores)) if (ranked[1:] == ranked[:-1]).any() else order


def check_query(vector: FloatArray, dims: int) -> None:
    """Refuse what is no vector (dims,) to search with: a kernel would read beyond rows."""
    if vector.shape != (dims,):
        raise FeatureError(f"A vector of shape {vector.shape} to search with.", f"Give ({dims},).")


def _check(rows: RowArray, vectors: FloatArray, dims: int) -> None:
    if vectors.shape != (len(rows), dims):
        raise FeatureError(f"Vectors of shape {vectors.shape} for {len(rows)} rows.", f"Give ({len(rows)}, {dims}).")
    if len(rows) and rows.min() < 0:
        raise FeatureError(f"Row {rows.min()} cannot be indexed.", "Rows are 0 or more.")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise FeatureError(f"The vector of row {rows[bad[0]]} is not finite.", "Leave out what has no vector.")


@njit(nogil=True, cache=True)
def _put(matrix: FloatArray, held: BoolArray, rows: RowArray, vectors: FloatArray) -> int:
    """Write vectors, then the mask; returns by how many it grew."""
    more = 0
    for i in range(rows.shape[0]):
        row, vector = rows[i], vectors[i]
        matrix[row] = vector
        if held[row] != vector.any():
            more += -1 if held[row] else 1
            held[row] = not held[row]
    return more


@njit(nogil=True, cache=True)
def _remove(held: BoolArray, rows: RowArray) -> int:
    """Returns how many were there."""
    gone = 0
    for row in rows:
        if 0 <= row < held.shape[0] and held[row]:
            held[row] = False
            gone += 1
    return gone
