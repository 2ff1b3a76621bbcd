"""The kernel that reads: feature rows of a person and many items, as of one moment, without writing anything."""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.arrays import AUTHOR, AUTHORS, CATEGORIES, CATEGORY, ITEM, KIND, N_ENTITIES, USER, Arrays, SlotArrays
from features.counters import exp2_neg
from features.faded import TILE, counter, counters_of, new_counters, recency, seconds_since
from features.lanes import LANES, dot, prefetch
from features.plan import (
    CONTEXT,
    COSINE,
    ITEM_AGE,
    ITEM_CATEGORY,
    ITEM_NUMBER,
    LENGTH,
    RATE,
    RECENCY,
    USER_CATEGORY,
    USER_NUMBER,
    Plan,
)
from features.types import DoubleArray, FloatArray, IntArray, RowArray

COSINE_OF = (ITEM, AUTHOR, CATEGORY)

RING_HALF_LIFE_MS = 7 * 86_400_000.0
"""How fast an item in the ring fades from the person's vector."""


class Vectors(NamedTuple):
    """Vectors (rows, dims) float32 by row of item, author and category; a row of zeros where there is none."""

    item: FloatArray
    author: FloatArray
    category: FloatArray


class View(NamedTuple):
    """What a reader knows beside the state.

    codes (categorical columns, vocabulary rows) float32 is the code of each vocabulary row; beyond its width and
    where nothing is known, 0.
    """

    plan: Plan
    codes: FloatArray
    vectors: Vectors


@njit(nogil=True, cache=True)
def user_vector(arrays: Arrays, view: View, user: int, now_ms: int, out: FloatArray) -> bool:
    """Write the person's unit vector: items of the ring by strength, faded by age. False (zeros) without any."""
    vectors, dims = view.vectors, out.shape[0]
    total, flat = np.zeros(dims, np.float64), vectors.item.reshape(-1)
    for item in arrays.rings.item[user]:
        if item != 0 and item < vectors.item.shape[0]:
            # Lines of all of them come side by side, not one after the other.
            for k in range(0, dims, LANES):
                prefetch(flat, np.intp(item) * dims + k)
    for j in range(arrays.rings.item.shape[1]):
        item = arrays.rings.item[user, j]
        if item != 0 and item < vectors.item.shape[0]:
            age = max(0, now_ms - arrays.rings.ms[user, j])
            weight = arrays.rings.strength[user, j] * exp2_neg(age / RING_HALF_LIFE_MS)
            for k in range(dims):
                total[k] += weight * vectors.item[item, k]
    norm = 0.0
    for k in range(dims):
        norm += total[k] * total[k]
    for k in range(dims):
        out[k] = total[k] / np.sqrt(norm) if norm > 0 else 0.0
    return norm > 0


@njit(nogil=True, cache=True)
def assemble(
    arrays: Arrays,
    slots: SlotArrays,
    view: View,
    context: DoubleArray,
    user: int,
    items: RowArray,
    now_ms: int,
    columns: IntArray,
    out: FloatArray,
) -> None:
    """Write some feature columns of ``items`` for one person at one time.

    Parameters
    ----------
    context : DoubleArray
        In the order of ``CONTEXT_NUMBERS`` then ``CONTEXT_CATEGORIES``.
    columns : IntArray
        The features to write; the rest is left as it is.
    out : FloatArray
        (d, n) float32: a feature's values lie side by side.
    """
    plan, n = view.plan, items.shape[0]
    vector = np.empty(view.vectors.item.shape[1], np.float32)
    known = user_vector(arrays, view, user, now_ms, vector)
    counters = new_counters(arrays, plan)
    for start in range(0, n, TILE):
        some = items[start : start + TILE]
        keys = entity_rows(arrays.items.categories, user, some)
        for pair in range(2):
            find_entries(arrays.pairs[pair].keys[user], keys[N_ENTITIES + pair])
        kinds = keys[KIND].astype(np.uint32)
        counters.read[:] = False
        counters.faded[:] = False
        for j in columns:
            op, column = plan.op[j], out[j][start : start + TILE]
            if op >= COSINE:
                which = plan.a[j]
                vectors = view.vectors
                matrix = vectors.item if which == 0 else vectors.author if which == 1 else vectors.category
                rows = keys[COSINE_OF[which]]
                if op == LENGTH:
                    length(matrix, rows, column)
                else:
                    product(vector, known, matrix, rows, op == COSINE, column)
            elif op < RATE:
                stored(arrays, view, context, user, keys, now_ms, j, column)
            elif op == RECENCY:
                recency(counters_of(arrays, plan.of[j], user)[2], keys[plan.of[j]], plan.a[j], now_ms, column)
            else:
                counter(arrays, slots, plan, counters, user, keys[plan.of[j]], kinds, now_ms, j, column)


