"""A logistic model of who answers what: person times item, each side's vectors known with a doubt.

Each side is solved for while the other is given, as its posterior mean and variance: what is hardly known stays near
its prior, and others learn little of it.

References
----------
.. [1] Jaakkola and Jordan, "Bayesian parameter estimation via variational methods", Statistics and Computing 10, 2000.
.. [2] Salakhutdinov and Mnih, "Probabilistic matrix factorization", NIPS 2007.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.sparse import csr_matrix

from features.fold.cholesky import inverse_diagonal, solve
from features.types import DoubleArray, IntArray, RowArray


class Cells(NamedTuple):
    """What is known of one side by the other, as compressed sparse rows: trials, successes, readings and their sums."""

    indptr: RowArray
    indices: RowArray
    trials: DoubleArray
    successes: DoubleArray
    readings: DoubleArray
    sums: DoubleArray

    @classmethod
    def of(cls, row: IntArray, column: IntArray, said: Sequence[DoubleArray], shape: tuple[int, int]) -> "Cells":
        """One trial of each row and column; ``said`` are whether it succeeded, whether it was read, and the reading."""
        # A cell keeps its place in all of them, be it nought.
        parts = [csr_matrix((one, (row, column)), shape) for one in (np.ones(len(row)), *said)]
        return cls(parts[0].indptr, parts[0].indices, *(part.data for part in parts))


class Slope(NamedTuple):
    """How readings follow the log-odds less a person's constant: by so much, with such a precision around it."""

    slope: float
    precision: float


class Side(NamedTuple):
    """Posterior means and variances (n, k) of vectors, whose last number is a constant of their own."""

    mean: DoubleArray
    variance: DoubleArray


@njit(nogil=True, cache=True)
def update(
    cells: Cells,
    own: Side,
    other: Side,
    constant: float,
    readings: Slope,
    of_people: bool,
    prior: DoubleArray,
    precision: DoubleArray,
) -> None:
    """Solve for one side in place, the other given.

    The log-odds of a cell are ``constant + Σ own·other`` over all numbers but the last, plus both last ones. Its
    readings are ``slope`` times the same without the constant and the person's own.

    Parameters
    ----------
    prior : (n, k) float64
    precision : (k,) float64
        Of the prior, above 0.
    """
    k = own.mean.shape[1]
    a, x = np.empty((k, k)), np.empty(k)
    for row in range(len(cells.indptr) - 1):
        mean, variance = own.mean[row], own.variance[row]
        a[:] = 0.0
        for i in range(k):
            a[i, i], x[i] = precision[i], precision[i] * prior[row, i]
        for at in range(cells.indptr[row], cells.indptr[row + 1]):
            y, doubt = other.mean[cells.indices[at]], other.variance[cells.indices[at]]
            fixed = constant + y[k - 1]
            margin, spread = fixed + mean[k - 1], variance[k - 1] + doubt[k - 1]
            for i in range(k - 1):
                margin += mean[i] * y[i]
                spread += mean[i] * mean[i] * doubt[i] + variance[i] * (y[i] * y[i] + doubt[i])
            size = np.sqrt(margin * margin + spread)
            weight = cells.trials[at] * np.tanh(size / 2.0) / (2.0 * size) if size > 1e-6 else cells.trials[at] / 4.0
            target = cells.successes[at] - cells.trials[at] / 2.0 - weight * fixed
            read = cells.readings[at] * readings.slope * readings.slope * readings.precision
            pull = cells.sums[at] * readings.slope * readings.precision - (read * y[k - 1] if of_people else 0.0)
            both = weight + read
            for i in range(k - 1):
                x[i] += (target + pull) * y[i]
                a[i, i] += both * doubt[i]
                part = both * y[i]
                for j in range(i + 1):
                    a[i, j] += part * y[j]
                a[k - 1, i] += weight * y[i] if of_people else part
            a[k - 1, k - 1] += weight if of_people else both
            x[k - 1] += target if of_people else target + pull
        solve(a, x)
        mean[:] = x
        inverse_diagonal(a, variance)
