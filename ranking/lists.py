"""Inverted lists of faiss, mutable in place, a byte a number: how they are fitted and filled, and what they find.

Fitting and filling go in chunks of fractions of a second, and call ``pause`` between them, so that whoever runs them
can give up. They read the exact index as it is while others change it: a vector read half-changed is finite, and its
row is renewed later, with all that changed meanwhile.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import faiss
import numpy as np

from features.types import ByteArray, FloatArray, HashArray, IntArray, RowArray
from ranking.centroids import CHUNK, Nearest, Pause, k_means
from ranking.exact import ExactIndex
from ranking.rough import Rough

HASHTABLE = 2
"""``faiss.DirectMap.Hashtable``: ids to list entries, which makes lists mutable in place."""
ENTRY = 40
"""Bytes of an entry of that table: a node of two numbers and a link, and its share of the buckets."""
SAMPLE, ROUNDS = 64, 10
"""Vectors a list that centroids are fitted to, and how often."""
RECALL = 0.98
"""Of the true best ``TRIED``, the share that lists must find for ``TRIALS`` queries: so many lists are visited."""
TRIED, TRIALS = 100, 64
FAR = 500
"""How many are asked for to see how visits grow with that."""
FARTHER = 0.75
"""The power by which visits grow as a filter leaves less, and with more wanted where that was not tried; see ADR 7."""
WIDTH = 16
"""Lists hold vectors filled up with zeros to a multiple of this: faiss scores others number by number."""


@dataclass(frozen=True)
class Placed:
    """Where vectors were filed: rows (n,), their lists (n,), and a mark (n,) of each vector's bits."""

    rows: RowArray
    lists: RowArray
    marks: RowArray


@dataclass(frozen=True)
class Fitted:
    """What a training learned: centroids (lists, dims), the quantiser's ranges (2 · dims,), and from how many."""

    centroids: FloatArray
    ranges: FloatArray
    visits: int
    size: int
    placed: Placed
    farther: float = FARTHER


