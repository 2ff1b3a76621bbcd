"""How well probabilities hold: each figure with its counts and a bootstrap interval over users.

How well scores order is ``training.judging.metrics``. Undefined figures are NaN, with counts that say why.
"""

from dataclasses import replace

import numpy as np
from scipy.special import expit, logit

from features.types import DoubleArray, IntArray
from training.judging.bootstrap import Bootstrap, Figure, Numbers, Rows, Sums, added, ratio
from training.learning.logistic import fit_logistic

ECE_BINS = 15
CLIP = 1e-6
"""Probabilities are cut to [CLIP, 1 - CLIP] before a logarithm is taken."""


def logloss(rows: Rows, y: Numbers, p: Numbers, boot: Bootstrap) -> Figure:
    """Mean negative log-likelihood in nats of probabilities p (n,) in [0, 1], cut to [1e-6, 1 - 1e-6]."""
    positive, p = rows.outcomes(y), np.clip(rows.probabilities(p), CLIP, 1 - CLIP)
    loss = -np.log(np.where(positive, p, 1 - p))
    by_user = added(rows.user_code, rows.users, loss, np.ones(len(rows)))
    return Sums("logloss", by_user, ratio, int(positive.sum()), rows.slates, 0).figure(boot)


def rate(rows: Rows, y: Numbers, boot: Bootstrap) -> Figure:
    """The share of rows that are positives."""
    positive = rows.outcomes(y)
    by_user = added(rows.user_code, rows.users, positive.astype(np.float64), np.ones(len(rows)))
    return Sums("rate", by_user, ratio, int(positive.sum()), rows.slates, 0).figure(boot)


def ece(rows: Rows, y: Numbers, p: Numbers, boot: Bootstrap) -> Figure:
    """Expected calibration error over 15 bins of equal mass: Σ_bins |Σ (p - y)| / n, p (n,) in [0, 1].

    Rows of one p share the bin of their middle rank; the bins are those of all rows in every resample. Noise adds to an
    absolute value, and to a resample's twice, so the interval takes the resamples' upper end and mirrors it at the
    value, no lower than 0.
    """
    figure = calibration_error(rows, y, p).figure(boot)
    return replace(figure, low=float(np.maximum(0.0, 2 * figure.value - figure.high)))


def ece_by_chance(rows: Rows, p: Numbers) -> Figure:
    """What ``ece`` would be expected to be if every probability p (n,) held: the noise of so few rows, and no interval.

    Of a bin the sum of y − p is near normal then, with the variance Σ p (1 − p): its absolute value is √(2/π) of its
    standard deviation. Below so many positives no predictor can be seen to hold to a smaller error.
    """
    p = rows.probabilities(p)
    spread = np.sqrt(np.bincount(_bin_of(p), p * (1 - p), ECE_BINS) * 2 / np.pi)
    value = float(spread.sum() / len(p)) if len(p) else np.nan
    return Figure("ece_by_chance", value, np.nan, np.nan, round(float(p.sum())), rows.slates, 0)


def _bin_of(p: DoubleArray) -> IntArray:
    """The bin (n,) of equal mass of each probability; rows of one share that of their middle rank."""
    _, level, count = np.unique(p, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - count / 2
    return (middle * ECE_BINS / max(len(p), 1)).astype(np.int64)[level]


def calibration_error(rows: Rows, y: Numbers, p: Numbers) -> Sums:
    """The sums that ``ece`` is a function of; two on the same rows meet the same draws."""
    positive, p = rows.outcomes(y), rows.probabilities(p)
    place = rows.user_code * ECE_BINS + _bin_of(p)
    gaps = np.bincount(place, p - positive, rows.users * ECE_BINS).reshape(rows.users, ECE_BINS)
    by_user = np.column_stack([gaps, added(rows.user_code, rows.users, np.ones(len(rows)))])

    def error(sums: DoubleArray) -> DoubleArray:
        return ratio(np.stack([np.abs(sums[:, :-1]).sum(axis=1), sums[:, -1]], axis=1))

    return Sums("ece", by_user, error, int(positive.sum()), rows.slates, 0)


def calibration_slope(rows: Rows, y: Numbers, p: Numbers, boot: Bootstrap) -> Figure:
    """Slope of the logistic regression of y on logit(p): 1 is calibrated, less is overconfident (Cox, 1958).

    p (n,) in [0, 1] is cut to [1e-6, 1 - 1e-6]. NaN where p is constant or separates the outcomes. A resample takes
    one Newton step from the full solution, which needs each user's gradient and Hessian only (Moulton, Zeger 1991).
    """
    positive, p = rows.outcomes(y), np.clip(rows.probabilities(p), CLIP, 1 - CLIP)
    x = logit(p)
    intercept, slope = fit_logistic(x, positive.astype(np.float64))
    fitted = expit(intercept + slope * x)
    residual, variance = positive - fitted, fitted * (1 - fitted)
    by_user = added(rows.user_code, rows.users, residual, residual * x, variance, variance * x, variance * x * x)

    def step(sums: DoubleArray) -> DoubleArray:
        g0, g1, h00, h01, h11 = sums.T
        determinant = h00 * h11 - h01 * h01
        single = determinant > 1e-9 * h00 * h11  # else p is constant among the drawn, up to rounding
        return slope + ratio(np.stack([h00 * g1 - h01 * g0, np.where(single, determinant, 0.0)], axis=1))

    return Sums("slope", by_user, step, int(positive.sum()), rows.slates, 0).figure(boot)
