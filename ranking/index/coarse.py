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

from features.fold.lanes import BITS, LANES, bounds, lowest, prefetch
from features.types import BoolArray, CodeArray, FloatArray, HashArray, RowArray
from ranking.index.scan import in_order, nearest

MOST = 127
"""The largest code of a number."""
AHEAD = 1 << 12
"""So many bytes before they are read they are fetched; a processor by itself looks less far ahead."""
BLOCK = 1024
"""Slots that are looked at in one go."""
LINE, LOOKS = 64, 256
PICKY, SPARSE = 4, 8
"""Bytes are read when one row in so many is wanted at most, and one in so many may be given at least."""
SAMPLED, SOON = 128, 2
"""Blocks that are looked at first, where they are one in ``SPARSE`` at most; each is fetched so many before it."""
_LARGE = 1e37
"""Products beyond it might overflow in float32, where the order of scores is not that of the bounds."""


class Bytes(NamedTuple):
    """Vectors as bytes in slots without gaps, sixteen a block.

    Attributes
    ----------
    codes : flat int8
        Block after block, then two dimensions after two: of sixteen slots both numbers each. Behind the codes of a
        block its numbers of four bytes: of each slot what a code of 1 stands for, then of each the length of what the
        codes leave out, rounded up.
    numbers : flat float32
        The same memory.
    rows : (slots,) int32
        The row of each slot.
    """

    codes: CodeArray
    numbers: FloatArray
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

    def best(
        self, matrix: FloatArray, vector: FloatArray, k: int, allowed: BoolArray
    ) -> tuple[RowArray, FloatArray] | None:
        """The best k rows under a mask and their products, highest first, ties by row.

        ``allowed`` is by row and says no beyond its end. None where floats alone find them as fast, or bytes say
        nothing of a vector.
        """
        is_done, rows, scores = _best(self._bytes, self._count, self._longest, matrix, vector, k, allowed)
        return (rows, scores) if is_done else None

    def memory(self) -> int:
        """Bytes in use and room to grow."""
        return sum(array.nbytes for array in self._bytes) + self._place.nbytes


