"""A byte a number for each row: a quarter of what vectors take from memory when few of many rows are scored.

A score of bytes orders rows roughly; who asks scores the best of them anew, exactly. Bytes stand by row, for whoever
asks for some rows, and by list, for whoever asks for lists: see ``ranking.index.chains``.
A byte says the less of a number the farther the range of that number reaches, so ranges hold what nearly all vectors
have and no more. A vector that does not fit is for whoever asks to score exactly.
"""

import numpy as np
from numba import njit

from features.fold.lanes import WIDE, byte_sum, prefetch
from features.types import BoolArray, ByteArray, FloatArray, RowArray, ShortArray

AHEAD = 32
"""So many slots before it is scored one is fetched: its line comes while others are."""


class Rough:
    """How vectors become bytes.

    Parameters
    ----------
    ranges : array (2 · dims + 1,) float32
        The least of each number, then how far each reaches, then how long a vector may be.

    Attributes
    ----------
    reach : array (dims,) float32
        How far each number reaches.
    width : int
        Bytes of a vector: filled up with zeros, so that none ends within what is added in one go.
    """

    def __init__(self, ranges: FloatArray) -> None:
        dims = len(ranges) // 2
        self._least, self.reach, self._longest = ranges[:dims], ranges[dims:-1], float(ranges[-1])
        self.width = -(-dims // WIDE) * WIDE

    def put(self, codes: ByteArray, slots: RowArray, vectors: FloatArray) -> BoolArray:
        """Write vectors (n, dims) to slots (n,) of codes (slots, width); returns which of them (n,) fit the ranges.

        A number that lies outside is taken for the nearest that does not: such bytes are not to be relied on.
        """
        fits = np.empty(len(slots), np.bool_)
        _encode(codes, slots, vectors, self._least, self.reach, self._longest, fits)
        return fits

    def fits(self, vectors: FloatArray) -> BoolArray:
        """Which vectors (n, dims) fit the ranges."""
        return self.put(np.zeros((1, self.width), np.uint8), np.zeros(len(vectors), np.int32), vectors)


@njit(nogil=True, cache=True)
def weights_of(vector: FloatArray, reach: FloatArray, width: int) -> ShortArray:
    """What each of ``width`` bytes of a row counts in a product: the largest whole numbers that overflow no sum."""
    weights, parts = np.zeros(width, np.int16), vector.astype(np.float64) * reach
    largest = 0.0
    for part in parts:
        largest = max(largest, abs(part))
    if 0 < largest < np.inf:
        most = min(2**15 - 1, (2**31 - 1) // (255 * width))
        for k in range(parts.shape[0]):
            weights[k] = np.int16(np.rint(parts[k] * (most / largest)))
    return weights


@njit(nogil=True, cache=True)
def _encode(
    codes: ByteArray,
    slots: RowArray,
    vectors: FloatArray,
    least: FloatArray,
    reach: FloatArray,
    longest: float,
    fits: BoolArray,
) -> None:
    for i in range(slots.shape[0]):
        inside, total = True, 0.0
        for k in range(least.shape[0]):
            apart = vectors[i, k] - least[k]
            part = apart / reach[k] if reach[k] > 0 else np.float32(0)
            codes[slots[i], k] = np.uint8(min(max(part * np.float32(255) + np.float32(0.5), 0), 255))
            inside &= 0 <= apart <= reach[k]
            total += np.float64(vectors[i, k]) ** 2
        fits[i] = inside and total <= longest**2


@njit(nogil=True, cache=True)
def rough_scores(codes: ByteArray, slots: RowArray, weights: ShortArray, out: FloatArray) -> None:
    """Write the weighted sums (n,) of slots' bytes; no bound for slots beyond the end, which have none."""
    width, size, end, flat = weights.shape[0], slots.shape[0], codes.shape[0], codes.reshape(-1)
    for i in range(-AHEAD, size):
        prefetch(flat, np.intp(min(slots[min(i + AHEAD, size - 1)], end - 1)) * width)
        if i >= 0:
            out[i] = byte_sum(flat, np.intp(slots[i]) * width, weights) if slots[i] < end else np.inf
