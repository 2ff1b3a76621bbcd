"""How much of the item's own rate to add to what trees say of it: learned last, on rows that the trees have not seen.

Trees learn from all days of a log, the first ones too, when counters held little; so they trust rates less than those
of the day to come deserve. Two numbers from the latest rows put that right: a share of the trees and a slope of the
rate's log-odds, a stack of two [1]_.

References
----------
.. [1] Wolpert, "Stacked generalization", Neural Networks 5, 1992.
"""

import numpy as np
from scipy.special import expit, logit

from features.schema import FeatureSet, Rate, half_life_ms
from features.types import BoolArray, DoubleArray, FloatArray

SHARE, SLOPE, PRECISION = 0.8, 0.2, 64.0
"""Of the priors: a share of 0.8 ± 1/8 and a slope of 0.2 ± 1/8, where a head with few positives stays."""
LEAST, MOST = 1e-4, 1 - 1e-4
ITERATIONS = 50


def own_rate(feature_set: FeatureSet, head: str) -> int | None:
    """The position of the item's rate of the head per impression that forgets last; None without one."""
    rates = [
        (half_life_ms(column.half_life), j)
        for j, column in enumerate(feature_set.columns)
        if isinstance(column, Rate) and (column.of, column.action, column.per) == ("item", head, "impression")
    ]
    return max(rates)[1] if rates else None


def log_odds(rates: FloatArray) -> DoubleArray:
    """Log-odds (n,) of rates (n,), which are cut to [10⁻⁴, 1 − 10⁻⁴]."""
    return logit(np.clip(rates.astype(np.float64), LEAST, MOST))


def shares(margin: DoubleArray, odds: DoubleArray, y: BoolArray) -> tuple[float, float]:
    """The share of a margin and the slope of log-odds that together say most of y; (n,) each.

    Logistic regression with a free constant, by Newton's method, under priors (``SHARE``, ``SLOPE``). The slope is not
    below 0; then, and without both outcomes, the margin stays as it is: (1, 0).
    """
    if not 0 < y.sum() < len(y):
        return 1.0, 0.0
    design = np.stack([np.ones(len(y)), margin - margin.mean(), odds - odds.mean()], axis=1)
    penalty, prior = np.array([1e-9, PRECISION, PRECISION]), np.array([0.0, SHARE, SLOPE])
    at = np.array([logit(y.mean()), SHARE, SLOPE])
    for _ in range(ITERATIONS):
        p = expit(design @ at)
        gradient = design.T @ (p - y) + penalty * (at - prior)
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty), gradient)
        at = at - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return (float(at[1]), float(at[2])) if at[1] > 0 and at[2] > 0 else (1.0, 0.0)
