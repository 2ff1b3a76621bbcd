"""What entities counted, as of one moment: a tile of rows is read once, then faded, then made columns of.

Loops over a tile are plain, so that the compiler makes vectors of them; rounding is that of one row after the other.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.fold.arrays import KIND, N_ENTITIES, Arrays, SlotArrays
from features.fold.counters import exp2_neg
from features.fold.plan import COUNT, RATE, Plan
from features.types import BoolArray, DoubleArray, FloatArray, IntArray, RowArray

TILE = 512
"""Items that are read at a time: what they counted stays near while columns are made of it."""


class Counters(NamedTuple):
    """What a tile of items counted, read once for all columns.

    Attributes
    ----------
    first : (entities + pairs + 1,) int64
        Where the slots of each begin in ``values``.
    values, age, share : (slots, TILE) float32, (entities + pairs, TILE) float64 ms, (fadings, TILE) float64
        Counters as they were kept, how long ago that was, and what share of them is left.
    read, faded : (entities + pairs,), (fadings,) bool
        Whether ``values`` and ``age``, and ``share``, are of the present tile.
    means : (d, kinds) float64
        The rate of every kind, of columns that are rates.
    """

    first: IntArray
    values: FloatArray
    age: DoubleArray
    share: DoubleArray
    read: BoolArray
    faded: BoolArray
    means: DoubleArray


@njit(nogil=True, cache=True)
def counters_of(arrays: Arrays, of: int, user: int) -> tuple[FloatArray, IntArray, IntArray]:
    """Values, stamps and last times of an entity's rows, or of the person's entries of a pair."""
    if of < N_ENTITIES:
        table = arrays.tables[of]
        return table.values, table.stamp, table.last
    pairs = arrays.pairs[of - N_ENTITIES]
    return pairs.values[user], pairs.stamp[user], pairs.last[user]


@njit(nogil=True, cache=True)
def new_counters(arrays: Arrays, plan: Plan) -> Counters:
    """Room for the counters of a tile."""
    entities = N_ENTITIES + 2
    first = np.zeros(entities + 1, np.int64)
    for of in range(entities):
        values = counters_of(arrays, of, 0)[0]
        first[of + 1] = first[of] + values.shape[1]
    kinds = arrays.tables[KIND].values
    means = np.zeros((plan.op.shape[0], kinds.shape[0]), np.float64)
    for j in range(plan.op.shape[0]):
        if plan.op[j] == RATE:
            base_rates(kinds, plan.base_a[j], plan.base_b[j], means[j])
    return Counters(
        first,
        np.empty((first[entities], TILE), np.float32),
        np.empty((entities, TILE), np.float64),
        np.empty((plan.fading.max() + 1, TILE), np.float64),
        np.zeros(entities, np.bool_),
        np.zeros(plan.fading.max() + 1, np.bool_),
        means,
    )


@njit(nogil=True, cache=True, inline="always")
def counter(
    arrays: Arrays,
    slots: SlotArrays,
    plan: Plan,
    counters: Counters,
    user: int,
    rows: RowArray,
    kinds: NDArray[np.uint32],
    now_ms: int,
    j: int,
    out: FloatArray,
) -> None:
    """A column of counters: a rate or a count. What its entity counted is read, and faded, once a tile."""
    of, fading, n = plan.of[j], plan.fading[j], rows.shape[0]
    first, age, share = counters.first[of], counters.age[of][:n], counters.share[fading][:n]
    if not counters.read[of]:
        values, stamp, _ = counters_of(arrays, of, user)
        read_all(values, stamp, rows, now_ms, counters.values[first : counters.first[of + 1]], age)
        counters.read[of] = True
    if not counters.faded[fading]:
        fade_all(age, slots.half_lives[plan.life[j]], share)
        counters.faded[fading] = True
    done = counters.values[first + plan.a[j]][:n]
    if plan.op[j] == COUNT:
        count(done, share, rows, out)
    else:
        rate(done, counters.values[first + plan.b[j]][:n], share, rows, plan.prior[j], counters.means[j], kinds, out)


@njit(nogil=True, cache=True)
def read_all(
    values: FloatArray, stamp: IntArray, rows: RowArray, now_ms: int, out: FloatArray, age: DoubleArray
) -> None:
    """All counters of rows, slot by slot, and milliseconds since their stamps; row 0's for a row of -1."""
    for i in range(rows.shape[0]):
        row = np.uint32(max(rows[i], 0))
        age[i] = max(0, now_ms - stamp[row])
        for slot in range(out.shape[0]):
            out[slot, i] = values[row, slot]


@njit(nogil=True, cache=True)
def fade_all(age: DoubleArray, half_life: float, out: DoubleArray) -> None:
    """The shares of counts that are left."""
    for i in range(age.shape[0]):
        out[i] = exp2_neg(age[i] / half_life)


@njit(nogil=True, cache=True)
def base_rates(kinds: FloatArray, a: int, b: int, out: DoubleArray) -> None:
    """The rate of every kind, 0 of none; both of its counts fade alike, so it needs no fading."""
    for kind in range(kinds.shape[0]):
        if kinds[kind, b] > 0:
            out[kind] = kinds[kind, a] / kinds[kind, b]


@njit(nogil=True, cache=True, error_model="numpy")
def rate(
    done: FloatArray,
    shown: FloatArray,
    share: DoubleArray,
    rows: RowArray,
    prior: float,
    means: DoubleArray,
    kinds: NDArray[np.uint32],
    out: FloatArray,
) -> None:
    """Smoothed rates of rows; a row of -1 has the rate of its kind."""
    for i in range(out.shape[0]):
        mean = means[kinds[i]]
        smooth = (done[i] * share[i] + prior * mean) / (shown[i] * share[i] + prior)
        out[i] = smooth if rows[i] >= 0 else mean


@njit(nogil=True, cache=True)
def count(done: FloatArray, share: DoubleArray, rows: RowArray, out: FloatArray) -> None:
    """Decayed counts of rows; 0 for a row of -1."""
    for i in range(out.shape[0]):
        out[i] = done[i] * share[i] if rows[i] >= 0 else 0.0


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
    """Seconds from a time to now, not below 0; NaN where the time is 0 or below, that is unknown."""
    return np.nan if time_ms <= 0 else max(0, now_ms - time_ms) / 1000.0
