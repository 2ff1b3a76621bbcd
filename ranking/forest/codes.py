"""From float32 rows to codes: a byte for each column of ranks and one or two for each feature of categories."""

import numpy as np
from numba import njit

from features.types import ByteArray, FloatArray, IntArray, RowArray
from ranking.forest.lanes import BLOCK, count_below
from ranking.forest.model import Members, Model, Ranks, stride_of


@njit(nogil=True, cache=True, error_model="numpy")
def code_rows(
    model: Model,
    values: FloatArray,
    steps: tuple[int, int],
    n: int,
    kept: ByteArray,
    kept_rows: RowArray,
    columns: IntArray,
    codes: ByteArray,
) -> None:
    """Write the codes of n rows, column after column, each ``stride_of(n)`` bytes wide.

    Parameters
    ----------
    values : flat float32
        Feature f of row i is at ``i * steps[0] + f * steps[1]``.
    kept, kept_rows, columns : (m, k) uint8, (n,) int32, (k,) int64
        Codes that need no values: of row i they stand in ``kept[kept_rows[i]]``, for these columns.
    """
    ranks, members, stride = model.ranks, model.members, stride_of(n)
    has = np.zeros(members.place[-1], np.bool_)
    has[columns] = True
    for i in range(n):
        row = kept_rows[i]
        for k in range(len(columns)):
            codes[columns[k] * stride + i] = kept[row, k]
    for g in range(len(ranks.feature)):
        first, stop = ranks.column_start[g], ranks.column_start[g + 1]
        if not has[first]:
            start = ranks.feature[g] * steps[1]
            done = 1 if same(values, start, steps[0], n) else n
            rank_column(ranks, g, values, start, steps[0], done, codes, stride)
            if done < n:
                repeat(codes, first, stop, stride, n)
    for i in range(len(members.feature)):
        first, stop = members.place[i], members.place[i + 1]
        if not has[first]:
            start = members.feature[i] * steps[1]
            done = 1 if same(values, start, steps[0], n) else n
            place_column(members, i, values, start, steps[0], done, codes, stride)
            if done < n:
                repeat(codes, first, stop, stride, n)


@njit(nogil=True, cache=True, error_model="numpy")
def code_feature(model: Model, feature: int, values: FloatArray, n: int, codes: ByteArray, stride: int) -> None:
    """The columns of codes that tell of one feature, by its values (n,) that lie side by side."""
    ranks, members = model.ranks, model.members
    g, i = int(np.searchsorted(ranks.feature, feature)), int(np.searchsorted(members.feature, feature))
    while g < len(ranks.feature) and ranks.feature[g] == feature:
        rank_column(ranks, g, values, 0, 1, n, codes, stride)
        g += 1
    if i < len(members.feature) and members.feature[i] == feature:
        place_column(members, i, values, 0, 1, n, codes, stride)


@njit(nogil=True, cache=True, error_model="numpy")
def columns_of(model: Model, feature: int) -> tuple[int, int]:
    """The columns of codes that tell of one feature: the first, and one beyond the last."""
    ranks, members = model.ranks, model.members
    g, i = int(np.searchsorted(ranks.feature, feature)), int(np.searchsorted(members.feature, feature))
    if g < len(ranks.feature) and ranks.feature[g] == feature:
        last = int(np.searchsorted(ranks.feature, feature, side="right"))
        return int(ranks.column_start[g]), int(ranks.column_start[last])
    if i < len(members.feature) and members.feature[i] == feature:
        return int(members.place[i]), int(members.place[i + 1])
    return 0, 0


@njit(nogil=True, cache=True, error_model="numpy")
def rank_column(
    ranks: Ranks, g: int, values: FloatArray, start: int, step: int, n: int, codes: ByteArray, stride: int
) -> None:
    """The columns of a grid: how many of its cuts are below each value, or the code of what is missing."""
    rank, value = np.empty(BLOCK, np.uint8), np.empty(BLOCK, np.float32)
    for first in range(0, n, BLOCK):
        rows = min(BLOCK, n - first)
        for j in range(rows):
            x = values[start + (first + j) * step]
            coarse = 16 * count_below(ranks.pivots, 16 * g, x)
            value[j], rank[j] = x, coarse + count_below(ranks.cuts, 256 * g + coarse, x)
        for c in range(ranks.column_start[g], ranks.column_start[g + 1]):
            code, below, at = ranks.missing_code[c], ranks.missing_below[c], c * stride + first
            for j in range(rows):
                codes[at + j] = rank[j] if abs(value[j]) > below else code


@njit(nogil=True, cache=True, error_model="numpy")
def place_column(
    members: Members, i: int, values: FloatArray, start: int, step: int, n: int, codes: ByteArray, stride: int
) -> None:
    """The columns, one or two, of a feature of categories: the place of each value among the known."""
    first, stop = members.place[i], members.place[i + 1]
    known = members.known[members.known_start[i] : members.known_start[i + 1]]
    for j in range(n):
        place = category_place(known, values[start + j * step])
        codes[first * stride + j] = place & 255
        if stop - first == 2:
            codes[(first + 1) * stride + j] = place >> 8


@njit(nogil=True, cache=True, error_model="numpy")
def category_place(known: IntArray, x: np.float32) -> np.intp:
    """1 + the place of a value's integer part among the known categories; 0 for NaN, negative, vast and unknown."""
    if not (-1.0 < x < 2147483648.0):
        return np.intp(0)
    number = np.int64(x)
    place = np.searchsorted(known, number)
    return np.intp(place + 1) if place < len(known) and known[place] == number else np.intp(0)


@njit(nogil=True, cache=True, error_model="numpy")
def same(values: FloatArray, start: int, step: int, n: int) -> bool:
    """Whether a column has one value in all rows; NaN is like NaN."""
    x = values[start]
    for i in range(1, n):
        y = values[start + i * step]
        if not (x == y or (x != x and y != y)):  # noqa: PLR0124  NaN alone differs from itself
            return False
    return True


@njit(nogil=True, cache=True)
def repeat(codes: ByteArray, first: int, stop: int, stride: int, n: int) -> None:
    """Give all rows of some columns the code of the first."""
    for c in range(first, stop):
        codes[c * stride : c * stride + n] = codes[c * stride]
