"""Raw margins to probabilities: shrunken Platt, and isotonic where there are outcomes enough.

Whatever was fitted is kept as one table of knots and read by linear interpolation, so that a bundle holds numbers
only, two calibrators are equal when their tables are, and a probability has the same bits in any batch.
"""

import numpy as np
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit, logit

from features.errors import TrainingError
from features.types import DoubleArray, IntArray
from ranking.bundles.calibration import FLOOR, Calibrator, interpolate

CEILING = 1 - 1e-6
ISOTONIC_OUTCOMES = 10_000
"""With fewer of either outcome two parameters hold better on the day after than blocks do: docs/log.md."""
EARLIER_POSITIVES = 300
"""What earlier rows are worth at most beside the latest: they tell a rare head its slope, and no head of a day past."""
BLOCK_OUTCOMES = 10
"""An isotonic block has this many of each outcome, so that no lucky row at an end makes a probability of 0 or 1."""
PRIOR_POSITIVES = 10.0
SLOPE_PRECISION = 16.0
PLATT_KNOTS = 257


def fit_calibrator(
    margin: DoubleArray,
    y: DoubleArray,
    *,
    base_rate: float | None = None,
    earlier: tuple[DoubleArray, DoubleArray] | None = None,
) -> Calibrator:
    """Fit on rows the model has not seen.

    Parameters
    ----------
    margin : (n,) float64
        Raw margins of the model; ties are allowed, order does not matter.
    y : (n,) float64
        Outcomes, 0 or 1.
    base_rate : float, optional
        The rate π known from more rows than these, in (0, 1). Default: that of ``y``, (positives + ½) / (n + 1).
    earlier : pair of arrays, optional
        Margins and outcomes of rows before these, unseen as well. They count as much as these do, but all together for
        no more than 300 positives, and not at all where these suffice for the isotonic fit.

    Returns
    -------
    Calibrator
        With 10,000 of each outcome, isotonic regression [1]_ whose blocks are pooled until they have ten of each and
        joined linearly between their mean margins. With fewer, Platt's two parameters [2]_ under a Gaussian prior:
        slope 1 ± 1/4, intercept where the mean probability is π, worth ten positives; its weight beside k positives
        falls as 10 / (10 + k). With one outcome only, or where a higher margin means a lower rate, the constant
        (positives + 10) / (n + 10/π).

    Raises
    ------
    TrainingError
        When arrays differ in length, a margin is not within ± 10⁶, an outcome is neither 0 nor 1, ``base_rate`` is
        not in (0, 1), or there is neither a row nor a base rate.

    References
    ----------
    .. [1] Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates", 2002.
    .. [2] Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    margin, y = _checked(margin, y, base_rate)
    n, positives = len(y), float(y.sum())
    rate = (positives + 0.5) / (n + 1) if base_rate is None else base_rate
    if min(positives, n - positives) >= ISOTONIC_OUTCOMES:
        x, p = _isotonic(margin, y)
    else:
        margin, y, weight = _weighed(margin, y, earlier)
        x, p = _platt(margin, y, weight, rate) if 0 < y.sum() < len(y) else _constant(y, weight, rate)
    p = np.clip(p, rate * FLOOR, 1.0)
    return Calibrator(rate, tuple(x.tolist()), tuple(p.tolist()))


def fit_logistic(
    x: DoubleArray,
    y: DoubleArray,
    centre: tuple[float, float] = (0.0, 1.0),
    precision: tuple[float, float] = (0.0, 0.0),
    weight: DoubleArray | None = None,
) -> tuple[float, float]:
    """Logistic regression of y on one column, by Newton's method with halved steps.

    Parameters
    ----------
    x : (n,) float64
        Finite.
    y : (n,) float64
        Outcomes, 0 or 1.
    centre, precision : pair of float
        Mean and inverse variance of a Gaussian prior on (intercept, slope); precision 0 is no prior.
    weight : (n,) float64, optional
        How many rows each counts for; one by default.

    Returns
    -------
    intercept, slope : float
        NaN where there is no single finite solution: without a prior, x is constant or separates the outcomes.
    """
    zeros, ones = x[y == 0], x[y == 1]
    apart = min(len(zeros), len(ones)) == 0 or zeros.max() <= ones.min() or ones.max() <= zeros.min()
    if apart and not min(precision) > 0:
        return np.nan, np.nan
    design, times = np.stack([np.ones_like(x), x]), np.ones_like(x) if weight is None else weight
    prior, ridge = np.array(centre), np.array(precision)

    def loss(at: DoubleArray) -> float:
        z = at @ design
        return float(times @ (np.logaddexp(0.0, z) - y * z) + 0.5 * (ridge * (at - prior) ** 2).sum())

    at = prior.copy()
    for _ in range(100):
        p = expit(at @ design)
        gradient = design @ (times * (p - y)) + ridge * (at - prior)
        hessian = (design * (times * p * (1 - p))) @ design.T + np.diag(ridge)
        if np.linalg.det(hessian) <= 1e-12 * hessian[0, 0] * hessian[1, 1]:
            return np.nan, np.nan
        step = np.linalg.solve(hessian, gradient)
        now = loss(at)
        while loss(at - step) > now * (1 + 1e-9) and np.abs(step).max() > 1e-12:
            step = step / 2
        at = at - step
        if np.abs(step).max() <= 1e-10 * (1 + np.abs(at).max()):
            return float(at[0]), float(at[1])
    return np.nan, np.nan


def _checked(margin: DoubleArray, y: DoubleArray, base_rate: float | None) -> tuple[DoubleArray, DoubleArray]:
    margin, y = np.asarray(margin, np.float64), np.asarray(y, np.float64)
    if margin.ndim != 1 or margin.shape != y.shape:
        raise TrainingError(f"Margins have shape {margin.shape}, outcomes {y.shape}.", "Give one outcome per margin.")
    if not (np.abs(margin) <= 1e6).all():
        raise TrainingError("A margin to calibrate on is not within ± 10⁶.", "Look for NaN in the model's output.")
    if not ((y == 0) | (y == 1)).all():
        raise TrainingError("An outcome to calibrate on is neither 0 nor 1.", "Leave out rows that have not matured.")
    if base_rate is not None and not 0 < base_rate < 1:
        raise TrainingError(f"The base rate {base_rate} is not in (0, 1).", "Give a rate, or None to take the rows'.")
    if base_rate is None and not len(y):
        raise TrainingError("There is no row to calibrate on.", "Give rows, or the base rate that is known.")
    return margin, y


def _weighed(
    margin: DoubleArray, y: DoubleArray, earlier: tuple[DoubleArray, DoubleArray] | None
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """These rows and earlier ones, and how much each counts."""
    if earlier is None or not len(earlier[1]):
        return margin, y, np.ones_like(y)
    before, then = _checked(*earlier, None)
    share = min(1.0, EARLIER_POSITIVES / max(float(then.sum()), 1.0))
    weight = np.concatenate([np.ones_like(y), np.full_like(then, share)])
    return np.concatenate([margin, before]), np.concatenate([y, then]), weight


def _constant(y: DoubleArray, weight: DoubleArray, rate: float) -> tuple[DoubleArray, DoubleArray]:
    return np.zeros(1), np.array([(float(weight @ y) + PRIOR_POSITIVES) / (weight.sum() + PRIOR_POSITIVES / rate)])


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


def _platt(margin: DoubleArray, y: DoubleArray, weight: DoubleArray, rate: float) -> tuple[DoubleArray, DoubleArray]:
    target = float(logit(rate))
    low, high = target - float(margin.max()) - 1, target - float(margin.min()) + 1
    shift = float(brentq(lambda by: float(np.average(expit(margin + by), weights=weight)) - rate, low, high))
    # Around the centre of information the intercept and the slope can be shrunk apart from each other.
    p = expit(margin + shift)
    centre = float(np.average(margin, weights=weight * p * (1 - p) + 1e-12))
    prior, precision = (centre + shift, 1.0), (PRIOR_POSITIVES * (1 - rate), SLOPE_PRECISION)
    intercept, slope = fit_logistic(margin - centre, y, prior, precision, weight)
    if not slope > 1e-6:
        return _constant(y, weight, rate)
    z = np.linspace(float(logit(rate * FLOOR)), float(logit(CEILING)), PLATT_KNOTS)
    return (z - intercept) / slope + centre, expit(z)
