"""What rooms and videos sell, by row, so that a rule can ask it of a page's candidates at once.

The catalog's row of a room names the products of its cart; here they are rows of the state. It is kept only where a
policy has rules.
"""

from collections.abc import Collection
from typing import NamedTuple

import msgspec
import numpy as np

from features.outcomes import PRODUCT
from features.state import FeatureState
from features.types import IntArray, RowArray


class _Face(msgspec.Struct, frozen=True, tag="item"):
    products: tuple[str, ...] = ()
    attributes: dict[str, str | float] = {}


_FACE = msgspec.json.Decoder(_Face)


class WareArrays(NamedTuple):
    """By item row: where its products begin in ``pool`` and their number; a bit for each mark it has."""

    start: IntArray
    size: RowArray
    marks: IntArray
    pool: RowArray


class Wares:
    """Carts and marks of the items of a state; the caller holds the state's mutex.

    Parameters
    ----------
    state : FeatureState
    kinds : collection of int
        Codes of the kinds whose products are asked for.
    marks : tuple of str
        Attributes of products that count, at most ``MOST_MARKS``; the first has bit 0.
    """

    def __init__(self, state: FeatureState, kinds: Collection[int], marks: tuple[str, ...]) -> None:
        self._state = state
        self._kinds = frozenset(kinds) - {PRODUCT}
        self._marks = marks
        self.arrays = WareArrays(
            np.zeros(64, np.int64), np.zeros(64, np.int32), np.zeros(64, np.int64), np.zeros(64, np.int32)
        )
        self._used = 0
        self._awaited: dict[str, set[int]] = {}
        self.follow(state.described())

    def follow(self, rows: RowArray) -> None:
        """Take in item rows whose catalog row changed; with them carts that named a product before it was known."""
        known = len(self._state.items)
        if known > len(self.arrays.start):
            more = 2 * known - len(self.arrays.start)
            start, size, marks, pool = self.arrays
            self.arrays = WareArrays(np.pad(start, (0, more)), np.pad(size, (0, more)), np.pad(marks, (0, more)), pool)
        kinds = self._state.arrays.items.categories[rows, 4]
        for row in rows[np.isin(kinds, [*self._kinds])].tolist():
            self._take_cart(row, _FACE.decode(self._state.payloads[row]).products)
        if self._marks:
            for row in rows[kinds == PRODUCT].tolist():
                attributes = _FACE.decode(self._state.payloads[row]).attributes
                bits = sum(1 << bit for bit, name in enumerate(self._marks) if attributes.get(name))
                self.arrays.marks[row] = bits
        if self._awaited:
            self._arrive(rows)

    def _arrive(self, rows: RowArray) -> None:
        for name in [self._state.items.name(row) for row in rows.tolist()]:
            for waiting in sorted(self._awaited.pop(name, ())):
                self._take_cart(waiting, _FACE.decode(self._state.payloads[waiting]).products)

    def _take_cart(self, row: int, names: tuple[str, ...]) -> None:
        products = self._state.items.find_all(names) if names else np.zeros(0, np.int32)
        for name, product in zip(names, products.tolist(), strict=True):
            if not product:
                self._awaited.setdefault(name, set()).add(row)
        products = products[products > 0]
        start, size, _, pool = self.arrays
        if self._used + len(products) > len(pool):
            self._tidy(len(products))
            start, size, _, pool = self.arrays
        pool[self._used : self._used + len(products)] = products
        start[row], size[row] = self._used, len(products)
        self._used += len(products)

    def _tidy(self, more: int) -> None:
        """A pool with room for as much again, without what was replaced."""
        start, size, marks, pool = self.arrays
        sells = np.flatnonzero(size)
        held = np.concatenate([np.zeros(0, np.int32), *(pool[start[row] : start[row] + size[row]] for row in sells)])
        start[sells] = np.cumsum(size[sells]) - size[sells]
        self._used = len(held)
        self.arrays = WareArrays(start, size, marks, np.pad(held, (0, 64 + more + len(held))))
