"""The kernel that reads: feature rows of a person and many items, as of one moment, without writing anything."""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.fold.arrays import AUTHOR, AUTHORS, CATEGORIES, CATEGORY, ITEM, KIND, N_ENTITIES, USER, Arrays, SlotArrays
from features.fold.cosines import length, product
from features.fold.counters import exp2_neg
from features.fold.faded import TILE, Counters, counter, counters_of, new_counters, recency, seconds_since
from features.fold.lanes import LANES, prefetch
from features.fold.plan import (
    CONTEXT,
    COSINE,
    ITEM_AGE,
    ITEM_CATEGORY,
    ITEM_NUMBER,
    LENGTH,
    RATE,
    RECENCY,
    TASTE,
    USER_CATEGORY,
    USER_NUMBER,
    Plan,
)
from features.fold.taste_of import TasteView, person_taste
from features.types import DoubleArray, FloatArray, IntArray, RowArray, TickArray

COSINE_OF = (ITEM, AUTHOR, CATEGORY)
"""The entity whose vectors each of ``schema.FACTORS`` is."""

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
    tastes: TasteView


class Asked(NamedTuple):
    """Of whom columns are read, and when.

    ``arrays``, ``slots`` and ``learned`` are native objects; ``context`` is in the order of ``CONTEXT_NUMBERS`` then
    ``CONTEXT_CATEGORIES``; ``user`` 0 is nobody.
    """

    arrays: Arrays
    slots: SlotArrays
    learned: View
    context: DoubleArray
    user: int
    now_ms: int


class Asker(NamedTuple):
    """The person's unit vector, whether they have one, their taste, and room for what a tile counted."""

    vector: FloatArray
    known: bool
    taste: FloatArray
    counters: Counters


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
    learned: View,
    context: DoubleArray,
    user: int,
    now_ms: int,
    items: RowArray,
    columns: IntArray,
    out: FloatArray,
) -> None:
    """Write some feature columns of ``items`` for one person at one time; the first six are those of ``Asked``.

    Parameters
    ----------
    columns : IntArray
        The features to write; the rest is left as it is.
    out : FloatArray
        (d, n) float32: a feature's values lie side by side.
    """
    # Made here: to unbox it would cost a call 20 µs.
    asked = Asked(arrays, slots, learned, context, user, now_ms)
    asker = new_asker(asked)
    for start in range(0, items.shape[0], TILE):
        keys = keys_of(asked, items[start : start + TILE])
        kinds = keys[KIND].astype(np.uint32)
        begin_tile(asker)
        for j in columns:
            write_column(asked, asker, keys, kinds, j, out[j][start : start + TILE])


@njit(nogil=True, cache=True)
def new_asker(asked: Asked) -> Asker:
    """What all columns of one person at one time are made with."""
    arrays, view = asked.arrays, asked.learned
    vector = np.empty(view.vectors.item.shape[1], np.float32)
    known = user_vector(arrays, view, asked.user, asked.now_ms, vector)
    taste = np.empty(view.tastes.item.shape[1], np.float32)
    person_taste(arrays, view.tastes, asked.user, asked.now_ms, taste)
    return Asker(vector, known, taste, new_counters(arrays, view.plan))


@njit(nogil=True, cache=True)
def user_taste(arrays: Arrays, view: View, user: int, now_ms: int, out: FloatArray) -> None:
    """Write the vector of a person's taste (k,): zeros of nobody."""
    person_taste(arrays, view.tastes, user, now_ms, out)


@njit(nogil=True, cache=True)
def begin_tile(asker: Asker) -> None:
    """Forget what the tile before counted."""
    asker.counters.read[:] = False
    asker.counters.faded[:] = False


@njit(nogil=True, cache=True, inline="always")
def write_column(asked: Asked, asker: Asker, keys: RowArray, kinds: TickArray, j: int, out: FloatArray) -> None:
    """Column j of a tile; of ``keys``, which are as ``keys_of`` gives them, it reads row ``plan.of[j]`` alone."""
    arrays, view, user, now_ms = asked.arrays, asked.learned, asked.user, asked.now_ms
    plan, vectors = view.plan, view.vectors
    op, which, rows = plan.op[j], plan.a[j], keys[plan.of[j]]
    if op == TASTE:
        product(asker.taste, True, view.tastes.item, rows, False, out)
    elif op >= COSINE:
        matrix = vectors.item if which == 0 else vectors.author if which == 1 else vectors.category
        if op == LENGTH:
            length(matrix, rows, out)
        else:
            product(asker.vector, asker.known, matrix, rows, op == COSINE, out)
    elif op < RATE:
        stored(arrays, view, asked.context, user, rows, now_ms, j, out)
    elif op == RECENCY:
        recency(counters_of(arrays, plan.of[j], user)[2], rows, which, now_ms, out)
    else:
        counter(arrays, asked.slots, plan, asker.counters, user, rows, kinds, now_ms, j, out)


@njit(nogil=True, cache=True, inline="always")
def stored(
    arrays: Arrays,
    view: View,
    context: DoubleArray,
    user: int,
    rows: RowArray,
    now_ms: int,
    j: int,
    out: FloatArray,
) -> None:
    """A column of the context, the item's row or the person's."""
    op, a, b = view.plan.op[j], view.plan.a[j], view.plan.b[j]
    if op == CONTEXT:
        out[:] = context[a]
    elif op == ITEM_NUMBER:
        copy(arrays.items.numbers[:, a], rows, out)
    elif op == ITEM_CATEGORY:
        code(view.codes[b], arrays.items.categories[:, a], rows, out)
    elif op == ITEM_AGE:
        age(arrays.items.times[:, a], rows, now_ms, out)
    elif op == USER_NUMBER:
        out[:] = arrays.users.numbers[user, a]
    elif op == USER_CATEGORY:
        code(view.codes[b], arrays.users.categories[:, a], rows, out)
    else:
        age(arrays.users.times[:, a], rows, now_ms, out)


@njit(nogil=True, cache=True)
def keys_of(asked: Asked, items: RowArray) -> RowArray:
    """(entities + pairs, n) int32: the row of each entity, and the entry of each pair, of items; -1 for none."""
    keys = entity_rows(asked.arrays.items.categories, asked.user, items)
    for pair in range(2):
        find_entries(asked.arrays.pairs[pair].keys[asked.user], keys[N_ENTITIES + pair])
    return keys


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
def context_row(now_ms: int, utc_offset_ms: int, position: int, codes: tuple[float, float, float]) -> DoubleArray:
    """hour (0–24, with its fraction), weekday (0 Monday), position, and the codes of surface, device and city tier."""
    local = now_ms + utc_offset_ms
    hour = local % 86_400_000 / 3_600_000
    weekday = (local // 86_400_000 + 3) % 7
    return np.array([hour, weekday, float(position), *codes], np.float64)
