"""Alternating least squares of implicit feedback: one side's vectors solved for while the other side's are given.

References
----------
Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
"""

import numpy as np
from numba import njit

from features.fold.cholesky import solve
from features.types import DoubleArray, RowArray


def solved(
    indptr: RowArray, indices: RowArray, confidence: DoubleArray, other: DoubleArray, penalty: float
) -> DoubleArray:
    """The vectors of one side that fit best where the other side's are given.

    Parameters
    ----------
    indptr, indices, confidence
        Compressed sparse rows of this side by the other; confidences of at least 1.
    other : (m, k) float64
    penalty : float
        Above 0, so that every system has a solution.

    Returns
    -------
    (n, k) float64
        Row u minimises ``Σ_i c_ui (p_ui - x·y_i)² + penalty·|x|²``, p being 1 for entries and c 1 for all else.
    """
    gram = other.T @ other + penalty * np.eye(other.shape[1])
    out = np.zeros((len(indptr) - 1, other.shape[1]))
    _solve(indptr, indices, confidence, other, gram, out)
    return out


@njit(nogil=True, cache=True)
def _solve(
    indptr: RowArray,
    indices: RowArray,
    confidence: DoubleArray,
    other: DoubleArray,
    gram: DoubleArray,
    out: DoubleArray,
) -> None:
    k = other.shape[1]
    a = np.empty((k, k))
    for row in range(len(indptr) - 1):
        x = out[row]
        a[:] = gram
        for at in range(indptr[row], indptr[row + 1]):
            y, c = other[indices[at]], confidence[at]
            for i in range(k):
                x[i] += c * y[i]
                for j in range(i + 1):
                    a[i, j] += (c - 1.0) * y[i] * y[j]
        solve(a, x)
