"""A byte a number for each row: a quarter of what vectors take from memory when few of many rows are scored.

A score of bytes orders rows roughly; who asks scores the best of them anew, exactly.
"""

import numpy as np
from numba import njit

from features.lanes import WIDE, byte_sum, prefetch
from features.types import ByteArray, FloatArray, RowArray, ShortArray

AHEAD = 32
"""So many rows before it is scored a row is fetched: its line comes while others are."""
LINE = 64
HEADROOM = 1024


class Rough:
    """Bytes by row, for rows below twice as many as there are at first; nobody waits for them to grow.

    Parameters
    ----------
    ranges : array (2, dims) float32
        The least of each number, then how far it reaches; what lies outside is taken for the nearest that does not.
    rows : int
        The highest row that is known, and one.
    """

    def __init__(self, ranges: FloatArray, rows: int) -> None:
        self._least, self._reach = ranges
        # Filled up with zeros, so that no row ends within what is added in one go.
        self.codes = _lined(2 * rows + HEADROOM, -(-ranges.shape[1] // WIDE) * WIDE)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Bytes a row."""
        return int(self.codes.shape[1])

    def put(self, rows: RowArray, vectors: FloatArray) -> None:
        """Keep vectors (n, dims) of rows; those beyond the end are left out."""
        _encode(self.codes, rows, vectors, self._least, self._reach)

    def best(self, vector: FloatArray, count: int, rows: RowArray) -> RowArray:
        """Some of many rows: the ``count`` of highest rough product, their equals, and those beyond the end."""
        if len(rows) <= count:
            return rows
        scores = np.empty(len(rows), np.float32)
        rough_scores(self.codes, rows, self.weights(vector), scores)
        high: RowArray = rows[scores >= np.partition(scores, -count)[-count]]
        return high

    def weights(self, vector: FloatArray) -> ShortArray:
        """What each byte of a row counts in a product with a vector: the largest whole numbers that overflow no sum."""
        weights = np.zeros(self.codes.shape[1], np.int16)
        parts = vector.astype(np.float64) * self._reach
        largest = float(np.abs(parts).max(initial=0.0))
        if 0 < largest < np.inf:
            most = min(2**15 - 1, (2**31 - 1) // (255 * len(weights)))
            weights[: len(parts)] = np.rint(parts * (most / largest))
        return weights


def _lined(rows: int, dims: int) -> ByteArray:
    """Zeros (rows, dims) uint8 that begin with a line of the processor's cache."""
    raw = np.zeros(rows * dims + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + rows * dims].reshape(rows, dims)


@njit(nogil=True, cache=True)
def _encode(codes: ByteArray, rows: RowArray, vectors: FloatArray, least: FloatArray, reach: FloatArray) -> None:
    for i in range(rows.shape[0]):
        if rows[i] < codes.shape[0]:
            for k in range(least.shape[0]):
                part = (vectors[i, k] - least[k]) / reach[k] if reach[k] > 0 else np.float32(0)
                codes[rows[i], k] = np.uint8(min(max(part * np.float32(255) + np.float32(0.5), 0), 255))


@njit(nogil=True, cache=True)
def rough_scores(codes: ByteArray, rows: RowArray, weights: ShortArray, out: FloatArray) -> None:
    """Write the weighted sums (n,) of rows' bytes; no bound for those that have none."""
    width, size, end, flat = weights.shape[0], rows.shape[0], codes.shape[0], codes.reshape(-1)
    for i in range(min(AHEAD, size)):
        prefetch(flat, np.intp(min(rows[i], end - 1)) * width)
    for i in range(size):
        prefetch(flat, np.intp(min(rows[min(i + AHEAD, size - 1)], end - 1)) * width)
        out[i] = byte_sum(flat, np.intp(rows[i]) * width, weights) if rows[i] < end else np.inf
