"""How much of the item's own rate to add to what trees say of it: learned last, on rows that the trees have not seen.

Trees learn from all days of a log, the first ones too, when counters held little; so they trust rates less than those
of the day to come deserve. And most of what they say is of the person and the place, which orders no page. So the trees
of the page and those of the item are weighed apart, beside the rate's log-odds: a stack of three [1]_.

References
----------
.. [1] Wolpert, "Stacked generalization", Neural Networks 5, 1992.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit

from features.schema import (
    Age,
    Category,
    Column,
    Count,
    Feature,
    FeatureSet,
    InContext,
    Rate,
    Recency,
    half_life_ms,
)
from features.types import BoolArray, DoubleArray, FloatArray

OF_PAGE, OF_ITEM, OF_RATE = (1.0, 64.0), (0.6, 256.0), (0.6, 256.0)
"""Priors, each a mean and a precision: 1 ± 1/8 of the page's trees, 0.6 ± 1/16 of the item's and of its rate."""
WHOLE, NO_RATE = (1.0, 64.0), (0.0, 64.0)
"""Priors of trees that are a stack already."""
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


def of_page(feature_set: FeatureSet) -> list[int]:
    """The positions of columns that are one number for a whole page: of the person, the request and its place.

    Where an item stood is among them: it is held fixed when serving.
    """
    return [j for j, column in enumerate(feature_set.columns) if _of_page(column)]


def _of_page(column: Feature) -> bool:
    match column:
        case InContext():
            return True
        case Column(source=source) | Category(source=source) | Age(source=source):
            return source.startswith("user.")
        case Rate(of=of) | Count(of=of) | Recency(of=of):
            return of == "user"
        case _:
            return False


def shares(
    parts: Sequence[DoubleArray], odds: DoubleArray, y: BoolArray, priors: Sequence[tuple[float, float]]
) -> tuple[float, ...]:
    """The share of each part of a margin and the slope of log-odds that together say most of y; (n,) each.

    Logistic regression with a free constant, by Newton's method, under a prior for each part and one for the slope.
    None is below 0; where one would be, and without both outcomes, the margin stays as it is: 1 for parts, 0 for odds.
    """
    whole = (*(1.0 for _ in parts), 0.0)
    if not 0 < y.sum() < len(y):
        return whole
    columns = [column - column.mean() for column in (*parts, odds)]
    design = np.stack([np.ones(len(y)), *columns], axis=1)
    prior = np.array([0.0, *(mean for mean, _ in priors)])
    penalty = np.array([1e-9, *(precision for _, precision in priors)])
    at = np.array([logit(y.mean()), *prior[1:]])
    for _ in range(ITERATIONS):
        p = expit(design @ at)
        gradient = design.T @ (p - y) + penalty * (at - prior)
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty), gradient)
        at = at - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return tuple(at[1:].tolist()) if (at[1:] > 0).all() else whole
