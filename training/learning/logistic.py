"""Logistic regression under a Gaussian prior, by Newton's method: what calibrators and slopes are fitted by."""

import numpy as np
from scipy.special import expit

from features.types import DoubleArray


def fit_logistic(x: DoubleArray, y: DoubleArray) -> tuple[float, float]:
    """Logistic regression of y, 0 or 1 (n,), on one column x (n,) of finite numbers, by Newton's method.

    Returns
    -------
    intercept, slope : float
        NaN where there is no single finite solution: x is constant or separates the outcomes.
    """
    zeros, ones = x[y == 0], x[y == 1]
    if min(len(zeros), len(ones)) == 0 or zeros.max() <= ones.min() or ones.max() <= zeros.min():
        return np.nan, np.nan
    start = np.array([0.0, 1.0])
    intercept, slope = mode(np.stack([np.ones_like(x), x]), y, np.ones_like(x), start, np.zeros(2))
    return float(intercept), float(slope)


def mode(
    design: DoubleArray, y: DoubleArray, times: DoubleArray, centre: DoubleArray, precision: DoubleArray
) -> DoubleArray:
    """The mode (k,) of a logistic regression on columns (k, n) whose rows count so often, from a prior's centre.

    Newton's method with halved steps; NaN where columns are not told apart.
    """

    def loss(at: DoubleArray) -> float:
        z = at @ design
        return float(times @ (np.logaddexp(0.0, z) - y * z) + 0.5 * (precision * (at - centre) ** 2).sum())

    at = centre.copy()
    for _ in range(100):
        p = expit(at @ design)
        gradient = design @ (times * (p - y)) + precision * (at - centre)
        hessian = (design * (times * p * (1 - p))) @ design.T + np.diag(precision)
        if np.linalg.det(hessian) <= 1e-12 * np.diag(hessian).prod():
            break
        step = np.linalg.solve(hessian, gradient)
        now = loss(at)
        while loss(at - step) > now * (1 + 1e-9) and np.abs(step).max() > 1e-12:
            step = step / 2
        at = at - step
        if np.abs(step).max() <= 1e-10 * (1 + np.abs(at).max()):
            return at
    return np.full(len(centre), np.nan)
