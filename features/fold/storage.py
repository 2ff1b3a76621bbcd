"""Where a feature state lies in memory: its arrays, made for a layout, grown in place, listed in a fixed order."""

import ctypes
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from features.fold.arrays import (
    BOUGHT,
    ITEM,
    N_ENTITIES,
    PAIR_ENTRIES,
    RING,
    SEEN,
    SPILT,
    USER,
    WATCHED,
    Arrays,
    Items,
    PairTable,
    Rings,
    Sessions,
    SlotArrays,
    Table,
    Users,
)
from features.layout import ITEM_NUMBERS, ITEM_TIMES, USER_TIMES, Layout
from features.types import AnyArray, FloatArray, RowArray

LINE = 64
"""Bytes of one line of the processor's cache."""


class Form(NamedTuple):
    """A leaf: the entity that its rows are of, or ``SPILT``; the shape, type and first content of a row."""

    entity: int
    tail: tuple[int, ...]
    dtype: DTypeLike
    blank: AnyArray | None = None


def forms(layout: Layout) -> list[Form]:
    """The leaves of a layout's arrays, in the order of ``leaves``."""
    shapes = [(len(slots.counters), len(slots.recencies)) for slots in layout.slots]
    found = []
    for of, (s, r) in enumerate(shapes[:N_ENTITIES]):
        found += [Form(of, (s,), np.float32), Form(of, (), np.int64), Form(of, (r,), np.int64)]
    for k, (s, r) in zip(PAIR_ENTRIES, shapes[N_ENTITIES:], strict=True):
        found += [Form(USER, (k,), np.int32), Form(USER, (k, s), np.float32)]
        found += [Form(USER, (k,), np.int64), Form(USER, (k, r), np.int64)]
    return found + _ring_forms() + _item_forms(layout) + _user_forms(layout) + _session_forms()


def _ring_forms() -> list[Form]:
    return [
        *(Form(USER, (RING,), kind) for kind in (np.int32, np.int64, np.float32)),
        *(Form(USER, (size,), kind) for size in (SEEN, BOUGHT) for kind in (np.int32, np.uint32)),
        Form(USER, (WATCHED,), np.uint64),
        Form(USER, (4,), np.int32),
    ]


def _item_forms(layout: Layout) -> list[Form]:
    numbers = np.full(len(layout.item_numbers), np.nan, np.float32)
    numbers[: len(ITEM_NUMBERS)] = 0
    return [
        Form(ITEM, (len(layout.item_categories),), np.int32),
        Form(ITEM, numbers.shape, np.float32, numbers),
        Form(ITEM, (len(ITEM_TIMES),), np.int64),
        *(Form(ITEM, (), kind) for kind in (np.bool_, np.bool_, np.int64, np.int32)),
    ]


def _user_forms(layout: Layout) -> list[Form]:
    return [
        Form(USER, (len(layout.user_categories),), np.int32),
        Form(USER, (len(layout.user_numbers),), np.float32, np.array(np.nan, np.float32)),
        Form(USER, (len(USER_TIMES),), np.int64),
        Form(USER, (), np.bool_, np.array(True)),
    ]


def _session_forms() -> list[Form]:
    return [Form(USER, (2,), np.uint32), Form(USER, (), np.int64), Form(SPILT, (3,), np.uint32)]


def arrays_of(flat: Iterable[AnyArray]) -> Arrays:
    """Arrays of their leaves, in the order of ``leaves``."""
    some = iter(flat)
    return Arrays(
        tuple(Table._make(islice(some, len(Table._fields))) for _ in range(N_ENTITIES)),
        tuple(PairTable._make(islice(some, len(PairTable._fields))) for _ in PAIR_ENTRIES),
        Rings._make(islice(some, len(Rings._fields))),
        Items._make(islice(some, len(Items._fields))),
        Users._make(islice(some, len(Users._fields))),
        Sessions._make(some),
    )


def leaves(arrays: Arrays) -> list[AnyArray]:
    """The arrays themselves, in a fixed order."""
    groups = (*arrays.tables, *arrays.pairs, arrays.rings, arrays.items, arrays.users, arrays.sessions)
    return [array for group in groups for array in group]


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