class Lists:
    """Lists with centroids and ranges, filled and changed by row.

    Parameters
    ----------
    centroids : array (lists, dims) float32
    ranges : array (2 · dims,) float32
        The least of each number, then how far it reaches, as ``faiss.ScalarQuantizer.trained``.
    rows : int
        The highest row that is known, and one.
    """

    def __init__(self, centroids: FloatArray, ranges: FloatArray, rows: int) -> None:
        self._dims = centroids.shape[1]
        self._index = _empty(_filled(centroids))
        faiss.copy_array_to_vector(_filled(ranges.reshape(2, -1)).ravel(), self._index.sq.trained)
        self._index.is_trained = True
        self._nearest = Nearest(centroids)
        self.rough = Rough(ranges.reshape(2, -1), rows)
        self.visits, self.farther = 1, FARTHER
        self.size = 0
        self.balance = 1.0

    def __len__(self) -> int:
        return int(self._index.nlist)

    @property
    def centroids(self) -> FloatArray:
        """What each list is nearest to (lists, dims) float32."""
        centroids: FloatArray = self._index.quantizer.reconstruct_n(0, len(self))
        return np.ascontiguousarray(centroids[:, : self._dims])

    @property
    def _filed(self) -> faiss.InvertedLists:
        return cast("faiss.InvertedLists", self._index.invlists)

    @property
    def imbalance(self) -> float:
        """1 where all lists are equally long; a search reads so many times as much."""
        return float(self._filed.imbalance_factor())

    def add(self, rows: RowArray, vectors: FloatArray, lists: IntArray | None = None) -> None:
        """File vectors (n, dims) of rows that are not there, in the nearest lists, or in given ones."""
        # As faiss takes them: addresses, whatever its types say.
        add: Callable[..., None] = self._index.add_core
        faiss.omp_set_num_threads(1)
        for start in range(0, len(rows), CHUNK):
            stop = start + CHUNK
            some = np.ascontiguousarray(vectors[start:stop])
            near = self._nearest(some) if lists is None else np.ascontiguousarray(lists[start:stop])
            ids = rows[start:stop].astype(np.int64)
            # The name keeps what faiss knows by its address.
            parts = _filled(some), ids, near
            add(len(ids), *(faiss.swig_ptr(part) for part in parts), None)
            self.rough.put(rows[start:stop], some)

    def renew(self, exact: ExactIndex, rows: RowArray) -> None:
        """File rows anew that an exact index has changed, or drop those it holds no more."""
        once = np.unique(rows)
        self._index.remove_ids(faiss.IDSelectorArray(once.astype(np.int64)))
        there = once[exact.holds(once)]
        self.add(there, exact.matrix[there])

    def probe(self, vector: FloatArray, k: int, bits: ByteArray | None, visits: int) -> RowArray:
        """Rows of the best that some lists hold, half as many again as ``k``: a byte a number orders them roughly.

        ``bits`` are those of a mask by row, the first in the lowest bit.
        """
        faiss.omp_set_num_threads(1)
        # faiss holds the selector by its address alone: the name keeps it until it has searched.
        selector = None if bits is None else faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = max(1, min(len(self), visits))
        parameters.sel = selector
        query = _filled(np.ascontiguousarray(vector[None], np.float32))
        _, ids = self._index.search(query, wider(k), params=parameters)
        found: RowArray = ids[0][ids[0] >= 0].astype(np.int32)
        return found

    def fitted(self, exact: ExactIndex) -> Fitted:
        """What another start can begin from."""
        held = self._filed
        sizes = [held.list_size(number) for number in range(len(self))]
        ids = [faiss.rev_swig_ptr(held.get_ids(number), size).copy() for number, size in enumerate(sizes) if size]
        rows = np.concatenate([np.zeros(0, np.int64), *ids]).astype(np.int32)
        lists = np.repeat(np.arange(len(self), dtype=np.int32), sizes)
        order = np.argsort(rows)
        rows = rows[order]
        placed = Placed(rows, lists[order], marks_of(exact.matrix, rows))
        return Fitted(self.centroids, _ranges(self._index, self._dims), self.visits, self.size, placed, self.farther)

    def memory(self) -> dict[str, int]:
        """Bytes by part, as far as they are used: faiss keeps room to grow beside them."""
        count, dims = int(self._index.ntotal), self._dims
        parts = {"codes": int(self._index.code_size), "ids": 8, "direct map": ENTRY, "rough": self.rough.nbytes}
        return {name: size * count for name, size in parts.items()} | {"centroids": 4 * dims * len(self)}


def wider(k: int) -> int:
    """How many to look for by bytes, which order them roughly, for k that are scored exactly."""
    return k + k // 2 + 16