@njit(nogil=True, cache=True)
def stored(
    arrays: Arrays,
    view: View,
    context: DoubleArray,
    user: int,
    keys: RowArray,
    now_ms: int,
    j: int,
    out: FloatArray,
) -> None:
    """A column of the context, the item's row or the person's."""
    op, a, b = view.plan.op[j], view.plan.a[j], view.plan.b[j]
    if op == CONTEXT:
        out[:] = context[a]
    elif op == ITEM_NUMBER:
        copy(arrays.items.numbers[:, a], keys[ITEM], out)
    elif op == ITEM_CATEGORY:
        code(view.codes[b], arrays.items.categories[:, a], keys[ITEM], out)
    elif op == ITEM_AGE:
        age(arrays.items.times[:, a], keys[ITEM], now_ms, out)
    elif op == USER_NUMBER:
        out[:] = arrays.users.numbers[user, a]
    elif op == USER_CATEGORY:
        code(view.codes[b], arrays.users.categories[:, a], keys[USER], out)
    else:
        age(arrays.users.times[:, a], keys[USER], now_ms, out)


@njit(nogil=True, cache=True)
def entity_rows(categories: RowArray, user: int, items: RowArray) -> RowArray:
    """(entities + pairs, n) int32: the row, or the key of a pair, of each item; -1 where it has none."""
    keys = np.empty((N_ENTITIES + 2, items.shape[0]), np.int32)
    for i in range(items.shape[0]):
        item = items[i]
        keys[USER, i] = user if user != 0 else -1
        keys[ITEM, i] = item
        for column in range(4):
            row = categories[item, column]
            keys[AUTHOR + column, i] = row if row != 0 else -1
        keys[KIND, i] = categories[item, 4]
        keys[N_ENTITIES + AUTHORS, i] = keys[AUTHOR, i]
        keys[N_ENTITIES + CATEGORIES, i] = keys[CATEGORY, i]
    return keys


@njit(nogil=True, cache=True)
def find_entries(have: RowArray, keys: RowArray) -> None:
    """Put the entry of each key among a person's in its place, -1 where it has none."""
    out = np.full(keys.shape[0], -1, np.int32)
    for entry in range(have.shape[0]):
        key = have[entry]
        if key > 0:
            for i in range(keys.shape[0]):
                out[i] = entry if keys[i] == key else out[i]
    keys[:] = out


@njit(nogil=True, cache=True)
def copy(values: FloatArray, rows: RowArray, out: FloatArray) -> None:
    """The values of rows."""
    for i in range(rows.shape[0]):
        out[i] = values[rows[i]]


@njit(nogil=True, cache=True)
def code(codes: FloatArray, names: RowArray, rows: RowArray, out: FloatArray) -> None:
    """The codes of rows' names; 0 where the vocabulary has grown past the table."""
    for i in range(rows.shape[0]):
        name = names[max(rows[i], 0)]
        out[i] = codes[name] if name < codes.shape[0] else 0.0


@njit(nogil=True, cache=True)
def age(times: IntArray, rows: RowArray, now_ms: int, out: FloatArray) -> None:
    """Seconds since the times of rows; NaN where unknown."""
    for i in range(rows.shape[0]):
        out[i] = seconds_since(times[max(rows[i], 0)], now_ms)


@njit(nogil=True, cache=True)
def squared(vector: FloatArray) -> np.float32:
    """The square of a vector's length."""
    whole = vector.shape[0] - vector.shape[0] % LANES
    total = dot(vector, 0, vector, whole)
    for k in range(whole, vector.shape[0]):
        total += vector[k] * vector[k]
    return total


@njit(nogil=True, cache=True)
def length(matrix: FloatArray, rows: RowArray, out: FloatArray) -> None:
    """How long each row's vector is; 0 where there is none."""
    for i in range(rows.shape[0]):
        out[i] = np.sqrt(squared(matrix[rows[i]])) if 0 <= rows[i] < matrix.shape[0] else 0.0


@njit(nogil=True, cache=True)
def product(
    vector: FloatArray, known: bool, matrix: FloatArray, rows: RowArray, of_directions: bool, out: FloatArray
) -> np.float32:
    """Product of the person's unit vector with each row's, or their cosine; NaN where either is missing.

    Rows are touched before they are read, so that their lines come from memory side by side; the sum it returns has it
    fetch them.
    """
    out[:], fetched = np.nan, np.float32(0)
    if not known:
        return fetched
    flat, dims = matrix.reshape(-1), vector.shape[0]
    whole = dims - dims % LANES
    for i in range(rows.shape[0]):
        if 0 <= rows[i] < matrix.shape[0]:
            for k in range(0, dims, LANES):
                fetched += flat[np.intp(rows[i]) * dims + k]
    for i in range(rows.shape[0]):
        if 0 <= rows[i] < matrix.shape[0]:
            at = np.intp(rows[i]) * dims
            total = dot(flat, at, vector, whole)
            for k in range(whole, dims):
                total += vector[k] * flat[at + k]
            size = squared(matrix[rows[i]])
            if size > 0:
                out[i] = total / np.sqrt(size) if of_directions else total
    return fetched


def context_row(now_ms: int, utc_offset_ms: int, position: int, codes: tuple[float, float, float]) -> DoubleArray:
    """hour (0–24, with its fraction), weekday (0 Monday), position, and the codes of surface, device and city tier."""
    local = now_ms + utc_offset_ms
    hour = local % 86_400_000 / 3_600_000
    weekday = (local // 86_400_000 + 3) % 7
    return np.array([hour, weekday, position, *codes], np.float64)
