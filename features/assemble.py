"""The kernel that reads: feature rows of a person and many items, as of one moment, without writing anything."""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.counters import (
    AUTHOR,
    AUTHORS,
    CATEGORIES,
    CATEGORY,
    ITEM,
    KIND,
    N_ENTITIES,
    USER,
    Arrays,
    SlotArrays,
    exp2_neg,
)
from features.types import DoubleArray, FloatArray, IntArray, RowArray

(
    ITEM_NUMBER,
    ITEM_CATEGORY,
    ITEM_AGE,
    USER_NUMBER,
    USER_CATEGORY,
    USER_AGE,
    CONTEXT,
    RATE,
    COUNT,
    RECENCY,
    COSINE,
) = range(11)

COSINE_OF = (ITEM, AUTHOR, CATEGORY)

RING_HALF_LIFE_MS = 7 * 86_400_000.0
"""How fast an item in the ring fades from the person's vector."""


class Plan(NamedTuple):
    """A FeatureSet against a Layout, as arrays; (d,) each.

    op is one of the codes above; a the column, the slot of the action or the recency; b the slot of ``per``, or the
    row of a category in ``View.codes``; of the entity or N_ENTITIES + pair; base_a, base_b the same slots of the kind's
    row; life the index of the half-life.
    """

    op: RowArray
    a: RowArray
    b: RowArray
    of: RowArray
    base_a: RowArray
    base_b: RowArray
    life: RowArray
    prior: DoubleArray


class Vectors(NamedTuple):
    """Unit vectors (rows, dims) float32 by row of item, author and category; a row of zeros where there is none."""

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
    total = np.zeros(dims, np.float64)
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
    out: FloatArray,
) -> None:
    """Write the feature rows of ``items`` for one person at one time, a column after the other.

    Parameters
    ----------
    context : DoubleArray
        In the order of ``CONTEXT_NUMBERS`` then ``CONTEXT_CATEGORIES``.
    out : FloatArray
        (n, d) float32, overwritten.
    """
    plan = view.plan
    vector = np.empty(view.vectors.item.shape[1], np.float32)
    known = user_vector(arrays, view, user, now_ms, vector)
    keys = entity_rows(arrays.items.categories, user, items)
    entries = np.empty((2, items.shape[0]), np.int32)
    for pair in range(2):
        find_entries(arrays.pairs[pair].keys[user], keys[N_ENTITIES + pair], entries[pair])
    for j in range(plan.op.shape[0]):
        op, a, of = plan.op[j], plan.a[j], plan.of[j]
        column = out[:, j]
        if op == CONTEXT:
            column[:] = context[a]
        elif op == ITEM_NUMBER:
            copy(arrays.items.numbers[:, a], items, column)
        elif op == ITEM_CATEGORY:
            code(view.codes[plan.b[j]], arrays.items.categories[:, a], items, column)
        elif op == ITEM_AGE:
            age(arrays.items.times[:, a], items, now_ms, column)
        elif op == USER_NUMBER:
            column[:] = arrays.users.numbers[user, a]
        elif op == USER_CATEGORY:
            code(view.codes[plan.b[j]], arrays.users.categories[:, a], keys[USER], column)
        elif op == USER_AGE:
            age(arrays.users.times[:, a], keys[USER], now_ms, column)
        elif op == COSINE:
            matrix = view.vectors.item if a == 0 else (view.vectors.author if a == 1 else view.vectors.category)
            cosine(vector, known, matrix, keys[COSINE_OF[a]], column)
        elif of < N_ENTITIES:
            table = arrays.tables[of]
            count(arrays, slots, plan, j, table.values, table.stamp, table.last, keys[of], keys[KIND], now_ms, column)
        else:
            pair = of - N_ENTITIES
            table = arrays.pairs[pair]
            values, stamp, last = table.values[user], table.stamp[user], table.last[user]
            count(arrays, slots, plan, j, values, stamp, last, entries[pair], keys[KIND], now_ms, column)


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
def find_entries(have: RowArray, keys: RowArray, out: RowArray) -> None:
    """The entry of each key among a person's, -1 where it has none."""
    for i in range(keys.shape[0]):
        out[i] = -1
        for entry in range(have.shape[0]):
            if keys[i] > 0 and have[entry] == keys[i]:
                out[i] = entry


@njit(nogil=True, cache=True)
def count(
    arrays: Arrays,
    slots: SlotArrays,
    plan: Plan,
    j: int,
    values: FloatArray,
    stamp: IntArray,
    last: IntArray,
    rows: RowArray,
    kinds: RowArray,
    now_ms: int,
    out: FloatArray,
) -> None:
    """A rate, count or recency of rows of one table, or of entries of one person; a row of -1 has seen nothing."""
    op, a, b, prior = plan.op[j], plan.a[j], plan.b[j], plan.prior[j]
    if op == RECENCY:
        for i in range(rows.shape[0]):
            out[i] = seconds_since(last[rows[i], a], now_ms) if rows[i] >= 0 else np.nan
        return
    half_life = slots.half_lives[plan.life[j]]
    if op == COUNT:
        for i in range(rows.shape[0]):
            out[i] = values[rows[i], a] * fade(stamp[rows[i]], now_ms, half_life) if rows[i] >= 0 else 0.0
        return
    base = arrays.tables[KIND].values
    for i in range(rows.shape[0]):
        # Both counts of a row fade alike, so the base rate needs no fading.
        per = base[kinds[i], plan.base_b[j]]
        mean = base[kinds[i], plan.base_a[j]] / per if per > 0 else 0.0
        if rows[i] >= 0:
            faded = fade(stamp[rows[i]], now_ms, half_life)
            out[i] = (values[rows[i], a] * faded + prior * mean) / (values[rows[i], b] * faded + prior)
        else:
            out[i] = mean


@njit(nogil=True, cache=True)
def fade(stamp_ms: int, now_ms: int, half_life: float) -> float:
    """The share of a row's counts that is left at ``now_ms``; time before its stamp does not grow it."""
    return exp2_neg(max(0, now_ms - stamp_ms) / half_life)


@njit(nogil=True, cache=True)
def seconds_since(time_ms: int, now_ms: int) -> float:
    """Seconds from a time to now, not below 0; NaN where the time is 0, that is unknown."""
    return np.nan if time_ms == 0 else max(0, now_ms - time_ms) / 1000.0


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
def cosine(vector: FloatArray, known: bool, matrix: FloatArray, rows: RowArray, out: FloatArray) -> None:
    """Cosine of the person's vector with each row's; NaN where either is missing."""
    for i in range(rows.shape[0]):
        row = rows[i]
        out[i] = np.nan
        if known and row >= 0 and row < matrix.shape[0]:
            total, size = 0.0, 0.0
            for k in range(vector.shape[0]):
                total += vector[k] * matrix[row, k]
                size += matrix[row, k] * matrix[row, k]
            if size > 0:
                out[i] = total


def context_row(now_ms: int, utc_offset_ms: int, position: int, codes: tuple[float, float, float]) -> DoubleArray:
    """hour (0–24, with its fraction), weekday (0 Monday), position, and the codes of surface, device and city tier."""
    local = now_ms + utc_offset_ms
    hour = local % 86_400_000 / 3_600_000
    weekday = (local // 86_400_000 + 3) % 7
    return np.array([hour, weekday, position, *codes], np.float64)