def fit(exact: ExactIndex, rows: RowArray, pause: Pause) -> Lists:
    """Empty lists for the vectors of some rows, by spherical k-means on a sample of them, from a fixed seed."""
    faiss.omp_set_num_threads(1)
    n = len(rows)
    # At least 39 vectors a list: with fewer centroids are poor.
    count = max(1, min(int(4 * math.sqrt(n)), n // 39))
    drawn = np.random.default_rng(0).permutation(n)[: max(SAMPLE * count, 1000)]
    sample = exact.matrix.take(rows[np.sort(drawn)], axis=0)
    centroids = sample[np.random.default_rng(1).permutation(len(sample))[:count]]
    centroids = k_means(sample, centroids, ROUNDS, Nearest, pause)
    index = _empty(_filled(centroids))
    index.train(_filled(sample))
    lists = Lists(centroids, _ranges(index, exact.dims), int(rows.max(initial=-1)) + 1)
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
        vectors = exact.matrix[chunk]
        same = (known[chunk] >= 0) & (marks[chunk] == _marks(vectors))
        lists.add(chunk[same], vectors[same], known[chunk[same]])
        lists.add(chunk[~same], vectors[~same])
    lists.balance = lists.imbalance


def try_lists(lists: Lists, exact: ExactIndex, rows: RowArray, asked: FloatArray, pause: Pause) -> None:
    """Find how many lists must be visited for the best ``TRIED``, and by which power more for more.

    It is tried with what is asked (n, dims), where that is enough; else with vectors that are there and with sums of
    two.
    """
    pairs = rows[np.random.default_rng(0).integers(0, len(rows), (2, TRIALS))]
    matrix = exact.matrix
    queries = matrix[pairs[0]] + matrix[pairs[1]] * (np.arange(TRIALS) % 2)[:, None].astype(np.float32)
    if len(asked) >= TRIALS:
        queries = asked[np.random.default_rng(0).permutation(len(asked))[:TRIALS]]
    best = []
    for query in queries:
        pause()
        best.append(exact.best(query, FAR, rows)[0])
    lists.visits = _visits(lists, queries, [some[:TRIED] for some in best], min(4, len(lists)), pause)
    if len(rows) >= FAR:
        more = _visits(lists, queries, best, lists.visits, pause)
        lists.farther = math.log(more / lists.visits) / math.log(FAR / TRIED)


def _visits(lists: Lists, queries: FloatArray, best: list[RowArray], visits: int, pause: Pause) -> int:
    """How many lists must be visited, from so many on, to find the true best of each query."""
    k = len(best[0])
    while visits < len(lists):
        pause()
        found = [lists.probe(query, k, None, visits) for query in queries]
        hits = sum(len(np.intersect1d(some, true)) for some, true in zip(found, best, strict=True))
        if hits >= RECALL * k * len(best):
            break
        visits = min(math.ceil(1.25 * visits), len(lists))
    return visits


def marks_of(matrix: FloatArray, rows: RowArray) -> RowArray:
    """A mark (n,) of the bits of each row's vector; of two that differ the marks agree once in 2³² times."""
    parts = [_marks(matrix[rows[start : start + CHUNK]]) for start in range(0, len(rows), CHUNK)]
    return np.concatenate([np.zeros(0, np.int32), *parts])


def _marks(vectors: FloatArray) -> RowArray:
    """The upper half of a sum of products modulo 2⁶⁴, as multiply-shift hashing does."""
    weights: HashArray = np.random.default_rng(0).integers(0, 1 << 63, vectors.shape[1], np.uint64) * 2 + 1
    bits = np.ascontiguousarray(vectors).view(np.uint32).astype(np.uint64)
    marks: RowArray = ((bits * weights).sum(axis=1) >> 32).astype(np.uint32).view(np.int32)
    return marks


def _filled(vectors: FloatArray) -> FloatArray:
    """Vectors (n, dims) with zeros to a multiple of ``WIDTH``; themselves where that is so."""
    return np.pad(vectors, ((0, 0), (0, missing))) if (missing := -vectors.shape[1] % WIDTH) else vectors


def _ranges(index: faiss.IndexIVFScalarQuantizer, dims: int) -> FloatArray:
    """What the quantiser learned of the first ``dims`` numbers, as ``Lists`` takes it."""
    trained: FloatArray = faiss.vector_to_array(index.sq.trained)
    return np.ascontiguousarray(trained.reshape(2, -1)[:, :dims]).ravel()


def _empty(centroids: FloatArray) -> faiss.IndexIVFScalarQuantizer:
    count, dims = centroids.shape
    quantizer = faiss.IndexFlatIP(dims)
    quantizer.add(np.ascontiguousarray(centroids))
    form = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexIVFScalarQuantizer(quantizer, dims, count, form, faiss.METRIC_INNER_PRODUCT, False)
    # What comes later may lie outside the range that the training saw.
    index.sq.rangestat_arg = 0.25
    index.set_direct_map_type(HASHTABLE)
    return index
