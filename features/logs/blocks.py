"""Whom each stretch of a log's live part names: marks, by which a search for people passes over all other stretches.

An index by person would be written at random places with every append. Marks are written once a stretch, in order: the
checksums of the names in it. Names are drawn by lot, so that a mark tells nobody who somebody was; whoever a log of
before knows by the id has none, and is looked for everywhere.
"""

import sqlite3
import zlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from features.logs.people import MARK
from features.types import AnyArray

BLOCK = 1_000
"""Records of one stretch: its marks fit into one page of the file."""
TABLE = """
CREATE TABLE IF NOT EXISTS blocks (block INTEGER PRIMARY KEY, marks BLOB NOT NULL, crc INTEGER NOT NULL)"""
_PUT = "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)"
_READ = "SELECT block, marks, crc FROM blocks WHERE block < ? ORDER BY block"
_DROP = "DELETE FROM blocks WHERE block < (SELECT stop FROM archived) / ?"


class Blocks:
    """Marks of the stretch that records are appended to; what was begun before this was made gets none.

    Appends that failed may leave marks too many, which cost a look; none is ever missing.
    """

    def __init__(self) -> None:
        self._block, self._is_whole, self._marks = -1, False, set[int]()

    def take(self, live: sqlite3.Connection, first: int, names: Sequence[str]) -> None:
        """Take in whom records name in order, "" for nobody, from an offset on; marks of what is full are kept."""
        for low in range(first - first % BLOCK, first + len(names), BLOCK):
            self._enter(low // BLOCK, is_whole=low >= first)
            here = names[max(low - first, 0) : low + BLOCK - first]
            self._marks |= {_mark(name) for name in set(here) if name.startswith(MARK)}
            if low + BLOCK <= first + len(names) and self._is_whole:
                marks = np.sort(np.fromiter(self._marks, np.uint32, len(self._marks))).astype("<u4").tobytes()
                live.execute(_PUT, (low // BLOCK, marks, _crc(low // BLOCK, marks)))

    def _enter(self, block: int, *, is_whole: bool) -> None:
        if is_whole or block != self._block:
            self._block, self._is_whole, self._marks = block, is_whole, set()


def naming(live: sqlite3.Connection, names: Collection[str], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The stretches, as offsets, that may hold records of people; those without are passed over."""
    passed = _without(live, names, stop) if all(name.startswith(MARK) for name in names) else set()
    low = start
    for block in range(start // BLOCK, -(-stop // BLOCK)):
        if block in passed:
            if low < block * BLOCK:
                yield low, block * BLOCK
            low = max(low, (block + 1) * BLOCK)
    if low < stop:
        yield low, stop


def drop_archived(live: sqlite3.Connection) -> None:
    """Delete the marks of stretches that are archived."""
    live.execute(_DROP, (BLOCK,))


def _without(live: sqlite3.Connection, names: Collection[str], stop: int) -> set[int]:
    """The stretches before an offset whose marks are none of these people's."""
    sought = np.array([_mark(name) for name in names], np.uint32)
    return {
        block
        for block, marks, check in live.execute(_READ, (stop // BLOCK,))
        if check == _crc(block, marks) and not _has_any(np.frombuffer(marks, "<u4"), sought)
    }


def _has_any(marks: AnyArray, sought: AnyArray) -> bool:
    """Whether marks, which are sorted, hold one that is sought."""
    if not len(marks):
        return False
    found: bool = (marks.take(np.searchsorted(marks, sought), mode="clip") == sought).any().item()
    return found


def _mark(name: str) -> int:
    return zlib.crc32(name.encode())


def _crc(block: int, marks: bytes) -> int:
    return zlib.crc32(marks, block & 0xFFFF_FFFF)
