"""What the counters say of newcomers: a Beta each, whose prior is that of where the item comes from."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from features.fold.faded import fade
from features.outcomes import PRODUCT, ROOM
from features.types import DoubleArray, FloatArray, IntArray, RowArray

Slots = IntArray
"""Where impressions and completions stand (5, 2) in the rows of item, author, brand, category and kind."""
_KINDS = 4
LEAST_RATE = 1e-3
"""Nothing is thought to be watched to the end more rarely, nor more often than one less this."""


class Counts(NamedTuple):
    """The counters of one table, and where impressions and completions stand in its rows."""

    values: FloatArray
    stamp: IntArray
    shown: int
    done: int


class Counted(NamedTuple):
    """Counters by table, read decayed to a moment; the half-life is in ms."""

    item: Counts
    author: Counts
    brand: Counts
    category: Counts
    kind: Counts
    now_ms: int
    half_life: float


class Newness(NamedTuple):
    """What is new: it began within ``age_ms``, or is a product that did within ``brand_age_ms`` of an unknown brand.

    ``enough`` impressions make an item, or a brand, known; ``prior`` impressions are what a parent's rate counts for.
    """

    age_ms: int
    brand_age_ms: int
    enough: float
    prior: float


@njit(nogil=True, cache=True)
def evidence(
    counted: Counted, categories: RowArray, times: IntArray, rows: RowArray, new: Newness
) -> tuple[RowArray, DoubleArray, DoubleArray, DoubleArray]:
    """The newcomers among item rows, the Beta of each, and what a completion is worth.

    The Beta's prior counts as ``new.prior`` impressions. Its mean is the kind's rate times how the parent's rate stands
    to that of all items; its counts are the item's own.

    Returns
    -------
    rows : RowArray
        (n,) int32, in the order given.
    a, b : DoubleArray
        (n,) each, above 0.
    worth : DoubleArray
        (n,): ``1/√(π(1-π))`` of the kind's rate π, as the value weighs completion.
    """
    rates, overall = _kind_rates(counted)
    found = np.empty(rows.shape[0], np.int32)
    a, b, worth = np.empty(rows.shape[0]), np.empty(rows.shape[0]), np.empty(rows.shape[0])
    count = 0
    for row in rows:
        of = categories[row]
        shown, done = _counts(counted.item, row, counted.now_ms, counted.half_life)
        if shown >= new.enough or not _is_new(counted, of, abs(times[row, 1 if of[4] == ROOM else 0]), new):
            continue
        rate = _parent_rate(counted, of, shown, done, overall, new.prior)
        mean = min(max(rates[of[4]] * rate / overall, LEAST_RATE), 1.0 - LEAST_RATE)
        found[count] = row
        a[count] = new.prior * mean + done
        b[count] = new.prior * (1.0 - mean) + max(shown - done, 0.0)
        worth[count] = 1.0 / math.sqrt(rates[of[4]] * (1.0 - rates[of[4]]))
        count += 1
    return found[:count], a[:count], b[:count], worth[:count]


# Inlined by numba: a call would count references of ten arrays for every item, which takes as long as the rest.
@njit(nogil=True, cache=True, inline="always")
def _is_new(counted: Counted, of: RowArray, begun_ms: int, new: Newness) -> bool:
    """Whether an item of these categories is new that began at a time."""
    has_begun = 0 < begun_ms <= counted.now_ms
    if has_begun and counted.now_ms - begun_ms <= new.age_ms:
        return True
    # What is old of a brand that few were shown is no newcomer: it had its time, and there is no end of such.
    if of[4] != PRODUCT or of[2] == 0 or not has_begun or counted.now_ms - begun_ms > new.brand_age_ms:
        return False
    return _counts(counted.brand, of[2], counted.now_ms, counted.half_life)[0] < new.enough


@njit(nogil=True, cache=True, inline="always")
def _parent_rate(counted: Counted, of: RowArray, shown: float, done: float, overall: float, prior: float) -> float:
    """The rate of an item's brand or author, shrunk to its category's, shrunk to that of all."""
    now_ms, half_life = counted.now_ms, counted.half_life
    rate = _without(_counts(counted.category, of[3], now_ms, half_life), shown, done, prior, overall, of[3])
    if of[4] == PRODUCT:
        return _without(_counts(counted.brand, of[2], now_ms, half_life), shown, done, prior, rate, of[2])
    return _without(_counts(counted.author, of[0], now_ms, half_life), shown, done, prior, rate, of[0])


@njit(nogil=True, cache=True, inline="always")
def _without(counts: tuple[float, float], shown: float, done: float, prior: float, above: float, row: int) -> float:
    """``(s + prior * above) / (n + prior)`` of counts without the item's own; of no row, the rate ``above`` it."""
    n, s = counts
    return above if row == 0 else (max(s - done, 0.0) + prior * above) / (max(n - shown, 0.0) + prior)


@njit(nogil=True, cache=True, inline="always")
def _counts(counts: Counts, row: int, now_ms: int, half_life: float) -> tuple[float, float]:
    """Impressions and completions of a row, decayed to now."""
    if counts.stamp[row] == 0:
        return 0.0, 0.0
    share = fade(counts.stamp[row], now_ms, half_life)
    return counts.values[row, counts.shown] * share, counts.values[row, counts.done] * share


@njit(nogil=True, cache=True)
def _kind_rates(counted: Counted) -> tuple[DoubleArray, float]:
    """The completion rate of each kind (4,), of all where a kind was never shown; and that of all."""
    rates, shown, done = np.zeros(_KINDS), np.zeros(_KINDS), np.zeros(_KINDS)
    for kind in range(1, min(_KINDS, counted.kind.values.shape[0])):
        shown[kind], done[kind] = _counts(counted.kind, kind, counted.now_ms, counted.half_life)
    overall = min(max((done.sum() + 0.1) / (shown.sum() + 1.0), LEAST_RATE), 1.0 - LEAST_RATE)
    for kind in range(_KINDS):
        rate = (done[kind] + overall) / (shown[kind] + 1.0)
        rates[kind] = min(max(rate, LEAST_RATE), 1.0 - LEAST_RATE)
    return rates, overall
