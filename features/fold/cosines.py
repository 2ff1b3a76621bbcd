"""Columns of vectors: how near an entity's is to the person's, and how long it is."""

import numpy as np
from numba import njit

from features.fold.lanes import LANES, dot, prefetch, square
from features.types import FloatArray, RowArray


@njit(nogil=True, cache=True)
def squared(flat: FloatArray, at: int, dims: int) -> np.float32:
    """The square of the length of the vector that begins at ``at``."""
    whole = dims - dims % LANES
    total = square(flat, at, whole)
    for k in range(at + whole, at + dims):
        total += flat[k] * flat[k]
    return total


@njit(nogil=True, cache=True)
def length(matrix: FloatArray, rows: RowArray, out: FloatArray) -> None:
    """How long each row's vector is; 0 where there is none."""
    flat, dims = matrix.reshape(-1), matrix.shape[1]
    for i in range(rows.shape[0]):
        out[i] = np.sqrt(squared(flat, np.intp(rows[i]) * dims, dims)) if 0 <= rows[i] < matrix.shape[0] else 0.0


@njit(nogil=True, cache=True)
def product(
    vector: FloatArray, known: bool, matrix: FloatArray, rows: RowArray, of_directions: bool, out: FloatArray
) -> None:
    """Product of the person's unit vector with each row's, or their cosine; NaN where either is missing."""
    out[:] = np.nan
    if not known:
        return
    flat, dims = matrix.reshape(-1), vector.shape[0]
    whole = dims - dims % LANES
    for row in rows:
        if 0 <= row < matrix.shape[0]:
            for k in range(0, dims, LANES):
                prefetch(flat, np.intp(row) * dims + k)
    for i in range(rows.shape[0]):
        if 0 <= rows[i] < matrix.shape[0]:
            at = np.intp(rows[i]) * dims
            total = dot(flat, at, vector, whole)
            for k in range(whole, dims):
                total += vector[k] * flat[at + k]
            size = squared(flat, at, dims)
            if size > 0:
                out[i] = total / np.sqrt(size) if of_directions else total
