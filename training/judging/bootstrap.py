"""Figures, whom they rest on, and intervals from drawing the users again.

People, not rows, are drawn: rows of one person are not independent (the cluster bootstrap, Field and Welsh, 2007).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from features.errors import HuozhaoError
from features.types import BoolArray, DoubleArray, IntArray

Numbers = NDArray[np.bool_] | NDArray[np.integer[Any]] | NDArray[np.floating[Any]]

LEVEL = 0.95


class MetricError(HuozhaoError):
    """Arrays that cannot be judged: lengths that differ, outcomes that are not 0 or 1, a slate of two users."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's value with its interval and what it rests on.

    Parameters
    ----------
    metric : str
        auc, gauc, gauc_user, ndcg5, logloss, ece or slope.
    value, low, high : float
        The value and its 95 % interval. NaN where undefined: the counts say why (no positive, no slate, no pair). The
        interval alone is NaN with fewer than two users.
    positives : int
        Rows with y = 1 (NDCG: with gain > 0) among all rows given.
    slates : int
        Groups that entered: slates with a pair (``gauc_user``: users with a pair); all slates for metrics of rows.
    pairs : int
        Pairs compared: positive and negative, or for NDCG two rows of a slate whose gains differ; 0 where a metric
        compares none.
    """

    metric: str
    value: float
    low: float
    high: float
    positives: int
    slates: int
    pairs: int


@dataclass(frozen=True, slots=True)
class Difference(Figure):
    """Ours minus theirs on the same rows, with a two-sided p-value."""

    p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Who the rows belong to.

    Parameters
    ----------
    slate, user : (n,) int64
        Ids of each row's slate and user, in any order.

    Raises
    ------
    MetricError
        When they differ in length, are not integers, or a slate has two users.
    """

    slate: IntArray
    user: IntArray
    slate_code: IntArray = field(init=False, repr=False)
    user_code: IntArray = field(init=False, repr=False)
    user_of_slate: IntArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, ids in (("slate", self.slate), ("user", self.user)):
            if ids.ndim != 1 or ids.dtype.kind not in "iu":
                raise MetricError(f"Rows: {name} is {ids.dtype} {ids.shape}.", "Give one integer id per row.")
        if len(self.slate) != len(self.user):
            raise MetricError(f"Rows: {len(self.slate)} slates, {len(self.user)} users.", "Give one of each per row.")
        _, first, slate_code = np.unique(self.slate, return_index=True, return_inverse=True)
        _, user_code = np.unique(self.user, return_inverse=True)
        object.__setattr__(self, "slate_code", slate_code)
        object.__setattr__(self, "user_code", user_code)
        object.__setattr__(self, "user_of_slate", user_code[first])
        torn = self.user_of_slate[slate_code] != user_code
        if torn.any():
            raise MetricError(f"Slate {self.slate[torn.argmax()]} has rows of two users.", "Make slate ids unique.")

    def __len__(self) -> int:
        return len(self.slate)

    @property
    def users(self) -> int:
        """How many users there are."""
        return int(self.user_code.max(initial=-1)) + 1

    @property
    def slates(self) -> int:
        """How many slates there are."""
        return len(self.user_of_slate)

    def numbers(self, values: Numbers, name: str) -> DoubleArray:
        """The values as (n,) float64; ``MetricError`` when they are not one a row."""
        if values.shape != (len(self),):
            raise MetricError(f"{name} has shape {values.shape} beside {len(self)} rows.", "Give one number per row.")
        return values.astype(np.float64)

    def outcomes(self, y: Numbers) -> BoolArray:
        """Whether each row is a positive (n,); ``MetricError`` when an outcome is neither 0 nor 1."""
        outcomes = self.numbers(y, "y")
        positive: BoolArray = outcomes == 1
        if not (positive | (outcomes == 0)).all():
            raise MetricError("An outcome in y is neither 0 nor 1.", "Leave out rows that have not matured.")
        return positive

    def probabilities(self, p: Numbers) -> DoubleArray:
        """The probabilities as (n,) float64; ``MetricError`` when one is NaN or outside [0, 1]."""
        probabilities = self.numbers(p, "p")
        if not ((probabilities >= 0) & (probabilities <= 1)).all():
            raise MetricError("A probability is NaN or outside [0, 1].", "Calibrate margins before judging them.")
        return probabilities


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Users drawn with replacement, as many as there are.

    Parameters
    ----------
    resamples : int
        How often.
    seed : int
        Same seed, same rows, same interval; two scores on the same rows meet the same draws.
    """

    resamples: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise MetricError(f"A bootstrap of {self.resamples} resamples.", "200 are usual.")

    def weights(self, users: int) -> Iterator[IntArray]:
        """How often each user was drawn (users,) int64, once a resample; nothing for fewer than two users."""
        if users >= 2:
            for times in _drawn(self.resamples, self.seed, users):
                yield times.astype(np.int64)


@dataclass(frozen=True, slots=True)
class Sums:
    """A metric that is a function of sums over users: added up per user once, a resample is a pass over the users.

    Parameters
    ----------
    metric : str
        Its name.
    by_user : (users, k) float64
        Each user's share of the k sums.
    statistic : callable
        From sums (m, k) to values (m,).
    positives, slates, pairs : int
        As in ``Figure``.
    """

    metric: str
    by_user: DoubleArray
    statistic: Callable[[DoubleArray], DoubleArray]
    positives: int
    slates: int
    pairs: int

    @property
    def value(self) -> float:
        """The value on everyone."""
        return float(self.statistic(self.by_user.sum(axis=0, keepdims=True))[0])

    def draws(self, boot: Bootstrap) -> DoubleArray:
        """The values (resamples,) of the resamples; NaN where one is undefined."""
        sums = [_weighted(weight, self.by_user) for weight in boot.weights(len(self.by_user))]
        return self.statistic(np.array(sums).reshape(-1, self.by_user.shape[1]))

    def figure(self, boot: Bootstrap) -> Figure:
        """The value with the interval of its draws."""
        return Figure(self.metric, self.value, *interval(self.draws(boot)), self.positives, self.slates, self.pairs)


def interval(draws: DoubleArray) -> tuple[float, float]:
    """The percentile interval of the n draws that are defined; NaN where none is.

    Its ends are the k-th draws from below and above, k = ⌊.025 (n + 1)⌋ and 1 at least: from 39 draws on, 0 lies
    outside of it where ``p_value`` is at most .05, and within it otherwise (Davison and Hinkley, 1997, 5.2.1).
    """
    defined = np.sort(draws[~np.isnan(draws)])
    if not len(defined):
        return np.nan, np.nan
    place = max(1, int((1 - LEVEL) / 2 * (len(defined) + 1)))
    return float(defined[place - 1]), float(defined[-place])


def p_value(draws: DoubleArray) -> float:
    """Two-sided, of no difference: twice (1 + draws on the far side of 0) / (1 + draws), at most 1; NaN without draws.

    It is no smaller than 2 / (1 + draws), which is .00995 of 200: a smaller one needs more draws.
    """
    defined = draws[~np.isnan(draws)]
    far = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (1 + far) / (1 + len(defined))) if len(defined) else float("nan")


def ratio(sums: DoubleArray) -> DoubleArray:
    """The first sum by the second (m, 2) -> (m,); NaN where the second is 0."""
    quotient = np.full(len(sums), np.nan)
    np.divide(sums[:, 0], sums[:, 1], out=quotient, where=sums[:, 1] > 0)
    return quotient


def added(user: IntArray, users: int, *columns: DoubleArray) -> DoubleArray:
    """Columns (n,) added up per user (users, columns)."""
    return np.stack([np.bincount(user, column, users).astype(np.float64) for column in columns], axis=1)


@lru_cache(maxsize=2)
def _drawn(resamples: int, seed: int, users: int) -> NDArray[np.uint16]:
    """How often each user was drawn (resamples, users): kept, for many figures are of the same people."""
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, users), np.uint16)
    for times in drawn:
        times[:] = np.bincount(rng.integers(users, size=users), minlength=users)
    return drawn


@njit(nogil=True, cache=True)
def _weighted(weight: IntArray, by_user: DoubleArray) -> DoubleArray:
    total = np.zeros(by_user.shape[1])
    for user in range(len(weight)):
        if weight[user] > 0:
            for k in range(by_user.shape[1]):
                total[k] += weight[user] * by_user[user, k]
    return total
