"""Scans over vectors by row: inner products, the best of many rows, the rows that two masks share.

A product is one float32 sum however and wherever it is computed: ``lanes.dot`` of as many numbers as fill its
lanes, then the rest one by one. Hence equal vectors tie to the bit.
"""

import numpy as np
from numba import njit

from features.fold.lanes import BITS, LANES, bits, dot, lowest, ones, prefetch
from features.types import BoolArray, FloatArray, RowArray

AHEAD = 32
"""So many vectors before it is read one is fetched from memory: their lines come side by side."""
BLOCK = 1024
"""Products that wait at a time to be compared."""
SAMPLED = 1024
"""Words of masks that are looked at to guess how many rows they share."""
LOOKED_AT = 2048
"""Scores that are looked at, or a few more, to guess from which on they are among the best."""
FEW, MANY = 2 * LOOKED_AT, 4
"""So few scores, or where one in so many is wanted, are compared one by one."""


@njit(nogil=True, cache=True)
def count_both(held: BoolArray, allowed: BoolArray) -> int:
    """How many rows two masks share; a mask says no beyond its end."""
    size = min(held.shape[0], allowed.shape[0])
    whole, count = size - size % BITS, 0
    for start in range(0, whole, BITS):
        count += ones(bits(held, start) & bits(allowed, start))
    for row in range(whole, size):
        count += held[row] and allowed[row]
    return count


@njit(nogil=True, cache=True)
def guess_of_both(held: BoolArray, allowed: BoolArray) -> int:
    """About how many rows two masks share, by as many of their words as ``SAMPLED``, evenly spread."""
    size = min(held.shape[0], allowed.shape[0])
    words, count = size // BITS, 0
    if words <= SAMPLED:
        return int(count_both(held, allowed))
    for n in range(SAMPLED):
        start = n * words // SAMPLED * BITS
        count += ones(bits(held, start) & bits(allowed, start))
    guess: int = count * words // SAMPLED
    return guess


@njit(nogil=True, cache=True)
def rows_of_both(held: BoolArray, allowed: BoolArray, count: int) -> RowArray:
    """The rows (count,) that two masks share, ascending, where ``count`` is how many these are."""
    out = np.empty(count, np.int32)
    size = min(held.shape[0], allowed.shape[0])
    whole, n = size - size % BITS, 0
    for start in range(0, whole, BITS):
        word = bits(held, start) & bits(allowed, start)
        while word:
            out[n] = start + lowest(word)
            word &= word - np.uint64(1)
            n += 1
    for row in range(whole, size):
        if held[row] and allowed[row]:
            out[n] = row
            n += 1
    return out


@njit(nogil=True, cache=True)
def few_of_both(held: BoolArray, allowed: BoolArray, most: int) -> RowArray:
    """The rows that two masks share, ascending, where these are ``most`` at most; else more of them than that.

    Two bits of every word are written without asking whether they are there, since that cannot be foreseen.
    """
    out = np.empty(most + BITS + 1, np.int32)
    size, last = min(held.shape[0], allowed.shape[0]), np.uint64(1) << np.uint64(BITS - 1)
    whole, n = size - size % BITS, 0
    for start in range(0, whole, BITS):
        word = bits(held, start) & bits(allowed, start)
        for _ in range(2):
            # What is written for a word that is 0 is written over.
            out[n] = start + lowest(word | last)
            n += word != 0
            word &= word - np.uint64(1)
        while word:
            out[n] = start + lowest(word)
            word &= word - np.uint64(1)
            n += 1
        if n > most:
            return out[:n]
    for row in range(whole, size):
        if held[row] and allowed[row]:
            out[n] = row
            n += 1
    return out[:n]


@njit(nogil=True, cache=True)
def products(matrix: FloatArray, rows: RowArray, vector: FloatArray, out: FloatArray) -> None:
    """Write the inner products (n,) of some rows."""
    dims, size = vector.shape[0], rows.shape[0]
    flat, whole = matrix.reshape(-1), dims - dims % LANES
    for i in range(-AHEAD, size):
        if i + AHEAD < size:
            at = np.intp(rows[i + AHEAD]) * dims
            for k in range(0, dims, LANES):
                prefetch(flat, at + k)
        if i >= 0:
            at = np.intp(rows[i]) * dims
            total = dot(flat, at, vector, whole)
            for k in range(whole, dims):
                total += vector[k] * flat[at + k]
            out[i] = total


