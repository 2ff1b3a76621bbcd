"""A calibrator: raw margins of a head to probabilities, one table of knots read by linear interpolation.

A bundle holds numbers only, two calibrators are equal when their tables are, and a probability has the same bits in
any batch.
"""

from functools import cached_property

import msgspec
import numpy as np

from features.errors import BundleError
from features.types import DoubleArray

FLOOR = 1 / 50
"""No probability is below this share of the base rate: what was never seen is rare, not impossible."""


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


def interpolate(x: DoubleArray, p: DoubleArray, margins: DoubleArray) -> DoubleArray:
    """The probabilities of margins by knots x (k,) and p (k,)."""
    inside = np.clip(margins, x[0], x[-1])
    j = np.clip(np.searchsorted(x, inside, "right") - 1, 0, max(len(x) - 2, 0))
    after = np.minimum(j + 1, len(x) - 1)
    # The share of the way is at most 1 and the sum is cut at the next knot: monotone to the last bit.
    share = (inside - x[j]) / np.where(after > j, x[after] - x[j], 1.0)
    return np.minimum(p[j] + share * (p[after] - p[j]), p[after])
