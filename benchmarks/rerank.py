"""The re-rankers beside a plain greedy choice, and what variety costs in value."""

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.report import Report, Row, interleaved, quantiles
from features.types import DoubleArray, FloatArray, IntArray
from ranking.mixing.rerank import LEAST_GAIN, METHODS, standardised

DIMS, SLOTS, THETA, WINDOW = 64, 50, 0.5, 10
BAR = 300
"""Candidates that the bar is set for."""


def run(*, quick: bool) -> Report:
    """50 slots of 100, 300 and 1,000 candidates in 64 dimensions; theta .5, a window of 10 and all chosen."""
    report = Report("rerank")
    for n in (100, BAR, 1_000):
        value, vectors = candidates(n)
        orders = {"by value": np.arange(n)}
        runs: dict[str, Callable[[], IntArray]] = {}
        for (name, method), window in itertools.product(METHODS.items(), (WINDOW, None)):
            label = f"{name}, window {window or 'all'}"
            runs[label] = partial(method, value, vectors, SLOTS, THETA, window)
            orders[label] = runs[label]()
            if not np.array_equal(orders[label][:SLOTS], plain(name, value, vectors, SLOTS, THETA, window)):
                report.faults.append(f"{label} of {n} candidates differs from the plain greedy choice")
        took = dict(zip(runs, interleaved([*runs.values()], 50 if quick else 1_000), strict=True))
        for label, order in orders.items():
            row: Row = {"system": label, "candidates": n, "slots": SLOTS}
            row |= {"ndcg": ndcg(value[order]), "value_given_up": float((value[:SLOTS] - value[order[:SLOTS]]).mean())}
            row |= {"mean_distance": distance(vectors[order[:SLOTS]])}
            report.rows.append(row | (quantiles(took[label]) if label in took else {}))
        if n == BAR:
            report.ratios["rerank.dpp_ms"] = float(np.median(took["dpp, window all"]))
            report.ratios["rerank.mmr_ms"] = float(np.median(took["mmr, window all"]))
    return report


def candidates(n: int) -> tuple[DoubleArray, FloatArray]:
    """Values, best first, and unit vectors of twenty groups: what is liked lies near what is liked."""
    rng = np.random.default_rng(n)
    groups = rng.standard_normal((20, DIMS))
    of = rng.integers(0, 20, n)
    vectors = groups[of] + 0.6 * rng.standard_normal((n, DIMS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    value = 0.7 * rng.standard_normal(20)[of] + rng.standard_normal(n)
    order = np.argsort(-value, kind="stable")
    return value[order], vectors[order].astype(np.float32)


def plain(
    method: str, value: DoubleArray, vectors: FloatArray, count: int, theta: float, window: int | None
) -> list[int]:
    """The greedy choice by its definition, every gain from scratch; fewer than ``count`` where a DPP stops."""
    z = standardised(value, vectors, theta, window)
    similar = similarity(vectors)
    chosen: list[int] = []
    while len(chosen) < min(count, len(value)):
        near = chosen[-window:] if window else chosen
        gain = dpp_gains(z, similar, near, theta) if method == "dpp" else mmr_gains(z, similar, near, theta)
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        if gain[best] == -np.inf:
            break
        chosen.append(best)
    return chosen


def similarity(vectors: FloatArray) -> DoubleArray:
    """The matrix (n, n) of both methods."""
    wide = vectors.astype(np.float64)
    similar: DoubleArray = (1 + wide @ wide.T) / 2
    np.fill_diagonal(similar, 1.0)
    return similar


def dpp_gains(z: DoubleArray, similar: DoubleArray, near: list[int], theta: float) -> DoubleArray:
    """By how much each item raises theta * sum z + (1 - theta) * log det S; -inf where it has nothing of its own."""
    across = similar[near]
    own = 1 - (across * np.linalg.solve(similar[np.ix_(near, near)], across)).sum(axis=0)
    gain: DoubleArray = np.where(
        own > LEAST_GAIN, theta * z + (1 - theta) * np.log(np.maximum(own, LEAST_GAIN)), -np.inf
    )
    return gain


def mmr_gains(z: DoubleArray, similar: DoubleArray, near: list[int], theta: float) -> DoubleArray:
    """Relevance less the likeness to the nearest of those placed."""
    gain: DoubleArray = theta * z - (1 - theta) * similar[near].max(axis=0, initial=0.0)
    return gain


def ndcg(value: DoubleArray) -> float:
    """Value of the first slots above the least, discounted by position, beside that of the order by value."""
    discount = 1 / np.log2(np.arange(2, SLOTS + 2))
    worth = value - value.min()
    best = np.sort(worth)[::-1]
    return float((worth[:SLOTS] * discount).sum() / (best[:SLOTS] * discount).sum())


def distance(vectors: FloatArray) -> float:
    """Mean of 1 - cosine over all pairs of a page."""
    cosines = vectors @ vectors.T
    return float(1 - cosines[np.triu_indices(len(vectors), 1)].mean())
