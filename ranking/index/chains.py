"""Which rows stand in which list, and their bytes: chains of chunks that grow, shrink and are read in place.

A row that comes is written behind the last of its list; one that goes leaves its slot to the last.
Either costs a few writes, however many there are. The bytes of a chunk's rows lie side by side, so that whoever reads a
list reads stretches of memory. What the bytes say is not known here.
What searches read is ``Chains.pool``, for kernels that do more in one go than find rows.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.fold.lanes import LANES, prefetch
from features.fold.stretch import Stretch
from features.types import BoolArray, ByteArray, IntArray, RowArray

CHUNK = 64
"""Rows that stand side by side: 4 lines of the processor's cache."""
AHEAD = 32
"""So many rows before its slot is read a row's is fetched."""
SOON = 2
"""So many lists before it is read the last chunk of one is fetched."""
NONE = -1


class Pool(NamedTuple):
    """Chunks of lists.

    Attributes
    ----------
    rows : (chunks · CHUNK,) int32
        The row in each slot.
    codes : (chunks · CHUNK, width) uint8
        The bytes of the row in each slot.
    before, owner : (chunks,) int32
        The chunk that a list has filled before, or that is free too; the list of a chunk.
    last, sizes : (lists,) int32
        The chunk that a list fills now; how many rows it holds.
    free : (2,) int32
        The first of the chunks that were given back; how many were ever taken.
    """

    rows: RowArray
    codes: ByteArray
    before: RowArray
    owner: RowArray
    last: RowArray
    sizes: RowArray
    free: RowArray


