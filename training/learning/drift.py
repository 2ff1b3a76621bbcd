"""Feature drift: how a column lay in training, kept in tenths, and how far what came later lies from it.

The population stability index, ``Σ (q − p) ln(q / p)`` over bins of shares p before and q now: the symmetric
Kullback–Leibler divergence (Jeffreys, 1946). Below .1 is usually called still, above .25 moved.
"""

import msgspec
import numpy as np

from features.schema import FeatureSet
from features.types import DoubleArray, FloatArray

BINS = 10
MOVED, STIRRED = 0.25, 0.1
REFERENCE = "reference.json"
"""The file beside a bundle that keeps how its columns lay."""


class Column(msgspec.Struct, frozen=True):
    """How a column lay in training.

    ``edges`` are the upper bounds of all bins but the last, of codes the half above each; ``shares`` one a bin and one
    more for rows without a value. ``rows`` is what they were counted on.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    rows: int


Reference = dict[str, Column]


class Drift(msgspec.Struct, frozen=True):
    """A column then and now: shares of the same bins, and the index between them."""

    name: str
    psi: float
    edges: tuple[float, ...]
    then: tuple[float, ...]
    now: tuple[float, ...]


def reference_of(features: FloatArray, feature_set: FeatureSet) -> Reference:
    """The columns of a training table (n, d) float32; of codes the ten most frequent have bins of their own."""
    found = {}
    for j, name in enumerate(feature_set.names):
        column = features[:, j].astype(np.float64)
        known = column[np.isfinite(column)]
        edges = _code_edges(known) if j in feature_set.categorical else _edges(known)
        found[name] = Column(tuple(edges.tolist()), tuple(_shares(column, edges).tolist()), len(column))
    return found


def drift_of(reference: Reference, features: FloatArray, feature_set: FeatureSet) -> tuple[Drift, ...]:
    """Every column of the reference in rows that came later (n, d), those that moved furthest first."""
    found = []
    for name, column in reference.items():
        if name not in feature_set.names:
            continue
        edges, then = np.array(column.edges), np.array(column.shares)
        now = _shares(features[:, feature_set.names.index(name)].astype(np.float64), edges)
        index = psi(then, now, column.rows, len(features))
        found.append(Drift(name, index, column.edges, column.shares, tuple(now.tolist())))
    return tuple(sorted(found, key=lambda one: (-one.psi, one.name)))


def psi(then: DoubleArray, now: DoubleArray, rows_then: int, rows_now: int) -> float:
    """The index between shares (k,) and (k,), each with half a row added to every bin, so that none is empty."""
    p, q = (_filled(shares, rows) for shares, rows in ((then, rows_then), (now, rows_now)))
    return float(((q - p) * np.log(q / p)).sum())


def _filled(shares: DoubleArray, rows: int) -> DoubleArray:
    return (shares * rows + 0.5) / (rows + 0.5 * len(shares))


def _edges(known: DoubleArray) -> DoubleArray:
    if not len(known):
        return np.zeros(0)
    return np.unique(np.quantile(known, np.arange(1, BINS) / BINS))


def _code_edges(known: DoubleArray) -> DoubleArray:
    codes, counts = np.unique(known, return_counts=True)
    most = codes[np.argsort(-counts, kind="stable")[:BINS]]
    # Half below and half above each: what lies between two frequent codes has a bin of its own.
    return np.unique(np.concatenate([most - 0.5, most + 0.5]))


def _shares(column: DoubleArray, edges: DoubleArray) -> DoubleArray:
    known = np.isfinite(column)
    counts = np.bincount(np.searchsorted(edges, column[known], side="left"), minlength=len(edges) + 1)
    return np.append(counts, (~known).sum()) / max(len(column), 1)
