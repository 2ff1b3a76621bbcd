"""What the counters say of newcomers: a Beta each, whose prior is that of where the item comes from."""

import math

import numpy as np
from numba import njit

from features.fold.faded import fade
from features.outcomes import PRODUCT, ROOM
from features.types import DoubleArray, FloatArray, IntArray, RowArray

Slots = IntArray
"""Where impressions and completions stand (5, 2) in the rows of item, author, brand, category and kind."""
_ITEM, _AUTHOR, _BRAND, _CATEGORY, _KIND = range(5)
_KINDS = 4
LEAST_RATE = 1e-3
"""Nothing is thought to be watched to the end more rarely, nor more often than one less this."""


@njit(nogil=True, cache=True)
def evidence(
    values: tuple[FloatArray, ...],
    stamps: tuple[IntArray, ...],
    categories: RowArray,
    times: IntArray,
    slots: Slots,
    rows: RowArray,
    now_ms: int,
    age_ms: int,
    brand_age_ms: int,
    enough: float,
    prior: float,
    half_life: float,
) -> tuple[RowArray, DoubleArray, DoubleArray, DoubleArray]:
    """The newcomers among item rows, the Beta of each, and what a completion is worth.

    New is what began within ``age_ms``, and a product that began within ``brand_age_ms`` whose brand has not been shown
    ``enough`` times; it is no more new once it was shown ``enough`` times itself. Counts are decayed to now. The prior
    counts as ``prior`` impressions. Its mean is the kind's rate times how the parent's rate stands to that of all
    items: ``(s + prior * r) / (n + prior)`` of the parent's counts without the item's own, r the same of the category,
    in which r is the rate of all.

    Returns
    -------
    rows : RowArray
        (n,) int32, in the order given.
    a, b : DoubleArray
        (n,) each, above 0.
    worth : DoubleArray
        (n,): ``1/√(π(1-π))`` of the kind's rate π, as the value weighs completion.
    """
    rates, overall = _kind_rates(values[_KIND], stamps[_KIND], slots[_KIND], now_ms, half_life)
    found = np.empty(rows.shape[0], np.int32)
    a, b, worth = np.empty(rows.shape[0]), np.empty(rows.shape[0]), np.empty(rows.shape[0])
    count = 0
    for row in rows:
        kind, brand = categories[row, 4], categories[row, 2]
        shown, done = _counts(values[_ITEM], stamps[_ITEM], slots[_ITEM], row, now_ms, half_life)
        begun = times[row, 1 if kind == ROOM else 0]
        has_begun = begun > 0 and begun <= now_ms
        is_new = has_begun and now_ms - begun <= age_ms
        # What is old of a brand that few were shown is no newcomer: it had its time, and there is no end of such.
        if kind == PRODUCT and brand != 0 and has_begun and not is_new and now_ms - begun <= brand_age_ms:
            is_new = _counts(values[_BRAND], stamps[_BRAND], slots[_BRAND], brand, now_ms, half_life)[0] < enough
        if not is_new or shown >= enough:
            continue
        of, parent = (_BRAND, brand) if kind == PRODUCT else (_AUTHOR, categories[row, 0])
        category = categories[row, 3]
        rate = overall
        if category != 0:
            n, s = _counts(values[_CATEGORY], stamps[_CATEGORY], slots[_CATEGORY], category, now_ms, half_life)
            rate = (max(s - done, 0.0) + prior * rate) / (max(n - shown, 0.0) + prior)
        if parent != 0:
            n, s = _counts(values[of], stamps[of], slots[of], parent, now_ms, half_life)
            rate = (max(s - done, 0.0) + prior * rate) / (max(n - shown, 0.0) + prior)
        mean = min(max(rates[kind] * rate / overall, LEAST_RATE), 1.0 - LEAST_RATE)
        found[count] = row
        a[count] = prior * mean + done
        b[count] = prior * (1.0 - mean) + max(shown - done, 0.0)
        worth[count] = 1.0 / math.sqrt(rates[kind] * (1.0 - rates[kind]))
        count += 1
    return found[:count], a[:count], b[:count], worth[:count]


@njit(nogil=True, cache=True)
def _counts(
    values: FloatArray, stamp: IntArray, slots: IntArray, row: int, now_ms: int, half_life: float
) -> tuple[float, float]:
    """Impressions and completions of a row, decayed to now."""
    if stamp[row] == 0:
        return 0.0, 0.0
    share = fade(stamp[row], now_ms, half_life)
    return values[row, slots[0]] * share, values[row, slots[1]] * share


@njit(nogil=True, cache=True)
def _kind_rates(
    values: FloatArray, stamp: IntArray, slots: IntArray, now_ms: int, half_life: float
) -> tuple[DoubleArray, float]:
    """The completion rate of each kind (4,), of all where a kind was never shown; and that of all."""
    rates, shown, done = np.zeros(_KINDS), np.zeros(_KINDS), np.zeros(_KINDS)
    for kind in range(1, min(_KINDS, values.shape[0])):
        shown[kind], done[kind] = _counts(values, stamp, slots, kind, now_ms, half_life)
    overall = min(max((done.sum() + 0.1) / (shown.sum() + 1.0), LEAST_RATE), 1.0 - LEAST_RATE)
    for kind in range(_KINDS):
        rate = (done[kind] + overall) / (shown[kind] + 1.0)
        rates[kind] = min(max(rate, LEAST_RATE), 1.0 - LEAST_RATE)
    return rates, overall
