"""What several models say of a head, weighed: learned last, on rows that no tree has seen.

Three models of trees and a rate are a stack [1]_. One reads every column, one those of the item and the request alone,
one those that a whole page shares. Whoever chose what a person was shown knew what the person likes: among what was
shown, how good an item is orders more than who looks at it, and trees of every column see mostly who looks. So the
second says what orders a page, the third how high all of it lies. Trees learn from all days of a log, the first ones
too, when counters held little; so they trust rates less than those of the day to come deserve, and the item's own rate
stands beside them.

References
----------
.. [1] Wolpert, "Stacked generalization", Neural Networks 5, 1992.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logit

from features.columns import Age, Category, Column, Count, Feature, InContext, Length, Rate, Recency
from features.layout import PAIRS, half_life_ms
from features.schema import FeatureSet
from features.types import BoolArray, DoubleArray, FloatArray
from training.learning.logistic import mode


class Believed(NamedTuple):
    """What is thought of a share before any row is seen: its mean and precision."""

    mean: float
    precision: float


class Member(NamedTuple):
    """One of what is stacked: its trees, those early stopping grew ("" for none), and what is thought of its share."""

    text: str
    stopped: str
    believed: Believed


WHOLE, OF_ITEM, OF_RATE = Believed(0.4, 16.0), Believed(0.3, 64.0), Believed(0.3, 64.0)
"""Of trees of every column, ± 1/4; of the item's alone and of the log-odds of its rate, ± 1/8 each.

Where a log knows much of tastes, as a simulated world's does, the first has to come back to most of its share.
"""
OF_PAGE = Believed(0.4, 64.0)
"""Of trees of what a page shares, which order nothing on it."""
WARM = Believed(1.0, 64.0), Believed(0.0, 64.0)
"""Of trees that are a stack already, and of a rate beside them."""
LEAST, MOST = 1e-4, 1 - 1e-4


def of_item(column: Feature) -> bool:
    """Whether a column is of the item or the request, whoever looks."""
    match column:
        case InContext() | Length():
            return True
        case Column(source=source) | Category(source=source) | Age(source=source):
            return source.startswith("item.")
        case Rate(of=of) | Count(of=of) | Recency(of=of):
            return of != "user" and of not in PAIRS
        case _:
            return False


def of_page(column: Feature) -> bool:
    """Whether a column is of the person or the request, and so the same for all that a page shows."""
    match column:
        case InContext():
            return True
        case Column(source=source) | Category(source=source) | Age(source=source):
            return source.startswith("user.")
        case Rate(of=of) | Count(of=of) | Recency(of=of):
            return of == "user"
        case _:
            return False


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


def shares(members: Sequence[DoubleArray], y: BoolArray, prior: Sequence[Believed]) -> tuple[float, ...]:
    """The shares of log-odds (n,) each that together say most of y (n,).

    Logistic regression with a free constant, under a prior. A member whose share would lie below 0
    has none, and the others are learned without it. Without both outcomes, and where no member is left, the prior
    stands.
    """
    left = list(range(len(members))) if 0 < y.sum() < len(y) else []
    while left:
        found = _fitted([members[at] for at in left], y, [prior[at] for at in left])
        worst = int(np.argmin(found))
        if found[worst] > 0:
            held = dict(zip(left, found.tolist(), strict=True))
            return tuple(held.get(at, 0.0) for at in range(len(members)))
        del left[worst]
    return tuple(believed.mean for believed in prior)


def _fitted(members: Sequence[DoubleArray], y: BoolArray, prior: Sequence[Believed]) -> DoubleArray:
    design = np.stack([np.ones(len(y)), *(member - member.mean() for member in members)])
    means, precisions = zip((0.0, 1e-9), *prior, strict=True)
    return mode(design, y.astype(np.float64), np.ones(len(y)), np.array(means), np.array(precisions))[1:]
