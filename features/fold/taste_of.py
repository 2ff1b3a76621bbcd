"""A person's taste as of a moment: what counters say of hosts and categories, as one vector.

The posterior mean of a logistic model: for each host and category that the person's row counts, how often they clicked
beside how often everybody did, under a prior by age, gender and city. Two steps of Newton's method from the prior.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from features.fold.arrays import AUTHOR, CATEGORY, KIND, Arrays
from features.fold.cholesky import solve
from features.fold.counters import exp2_neg
from features.types import DoubleArray, FloatArray, RowArray

PRIOR = 20.0
"""Impressions for which the rate of all counts beside a host's or category's own."""
LEAST, MOST = 1e-3, 1 - 1e-3
STEPS = 2
LOG2_E = 1.4426950408889634


class TasteView(NamedTuple):
    """What tastes are read with; row 0 of every matrix (rows, k) float32 is of nothing.

    Attributes
    ----------
    item, author, category : FloatArray
        Vectors of items, and the mean of what hosts and categories showed, by their rows.
    traits : tuple of FloatArray
        By row of age band, gender and city tier.
    precision : (k,) float32
    slots : (3, 2) and (2, 2) int32, one after the other
        Where clicks and impressions stand in the rows of author, category and kind, then of both pairs.
    half_life_ms : float
    used : bool
        Whether any column asks for tastes.
    """

    item: FloatArray
    author: FloatArray
    category: FloatArray
    traits: tuple[FloatArray, FloatArray, FloatArray]
    precision: FloatArray
    slots: RowArray
    half_life_ms: float
    used: bool


class _Evidence(NamedTuple):
    """What the entries of a person say: vectors (n, k), clicks, impressions and the odds of everybody's click (n,)."""

    vector: DoubleArray
    clicks: DoubleArray
    shown: DoubleArray
    odds: DoubleArray


@njit(nogil=True, cache=True)
def person_taste(arrays: Arrays, tastes: TasteView, user: int, now_ms: int, out: FloatArray) -> None:
    """Write the vector of a person's taste (k,): zeros of nobody."""
    out[:] = 0.0
    if not tastes.used or user == 0:
        return
    k = out.shape[0]
    prior = np.zeros(k)
    for c in range(len(tastes.traits)):
        row, matrix = arrays.users.categories[user, c], tastes.traits[c]
        if 0 < row < matrix.shape[0]:
            prior += matrix[row]
    evidence = _evidence(arrays, tastes, user, now_ms)
    at, a, x = prior.copy(), np.empty((k, k)), np.empty(k)
    for _ in range(STEPS):
        a[:] = 0.0
        for i in range(k):
            a[i, i], x[i] = tastes.precision[i], tastes.precision[i] * (prior[i] - at[i])
        for e in range(len(evidence.odds)):
            _count(evidence, e, at, a, x)
        solve(a, x)
        at += x
    out[:] = at


@njit(nogil=True, cache=True)
def _evidence(arrays: Arrays, tastes: TasteView, user: int, now_ms: int) -> _Evidence:
    k, most = tastes.item.shape[1], arrays.pairs[0].keys.shape[1] + arrays.pairs[1].keys.shape[1]
    vector, clicks, shown, odds = np.empty((most, k)), np.empty(most), np.empty(most), np.empty(most)
    every_click, every = 0.0, 0.0
    for kind in range(arrays.tables[KIND].stamp.shape[0]):
        left = _left(arrays.tables[KIND].stamp[kind], now_ms, tastes.half_life_ms)
        every_click += arrays.tables[KIND].values[kind, tastes.slots[2, 0]] * left
        every += arrays.tables[KIND].values[kind, tastes.slots[2, 1]] * left
    base = every_click / every if every > 0 else 0.0
    n = 0
    for pair in range(2):
        entries, table = arrays.pairs[pair], arrays.tables[AUTHOR if pair == 0 else CATEGORY]
        matrix, mine, all_of = (
            tastes.author if pair == 0 else tastes.category,
            tastes.slots[3 + pair],
            tastes.slots[pair],
        )
        for entry in range(entries.keys.shape[1]):
            key = entries.keys[user, entry]
            if key <= 0 or key >= matrix.shape[0] or matrix[key, k - 1] == 0.0:
                continue
            left = _left(entries.stamp[user, entry], now_ms, tastes.half_life_ms)
            seen = entries.values[user, entry, mine[1]] * left
            if seen <= 0.0:
                continue
            rest = _left(table.stamp[key], now_ms, tastes.half_life_ms)
            rate = (table.values[key, all_of[0]] * rest + PRIOR * base) / (table.values[key, all_of[1]] * rest + PRIOR)
            rate = min(max(rate, LEAST), MOST)
            vector[n] = matrix[key]
            clicks[n], shown[n] = min(entries.values[user, entry, mine[0]] * left, seen), seen
            odds[n] = rate / (1.0 - rate)
            n += 1
    return _Evidence(vector[:n], clicks[:n], shown[:n], odds[:n])


@njit(nogil=True, cache=True)
def _left(stamp_ms: int, now_ms: int, half_life_ms: float) -> float:
    return exp2_neg(max(0, now_ms - stamp_ms) / half_life_ms)


@njit(nogil=True, cache=True)
def _count(evidence: _Evidence, e: int, at: DoubleArray, a: DoubleArray, x: DoubleArray) -> None:
    """Add what one entry says to the equations of a step."""
    k, vector = len(at), evidence.vector[e]
    margin = 0.0
    for i in range(k):
        margin += vector[i] * at[i]
    # e^margin by the powers of two that counters fade by, so that every machine has the same bits.
    power = exp2_neg(abs(margin) * LOG2_E)
    odds = evidence.odds[e] / power if margin > 0 else evidence.odds[e] * power
    p = odds / (1.0 + odds)
    weight, slope = evidence.shown[e] * p * (1.0 - p), evidence.clicks[e] - evidence.shown[e] * p
    for i in range(k):
        x[i] += slope * vector[i]
        part = weight * vector[i]
        for j in range(i + 1):
            a[i, j] += part * vector[j]
