"""Raw margins to probabilities: shrunken Platt, and isotonic where there are outcomes enough.

Kinds of a head share what their slices are too small to tell: a slope is shrunk to that of all kinds, a level to that
of the rows that the trees learned from. Whatever was fitted is kept as one table of knots and read by linear
interpolation, so that a bundle holds numbers only, two calibrators are equal when their tables are, and a probability
has the same bits in any batch.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit, logit

from features.errors import TrainingError
from features.types import DoubleArray, IntArray
from ranking.bundles.calibration import FLOOR, Calibrator, interpolate
from training.learning.logistic import mode

CEILING = 1 - 1e-6
ISOTONIC_OUTCOMES = 10_000
"""With fewer of either outcome two parameters hold better on the day after than blocks do: docs/log.md."""
EARLIER_POSITIVES = 300
"""What earlier rows are worth at most beside the latest: they tell a rare head its slope, and no head of a day past."""
LEVEL_POSITIVES = 100.0
"""What the level of other rows, earlier or learned from, is worth beside the latest: levels of days differ by 1/10."""
BLOCK_OUTCOMES = 10
"""An isotonic block has this many of each outcome, so that no lucky row at an end makes a probability of 0 or 1."""
PRIOR_POSITIVES = 10.0
SLOPE_PRECISION = 16.0
KIND_PRECISION = 1024.0
"""Slopes of the kinds of one head are alike to 1/32."""
PLATT_KNOTS = 257
TILT, REACH = 1e-6, 16.0
"""What a probability rises by from end to end beside what was fitted, in base rates, and how far beyond the last knots:
so little tells nothing but which of two margins is the higher where the fit is level."""


class Seen(NamedTuple):
    """Margins (n,) float64 and what came of them, 0 or 1 (n,) float64."""

    margin: DoubleArray
    y: DoubleArray


NOTHING = Seen(np.empty(0), np.empty(0))


class Known(NamedTuple):
    """What is known of a head on a kind of item.

    Attributes
    ----------
    latest : Seen
        Rows that the model has not seen.
    base_rate : float
        The rate π of more rows than these, in (0, 1).
    earlier : Seen
        Rows before the latest, by a model that has not seen them either. Its level is its own, so they tell the slope.
    learned : Seen
        Rows that the model has learned from: their slope flatters, their level does not.
    """

    latest: Seen
    base_rate: float
    earlier: Seen = NOTHING
    learned: Seen = NOTHING


def fit_calibrators(kinds: Mapping[int, Known]) -> dict[int, Calibrator]:
    """A calibrator of each kind of one head, fitted on rows the model has not seen.

    Parameters
    ----------
    kinds : mapping of int to Known
        Margins are raw, ties are allowed, order does not matter. Earlier rows tell the slope as much as the latest do,
        but all together for no more than 300 positives, and nothing where the latest suffice for the isotonic fit.
        Their level is their own ± 1/10, so that of it no more than 100 positives count here. Rows that were learned
        from tell the level, as 100 positives at most.

    Returns
    -------
    dict of int to Calibrator
        With 10,000 of each outcome, isotonic regression [1]_ whose blocks are pooled until they have ten of each and
        joined linearly between their mean margins. With fewer, Platt's two parameters [2]_ under a Gaussian prior:
        slope that of all kinds together ± 1/32, or of a kind alone 1 ± 1/4; level that of ``learned``, or else where
        the mean probability is π, worth ten positives. With one outcome only, or where a higher margin means a lower
        rate, the constant (positives + 10) / (n + 10/π). All but a constant for want of a slope rise by a millionth of
        π more, evenly from 16 below their first knot to 16 above their last, so that the raw margin breaks ties.

    Raises
    ------
    TrainingError
        When arrays differ in length, a margin is not within ± 10⁶, an outcome is neither 0 nor 1, or a base rate is
        not in (0, 1).

    References
    ----------
    .. [1] Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", 2002.
    .. [2] Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    for known in kinds.values():
        _check(known)
    parts = {kind: _line(*known) for kind, known in kinds.items() if _has_both(known)}
    slope = (_common_slope(list(parts.values())), KIND_PRECISION) if len(parts) > 1 else (1.0, SLOPE_PRECISION)
    return {kind: _fitted(known, slope) for kind, known in kinds.items()}


