"""How much of the item's own rate to add to what trees say of it: learned last, on rows that the trees have not seen.

Trees learn from all days of a log, the first ones too, when counters held little; so they trust rates less than those
of the day to come deserve. A line of two columns, the trees' margin and the rate's log-odds, mends that: a stack [1]_.

References
----------
.. [1] Wolpert, "Stacked generalization", Neural Networks 5, 1992.
"""

import numpy as np
from scipy.special import expit, logit

from features.columns import Rate
from features.layout import half_life_ms
from features.schema import FeatureSet
from features.types import BoolArray, DoubleArray, FloatArray

Prior = tuple[tuple[float, float], tuple[float, float]]
"""Mean and precision of the share of the trees' margin, and of the slope of the rate's log-odds."""
GROWN: Prior = (0.8, 64.0), (0.4, 64.0)
"""0.8 ± 1/8 and 0.4 ± 1/8, where a head with few positives stays.

Half as much of the rate as of the trees: most of what a margin says is of people, which orders no page, so that a
slice alone would give the rate too little.
"""
WARM: Prior = (1.0, 64.0), (0.0, 64.0)
"""Of trees that are a stack already."""
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


def shares(margin: DoubleArray, odds: DoubleArray, y: BoolArray, prior: Prior) -> tuple[float, float]:
    """The share of a margin and the slope of log-odds that together say most of y; (n,) each.

    Logistic regression with a free constant, by Newton's method, under a prior. The slope is not below 0; then, and
    without both outcomes, the margin stays as it is: (1, 0).
    """
    if not 0 < y.sum() < len(y):
        return 1.0, 0.0
    design = np.stack([np.ones(len(y)), margin - margin.mean(), odds - odds.mean()], axis=1)
    centre, penalty = np.array([0.0, *(mean for mean, _ in prior)]), np.array([1e-9, *(sure for _, sure in prior)])
    at = np.array([logit(y.mean()), *centre[1:]])
    for _ in range(ITERATIONS):
        p = expit(design @ at)
        gradient = design.T @ (p - y) + penalty * (at - centre)
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty), gradient)
        at = at - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return (float(at[1]), float(at[2])) if at[1] > 0 and at[2] > 0 else (1.0, 0.0)
