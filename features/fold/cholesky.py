"""Small symmetric systems of equations, solved where they stand."""

import numpy as np
from numba import njit

from features.types import DoubleArray


@njit(nogil=True, cache=True)
def solve(a: DoubleArray, x: DoubleArray) -> None:
    """Solve a·z = x in place for a symmetric positive definite, of which the lower half is read and overwritten."""
    k = len(x)
    for i in range(k):
        for j in range(i + 1):
            total = a[i, j]
            for m in range(j):
                total -= a[i, m] * a[j, m]
            a[i, j] = np.sqrt(total) if i == j else total / a[j, j]
        for m in range(i):
            x[i] -= a[i, m] * x[m]
        x[i] /= a[i, i]
    for i in range(k - 1, -1, -1):
        for m in range(i + 1, k):
            x[i] -= a[m, i] * x[m]
        x[i] /= a[i, i]


@njit(nogil=True, cache=True)
def inverse_diagonal(a: DoubleArray, out: DoubleArray) -> None:
    """The diagonal of the inverse of a matrix that ``solve`` has overwritten with its factor."""
    k = len(out)
    column = np.empty(k)
    out[:] = 0.0
    for start in range(k):
        for i in range(start, k):
            total = 1.0 if i == start else 0.0
            for m in range(start, i):
                total -= a[i, m] * column[m]
            column[i] = total / a[i, i]
            out[start] += column[i] * column[i]