def _fitted(known: Known, slope: tuple[float, float]) -> Calibrator:
    (margin, y), rate = known.latest, known.base_rate
    if min(y.sum(), len(y) - y.sum()) >= ISOTONIC_OUTCOMES:
        x, p = _tilted(*_isotonic(margin, y), rate)
    elif _has_both(known):
        x, p = _platt(known, slope)
    else:
        x, p = _tilted(*_constant(known), rate)
    return Calibrator(rate, tuple(x.tolist()), tuple(np.clip(p, rate * FLOOR, 1.0).tolist()))


def _tilted(x: DoubleArray, p: DoubleArray, rate: float) -> tuple[DoubleArray, DoubleArray]:
    """Knots that go on beyond their ends and rise strictly, by ``TILT`` base rates in all where they were level."""
    x = np.concatenate([[x[0] - REACH], x, [x[-1] + REACH]])
    p = np.clip(np.concatenate([p[:1], p, p[-1:]]), rate * FLOOR, 1.0 - TILT * rate)
    return x, p + TILT * rate * (x - x[0]) / (x[-1] - x[0])


def _check(known: Known) -> None:
    for margin, y in (known.latest, known.earlier, known.learned):
        if margin.ndim != 1 or margin.shape != y.shape:
            what = f"Margins have shape {margin.shape}, outcomes {y.shape}."
            raise TrainingError(what, "Give one outcome per margin.")
        if not (np.abs(margin) <= 1e6).all():
            raise TrainingError("A margin to calibrate on is not within ± 10⁶.", "Look for NaN in the model's output.")
        if not ((y == 0) | (y == 1)).all():
            what = "An outcome to calibrate on is neither 0 nor 1."
            raise TrainingError(what, "Leave out rows that have not matured.")
    if not 0 < known.base_rate < 1:
        raise TrainingError(f"The base rate {known.base_rate} is not in (0, 1).", "Take that of all rows there are.")


def _has_both(known: Known) -> bool:
    """Whether the rows that a line is fitted to have both outcomes."""
    y = np.concatenate([known.latest.y, known.earlier.y])
    return bool(0 < y.sum() < len(y))


def _constant(known: Known) -> tuple[DoubleArray, DoubleArray]:
    y, weight = np.concatenate([known.latest.y, known.earlier.y]), _weights(known)
    p = (float(weight @ y) + PRIOR_POSITIVES) / (weight.sum() + PRIOR_POSITIVES / known.base_rate)
    return np.zeros(1), np.array([p])


def _weights(known: Known) -> DoubleArray:
    """How much each row counts, the latest first."""
    share = min(1.0, EARLIER_POSITIVES / max(float(known.earlier.y.sum()), 1.0))
    return np.concatenate([np.ones_like(known.latest.y), np.full_like(known.earlier.y, share)])


