"""A factorisation machine of ids: logistic, one for each head, by AdaGrad in the order of the log.

References
----------
.. [1] Rendle, "Factorization machines", ICDM 2010.
.. [2] Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning", JMLR 2011.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit
from scipy.special import expit, logit

from features.types import BoolArray, DoubleArray, IntArray
from training.baselines.task import Scores, Task
from training.learning.labels import Catalog
from training.learning.table import Table, kinds_of

DIMS = 8
RATE = 0.05
PENALTY = 1e-3
MOST_EPOCHS = 12
DURATION_BUCKETS = 10
"""Each of twice the duration of the one before; the first holds unknown durations and those below a second."""


def factorisation_machine(task: Task) -> Scores:
    """Scores by user, item, author, category and duration bucket.

    The early stopping slice says how many epochs; the last fit is on it and the training slice. A value that they do
    not hold has no weight and no vector.
    """
    fields, test, seed = _fields(task), task.test, task.bundle.trained.seed
    table = Table(task.features, task.columns, task.labels, task.slices)
    p = np.zeros((int(test.sum()), len(task.heads)))
    for column, head in enumerate(task.heads):
        y, has = task.labels.of(head), kinds_of(table, head)
        train, stop, fit = (
            np.flatnonzero(part(task.labels, head) & has)
            for part in (task.slices.train, task.slices.stop, task.slices.fit)
        )
        machine = Machine(_places(fields, fit), float(y[fit].mean()), seed)
        for _ in range(_epochs(_places(fields, train), y, train, stop, seed)):
            machine.learn(fit, y)
        p[:, column] = np.where(has[test], expit(machine.margins(np.flatnonzero(test))), 0.0)
    return task.of_probabilities(p, p)


def _epochs(places: IntArray, y: BoolArray, train: IntArray, stop: IntArray, seed: int) -> int:
    """After how many epochs on the training rows the loss on the stopping rows is least."""
    machine, losses = Machine(places, float(y[train].mean()), seed), []
    for _ in range(MOST_EPOCHS):
        machine.learn(train, y)
        margin = machine.margins(stop)
        losses.append(float(np.logaddexp(0, np.where(y[stop], -margin, margin)).sum()))
        if losses[-1] > min(losses):
            break
    return int(np.argmin(losses)) + 1


class Machine:
    """Weights and vectors of places, and what AdaGrad has added up of their gradients.

    Parameters
    ----------
    places : (n, fields) int64
        What each row holds, -1 for nothing.
    rate : float
        Share of positives, from which the bias starts.
    seed : int
    """

    def __init__(self, places: IntArray, rate: float, seed: int) -> None:
        size = int(places.max(initial=-1)) + 2
        self._places = places
        # The last weight is the bias, the last vector stays unused.
        self._weights = np.zeros((size, 1 + DIMS))
        self._weights[:-1, 1:] = np.random.default_rng(seed).normal(0, 0.02, (size - 1, DIMS))
        self._weights[-1, 0] = logit(np.clip(rate, 1e-6, 1 - 1e-6))
        self._squares = np.full_like(self._weights, 1e-3)

    def learn(self, rows: IntArray, y: BoolArray) -> None:
        """One epoch over rows, in their order."""
        _learn(self._places[rows], y[rows], self._weights, self._squares)

    def margins(self, rows: IntArray) -> DoubleArray:
        """Log-odds (m,) of rows."""
        return _margins(self._places[rows], self._weights)


def _fields(task: Task) -> IntArray:
    """Codes (n, 5) of what each row holds; 0 is not known."""
    history, shown = task.history, task.slates.event
    item = history.events.item[shown]
    rows = history.catalog_before(task.slices.until_ms)
    for version in history.catalog_log:
        # One that came later was described before it was shown; how it was described again is not for a past to know.
        rows.setdefault(version.row.item_id, version.row)
    described = [rows.get(name) for name in history.items]
    author, category = (
        _coded([getattr(row, name) if row else "" for row in described])[item] for name in ("author_id", "category")
    )
    catalog = Catalog.of(history)
    duration = catalog.duration_ms[catalog.rows(item, task.slates.read_offset)]
    bucket = np.clip(np.log2(np.maximum(duration, 500.0) / 500), 0, DURATION_BUCKETS - 1).astype(np.int64)
    return np.stack([history.events.user[shown], item, author, category, bucket], axis=1).astype(np.int64)


def _coded(names: Sequence[str]) -> IntArray:
    codes = {name: code for code, name in enumerate(["", *sorted({*names} - {""})])}
    return np.array([codes[name] for name in names], np.int64)


def _places(fields: IntArray, known: IntArray) -> IntArray:
    """Where (n, fields) each value stands among those of all fields that some rows hold; -1 for one they do not.

    The order is that of first appearance, so that names of later add nothing and move nothing.
    """
    out, start = np.full(fields.shape, -1), 0
    for j in range(fields.shape[1]):
        held, first = np.unique(fields[known, j], return_index=True)
        rank = np.empty(len(held), np.int64)
        rank[np.argsort(first)] = np.arange(len(held))
        at = np.minimum(np.searchsorted(held, fields[:, j]), max(len(held) - 1, 0))
        same = held[at] == fields[:, j] if len(held) else np.zeros(len(fields), np.bool_)
        out[same, j] = start + rank[at[same]]
        start += len(held)
    return out


@njit(nogil=True, cache=True)
def _margin(places: IntArray, weights: DoubleArray, total: DoubleArray) -> float:
    """The log-odds of one row; ``total`` (DIMS,) becomes the sum of its vectors."""
    margin: float = weights[-1, 0]
    total[:] = 0.0
    for place in places:
        if place >= 0:
            margin += weights[place, 0]
            for k in range(len(total)):
                total[k] += weights[place, 1 + k]
                margin -= 0.5 * weights[place, 1 + k] ** 2
    for k in range(len(total)):
        margin += 0.5 * total[k] ** 2
    return margin


@njit(nogil=True, cache=True)
def _margins(places: IntArray, weights: DoubleArray) -> DoubleArray:
    out, total = np.empty(len(places)), np.empty(weights.shape[1] - 1)
    for i in range(len(places)):
        out[i] = _margin(places[i], weights, total)
    return out


@njit(nogil=True, cache=True)
def _step(weights: DoubleArray, squares: DoubleArray, place: int, k: int, gradient: float) -> None:
    squares[place, k] += gradient * gradient
    weights[place, k] -= RATE * gradient / np.sqrt(squares[place, k])


@njit(nogil=True, cache=True)
def _learn(places: IntArray, y: BoolArray, weights: DoubleArray, squares: DoubleArray) -> None:
    total = np.empty(weights.shape[1] - 1)
    for i in range(len(places)):
        slope = 1.0 / (1.0 + np.exp(-_margin(places[i], weights, total))) - y[i]
        _step(weights, squares, len(weights) - 1, 0, slope)
        for place in places[i]:
            if place >= 0:
                _step(weights, squares, place, 0, slope + PENALTY * weights[place, 0])
                for k in range(len(total)):
                    vector = weights[place, 1 + k]
                    _step(weights, squares, place, 1 + k, slope * (total[k] - vector) + PENALTY * vector)
