"""Millions of ids to rows, in a few flat arrays: an id takes its own bytes and about twenty more.

A ``Vocabulary`` of as many would take some 150 bytes an id, and a call of Python for each that a log names.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numba import njit

from features.types import ByteArray, HashArray, IntArray, RowArray

Array = TypeVar("Array", ByteArray, IntArray, HashArray)
SEED = np.uint64(hash("ids") & 0xFFFF_FFFF_FFFF_FFFF)
"""Another one in each process, as Python's own: nobody can choose ids that fall together. No row depends on it."""


class Ids:
    """A growing map of ids to rows, dense and in the order of first appearance; row 0 is the empty id.

    Parameters
    ----------
    names : iterable of str
        Ids to begin with, in row order, without the empty one.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._size = 1
        self._offsets: IntArray = np.zeros(65, np.int64)
        self._text: ByteArray = np.zeros(1024, np.uint8)
        self._hashes: HashArray = np.zeros(64, np.uint64)
        self._table: RowArray = np.zeros(128, np.int32)
        self.enrol([pa.array(names, pa.string())])

    def __len__(self) -> int:
        return self._size

    @property
    def names(self) -> list[str]:
        """All ids in row order, made anew with every call."""
        offsets, text = pa.py_buffer(self._offsets), pa.py_buffer(self._text)
        names: list[str] = pa.LargeStringArray.from_buffers(self._size, offsets, text).to_pylist()
        return names

    @property
    def nbytes(self) -> int:
        """Memory in use and room to grow."""
        return sum(array.nbytes for array in (self._offsets, self._text, self._hashes, self._table))

    def name(self, row: int) -> str:
        """The id of a row."""
        start, stop = self._offsets[row : row + 2].tolist()
        return self._text[start:stop].tobytes().decode()

    def find(self, name: str) -> int:
        """The row of an id, 0 where it has none."""
        text = np.frombuffer(_encoded(name), np.uint8)
        row: int = _find_one(self._offsets, self._text, self._hashes, self._table, text, SEED)
        return row

    def find_all(self, names: Sequence[str]) -> RowArray:
        """The rows of ids (n,) int32, 0 where one has none."""
        texts = [_encoded(name) for name in names]
        ends = np.fromiter(accumulate(map(len, texts), initial=0), np.int64, len(texts) + 1)
        text, out = np.frombuffer(b"".join(texts), np.uint8), np.empty(len(texts), np.int32)
        _find(self._offsets, self._text, self._hashes, self._table, text, ends, SEED, out)
        return out

    def add(self, name: str) -> int:
        """The row of an id, a new one where it has none."""
        return int(self.enrol([pa.array([name], pa.string())])[0][0])

    def enrol(self, columns: Sequence[pa.Array]) -> RowArray:
        """The rows (columns, n) int32 of columns of strings of one length, new ones in order of line, then column."""
        texts, starts, stops = zip(*map(_parts, columns), strict=True)
        shifts = np.cumsum([0, *map(len, texts[:-1])])[:, None]
        text = texts[0] if len(texts) == 1 else np.concatenate(texts)
        begin, end = ((np.array(some) + shifts).T.ravel() for some in (starts, stops))
        self._reserve(len(begin), int((end - begin).sum()))
        out = np.empty(len(begin), np.int32)
        self._size = _enrol(
            self._offsets, self._text, self._hashes, self._table, self._size, text, begin, end, SEED, out
        )
        return out.reshape(-1, len(columns)).T

    def _reserve(self, more: int, text: int) -> None:
        """Make room for as many more ids if all of them should be new."""
        rows, used = self._size + more, int(self._offsets[self._size])
        if rows > len(self._hashes):
            room = max(rows, 2 * len(self._hashes))
            self._hashes, self._offsets = _longer(self._hashes, room), _longer(self._offsets, room + 1)
        if used + text > len(self._text):
            self._text = _longer(self._text, max(used + text, 2 * len(self._text)))
        if 4 * rows > 3 * len(self._table):
            self._table = np.zeros(1 << (4 * rows // 3).bit_length(), np.int32)
            _fill(self._hashes, self._table, self._size)


def _encoded(name: str) -> bytes:
    # Text that is no Unicode is nobody's id, and no error.
    return name.encode("utf-8", "surrogatepass")


def _longer(array: Array, length: int) -> Array:
    longer = np.zeros(length, array.dtype)
    longer[: len(array)] = array
    return longer


def _parts(column: pa.Array) -> tuple[ByteArray, IntArray, IntArray]:
    """The bytes of a column of strings, and where in them each (n,) starts and stops."""
    _, offsets, text = column.buffers()
    if not len(column) or text is None:
        none = np.zeros(len(column), np.int64)
        return np.zeros(0, np.uint8), none, none
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    return np.frombuffer(text, np.uint8)[: bounds[-1]], bounds[:-1], bounds[1:]


@njit(nogil=True, cache=True)
def _hash(text: ByteArray, start: int, stop: int, seed: np.uint64) -> np.uint64:
    """FNV-1a, its upper half folded down: the table reads the lower bits."""
    hashed = seed
    for i in range(start, stop):
        hashed = (hashed ^ np.uint64(text[i])) * np.uint64(0x100000001B3)
    return (hashed ^ (hashed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)


@njit(nogil=True, cache=True)
def _slot(
    offsets: IntArray,
    texts: ByteArray,
    hashes: HashArray,
    table: RowArray,
    text: ByteArray,
    start: int,
    stop: int,
    hashed: np.uint64,
) -> int:
    """The place in the table where an id stands, or would."""
    at: int = np.int64(hashed >> np.uint64(20)) & (table.shape[0] - 1)
    while table[at] != 0:
        row = table[at]
        begin = offsets[row]
        if hashes[row] == hashed and offsets[row + 1] - begin == stop - start:
            same = True
            for i in range(stop - start):
                same &= texts[begin + i] == text[start + i]
            if same:
                return at
        at = (at + 1) & (table.shape[0] - 1)
    return at


@njit(nogil=True, cache=True)
def _find(
    offsets: IntArray,
    texts: ByteArray,
    hashes: HashArray,
    table: RowArray,
    text: ByteArray,
    ends: IntArray,
    seed: np.uint64,
    out: RowArray,
) -> None:
    for i in range(out.shape[0]):
        start, stop = ends[i], ends[i + 1]
        hashed = _hash(text, start, stop, seed)
        out[i] = table[_slot(offsets, texts, hashes, table, text, start, stop, hashed)]


@njit(nogil=True, cache=True)
def _find_one(
    offsets: IntArray, texts: ByteArray, hashes: HashArray, table: RowArray, text: ByteArray, seed: np.uint64
) -> int:
    hashed = _hash(text, 0, text.shape[0], seed)
    return int(table[_slot(offsets, texts, hashes, table, text, 0, text.shape[0], hashed)])


@njit(nogil=True, cache=True)
def _enrol(
    offsets: IntArray,
    texts: ByteArray,
    hashes: HashArray,
    table: RowArray,
    size: int,
    text: ByteArray,
    begin: IntArray,
    end: IntArray,
    seed: np.uint64,
    out: RowArray,
) -> int:
    """Give rows to ids; returns how many there are then."""
    for i in range(begin.shape[0]):
        start, stop = begin[i], end[i]
        if start == stop:
            out[i] = 0
            continue
        hashed = _hash(text, start, stop, seed)
        at = _slot(offsets, texts, hashes, table, text, start, stop, hashed)
        if table[at] == 0:
            here = offsets[size]
            for j in range(stop - start):
                texts[here + j] = text[start + j]
            offsets[size + 1] = here + stop - start
            hashes[size] = hashed
            table[at] = size
            size += 1
        out[i] = table[at]
    return size


@njit(nogil=True, cache=True)
def _fill(hashes: HashArray, table: RowArray, size: int) -> None:
    for row in range(1, size):
        at = np.int64(hashes[row] >> np.uint64(20)) & (table.shape[0] - 1)
        while table[at] != 0:
            at = (at + 1) & (table.shape[0] - 1)
        table[at] = row
