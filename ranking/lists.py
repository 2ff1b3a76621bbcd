"""Inverted lists of faiss, mutable in place, a byte a number: how they are made, how many to visit, what they find."""

import math

import faiss
import numpy as np

from features.types import BoolArray, FloatArray, RowArray

Lists = faiss.IndexIVFScalarQuantizer
HASHTABLE = 2
"""``faiss.DirectMap.Hashtable``: ids to list entries, which makes lists mutable in place."""
SAMPLE = 64
"""Vectors a list that centroids are fitted to."""
ROUNDS = 10
RECALL = 0.985
"""Of the true best ``TRIED``, the share that lists must find for ``TRIALS`` queries: so many lists are visited."""
TRIED, TRIALS = 100, 64


def make_lists(vectors: FloatArray, rows: RowArray) -> Lists:
    """Lists fitted to vectors (n, dims), which they then hold under their rows."""
    # More threads would order equal scores by chance.
    faiss.omp_set_num_threads(1)
    n, dims = vectors.shape
    # At least 39 vectors a list: with fewer faiss calls the centroids poor.
    count = max(1, min(int(4 * math.sqrt(n)), n // 39))
    lists = Lists(
        faiss.IndexFlatIP(dims), dims, count, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    lists.cp.niter = ROUNDS
    # What comes later may lie outside the range that the training saw.
    lists.sq.rangestat_arg = 0.25
    lists.set_direct_map_type(HASHTABLE)
    sample = np.random.default_rng(0).permutation(n)[: max(SAMPLE * count, 1000)]
    lists.train(vectors[np.sort(sample)])
    lists.add_with_ids(vectors, rows.astype(np.int64))
    return lists


def visits_of(lists: Lists, vectors: FloatArray, rows: RowArray) -> int:
    """How many lists must be visited; tried with vectors that are there and with sums of two, as people's are."""
    pairs = np.random.default_rng(0).integers(0, len(rows), (2, TRIALS))
    queries = vectors[pairs[0]] + vectors[pairs[1]] * (np.arange(TRIALS) % 2)[:, None].astype(np.float32)
    k = min(TRIED, len(rows))
    _, best = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    visits = min(4, lists.nlist)
    while visits < lists.nlist:
        found = [probe(lists, query, k, None, visits) for query in queries]
        hits = sum(len(np.intersect1d(some, rows[true])) for some, true in zip(found, best, strict=True))
        if hits >= RECALL * k * TRIALS:
            break
        visits = min(math.ceil(1.25 * visits), lists.nlist)
    return visits


def probe(lists: Lists, vector: FloatArray, k: int, allowed: BoolArray | None, visits: int) -> RowArray:
    """Rows of the best that some lists hold, half as many again as ``k``: a byte a number orders them roughly."""
    faiss.omp_set_num_threads(1)
    # faiss holds bits and selector by their addresses alone: these names keep them until it has searched.
    bits = None if allowed is None else np.packbits(allowed, bitorder="little")
    selector = None if bits is None else faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    parameters = faiss.SearchParametersIVF()
    parameters.nprobe = min(lists.nlist, visits)
    parameters.sel = selector
    _, ids = lists.search(np.ascontiguousarray(vector[None], np.float32), k + k // 2 + 16, params=parameters)
    found: RowArray = ids[0][ids[0] >= 0].astype(np.int32)
    return found
