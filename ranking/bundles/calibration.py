"""A calibrator: raw margins of a head to probabilities, one table of knots read by linear interpolation.

A bundle holds numbers only, two calibrators are equal when their tables are, and a probability has the same bits in
any batch.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
from numba import njit

from features.errors import BundleError
from features.types import ByteArray, DoubleArray, IntArray

FLOOR = 1 / 50
"""No probability is below this share of the base rate: what was never seen is rare, not impossible."""
CELLS = 4
"""Cells a knot, in which a margin is looked for."""


class Calibrator(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """A non-decreasing, piecewise linear map from margins to probabilities; constant beyond its end knots.

    Parameters
    ----------
    base_rate : float
        The rate of positives π, in (0, 1).
    margins : tuple of float
        Margins of the knots, in log-odds or any unit of the model; finite, strictly increasing.
    probabilities : tuple of float
        Their probabilities in [π/50, 1], non-decreasing.

    Raises
    ------
    BundleError
        When the table is not of this form.
    """

    base_rate: float
    margins: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        x, p = self._knots
        if not 0 < self.base_rate < 1:
            raise BundleError(f"A calibrator's base rate is {self.base_rate}, not in (0, 1).", "Train the bundle anew.")
        formed = len(x) == len(p) > 0 and np.isfinite(x).all() and (x[1:] > x[:-1]).all() and (p[1:] >= p[:-1]).all()
        if not formed or not self.base_rate * FLOOR <= p[0] <= p[-1] <= 1:
            raise BundleError("A calibrator's knots do not rise within [π/50, 1].", "Train the bundle anew.")

    @cached_property
    def _knots(self) -> tuple[DoubleArray, DoubleArray]:
        return np.array(self.margins, np.float64), np.array(self.probabilities, np.float64)

    def predict(self, margins: DoubleArray) -> DoubleArray:
        """The probabilities of margins.

        Parameters
        ----------
        margins : float64 array of any shape
            Infinities are read as the end knots.

        Returns
        -------
        float64 array of the same shape
            In [π/50, 1]; NaN where the margin is NaN, so that the order of scores puts it last.
        """
        return interpolate(*self._knots, np.asarray(margins, np.float64))

    def to_json(self) -> bytes:
        """The table as a JSON object; ``from_json`` gives an equal calibrator."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> "Calibrator":
        """The calibrator that ``to_json`` wrote; ``BundleError`` when it is not one."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise BundleError(f"A calibrator cannot be read: {error}.", "Train the bundle anew.") from error


class Tables(NamedTuple):
    """The knots of many calibrators, one after the other.

    A margin is looked for among the few knots of its cell. Cells of a calibrator are equally wide, ``CELLS`` a knot.

    Attributes
    ----------
    margins, probabilities : (knots,) float64
        Of all calibrators.
    start : (heads, 5) int64
        Kind k of head h has the knots from start[h, k] to start[h, k + 1], none where it does not have the head.
    per_unit : (heads, 4) float64
        Cells in a unit of margin, from the first knot on; 0 where there is one for all.
    first : (CELLS * knots + heads * 4,) int64
        The first knot that is in a cell or behind it, calibrator after calibrator, each with one more at its end.
    """

    margins: DoubleArray
    probabilities: DoubleArray
    start: IntArray
    per_unit: DoubleArray
    first: IntArray

    @classmethod
    def of(cls, heads: Sequence[Mapping[int, Calibrator]]) -> "Tables":
        """Those of every head, by code of kind."""
        start = np.zeros((len(heads), 5), np.int64)
        margins: list[float] = []
        probabilities: list[float] = []
        for head, calibrators in enumerate(heads):
            for kind in range(4):
                start[head, kind] = len(margins)
                if kind in calibrators:
                    margins += calibrators[kind].margins
                    probabilities += calibrators[kind].probabilities
            start[head, 4] = len(margins)
        x = np.array(margins, np.float64)
        per_unit, first = _cells(x, start)
        return cls(x, np.array(probabilities, np.float64), start, per_unit, first)


def _cells(x: DoubleArray, start: IntArray) -> tuple[DoubleArray, IntArray]:
    """``Tables.per_unit`` and ``Tables.first``."""
    per_unit, first = np.zeros((len(start), 4)), []
    for head, kind in np.ndindex(per_unit.shape):
        begin, stop = start[head, kind : kind + 2].tolist()
        count, own = CELLS * (stop - begin), x[begin:stop]
        with np.errstate(over="ignore"):
            unit = float(count / (own[-1] - own[0])) if len(own) > 1 else 0.0
        per_unit[head, kind] = unit = unit if np.isfinite(unit) else 0.0
        cells = [_cell(margin, own[0], unit, count) for margin in own]
        first.append(begin + np.searchsorted(cells, np.arange(count + 1)))
    return per_unit, np.concatenate([np.zeros(0, np.int64), *first])


def interpolate(x: DoubleArray, p: DoubleArray, margins: DoubleArray) -> DoubleArray:
    """The probabilities of margins of any shape by knots x (k,) and p (k,)."""
    out = np.empty(margins.size, np.float64)
    read_all(x, p, np.ascontiguousarray(margins).ravel(), out)
    return out.reshape(margins.shape)


@njit(nogil=True, cache=True)
def calibrate(tables: Tables, kinds: ByteArray, raw: DoubleArray, out: DoubleArray) -> None:
    """Write the probabilities (n, heads) of raw margins (n, heads) of items of kinds (n,); 0 without a calibrator."""
    x, p = tables.margins, tables.probabilities
    for head in range(raw.shape[1]):
        for i in range(raw.shape[0]):
            kind, margin = kinds[i], raw[i, head]
            first, stop = tables.start[head, kind], tables.start[head, kind + 1]
            if stop == first:
                out[i, head] = 0.0
            elif not x[first] < margin < x[stop - 1]:
                out[i, head] = read(x, p, first, stop, margin)
            else:
                # Cells rise with margins: knots of lower cells are not above this one, those of higher ones are.
                cell = _cell(margin, x[first], tables.per_unit[head, kind], CELLS * (stop - first))
                at = CELLS * first + 4 * head + kind + cell
                low, high = max(tables.first[at] - 1, first), min(tables.first[at + 1], stop - 1)
                out[i, head] = between(x, p, low, high, margin)


@njit(nogil=True, cache=True)
def read_all(x: DoubleArray, p: DoubleArray, margins: DoubleArray, out: DoubleArray) -> None:
    """Write the probabilities (n,) of margins (n,) by one table."""
    for i in range(margins.shape[0]):
        out[i] = read(x, p, 0, x.shape[0], margins[i])


@njit(nogil=True, cache=True)
def _cell(margin: float, origin: float, per_unit: float, count: int) -> int:
    """The cell of a margin that is not below the origin."""
    # Where there is one cell, how far a margin lies from the origin may be more than a number can say.
    return min(int((margin - origin) * per_unit), count - 1) if per_unit > 0 else 0


@njit(nogil=True, cache=True)
def read(x: DoubleArray, p: DoubleArray, first: int, stop: int, margin: float) -> float:
    """The probability of a margin by the knots first <= j < stop."""
    if np.isnan(margin):
        return margin
    low, high = first, stop - 1
    if margin <= x[low]:
        return float(p[low])
    if margin >= x[high]:
        return float(p[high])
    return between(x, p, low, high, margin)


@njit(nogil=True, cache=True)
def between(x: DoubleArray, p: DoubleArray, low: int, high: int, margin: float) -> float:
    """The probability of a margin that is not below knot ``low``, and below knot ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        if x[middle] <= margin:
            low = middle
        else:
            high = middle
    # The share of the way is at most 1 and the sum is cut at the next knot: monotone to the last bit.
    share = (margin - x[low]) / (x[high] - x[low])
    return float(min(p[low] + share * (p[high] - p[low]), p[high]))
