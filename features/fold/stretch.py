"""Arrays that grow where they lie: addresses are reserved beforehand, memory is taken as rows are used.

Whoever makes an array longer copies nothing, and those who hold it as it was go on reading it.
"""

import math
import mmap
import sys
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import DTypeLike

from features.types import AnyArray

REACH = 1 << 23
"""Rows that an array may grow to in place; beyond them it is copied to twice as much."""
MORE = 1 << 16
"""Rows that an array has beyond those that are needed, at most, when it is made longer."""
LARGE = 1 << 22
"""Bytes from which an array is kept in huge pages, where the system has them."""
_UNCOUNTED = 0x4000 if sys.platform == "linux" else 0
"""``MAP_NORESERVE``, which Python names from 3.13 on: what is not used does not count against memory."""
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _UNCOUNTED
Array = TypeVar("Array", bound=AnyArray)


def room_for(rows: int) -> int:
    """So many rows and some more."""
    return rows + min(max(rows, 32), MORE)


class Stretch(Generic[Array]):
    """An array (rows, …) that grows.

    Parameters
    ----------
    tail : tuple of int
        The shape of a row.
    dtype : dtype
    blank : array, optional
        What a row is filled with at first; by default zeros.

    Attributes
    ----------
    array : array
        The rows as they are; it begins with a line of the processor's cache.
    """

    def __init__(self, tail: tuple[int, ...], dtype: DTypeLike, blank: AnyArray | None = None) -> None:
        self._tail, self._dtype, self._blank = tail, np.dtype(dtype), blank
        self._advised = 0
        self._reserve(REACH, 1)
        self.array = self._rows(0)

    def reserve(self, rows: int) -> Array:
        """The array with at least so many rows; some more when it is made longer, so that it seldom is."""
        return self.array if rows <= len(self.array) else self.grow(room_for(rows))

    def grow(self, rows: int) -> Array:
        """The array, made as long as so many rows where it is shorter."""
        known = len(self.array)
        if rows > known:
            if rows > len(self._whole):
                before = self.array
                self._reserve(2 * rows, rows)
                self._whole[:known] = before
            self.array = self._rows(rows)
            self._advise(self.array.nbytes)
            if self._blank is not None:
                self.array[known:] = self._blank
        return self.array

    def _reserve(self, rows: int, least: int) -> None:
        """Addresses for so many rows; for fewer where a system gives no more, but for ``least``."""
        size = rows * math.prod(self._tail) * self._dtype.itemsize
        try:
            self._memory = mmap.mmap(-1, max(size, mmap.PAGESIZE), flags=_FLAGS)
        except OSError:
            if rows == least:
                raise
            self._reserve(max(rows // 8, least), least)
            return
        count = size // self._dtype.itemsize
        self._whole: AnyArray = np.frombuffer(self._memory, self._dtype, count).reshape(rows, *self._tail)
        self._advised = 0

    def _rows(self, count: int) -> Array:
        return cast("Array", self._whole[:count])

    def _advise(self, size: int) -> None:
        """Ask for huge pages under what is used: fewer addresses are looked up, and less of a small array is taken."""
        upto = size // LARGE * LARGE
        if upto > self._advised and hasattr(mmap, "MADV_HUGEPAGE"):
            self._memory.madvise(mmap.MADV_HUGEPAGE, self._advised, upto - self._advised)
            self._advised = upto