def _room(slots: int, dims: int) -> Bytes:
    blocks = -(-slots // LANES)
    size = blocks * _size(-(-dims // 2))
    raw = np.zeros(size + LINE, np.int8)
    start = -raw.ctypes.data % LINE
    codes = raw[start : start + size]
    return Bytes(codes, codes.view(np.float32), np.zeros(blocks * LANES, np.int32))


@njit(nogil=True, cache=True)
def _size(pairs: int) -> int:
    """Bytes of a block."""
    return 2 * LANES * pairs + 8 * LANES


def _copy(old: Bytes, new: Bytes) -> None:
    new.codes[: len(old.codes)] = old.codes
    new.rows[: len(old.rows)] = old.rows


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
    size = _size((dims + 1) // 2)
    start = slot // LANES * size + slot % LANES * 2
    for d in range(dims):
        code = min(max(np.rint(vector[d] / scale), -MOST), MOST) if scale > 0 else 0.0
        kept.codes[start + d // 2 * 2 * LANES + d % 2] = np.int8(code)
        off += (vector[d] - np.float64(scale) * code) ** 2
    number = ((slot // LANES + 1) * size - 8 * LANES) // 4 + slot % LANES
    kept.numbers[number] = scale
    kept.numbers[number + LANES] = np.sqrt(off) * (1 + 2.0**-20) + 2.0**-149


@njit(nogil=True, cache=True)
def _best(
    kept: Bytes, count: int, longest: float, matrix: FloatArray, vector: FloatArray, k: int, allowed: BoolArray
) -> tuple[bool, RowArray, FloatArray]:
    """See ``Coarse.best``: all in one go, since coming back to the interpreter costs most where caches are cold."""
    there, none = _about(kept.rows, count, allowed), (np.empty(0, np.int32), np.empty(0, np.float32))
    if not 0 < PICKY * k <= there or there * SPARSE < count:
        return False, none[0], none[1]
    is_known, query, slack = _asked(vector, longest)
    if not is_known:
        return False, none[0], none[1]
    rows = _promising(kept, count, query, slack, k, allowed)
    # Fewer where what is there was guessed too high.
    found = min(k, len(rows))
    best, scores = np.empty(found, np.int32), np.empty(found, np.float32)
    nearest(matrix, rows, vector, best, scores)
    in_order(best, scores)
    return True, best, scores


@njit(nogil=True, cache=True)
def _about(rows: RowArray, count: int, allowed: BoolArray) -> int:
    """About how many rows are there and in a mask, by some that are spread over all."""
    step, found, looked = max(1, count // LOOKS), 0, 0
    for slot in range(0, count, step):
        found, looked = found + _is_in(allowed, rows[slot]), looked + 1
    return found * count // max(looked, 1)


@njit(nogil=True, cache=True)
def _asked(vector: FloatArray, longest: float) -> tuple[bool, RowArray, FloatArray]:
    """A vector in whole numbers, and slack (2,): what ``off`` and 1 add to a bound. First whether they say anything."""
    dims, most, total, missed = vector.shape[0], 0.0, 0.0, 0.0
    pairs, slack = np.zeros(dims + dims % 2, np.int16), np.zeros(2, np.float32)
    for x in vector:
        most = max(most, abs(np.float64(x)))
    step = most / ((2**31 - 1) // max(MOST * dims, 1 << 16))
    if not 0 < step < np.inf:
        return False, pairs.view(np.int32), slack
    for d in range(dims):
        x = np.float64(vector[d])
        whole = np.rint(x / step)
        pairs[d] = np.int16(whole)
        total, missed = total + x * x, missed + (x - step * whole) ** 2
    length, left = np.sqrt(total), np.sqrt(missed)
    # In steps, so that nothing of use over- or underflows; rounding of sums in float32 is counted twice over.
    rounding = (dims + 16) * 2.0**-22
    # What the codes stand for is no longer than the vector and twice what they leave out.
    apart = left + rounding * (length + left)
    slack[0] = (length + 2 * apart) / step * (1 + 2.0**-20)
    slack[1] = (longest * apart + dims * 2.0**-148 * (1 + length)) / step * (1 + 2.0**-20)
    return length * longest <= _LARGE, pairs.view(np.int32), slack


@njit(nogil=True, cache=True)
def _promising(kept: Bytes, count: int, query: RowArray, slack: FloatArray, k: int, allowed: BoolArray) -> RowArray:
    """The rows under a mask that may be among the best k, in no order; slack (2,) is what ``off`` and 1 add."""
    found, rows = _search(kept, count, query, slack, k, allowed, _guess(kept, count, query, slack, k, allowed))
    if found < 0:
        found, rows = _search(kept, count, query, slack, k, allowed, np.float32(-np.inf))
    return rows[:found]


@njit(nogil=True, cache=True)
def _guess(kept: Bytes, count: int, query: RowArray, slack: FloatArray, k: int, allowed: BoolArray) -> np.float32:
    """A number that k lower bounds probably reach, by a sample; below all where a sample would not pay."""
    size = SAMPLED * LANES
    if count < SPARSE * size:
        return np.float32(-np.inf)
    share = k * size / count
    best = np.full(int(share + 3 * np.sqrt(share)) + 2, -np.inf, np.float32)
    lower, upper, wide = np.empty(LANES, np.float32), np.empty(LANES, np.float32), _size(len(query))
    for n in range(-SOON, SAMPLED):
        soon = min(n + SOON, SAMPLED - 1) * (count // LANES) // SAMPLED * wide
        for line in range(soon, soon + wide, LINE):
            prefetch(kept.codes, line)
        if n >= 0:
            block = n * (count // LANES) // SAMPLED
            word = bounds(kept.codes, block * wide, query, slack[0], slack[1], best[-1], lower, upper, 0)
            while word:
                i = lowest(word)
                word &= word - np.uint64(1)
                if lower[i] > best[-1] and _is_in(allowed, kept.rows[block * LANES + i]):
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
    lower, upper, lowest_of_all = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), least
    words = np.empty(BLOCK // BITS, np.uint64)
    for start in range(0, count, BLOCK):
        _bounds(kept.codes, start, query, slack, least, words, lower, upper)
        for n in range(min(BLOCK, count - start + BITS - 1) // BITS):
            word = words[n]
            while word:
                i = n * BITS + lowest(word)
                word &= word - np.uint64(1)
                if start + i < count and _is_in(allowed, kept.rows[start + i]):
                    rows[found], high[found], best[waiting] = kept.rows[start + i], upper[i], lower[i]
                    found += 1
                    waiting += lower[i] > least
        if waiting >= 2 * k:
            best[:k] = np.partition(best[:waiting], waiting - k)[waiting - k :]
            waiting, least = k, best[:k].min()
    if waiting < k and lowest_of_all > -np.inf:
        return -1, rows
    if waiting >= k:
        least = max(least, np.partition(best[:waiting], waiting - k)[waiting - k])
    left = 0
    for i in range(found):
        rows[left] = rows[i]
        left += not high[i] < least
    return left, rows


@njit(nogil=True, cache=True)
def _bounds(
    codes: CodeArray,
    start: int,
    query: RowArray,
    slack: FloatArray,
    least: np.float32,
    words: HashArray,
    lower: FloatArray,
    upper: FloatArray,
) -> None:
    """Write the bounds of slots, in steps of the query, and which of ``BITS`` each may reach a number."""
    wide, of_off, floor = _size(len(query)), slack[0], slack[1]
    for n in range(words.shape[0]):
        word = np.uint64(0)
        for part in range(0, BITS, LANES):
            first = (start + n * BITS + part) // LANES * wide
            if first < len(codes):
                for line in range(first + AHEAD, min(first + AHEAD + wide, len(codes)), LINE):
                    prefetch(codes, line)
                some = bounds(codes, first, query, of_off, floor, least, lower, upper, n * BITS + part)
                word |= some << np.uint64(part)
        words[n] = word


@njit(nogil=True, cache=True)
def _is_in(allowed: BoolArray, row: int) -> bool:
    return bool(row < allowed.shape[0] and allowed[row])