def _isotonic(margin: DoubleArray, y: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    unique, row = np.unique(margin, return_inverse=True)
    count, hits = np.bincount(row).astype(np.float64), np.bincount(row, weights=y)
    starts = np.asarray(isotonic_regression(hits / count, weights=count).blocks, np.int64)[:-1]
    starts = _pooled(starts, np.add.reduceat(hits, starts), np.add.reduceat(count - hits, starts))
    rows = np.add.reduceat(count, starts)
    x = np.add.reduceat(unique * count, starts) / rows
    p = np.add.reduceat(hits, starts) / rows
    # Margins that differ in their last bits alone can share a mean.
    apart = np.concatenate([[True], x[1:] > np.maximum.accumulate(x)[:-1]])
    x, p = x[apart], p[apart]
    # Between block centres a line runs above a convex curve: the mean is put back by one factor.
    return x, p * (y.mean() / interpolate(x, p, margin).mean())


def _pooled(starts: IntArray, positives: DoubleArray, negatives: DoubleArray) -> IntArray:
    """Starts of blocks, left to right, that have enough of each outcome; what is left over joins the last."""
    kept, have = [0], np.zeros(2)
    for start, more in zip(starts.tolist(), np.stack([positives, negatives], axis=1), strict=True):
        if have.min() >= BLOCK_OUTCOMES:
            kept.append(start)
            have = np.zeros(2)
        have = have + more
    if have.min() < BLOCK_OUTCOMES and len(kept) > 1:
        kept.pop()
    return np.array(kept, np.int64)


class _Line(NamedTuple):
    """What a line of log-odds on margins is fitted to: the latest rows and the earlier ones.

    ``margin`` is off ``centre``, where these rows say most. The intercept is about ``level``, with ``precision``.
    """

    margin: DoubleArray
    y: DoubleArray
    weight: DoubleArray
    is_earlier: DoubleArray
    centre: float
    level: float
    precision: float
    rate: float


def _line(latest: Seen, base_rate: float, earlier: Seen, learned: Seen) -> _Line:
    margin, y = (np.concatenate(pair) for pair in zip(latest, earlier, strict=True))
    weight = _weights(Known(latest, base_rate, earlier))
    is_earlier = np.repeat([0.0, 1.0], [len(latest.y), len(earlier.y)])
    positives = float(learned.y.sum())
    if 0 < positives < len(learned.y):
        shift = _shift(learned.margin, np.ones_like(learned.y), float(learned.y.mean()))
        worth = min(LEVEL_POSITIVES, max(positives, PRIOR_POSITIVES))
    else:
        shift, worth = _shift(margin, weight, base_rate), PRIOR_POSITIVES
    # Around the centre of information the intercept and the slope can be shrunk apart from each other.
    p = expit(margin + shift)
    centre = float(np.average(margin, weights=weight * p * (1 - p) + 1e-12))
    precision = worth * (1 - base_rate)
    return _Line(margin - centre, y, weight, is_earlier, centre, centre + shift, precision, base_rate)


def _shift(margin: DoubleArray, weight: DoubleArray, rate: float) -> float:
    """What to add to margins so that their mean probability is a rate."""
    target = float(logit(rate))
    low, high = target - float(margin.max()) - 1, target - float(margin.min()) + 1
    return float(brentq(lambda by: float(np.average(expit(margin + by), weights=weight)) - rate, low, high))


def _common_slope(lines: list[_Line]) -> float:
    """The slope of all kinds together, each with levels of its own."""
    size, at = 2 * len(lines) + 1, np.cumsum([0, *(len(line.y) for line in lines)])
    design, centre, precision = np.zeros((size, at[-1])), np.zeros(size), np.zeros(size)
    centre[-1], precision[-1] = 1.0, SLOPE_PRECISION
    for k, line in enumerate(lines):
        rows = slice(at[k], at[k + 1])
        design[2 * k, rows], design[2 * k + 1, rows], design[-1, rows] = 1.0, line.is_earlier, line.margin
        centre[2 * k], precision[2 * k : 2 * k + 2] = line.level, (line.precision, LEVEL_POSITIVES * (1 - line.rate))
    y, weight = (np.concatenate([getattr(line, name) for line in lines]) for name in ("y", "weight"))
    return float(mode(design, y, weight, centre, precision)[-1])


def _platt(known: Known, about: tuple[float, float]) -> tuple[DoubleArray, DoubleArray]:
    line, rate = _line(*known), known.base_rate
    design = np.stack([np.ones_like(line.y), line.is_earlier, line.margin])
    centre = np.array([line.level, 0.0, about[0]])
    precision = np.array([line.precision, LEVEL_POSITIVES * (1 - rate), about[1]])
    intercept, _, slope = mode(design, line.y, line.weight, centre, precision)
    if not slope > 1e-6:
        return _constant(known)
    z = np.linspace(float(logit(rate * FLOOR)), float(logit(CEILING)), PLATT_KNOTS)
    return _tilted((z - intercept) / slope + line.centre, expit(z), rate)
