"""Where a feature state lies in memory: its arrays, made for a layout, grown by copying, listed in a fixed order."""

import ctypes
from collections.abc import Mapping

import numpy as np

from features.arrays import (
    BOUGHT,
    N_ENTITIES,
    PAIR_ENTRIES,
    RING,
    SEEN,
    WATCHED,
    Arrays,
    Items,
    PairTable,
    Rings,
    SlotArrays,
    Table,
    Users,
)
from features.schema import ITEM_NUMBERS, ITEM_TIMES, USER_TIMES, Layout
from features.types import AnyArray, FloatArray, RowArray

LINE = 64
"""Bytes of one line of the processor's cache."""


def allocate(layout: Layout, rows: Mapping[str, int]) -> Arrays:
    """Empty arrays with so many rows by entity, one where ``rows`` does not say."""
    sizes = [rows.get(name, 1) for name in ("user", "item", "author", "merchant", "brand", "category", "kind")]
    n_users, n_items = sizes[0], sizes[1]
    shapes = [(len(slots.counters), len(slots.recencies)) for slots in layout.slots]
    tables = tuple(
        Table(np.zeros((n, s), np.float32), np.zeros(n, np.int64), np.zeros((n, r), np.int64))
        for n, (s, r) in zip(sizes, shapes[:N_ENTITIES], strict=True)
    )
    pairs = tuple(
        PairTable(
            np.zeros((n_users, k), np.int32),
            np.zeros((n_users, k, s), np.float32),
            np.zeros((n_users, k), np.int64),
            np.zeros((n_users, k, r), np.int64),
        )
        for k, (s, r) in zip(PAIR_ENTRIES, shapes[N_ENTITIES:], strict=True)
    )
    rings = Rings(
        np.zeros((n_users, RING), np.int32),
        np.zeros((n_users, RING), np.int64),
        np.zeros((n_users, RING), np.float32),
        np.zeros((n_users, SEEN), np.int32),
        np.zeros((n_users, SEEN), np.uint32),
        np.zeros((n_users, BOUGHT), np.int32),
        np.zeros((n_users, BOUGHT), np.uint32),
        np.zeros((n_users, WATCHED), np.uint64),
        np.zeros((n_users, 4), np.int32),
    )
    numbers = np.full((n_items, len(layout.item_numbers)), np.nan, np.float32)
    numbers[:, : len(ITEM_NUMBERS)] = 0
    items = Items(
        np.zeros((n_items, len(layout.item_categories)), np.int32),
        numbers,
        np.zeros((n_items, len(ITEM_TIMES)), np.int64),
        np.zeros(n_items, np.bool_),
        np.zeros(n_items, np.bool_),
        np.zeros(n_items, np.int64),
        np.zeros(n_items, np.int32),
    )
    users = Users(
        np.zeros((n_users, len(layout.user_categories)), np.int32),
        np.full((n_users, len(layout.user_numbers)), np.nan, np.float32),
        np.zeros((n_users, len(USER_TIMES)), np.int64),
        np.ones(n_users, np.bool_),
    )
    return Arrays(tables, pairs, rings, items, users)


def leaves(arrays: Arrays) -> list[AnyArray]:
    """The arrays themselves, in a fixed order."""
    groups = (*arrays.tables, *arrays.pairs, arrays.rings, arrays.items, arrays.users)
    return [array for group in groups for array in group]


def move(old: list[AnyArray], new: list[AnyArray]) -> None:
    """Copy the rows of old leaves into new ones; each is let go when it is copied, and ``old`` is empty then."""
    for target in reversed(new):
        source = old.pop()
        target[: len(source)] = source


def slot_arrays(layout: Layout) -> SlotArrays:
    """The layout's slots as arrays."""

    def padded(rows: list[list[int]]) -> RowArray:
        return np.array([row + [-1] * (max(map(len, rows)) - len(row)) for row in rows], np.int32)

    return SlotArrays(
        padded([[action for action, _ in slots.counters] for slots in layout.slots]),
        padded([[life for _, life in slots.counters] for slots in layout.slots]),
        padded([list(slots.recencies) for slots in layout.slots]),
        np.array(layout.half_lives_ms, np.float64),
    )


def give_back() -> None:
    """Hand memory that lies free between what is kept to the operating system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def aligned(rows: int, dims: int) -> FloatArray:
    """Zeros (rows, dims) float32 whose first number begins a line of the processor's cache."""
    raw = np.zeros(rows * dims + LINE // 4, np.float32)
    start = -raw.ctypes.data % LINE // 4
    return raw[start : start + rows * dims].reshape(rows, dims)
