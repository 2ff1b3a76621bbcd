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
        # Block, start and length of each row's text, side by side.
        self._places: RowArray = np.zeros((64, 3), np.int32)

    def __getitem__(self, row: int) -> bytes:
        if row >= len(self._places):
            return b""
        block, start, length = self._places[row].tolist()
        return bytes(memoryview(self._blocks[block])[start : start + length])

    def listed(self, rows: RowArray) -> bytes:
        """The texts of rows (n,), each of which has one, as one JSON array."""
        # Joined in one go, so that a processor waits for several of them at a time.
        texts = [
            memoryview(self._blocks[block])[start : start + length]
            for block, start, length in self._places[rows].tolist()
        ]
        return b"[%b]" % b",".join(texts)

    def __setitem__(self, row: int, text: bytes) -> None:
        if row >= len(self._places):
            room = max(row + 1, 2 * len(self._places))
            self._places = np.concatenate([self._places, np.zeros((room - len(self._places), 3), np.int32)])
        left = self._places.item(row, 0)
        self._live[left] -= self._places.item(row, 2)
        self._places[row] = 0
        self._write(row, text)
        if left < len(self._blocks) - 1 and 2 * self._live[left] < len(self._blocks[left]):
            self._empty(left)

    def first(self, rows: int) -> Iterator[bytes]:
        """The texts of the first rows, in order."""
        return (self[row] for row in range(rows))

    @property
    def nbytes(self) -> int:
        """Memory that all texts take, and where they lie."""
        return sum(map(len, self._blocks)) + self._places.nbytes

    def _write(self, row: int, text: bytes) -> None:
        if self._blocks[-1] and len(self._blocks[-1]) + len(text) > BLOCK:
            self._begin()
        last = self._blocks[-1]
        self._places[row] = len(self._blocks) - 1, len(last), len(text)
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
        blocks, _, lengths = self._places.T
        there: IntArray = np.flatnonzero((blocks == block) & (lengths > 0))
        texts = [(row, self[row]) for row in there.tolist()]
        self._blocks[block], self._live[block] = bytearray(), 0
        for row, text in texts:
            self._write(row, text)
