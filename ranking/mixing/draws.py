"""Draws from Beta distributions that depend on a seed, an item and a number alone: the same in any company."""

import math

import numpy as np
from numba import njit

from features.types import BoolArray, DoubleArray, IntArray, RowArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = -1
"""The number of the draw that chooses who takes part."""


@njit(nogil=True, cache=True)
def _next(state: np.uint64) -> np.uint64:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    x = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(nogil=True, cache=True)
def _unit(state: np.uint64) -> float:
    """A number in (0, 1)."""
    return (np.float64(_next(state) >> np.uint64(11)) + 0.5) / 9007199254740992.0


@njit(nogil=True, cache=True)
def _gamma(state: np.uint64, shape: float) -> tuple[np.uint64, float, float, float]:
    """The state after a gamma number of a shape above 0, and that number ``u ** (1 / shape) * d * v`` in its parts.

    After Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000); normal numbers by the polar
    method; a shape below 1 by that of one more, times ``u ** (1 / shape)``.
    """
    root = 1.0
    if shape < 1.0:
        state += _GOLDEN
        root = _unit(state)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x, y, radius = 0.0, 0.0, 2.0
        while radius >= 1.0 or radius == 0.0:
            state += _GOLDEN
            x = 2.0 * _unit(state) - 1.0
            state += _GOLDEN
            y = 2.0 * _unit(state) - 1.0
            radius = x * x + y * y
        normal = x * math.sqrt(-2.0 * math.log(radius) / radius)
        v = 1.0 + c * normal
        if v <= 0.0:
            continue
        v = v * v * v
        state += _GOLDEN
        u = _unit(state)
        square = normal * normal
        if u < 1.0 - 0.0331 * square * square or math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
            return state, root, d, v


@njit(nogil=True, cache=True)
def beta(seed: np.uint64, row: int, number: int, a: float, b: float) -> float:
    """The draw of a number for an item from Beta(a, b), a and b above 0.

    Small a and b make gamma numbers that are both 0 in a double; by their logarithms one is still far above the other.
    """
    state = _next(_next(seed + _GOLDEN * np.uint64(row + 1)) + _GOLDEN * np.uint64(number + 2))
    state, u, d, v = _gamma(state, a)
    _, w, e, z = _gamma(state, b)
    x = (u ** (1.0 / a) if a < 1.0 else 1.0) * d * v
    y = (w ** (1.0 / b) if b < 1.0 else 1.0) * e * z
    if x + y > 0.0:
        return x / (x + y)
    above = (math.log(w) / b + math.log(e * z)) - (math.log(u) / a + math.log(d * v))
    if math.isnan(above):
        return 0.5  # Even the logarithms are beyond a double.
    return 1.0 / (1.0 + math.exp(min(max(above, -700.0), 700.0)))


@njit(nogil=True, cache=True)
def draw(
    seed: np.uint64, rows: RowArray, a: DoubleArray, b: DoubleArray, worth: DoubleArray, draws: int
) -> DoubleArray:
    """Draws (draws, n) of n items, times what a success is worth."""
    out = np.empty((draws, rows.shape[0]), np.float64)
    for m in range(draws):
        for i in range(rows.shape[0]):
            out[m, i] = worth[i] * beta(seed, rows[i], m, a[i], b[i])
    return out


@njit(nogil=True, cache=True)
def first_draws(seed: np.uint64, rows: RowArray, a: DoubleArray, b: DoubleArray, worth: DoubleArray) -> DoubleArray:
    """A draw (n,) of its own for each item, times what a success is worth."""
    out = np.empty(rows.shape[0], np.float64)
    for i in range(rows.shape[0]):
        out[i] = worth[i] * beta(seed, rows[i], _FIRST, a[i], b[i])
    return out


@njit(nogil=True, cache=True)
def wins_among(draws: DoubleArray, eligible: BoolArray) -> IntArray:
    """How many of the draws (m, n) each eligible item (n,) is the highest of, ties to the first."""
    wins = np.zeros(draws.shape[1], np.int64)
    for m in range(draws.shape[0]):
        best = -1
        for i in range(draws.shape[1]):
            if eligible[i] and (best < 0 or draws[m, i] > draws[m, best]):
                best = i
        if best >= 0:
            wins[best] += 1
    return wins
