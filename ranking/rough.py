"""A byte a number for each row: a quarter of what vectors take from memory when few of many rows are scored.

A score of bytes orders rows roughly; who asks scores the best of them anew, exactly.
"""

import numpy as np
from numba import njit

from features.lanes import prefetch
from features.types import ByteArray, FloatArray, RowArray

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
        self.codes = _lined(2 * rows + HEADROOM, ranges.shape[1])

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

    def weights(self, vector: FloatArray) -> FloatArray:
        """What each byte (dims,) counts in a product with a vector."""
        weights: FloatArray = vector * self._reach / np.float32(255)
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


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def rough_scores(codes: ByteArray, rows: RowArray, weights: FloatArray, out: FloatArray) -> None:
    """Write the weighted sums (n,) of rows' bytes; no bound for those that have none."""
    dims, size, end, flat = weights.shape[0], rows.shape[0], codes.shape[0], codes.reshape(-1)
    for i in range(min(AHEAD, size)):
        prefetch(flat, np.intp(min(rows[i], end - 1)) * dims)
    for i in range(size):
        prefetch(flat, np.intp(min(rows[min(i + AHEAD, size - 1)], end - 1)) * dims)
        if rows[i] >= end:
            out[i] = np.inf
            continue
        at, total = np.intp(rows[i]) * dims, np.float32(0)
        row = flat[at : at + dims]
        for k in range(dims):
            total += weights[k] * np.float32(row[k])
        out[i] = total
