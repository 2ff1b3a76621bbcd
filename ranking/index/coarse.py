"""A copy of vectors in bytes that says which of them are worth reading: a quarter of the memory, and nothing is lost.

A vector x is kept as ``scale · codes`` with codes from -127 to 127, and beside it the length of what that leaves out.
A person's vector v becomes whole numbers too, ``step · query``. By Cauchy and Schwarz the product of both in whole
numbers is then at most ``off·|v| + |scale·codes|·|v - step·query|`` away from x·v, and the float32 sum of
``scan`` as much further as rounding allows. Rows whose upper bound is below the k-th best lower bound are not
among the best k; all others are scored anew from their floats. So the answer has the same bits as a search of all.
What that bound will be about is guessed from a sample first: most rows are then compared once, and a guess that was too
high is found out.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.fold.lanes import BITS, LANES, pair_sums, prefetch
from features.types import BoolArray, CodeArray, FloatArray, RowArray
from ranking.index.scan import at_least

MOST = 127
"""The largest code of a number."""
BLOCK = 1024
"""Slots that are looked at in one go."""
AHEAD = 1 << 14
"""So many bytes before they are read they are fetched; a processor by itself looks less far ahead."""
LINE, LOOKS = 64, 256
SAMPLED, SPARSE = 64, 8
"""Groups of ``BITS`` slots that are looked at first; only where they are one slot in so many at most."""
_LARGE = 1e37
"""Products beyond it might overflow in float32, where the order of scores is not that of the bounds."""


class Bytes(NamedTuple):
    """Vectors as bytes in slots without gaps, sixteen a block.

    Attributes
    ----------
    codes : flat int8
        Block after block, then two dimensions after two: of sixteen slots both numbers each.
    scale, off : (slots,) float32
        What a code of 1 stands for; the length of what the codes leave out, rounded up.
    rows : (slots,) int32
        The row of each slot.
    """

    codes: CodeArray
    scale: FloatArray
    off: FloatArray
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
        # What the codes stand for is no longer than the vector and twice what they leave out.
        apart = left + rounding * (length + left)
        bounds = np.array([length + 2 * apart, self._longest * apart + self.dims * 2.0**-148 * (1 + length)])
        pairs = np.zeros((-(-self.dims // 2), 2), np.int16)
        pairs.reshape(-1)[: self.dims] = query
        slack = (bounds / step * (1 + 2.0**-20)).astype(np.float32)
        return _promising(self._bytes, self._count, pairs.view(np.int32).ravel(), slack, k, allowed)

    def about(self, allowed: BoolArray) -> int:
        """About how many rows are there and in a mask, by some that are spread over all."""
        return _about(self._bytes.rows, self._count, allowed)

    def memory(self) -> int:
        """Bytes in use and room to grow."""
        return sum(array.nbytes for array in self._bytes) + self._place.nbytes


def _room(slots: int, dims: int) -> Bytes:
    blocks = -(-slots // LANES)
    raw = np.zeros(blocks * LANES * 2 * -(-dims // 2) + 64, np.int8)
    start = -raw.ctypes.data % 64
    scale, off = (np.zeros(blocks * LANES, np.float32) for _ in range(2))
    return Bytes(raw[start : len(raw) - 64 + start], scale, off, np.zeros(blocks * LANES, np.int32))


def _copy(old: Bytes, new: Bytes) -> None:
    new.codes[: len(old.codes)] = old.codes
    new.rows[: len(old.rows)] = old.rows
    for target, source in ((new.scale, old.scale), (new.off, old.off)):
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
    off = 0.0
    start = slot // LANES * LANES * (dims + dims % 2) + slot % LANES * 2
    for d in range(dims):
        code = min(max(np.rint(vector[d] / scale), -MOST), MOST) if scale > 0 else 0.0
        kept.codes[start + d // 2 * 2 * LANES + d % 2] = np.int8(code)
        off += (vector[d] - np.float64(scale) * code) ** 2
    kept.scale[slot] = scale
    kept.off[slot] = np.sqrt(off) * (1 + 2.0**-20) + 2.0**-149


@njit(nogil=True, cache=True)
def _about(rows: RowArray, count: int, allowed: BoolArray) -> int:
    step, found, looked = max(1, count // LOOKS), 0, 0
    for slot in range(0, count, step):
        found, looked = found + _is_in(allowed, rows[slot]), looked + 1
    return found * count // max(looked, 1)


@njit(nogil=True, cache=True)
def _promising(kept: Bytes, count: int, query: RowArray, slack: FloatArray, k: int, allowed: BoolArray) -> RowArray:
    """See ``Coarse.promising``; slack (2,) is what ``off`` and 1 add to a bound."""
    found, rows = _search(kept, count, query, slack, k, allowed, _guess(kept, count, query, slack, k, allowed))
    if found < 0:
        found, rows = _search(kept, count, query, slack, k, allowed, np.float32(-np.inf))
    return rows[:found]


@njit(nogil=True, cache=True)
def _guess(kept: Bytes, count: int, query: RowArray, slack: FloatArray, k: int, allowed: BoolArray) -> np.float32:
    """A number that k lower bounds probably reach, by a sample; below all where a sample would not pay."""
    size = SAMPLED * BITS
    if count < SPARSE * size:
        return np.float32(-np.inf)
    share = k * size / count
    best = np.full(int(share + 3 * np.sqrt(share)) + 2, -np.inf, np.float32)
    dots, lower, upper = np.empty(BITS, np.int32), np.empty(BITS, np.float32), np.empty(BITS, np.float32)
    for n in range(SAMPLED):
        start = n * count // size * BITS
        _bounds(kept, start, start + BITS, query, slack, dots, lower, upper)
        for i in range(BITS):
            if lower[i] > best[-1] and _is_in(allowed, kept.rows[start + i]):
                at = best.shape[0] - 1
                while at > 0 and best[at - 1] < lower[i]:
                    best[at] = best[at - 1]
                    at -= 1
                best[at] = lower[i]
    least: np.float32 = best[-1]
    return least


@njit(nogil=True, cache=True)
def _search(
    kept: Bytes, count: int, query: RowArray, slack: FloatArray, k: int, allowed: BoolArray, least: np.float32
) -> tuple[int, RowArray]:
    """How many rows may be among the best k, and these first; -1 where fewer than k are known to reach ``least``."""
    waiting, best, found = 0, np.empty(2 * k + BLOCK, np.float32), 0
    rows, high = np.empty(count + 1, np.int32), np.empty(count + 1, np.float32)
    dots, lower, upper = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    flags, some, lowest_of_all = np.zeros(BLOCK, np.bool_), np.empty(BLOCK, np.int32), least
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        _bounds(kept, start, stop, query, slack, dots, lower, upper)
        for i in some[: at_least(upper[: stop - start], least, flags, some)]:
            row = kept.rows[start + i]
            rows[found], high[found], best[waiting] = row, upper[i], lower[i]
            is_in = _is_in(allowed, row)
            found += is_in
            waiting += is_in and lower[i] > least
        if waiting >= 2 * k or (stop == count and waiting > k):
            best[:k] = np.partition(best[:waiting], waiting - k)[waiting - k :]
            waiting, least = k, best[:k].min()
    if waiting < k and lowest_of_all > -np.inf:
        return -1, rows
    if waiting == k:
        least = best[:k].min()
    left = 0
    for i in range(found):
        rows[left] = rows[i]
        left += not high[i] < least
    return left, rows


@njit(nogil=True, cache=True)
def _bounds(
    kept: Bytes,
    start: int,
    stop: int,
    query: RowArray,
    slack: FloatArray,
    dots: RowArray,
    lower: FloatArray,
    upper: FloatArray,
) -> None:
    """Write the bounds of some slots, in steps of the query."""
    wide = 2 * LANES * len(query)
    for at in range(start, stop, LANES):
        first = at // LANES * wide
        for line in range(first + AHEAD, min(first + AHEAD + wide, len(kept.codes)), LINE):
            prefetch(kept.codes, line)
        pair_sums(kept.codes, first, query, dots[at - start :])
    scale, off, of_off, least = kept.scale[start:stop], kept.off[start:stop], slack[0], slack[1]
    for i in range(scale.shape[0]):
        near, apart = np.float32(dots[i]) * scale[i], off[i] * of_off + least
        lower[i], upper[i] = near - apart, near + apart


@njit(nogil=True, cache=True)
def _is_in(allowed: BoolArray, row: int) -> bool:
    return bool(row < allowed.shape[0] and allowed[row])
