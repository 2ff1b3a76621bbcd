"""The catalog's rows as JSON, in blocks of some megabytes: no object a row, and nothing to copy as it grows."""

from collections.abc import Iterator

import numpy as np

from features.types import IntArray, RowArray

BLOCK = 1 << 22


class Payloads:
    """A text by item row, empty at first. A block that has come to be half dead is written anew."""

    def __init__(self) -> None:
        self._blocks = [bytearray()]
        self._live = [0]
        self._block: RowArray = np.zeros(64, np.int32)
        self._start: RowArray = np.zeros(64, np.int32)
        self._length: RowArray = np.zeros(64, np.int32)

    def __getitem__(self, row: int) -> bytes:
        if row >= len(self._length) or not self._length[row]:
            return b""
        start = self._start.item(row)
        return bytes(memoryview(self._blocks[self._block.item(row)])[start : start + self._length.item(row)])

    def of(self, rows: RowArray) -> tuple[bytes, ...]:
        """The texts of rows (n,), each of which has one."""
        places = (some[rows].tolist() for some in (self._block, self._start, self._length))
        return tuple(
            bytes(memoryview(self._blocks[block])[start : start + length])
            for block, start, length in zip(*places, strict=True)
        )

    def __setitem__(self, row: int, text: bytes) -> None:
        if row >= len(self._length):
            room = max(row + 1, 2 * len(self._length))
            self._block, self._start, self._length = (
                np.concatenate([some, np.zeros(room - len(some), np.int32)])
                for some in (self._block, self._start, self._length)
            )
        left = self._block.item(row)
        self._live[left] -= self._length.item(row)
        self._length[row] = 0
        self._write(row, text)
        if left < len(self._blocks) - 1 and 2 * self._live[left] < len(self._blocks[left]):
            self._empty(left)

    def first(self, rows: int) -> Iterator[bytes]:
        """The texts of the first rows, in order."""
        return (self[row] for row in range(rows))

    @property
    def nbytes(self) -> int:
        """Memory that all texts take, and where they lie."""
        return sum(map(len, self._blocks)) + 12 * len(self._length)

    def _write(self, row: int, text: bytes) -> None:
        if self._blocks[-1] and len(self._blocks[-1]) + len(text) > BLOCK:
            self._begin()
        last = self._blocks[-1]
        self._block[row], self._start[row], self._length[row] = len(self._blocks) - 1, len(last), len(text)
        last += text
        self._live[-1] += len(text)

    def _begin(self) -> None:
        full = len(self._blocks) - 1
        self._blocks.append(bytearray())
        self._live.append(0)
        if 2 * self._live[full] < len(self._blocks[full]):
            self._empty(full)

    def _empty(self, block: int) -> None:
        """Write what lives in a block once more at the end, and let go of it."""
        there: IntArray = np.flatnonzero((self._block == block) & (self._length > 0))
        texts = [(row, self[row]) for row in there.tolist()]
        self._blocks[block], self._live[block] = bytearray(), 0
        for row, text in texts:
            self._write(row, text)
