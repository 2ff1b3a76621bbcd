"""Codes of candidates straight from the state: no float of them is kept, and what many share is read and coded once.

A column is decided by the row of one entity (or by the person's entry of a pair) and by the item's kind. A page's
candidates have few categories, brands and hosts, and most are in none of the person's entries: so each column is made
of the distinct rows among them, and its codes are handed out. The item's own columns are made of all, and with the same
loops as ``features.fold.assemble``: hence to the same bits.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.fold.arrays import AUTHOR, CATEGORY, ITEM, KIND, N_ENTITIES, USER, Arrays, SlotArrays
from features.fold.assemble import Asked, Asker, View, begin_tile, keys_of, new_asker, write_column
from features.fold.faded import TILE
from features.fold.lanes import LANES, prefetch
from features.types import ByteArray, DoubleArray, IntArray, RowArray, TickArray
from ranking.forest.codes import code_feature, columns_of
from ranking.forest.model import Model, aligned, stride_of

FEW = 8
"""Of so few rows it is looked whether all have one code."""


class Moving(NamedTuple):
    """The features (d,) that must be read, by what decides them: those of entity or pair e from ``begins[e]`` on."""

    columns: IntArray
    begins: IntArray


class Still(NamedTuple):
    """Codes (rows, k) by item row, and the columns (k,) of codes that they are of."""

    codes: ByteArray
    columns: IntArray


@njit(nogil=True, cache=True, error_model="numpy")
def code_live(
    model: Model,
    arrays: Arrays,
    slots: SlotArrays,
    learned: View,
    context: DoubleArray,
    user: int,
    now_ms: int,
    items: RowArray,
    moving: Moving,
    still: Still,
) -> ByteArray:
    """The codes (columns, ``stride_of(n)``) of items (n,), as ``Coded.table`` has them.

    What comes after ``model`` is as in ``features.fold.assemble.Asked``.
    """
    asked = Asked(arrays, slots, learned, context, user, now_ms)
    n, stride, columns = len(items), stride_of(len(items)), model.members.place[-1]
    codes = aligned(columns * stride)
    if n == 0:
        return codes.reshape(columns, stride)
    asker = new_asker(asked)
    copy_still(still, items, codes, stride)
    keys = keys_of(asked, items)
    kinds = keys[KIND].astype(np.uint32)
    for of in range(N_ENTITIES + 2):
        some = moving.columns[moving.begins[of] : moving.begins[of + 1]]
        if not len(some):
            continue
        if of == ITEM:
            code_columns(model, asked, asker, of, items, kinds, some, codes, stride)
            continue
        group, first = grouped(keys[of], kinds)
        few, wide = keys[of][first], stride_of(len(first))
        of_groups = np.empty(model.members.place[-1] * wide, np.uint8)
        code_columns(model, asked, asker, of, few, kinds[first], some, of_groups, wide)
        for j in some:
            first_code, stop = columns_of(model, j)
            for c in range(first_code, stop):
                hand_out(of_groups[c * wide : c * wide + len(first)], group, codes[c * stride : c * stride + n])
    return codes.reshape(columns, stride)


@njit(nogil=True, cache=True, error_model="numpy")
def copy_still(still: Still, items: RowArray, codes: ByteArray, stride: int) -> None:
    """The columns of codes that are known by item row."""
    flat, wide = still.codes.reshape(-1), still.codes.shape[1]
    if not wide:
        return
    for row in items:
        prefetch(flat, np.int64(row) * wide)
    for i in range(len(items)):
        at = np.int64(items[i]) * wide
        for k in range(wide):
            codes[still.columns[k] * stride + i] = flat[at + k]


@njit(nogil=True, cache=True, error_model="numpy")
def code_columns(
    model: Model,
    asked: Asked,
    asker: Asker,
    of: int,
    rows: RowArray,
    kinds: TickArray,
    columns: IntArray,
    codes: ByteArray,
    stride: int,
) -> None:
    """The codes of some columns of entity or pair ``of``, a tile of rows at a time."""
    keys, values = np.empty((N_ENTITIES + 2, TILE), np.int32), np.empty(TILE, np.float32)
    for start in range(0, len(rows), TILE):
        size = min(TILE, len(rows) - start)
        tile, column = keys[:, :size], values[:size]
        tile[of] = rows[start : start + size]
        fetch(asked, of, tile[of])
        begin_tile(asker)
        for j in columns:
            write_column(asked, asker, tile, kinds[start : start + size], j, column)
            code_feature(model, j, column, size, codes[start:], stride)


@njit(nogil=True, cache=True, error_model="numpy")
def grouped(rows: RowArray, kinds: TickArray) -> tuple[TickArray, RowArray]:
    """The group (n,) of each row and kind, and where each group stands first."""
    bits = 1
    while (1 << bits) < 2 * len(rows):
        bits += 1
    shift, mask = np.uint64(64 - bits), (1 << bits) - 1
    slots, first = np.full(1 << bits, -1, np.int32), np.empty(len(rows), np.int32)
    group, count = np.empty(len(rows), np.uint32), 0
    for i in range(len(rows)):
        key = np.uint64(np.uint32(rows[i])) * np.uint64(8) + np.uint64(kinds[i])
        # Fibonacci hashing (Knuth): the high bits of a product with 2**64 over the golden ratio.
        at = np.int64(key * np.uint64(11400714819323198485) >> shift)
        found = slots[at]
        while found >= 0 and (rows[first[found]] != rows[i] or kinds[first[found]] != kinds[i]):
            at = (at + 1) & mask
            found = slots[at]
        if found < 0:
            found = slots[at] = count
            first[count] = i
            count += 1
        group[i] = found
    return group, first[:count]


@njit(nogil=True, cache=True, error_model="numpy")
def hand_out(some: ByteArray, group: TickArray, out: ByteArray) -> None:
    """Give each row the code of its group."""
    if len(some) <= FEW and (some == some[0]).all():
        out[:] = some[0]
        return
    for i in range(len(group)):
        out[i] = some[group[i]]


@njit(nogil=True, cache=True, error_model="numpy")
def fetch(asked: Asked, of: int, rows: RowArray) -> None:
    """Have what rows of an entity hold come from memory side by side, and do not wait for it."""
    if of == USER or of >= N_ENTITIES:
        return
    table, vectors, times = asked.arrays.tables[of], asked.learned.vectors, asked.arrays.items.times
    matrix = vectors.item if of == ITEM else vectors.author if of == AUTHOR else vectors.category
    values, last, flat = table.values.reshape(-1), table.last.reshape(-1), matrix.reshape(-1)
    slots, recencies, dims = table.values.shape[1], table.last.shape[1], matrix.shape[1]
    has_vector = of in (ITEM, AUTHOR, CATEGORY)
    for row in rows:
        at = np.int64(row) if row > 0 else np.int64(0)
        for k in range(0, slots, LANES):
            prefetch(values, at * slots + k)
        prefetch(table.stamp, int(at))
        if recencies:
            prefetch(last, at * recencies)
        if of == ITEM:
            prefetch(times.reshape(-1), at * times.shape[1])
        if has_vector and at < matrix.shape[0]:
            for k in range(0, dims, LANES):
                prefetch(flat, at * dims + k)