class Chains:
    """Rows by list, and the list of each row.

    Parameters
    ----------
    lists : int
    width : int
        Bytes of a row.
    """

    def __init__(self, lists: int, width: int = 0) -> None:
        rows, before, owner, self._place = (np.zeros(0, np.int32) for _ in range(4))
        # Nobody waits for the bytes of all rows to be copied.
        self._stretch = Stretch[ByteArray]((width,), np.uint8)
        last, sizes = np.full(lists, NONE, np.int32), np.zeros(lists, np.int32)
        self.pool = Pool(rows, self._stretch.array, before, owner, last, sizes, np.array([NONE, 0], np.int32))

    def __len__(self) -> int:
        """How many lists there are."""
        return len(self.pool.sizes)

    @property
    def sizes(self) -> RowArray:
        """How many rows each list (lists,) holds."""
        return self.pool.sizes

    @property
    def nbytes(self) -> int:
        """Bytes in use and room to grow, but for those of rows."""
        pool = self.pool
        parts = (pool.rows, pool.before, pool.owner, pool.last, pool.sizes, pool.free, self._place)
        return sum(part.nbytes for part in parts)

    @property
    def bytes_of_rows(self) -> int:
        """Bytes of rows in chunks that were ever taken."""
        return int(self.pool.free[1] * CHUNK * self.pool.codes.shape[1])

    def put(self, rows: RowArray, lists: IntArray) -> None:
        """Have rows (n,), 0 or more, stand in lists (n,); whatever list they stood in before."""
        if len(rows):
            self._reserve(len(rows), int(rows.max()) + 1)
            _put(self.pool, self._place, rows, lists)

    def drop(self, rows: RowArray) -> None:
        """Take rows out; those that are in no list are ignored."""
        _drop(self.pool, self._place, rows)

    def filed(self) -> tuple[RowArray, RowArray]:
        """All rows (n,), ascending, and their lists (n,)."""
        rows = np.flatnonzero(self._place).astype(np.int32)
        return rows, self.pool.owner[(self._place[rows] - 1) // CHUNK]

    def slots(self, rows: RowArray) -> RowArray:
        """Where rows (n,) and their bytes stand; -1 for those in no list."""
        return slots_of(self._place, rows)

    def of(self, lists: IntArray, allowed: BoolArray | None) -> RowArray:
        """The rows of some lists, those under a mask by row if one is given; it says no beyond its end."""
        mask = np.zeros(0, np.bool_) if allowed is None else allowed
        return found_in(self.pool, lists, mask, allowed is not None)[1]

    def _reserve(self, more: int, rows: int) -> None:
        """Room for more rows, each of which may take a chunk, and for the places of rows below a number."""
        pool = self.pool
        if len(pool.owner) < pool.free[1] + more:
            chunks = max(int(pool.free[1]) + more, len(pool.owner) * 3 // 2)
            short = chunks - len(pool.owner)
            grown = (
                np.pad(pool.rows, (0, CHUNK * short)),
                self._stretch.reserve(CHUNK * chunks),
                np.pad(pool.before, (0, short)),
                np.pad(pool.owner, (0, short)),
            )
            self.pool = Pool(*grown, pool.last, pool.sizes, pool.free)
        if len(self._place) < rows:
            self._place = np.pad(self._place, (0, max(rows, len(self._place) * 3 // 2) - len(self._place)))


@njit(nogil=True, cache=True)
def _put(pool: Pool, place: RowArray, rows: RowArray, lists: IntArray) -> None:
    for i in range(rows.shape[0]):
        row, at = rows[i], lists[i]
        _take_out(pool, place, row)
        within = pool.sizes[at] % CHUNK
        if within == 0:
            chunk = pool.free[0]
            if chunk == NONE:
                chunk = pool.free[1]
                pool.free[1] += 1
            else:
                pool.free[0] = pool.before[chunk]
            pool.before[chunk], pool.owner[chunk], pool.last[at] = pool.last[at], at, chunk
        slot = pool.last[at] * CHUNK + within
        pool.rows[slot], place[row] = row, slot + 1
        pool.sizes[at] += 1


@njit(nogil=True, cache=True)
def _drop(pool: Pool, place: RowArray, rows: RowArray) -> None:
    for row in rows:
        if 0 <= row < place.shape[0]:
            _take_out(pool, place, row)


@njit(nogil=True, cache=True)
def _take_out(pool: Pool, place: RowArray, row: int) -> None:
    """Have the last of its list stand where a row stood; places are one more than slots, 0 where there is none."""
    if place[row] == 0:
        return
    slot = place[row] - 1
    at = pool.owner[slot // CHUNK]
    pool.sizes[at] -= 1
    within, chunk = pool.sizes[at] % CHUNK, pool.last[at]
    moved = pool.rows[chunk * CHUNK + within]
    pool.codes[slot] = pool.codes[chunk * CHUNK + within]
    pool.rows[slot], place[moved], place[row] = moved, slot + 1, 0
    if within == 0:
        pool.last[at] = pool.before[chunk]
        pool.before[chunk], pool.free[0] = pool.free[0], chunk


@njit(nogil=True, cache=True)
def slots_of(place: RowArray, rows: RowArray) -> RowArray:
    """See ``Chains.slots``."""
    out, size = np.empty(rows.shape[0], np.int32), rows.shape[0]
    for i in range(size):
        prefetch(place, int(min(max(rows[min(i + AHEAD, size - 1)], 0), place.shape[0] - 1)))
        row = rows[i]
        out[i] = place[row] - 1 if 0 <= row < place.shape[0] else -1
    return out


@njit(nogil=True, cache=True)
def found_in(pool: Pool, lists: IntArray, allowed: BoolArray, filtered: bool) -> tuple[RowArray, RowArray]:
    """The slots and rows of some lists; if it is ``filtered``, those under a mask by row alone."""
    total = 0
    for at in lists:
        total += pool.sizes[at]
    slots, rows, n, end = np.empty(total + 1, np.int32), np.empty(total + 1, np.int32), 0, allowed.shape[0]
    for i in range(lists.shape[0]):
        chunk, left = pool.last[lists[i]], pool.sizes[lists[i]]
        if i + SOON < lists.shape[0]:
            fetch(pool, pool.last[lists[i + SOON]])
        while left > 0:
            size, first, before = (left - 1) % CHUNK + 1, chunk * CHUNK, pool.before[chunk]
            fetch(pool, before)
            for slot in range(first, first + size):
                # Written first and counted or not, since a branch could not be foreseen.
                row = pool.rows[slot]
                slots[n], rows[n] = slot, row
                n += not filtered or (row < end and allowed[row])
            chunk, left = before, left - size
    return slots[:n], rows[:n]


@njit(nogil=True, cache=True)
def fetch(pool: Pool, chunk: int) -> None:
    """Have a chunk's rows, and which chunk was filled before it, come from memory; of no chunk nothing."""
    if chunk != NONE:
        prefetch(pool.before, int(chunk))
        for row in range(0, CHUNK, LANES):
            prefetch(pool.rows, int(chunk * CHUNK + row))