@njit(nogil=True, cache=True)
def nearest(matrix: FloatArray, rows: RowArray, vector: FloatArray, best: RowArray, scores: FloatArray) -> None:
    """Fill ``best`` (k,) and ``scores`` (k,), k at most n, with the rows (n,) of highest product, in no order.

    Of equal scores the lower row stays. The two arrays are a heap whose first has the lowest score.
    """
    k, size, filled = best.shape[0], rows.shape[0], 0
    of_block = np.empty(BLOCK, np.float32)
    for start in range(0, size, BLOCK):
        block = rows[start : start + BLOCK]
        products(matrix, block, vector, of_block)
        for i in range(block.shape[0]):
            row, score = block[i], of_block[i]
            if filled < k:
                _rise(best, scores, filled, row, score)
                filled += 1
            elif score > scores[0] or (score == scores[0] and row < best[0]):
                _sink(best, scores, row, score)


@njit(nogil=True, cache=True)
def in_order(best: RowArray, scores: FloatArray) -> None:
    """Sort what ``nearest`` has filled, highest first, ties by row."""
    for last in range(best.shape[0] - 1, 0, -1):
        row, score = best[last], scores[last]
        best[last], scores[last] = best[0], scores[0]
        _sink(best[:last], scores[:last], row, score)


@njit(nogil=True, cache=True)
def highest(scores: FloatArray, rows: RowArray, best: RowArray) -> None:
    """Fill ``best`` (k,), k at most n, with the rows (n,) of highest score, in no order; of equals with the lower.

    Where many are left out, those that a sample says are too low are left out first: the rest is a few more than k.
    """
    size, k = rows.shape[0], best.shape[0]
    if size < FEW or MANY * k > size:
        _heap(scores, rows, best)
        return
    flags, some = np.empty(-(-size // BITS) * BITS, np.bool_), np.empty(size, np.int32)
    found = at_least(scores, _guess(scores, k), flags, some)
    if found < k:
        _heap(scores, rows, best)
    else:
        _heap(scores[some[:found]], rows[some[:found]], best)


@njit(nogil=True, cache=True)
def _guess(scores: FloatArray, k: int) -> np.float32:
    """A number that about k scores (n,) reach, and probably more: by a sample that is spread over all."""
    step = scores.shape[0] // LOOKED_AT
    sample = scores[::step].copy()
    share = k * sample.shape[0] / scores.shape[0]
    rank = min(int(share + 3 * np.sqrt(share)) + 2, sample.shape[0])
    least: np.float32 = np.partition(sample, sample.shape[0] - rank)[sample.shape[0] - rank]
    return least


@njit(nogil=True, cache=True)
def at_least(values: FloatArray, least: np.float32, flags: BoolArray, out: RowArray) -> int:
    """Write where values are not below a number, as those are that are none; how many. Flags are whole ``BITS``."""
    size, found = values.shape[0], 0
    for i in range(size):
        flags[i] = not values[i] < least
    flags[size:] = False
    for start in range(0, size, BITS):
        word = bits(flags, start)
        while word:
            out[found] = start + lowest(word)
            word &= word - np.uint64(1)
            found += 1
    return found


@njit(nogil=True, cache=True)
def _heap(scores: FloatArray, rows: RowArray, best: RowArray) -> None:
    """``highest``, one row after the other."""
    k, of_best = best.shape[0], np.empty(best.shape[0], np.float32)
    for i in range(k):
        _rise(best, of_best, i, rows[i], scores[i])
    for i in range(k, rows.shape[0] if k else 0):
        if scores[i] > of_best[0] or (scores[i] == of_best[0] and rows[i] < best[0]):
            _sink(best, of_best, rows[i], scores[i])


@njit(nogil=True, cache=True)
def _rise(best: RowArray, scores: FloatArray, at: int, row: int, score: np.float32) -> None:
    """Add to a heap of ``at``."""
    while at > 0:
        above = (at - 1) >> 1
        if scores[above] < score or (scores[above] == score and best[above] > row):
            break
        best[at], scores[at] = best[above], scores[above]
        at = above
    best[at], scores[at] = row, score


@njit(nogil=True, cache=True)
def _sink(best: RowArray, scores: FloatArray, row: int, score: np.float32) -> None:
    """Replace the first of a full heap."""
    at, size = 0, best.shape[0]
    while 2 * at + 1 < size:
        below = 2 * at + 1
        other = below + 1
        if other < size and (
            scores[other] < scores[below] or (scores[other] == scores[below] and best[other] > best[below])
        ):
            below = other
        if score < scores[below] or (score == scores[below] and row > best[below]):
            break
        best[at], scores[at] = best[below], scores[below]
        at = below
    best[at], scores[at] = row, score
