"""The kernel that reads: feature rows of a person and many items, as of one moment, without writing anything."""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.arrays import AUTHOR, AUTHORS, CATEGORIES, CATEGORY, ITEM, KIND, N_ENTITIES, USER, Arrays, SlotArrays
from features.counters import exp2_neg
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
    row; life the index of the half-life; fading the number of the column's (of, life) among those that occur, so that
    what fades alike is faded once.
    """

    op: RowArray
    a: RowArray
    b: RowArray
    of: RowArray
    base_a: RowArray
    base_b: RowArray
    life: RowArray
    fading: RowArray
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
    plan = view.plan
    vector = np.empty(view.vectors.item.shape[1], np.float32)
    known = user_vector(arrays, view, user, now_ms, vector)
    keys = entity_rows(arrays.items.categories, user, items)
    entries = np.empty((2, items.shape[0]), np.int32)
    for pair in range(2):
        find_entries(arrays.pairs[pair].keys[user], keys[N_ENTITIES + pair], entries[pair])
    shares = np.empty((plan.fading.max() + 1, items.shape[0]), np.float64)
    faded = np.zeros(shares.shape[0], np.bool_)
    for j in columns:
        op, of, column = plan.op[j], plan.of[j], out[j]
        if op == COSINE:
            which = plan.a[j]
            matrix = view.vectors.item if which == 0 else view.vectors.author if which == 1 else view.vectors.category
            cosine(vector, known, matrix, keys[COSINE_OF[which]], column)
        elif op < RATE:
            stored(arrays, view, context, user, keys, now_ms, j, column)
        else:
            rows = keys[of] if of < N_ENTITIES else entries[of - N_ENTITIES]
            share = shares[plan.fading[j]]
            if op != RECENCY and not faded[plan.fading[j]]:
                fade_all(counters_of(arrays, of, user)[1], rows, now_ms, slots.half_lives[plan.life[j]], share)
                faded[plan.fading[j]] = True
            counter(arrays, plan, user, rows, share, keys[KIND], now_ms, j, column)


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
def counter(
    arrays: Arrays,
    plan: Plan,
    user: int,
    rows: RowArray,
    share: DoubleArray,
    kinds: RowArray,
    now_ms: int,
    j: int,
    out: FloatArray,
) -> None:
    """A column of counters: a rate, a count, or the time since the last."""
    op, a, b = plan.op[j], plan.a[j], plan.b[j]
    values, _, last = counters_of(arrays, plan.of[j], user)
    if op == RATE:
        means = base_rates(arrays.tables[KIND].values, plan.base_a[j], plan.base_b[j])
        rate(values, rows, a, b, share, plan.prior[j], means, kinds, out)
    elif op == COUNT:
        count(values, rows, a, share, out)
    else:
        recency(last, rows, a, now_ms, out)


@njit(nogil=True, cache=True)
def counters_of(arrays: Arrays, of: int, user: int) -> tuple[FloatArray, IntArray, IntArray]:
    """Values, stamps and last times of an entity's rows, or of the person's entries of a pair."""
    if of < N_ENTITIES:
        table = arrays.tables[of]
        return table.values, table.stamp, table.last
    pairs = arrays.pairs[of - N_ENTITIES]
    return pairs.values[user], pairs.stamp[user], pairs.last[user]


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
def fade_all(stamp: IntArray, rows: RowArray, now_ms: int, half_life: float, out: DoubleArray) -> None:
    """The share of each row's counts that is left at ``now_ms``; 0 for a row of -1, which has seen nothing."""
    for i in range(rows.shape[0]):
        out[i] = fade(stamp[rows[i]], now_ms, half_life) if rows[i] >= 0 else 0.0


@njit(nogil=True, cache=True)
def base_rates(kinds: FloatArray, a: int, b: int) -> DoubleArray:
    """The rate of every kind; both of its counts fade alike, so it needs no fading."""
    means = np.zeros(kinds.shape[0], np.float64)
    for kind in range(kinds.shape[0]):
        if kinds[kind, b] > 0:
            means[kind] = kinds[kind, a] / kinds[kind, b]
    return means


@njit(nogil=True, cache=True)
def rate(
    values: FloatArray,
    rows: RowArray,
    a: int,
    b: int,
    share: DoubleArray,
    prior: float,
    means: DoubleArray,
    kinds: RowArray,
    out: FloatArray,
) -> None:
    """Smoothed rates of rows; a row of -1 has the rate of its kind."""
    for i in range(rows.shape[0]):
        mean = means[kinds[i]]
        if rows[i] >= 0:
            done, shown = values[rows[i], a] * share[i], values[rows[i], b] * share[i]
            out[i] = (done + prior * mean) / (shown + prior)
        else:
            out[i] = mean


@njit(nogil=True, cache=True)
def count(values: FloatArray, rows: RowArray, a: int, share: DoubleArray, out: FloatArray) -> None:
    """Decayed counts of rows; 0 for a row of -1."""
    for i in range(rows.shape[0]):
        out[i] = values[rows[i], a] * share[i] if rows[i] >= 0 else 0.0


@njit(nogil=True, cache=True)
def recency(last: IntArray, rows: RowArray, a: int, now_ms: int, out: FloatArray) -> None:
    """Seconds since a last time; NaN before the first."""
    for i in range(rows.shape[0]):
        out[i] = seconds_since(last[rows[i], a], now_ms) if rows[i] >= 0 else np.nan


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
    """Cosine of the person's vector with each row's; NaN where either is missing.

    Four rows at a time, as a sum must wait for its last step but not for another sum.
    """
    out[:] = np.nan
    if not known:
        return
    n = rows.shape[0]
    at, totals = np.zeros(n + 3, np.intp), np.empty(n + 3, np.float64)
    for i in range(n):
        at[i] = rows[i] if 0 <= rows[i] < matrix.shape[0] else 0
    for i in range(0, n, 4):
        a, b, c, d = matrix[at[i]], matrix[at[i + 1]], matrix[at[i + 2]], matrix[at[i + 3]]
        total_a, total_b, total_c, total_d = 0.0, 0.0, 0.0, 0.0
        for k in range(vector.shape[0]):
            total_a += vector[k] * a[k]
            total_b += vector[k] * b[k]
            total_c += vector[k] * c[k]
            total_d += vector[k] * d[k]
        totals[i], totals[i + 1], totals[i + 2], totals[i + 3] = total_a, total_b, total_c, total_d
    for i in range(n):
        # A sum of 0 is that of a right angle or of a row of zeros, which knows nothing.
        if 0 <= rows[i] < matrix.shape[0] and (totals[i] != 0 or (matrix[rows[i]] != 0).any()):
            out[i] = totals[i]


def context_row(now_ms: int, utc_offset_ms: int, position: int, codes: tuple[float, float, float]) -> DoubleArray:
    """hour (0–24, with its fraction), weekday (0 Monday), position, and the codes of surface, device and city tier."""
    local = now_ms + utc_offset_ms
    hour = local % 86_400_000 / 3_600_000
    weekday = (local // 86_400_000 + 3) % 7
    return np.array([hour, weekday, position, *codes], np.float64)
