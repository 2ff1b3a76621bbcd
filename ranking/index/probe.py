"""How lists are searched: the nearest of them, the bytes of what these hold, and the floats of the best of that."""

import numpy as np
from numba import njit

from features.fold.lanes import byte_sum, prefetch
from features.types import BoolArray, ByteArray, FloatArray, RowArray, ShortArray
from ranking.index.centroids import Tiles, products_of
from ranking.index.chains import CHUNK, SOON, Pool, fetch, found_in
from ranking.index.rough import rough_scores, weights_of
from ranking.index.scan import highest, in_order, nearest

LINE = 64
"""Bytes that are fetched at a time."""


@njit(nogil=True, cache=True)
def wider(k: int) -> int:
    """How many to look for by bytes, which order them roughly, for k that are scored exactly."""
    return k + k // 2 + 16


@njit(nogil=True, cache=True)
def nearest_of(
    vector: FloatArray,
    placed: Tiles,
    pool: Pool,
    reach: FloatArray,
    visits: int,
    mask: BoolArray,
    filtered: bool,
    k: int,
    matrix: FloatArray,
    outside: RowArray,
) -> tuple[RowArray, FloatArray]:
    """See ``Lists.nearest``: all in one go, as coming back to the interpreter costs most where caches are cold.

    Nor is a training waited for more than once that holds the interpreter.
    """
    lists, count = pool.sizes.shape[0], wider(k)
    products, near = np.empty(lists, np.float32), np.empty(visits, np.int32)
    products_of(vector, placed, products)
    highest(products, np.arange(lists).astype(np.int32), near)
    weights = weights_of(vector, reach, pool.codes.shape[1])
    if not filtered:
        rows, scores = _scored(pool, near, weights)
    else:
        slots, rows = found_in(pool, near.astype(np.int64), mask, filtered)
        scores = np.empty(len(rows) if len(rows) > count else 0, np.float32)
        if len(scores):
            rough_scores(pool.codes, slots, weights, scores)
    rows = _best(rows, scores, count)
    if len(outside):
        rows = _with(rows, outside, mask, filtered)
    return _by_floats(rows, vector, k, matrix)


@njit(nogil=True, cache=True)
def best_of(
    vector: FloatArray,
    codes: ByteArray,
    reach: FloatArray,
    rows: RowArray,
    outside: RowArray,
    k: int,
    matrix: FloatArray,
) -> tuple[RowArray, FloatArray]:
    """See ``Lists.best``."""
    scores, count = np.empty(len(rows), np.float32), wider(k)
    rough_scores(codes, rows, weights_of(vector, reach, codes.shape[1]), scores)
    for row in rows:
        # Who has no bytes is looked at beside the others.
        count += row >= len(codes)
    return _by_floats(np.append(_best(rows, scores, count), outside), vector, k, matrix)


@njit(nogil=True, cache=True)
def _by_floats(rows: RowArray, vector: FloatArray, k: int, matrix: FloatArray) -> tuple[RowArray, FloatArray]:
    """The best k of some rows by their floats, and their products: highest first, ties by row."""
    found = min(k, len(rows))
    best, scores = np.empty(found, np.int32), np.empty(found, np.float32)
    nearest(matrix, rows, vector, best, scores)
    in_order(best, scores)
    return best, scores


@njit(nogil=True, cache=True)
def _scored(pool: Pool, lists: RowArray, weights: ShortArray) -> tuple[RowArray, FloatArray]:
    """All rows of some lists and the scores of their bytes; while a chunk is scored the next one is fetched."""
    total, n, width, flat = 0, 0, weights.shape[0], pool.codes.reshape(-1)
    for at in lists:
        total += pool.sizes[at]
    rows, scores = np.empty(total, np.int32), np.empty(total, np.float32)
    for i in range(lists.shape[0]):
        chunk, left = pool.last[lists[i]], pool.sizes[lists[i]]
        if i + SOON < lists.shape[0]:
            fetch(pool, pool.last[lists[i + SOON]])
        while left > 0:
            size, soon = (left - 1) % CHUNK + 1, pool.before[chunk]
            fetch(pool, soon)
            of_soon = CHUNK
            if left == size:
                soon, of_soon = chunk, 0
                if i + 1 < lists.shape[0] and pool.sizes[lists[i + 1]] > 0:
                    soon, of_soon = pool.last[lists[i + 1]], (pool.sizes[lists[i + 1]] - 1) % CHUNK + 1
            first, coming = np.intp(chunk) * CHUNK, np.intp(soon) * CHUNK * width
            for j in range(size):
                if j < of_soon:
                    for line in range(coming + j * width, coming + (j + 1) * width, LINE):
                        prefetch(flat, line)
                rows[n + j] = pool.rows[first + j]
                scores[n + j] = byte_sum(flat, (first + j) * width, weights)
            for line in range(coming + size * width, coming + of_soon * width, LINE):
                prefetch(flat, line)
            chunk, left, n = soon, left - size, n + size
    return rows, scores


@njit(nogil=True, cache=True)
def _best(rows: RowArray, scores: FloatArray, count: int) -> RowArray:
    """The rows that score highest, ties by row; all where they are no more than wanted."""
    if len(rows) <= count:
        return rows
    best = np.empty(count, np.int32)
    highest(scores, rows, best)
    return best


@njit(nogil=True, cache=True)
def _with(rows: RowArray, outside: RowArray, mask: BoolArray, filtered: bool) -> RowArray:
    """Rows, and behind them those of others that a mask allows."""
    out, n = np.empty(len(rows) + len(outside), np.int32), len(rows)
    out[:n] = rows
    for row in outside:
        out[n] = row
        n += not filtered or (row < len(mask) and mask[row])
    return out[:n]
