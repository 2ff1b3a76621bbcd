"""A copy of vectors in bytes that says which of them are worth reading: a quarter of the memory, and nothing is lost.

A vector x is kept as ``scale · codes`` with codes from -127 to 127, and beside it the length of what that leaves out.
A person's vector v becomes whole numbers too, ``step · query``. By Cauchy and Schwarz the product of both in whole
numbers is then at most ``off·|v| + |scale·codes|·|v - step·query|`` away from x·v, and the float32 sum of
``ranking.scan`` as much further as rounding allows. Rows whose upper bound is below the k-th best lower bound are not
among the best k; all others are scored anew from their floats. So the answer has the same bits as a search of all.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.lanes import LANES, pair_sums
from features.types import BoolArray, CodeArray, FloatArray, RowArray

MOST = 127
"""The largest code of a number."""
BLOCK = 1024
"""Slots that are looked at in one go."""
_LARGE = 1e37
"""Products beyond it might overflow in float32, where the order of scores is not that of the bounds."""


class Bytes(NamedTuple):
    """Vectors as bytes in slots without gaps, sixteen a block.

    Attributes
    ----------
    codes : flat int8
        Block after block, then two dimensions after two: of sixteen slots both numbers each.
    scale, off, size : (slots,) float32
        What a code of 1 stands for; the length of what the codes leave out, and of codes and that together: rounded up.
    rows : (slots,) int32
        The row of each slot.
    """

    codes: CodeArray
    scale: FloatArray
    off: FloatArray
    size: FloatArray
    rows: RowArray


class Coarse:
    """Bytes of the vectors of the rows that are there, kept up by whoever keeps the vectors.

    Parameters
    ----------
    dims : int
        Length of a vector.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self._count = 0
        self._longest = 0.0
        self._place = np.zeros(0, np.int32)  # one more than the slot of a row; 0 where it has none
        self._bytes = _room(0, dims)

    def follow(self, matrix: FloatArray, held: BoolArray, rows: RowArray) -> None:
        """Take in rows whose vectors in ``matrix`` were written, or which were taken out of the mask ``held``."""
        if not len(rows):
            return
        if int(rows.max()) >= len(self._place):
            place = np.zeros(2 * int(rows.max()) + 1, np.int32)
            place[: len(self._place)] = self._place
            self._place = place
        if self._count + len(rows) > len(self._bytes.rows):
            grown = _room(2 * (self._count + len(rows)), self.dims)
            _copy(self._bytes, grown)
            self._bytes = grown
        there = rows[held[rows]]
        self._longest = max(self._longest, float(np.abs(matrix[there]).max(initial=0.0)) * self.dims**0.5)
        self._count = _follow(self._bytes, self._place, self._count, matrix, held, rows)

    def promising(self, vector: FloatArray, k: int, allowed: BoolArray) -> RowArray | None:
        """The rows under a mask that may be among the best k, in no order; None where bytes say nothing of a vector.

        ``allowed`` is by row and says no beyond its end.
        """
        wide = vector.astype(np.float64)
        step = float(np.abs(wide).max(initial=0.0)) / ((2**31 - 1) // max(MOST * self.dims, 1 << 16))
        if not 0 < step < np.inf:
            return None
        query = np.rint(wide / step)
        length, left = (float(np.sqrt((part * part).sum())) for part in (wide, wide - step * query))
        if length * self._longest > _LARGE:
            return None
        # In steps, so that nothing of use over- or underflows; rounding of sums in float32 is counted twice over.
        rounding = (self.dims + 16) * 2.0**-22
        bounds = np.array([length, left + rounding * (length + left), self.dims * 2.0**-148 * (1 + length)], np.float64)
        pairs = np.zeros((-(-self.dims // 2), 2), np.int16)
        pairs.reshape(-1)[: self.dims] = query
        slack = (bounds / step * (1 + 2.0**-20)).astype(np.float32)
        return _promising(self._bytes, self._count, pairs.view(np.int32).ravel(), slack, k, allowed)

    def memory(self) -> int:
        """Bytes in use and room to grow."""
        return sum(array.nbytes for array in self._bytes) + self._place.nbytes


def _room(slots: int, dims: int) -> Bytes:
    blocks = -(-slots // LANES)
    raw = np.zeros(blocks * LANES * 2 * -(-dims // 2) + 64, np.int8)
    start = -raw.ctypes.data % 64
    scale, off, size = (np.zeros(blocks * LANES, np.float32) for _ in range(3))
    return Bytes(raw[start : len(raw) - 64 + start], scale, off, size, np.zeros(blocks * LANES, np.int32))


def _copy(old: Bytes, new: Bytes) -> None:
    new.codes[: len(old.codes)] = old.codes
    new.rows[: len(old.rows)] = old.rows
    for target, source in ((new.scale, old.scale), (new.off, old.off), (new.size, old.size)):
        target[: len(source)] = source


@njit(nogil=True, cache=True)
def _follow(kept: Bytes, place: RowArray, count: int, matrix: FloatArray, held: BoolArray, rows: RowArray) -> int:
    """Write, move and drop slots; how many there are then. A slot that falls free takes the last one's place."""
    for row in rows:
        slot = place[row] - 1
        if held[row]:
            if slot < 0:
                slot, count = count, count + 1
                place[row], kept.rows[slot] = slot + 1, row
            _encode(kept, slot, matrix[row])
        elif slot >= 0:
            count -= 1
            last = kept.rows[count]
            if last != row:
                _encode(kept, slot, matrix[last])
                place[last], kept.rows[slot] = slot + 1, last
            place[row] = 0
    return count


@njit(nogil=True, cache=True)
def _encode(kept: Bytes, slot: int, vector: FloatArray) -> None:
    dims = vector.shape[0]
    most = np.float32(0)
    for x in vector:
        most = max(most, abs(x))
    scale = np.float32(most / MOST)
    off, size = 0.0, 0.0
    start = slot // LANES * LANES * (dims + dims % 2) + slot % LANES * 2
    for d in range(dims):
        code = min(max(np.rint(vector[d] / scale), -MOST), MOST) if scale > 0 else 0.0
        kept.codes[start + d // 2 * 2 * LANES + d % 2] = np.int8(code)
        near = np.float64(scale) * code
        off += (vector[d] - near) ** 2
        size += near**2
    kept.scale[slot] = scale
    kept.off[slot] = np.sqrt(off) * (1 + 2.0**-20) + 2.0**-149
    kept.size[slot] = (np.sqrt(off) + np.sqrt(size)) * (1 + 2.0**-20) + 2.0**-149


@njit(nogil=True, cache=True)
def _promising(kept: Bytes, count: int, query: RowArray, slack: FloatArray, k: int, allowed: BoolArray) -> RowArray:
    """See ``Coarse.promising``; slack (3,) is what ``off``, ``size`` and 1 add to a bound."""
    least, waiting, best = np.float32(-np.inf), 0, np.empty(2 * k + BLOCK, np.float32)
    upper = np.empty(count, np.float32)
    dots, lower, high = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.float32), np.empty(count + 1, np.int32)
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        for at in range(start, stop, LANES):
            pair_sums(kept.codes, at * 2 * len(query), query, dots[at - start :])
        of_block = kept.scale[start:stop], kept.off[start:stop], kept.size[start:stop]
        _bounds(dots, of_block[0], of_block[1], of_block[2], slack, lower, upper[start:stop])
        for i in high[: _at_least(lower[: stop - start], least, high)]:
            best[waiting] = lower[i]
            waiting += lower[i] > least and _is_in(allowed, kept.rows[start + i])
        if waiting >= 2 * k or (stop == count and waiting > k):
            best[:k] = np.partition(best[:waiting], waiting - k)[waiting - k :]
            waiting, least = k, best[:k].min()
    if waiting == k:
        least = best[:k].min()
    found = 0
    for slot in high[: _at_least(upper, least, high)]:
        high[found] = kept.rows[slot]
        found += _is_in(allowed, kept.rows[slot])
    return high[:found]


@njit(nogil=True, cache=True)
def _bounds(
    dots: RowArray,
    scale: FloatArray,
    off: FloatArray,
    size: FloatArray,
    slack: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
) -> None:
    """Write the bounds of some slots, in steps of the query."""
    a, b, c = slack[0], slack[1], slack[2]
    for i in range(scale.shape[0]):
        near, apart = np.float32(dots[i]) * scale[i], off[i] * a + size[i] * b + c
        lower[i], upper[i] = near - apart, near + apart


@njit(nogil=True, cache=True)
def _at_least(values: FloatArray, least: np.float32, out: RowArray) -> int:
    """Write where values are not below a number, as those are that are none; how many."""
    found = 0
    for i in range(values.shape[0]):
        out[found] = i
        found += not values[i] < least
    return found


@njit(nogil=True, cache=True)
def _is_in(allowed: BoolArray, row: int) -> bool:
    return bool(row < allowed.shape[0] and allowed[row])
