"""How well scores order: each figure with its counts and a bootstrap interval over users.

Order is judged within slates, where a ranking decides; AUC over all rows and AUC within users are there to be compared
with what others report. Undefined figures are NaN, with counts that say why.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numba import njit

from features.types import BoolArray, DoubleArray, IntArray
from training.judging.bootstrap import (
    Bootstrap,
    Difference,
    Figure,
    MetricError,
    Numbers,
    Rows,
    Sums,
    added,
    interval,
    p_value,
    ratio,
)


def gauc(rows: Rows, y: Numbers, score: Numbers, boot: Bootstrap) -> Figure:
    """AUC within slates: pairs in the right order by pairs, each positive with each negative of its slate once.

    Parameters
    ----------
    rows : Rows
        Who the n rows belong to.
    y : (n,) bool or number
        Outcomes, 0 or 1.
    score : (n,) number
        Higher is better; equal scores count ½; NaN is below all others and equal to NaN.
    boot : Bootstrap
        Where the interval comes from.

    Returns
    -------
    Figure
        ``gauc``: Σ concordant / Σ pairs over slates; NaN where no slate has both outcomes.

    Raises
    ------
    MetricError
        When an array does not fit the rows or holds what it must not; so do all metrics here.
    """
    return concordant("gauc", rows, y, score).figure(boot)


def gauc_user(rows: Rows, y: Numbers, score: Numbers, boot: Bootstrap) -> Figure:
    """``gauc`` with the user as the group: reported, never decided by, for honest history looks harmful in it."""
    return concordant("gauc_user", rows, y, score).figure(boot)


def auc(rows: Rows, y: Numbers, score: Numbers, boot: Bootstrap) -> Figure:
    """AUC over all pairs of rows, whosever they are; ties and NaN as in ``gauc``."""
    positive, ranked = rows.outcomes(y), _ranked(np.zeros(len(rows), np.int64), rows.numbers(score, "score"))
    hits, positive, user = int(positive.sum()), positive[ranked.order], rows.user_code[ranked.order]

    def of(weight: IntArray) -> float:
        return float(ratio(_pairs(ranked.group, ranked.tied, positive, user, weight, 1))[0])

    low, high = interval(np.array([of(weight) for weight in boot.weights(rows.users)], np.float64))
    value = of(np.ones(rows.users, np.int64))
    return Figure("auc", value, low, high, hits, rows.slates, hits * (len(rows) - hits))


def ndcg(rows: Rows, gain: Numbers, score: Numbers, boot: Bootstrap, k: int = 5) -> Figure:
    """NDCG of the first k by linear gain, a mean over slates of two rows or more whose gains differ.

    In a slate with a negative gain all gains are counted from its least, so that its worst row is worth 0. Rows of one
    score take the mean gain of their block, which is the expected DCG over random orders of them [1]_. The discount of
    place i = 1, 2, … is 1 / log2(i + 1). NaN scores come last; the rest as in ``gauc``.

    References
    ----------
    .. [1] McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of
       tied scores", 2008.
    """
    return _discounted(rows, gain, score, k).figure(boot)


def paired_difference(
    metric: Literal["gauc", "gauc_user", "ndcg"],
    rows: Rows,
    target: Numbers,
    ours: Numbers,
    theirs: Numbers,
    boot: Bootstrap,
) -> Difference:
    """Ours minus theirs with users drawn alike for both; ``target`` is y, or for ``ndcg`` (of the first 5) the gain.

    Interval and p-value are of the same draws: see ``bootstrap.interval`` and ``bootstrap.p_value``.
    """
    a, b = (
        _discounted(rows, target, score, 5) if metric == "ndcg" else concordant(metric, rows, target, score)
        for score in (ours, theirs)
    )
    return difference(a, b, boot)


def difference(ours: Sums, theirs: Sums, boot: Bootstrap) -> Difference:
    """The difference of two ratios over one set of users and one denominator; named as ours, p-value as above."""
    by_user = np.stack([ours.by_user[:, 0] - theirs.by_user[:, 0], ours.by_user[:, 1]], axis=1)
    both = replace(ours, by_user=by_user)
    draws = both.draws(boot)
    counts = (ours.positives, ours.slates, ours.pairs)
    return Difference(ours.metric, both.value, *interval(draws), *counts, p_value(draws))


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Rows by group and, within it, best score first; ``tied`` where a row has its predecessor's group and score."""

    order: IntArray
    group: IntArray
    tied: BoolArray


def _ranked(group: IntArray, score: DoubleArray) -> _Ranked:
    # lexsort puts NaN last, and keeps it there when the rest is turned round.
    order = np.lexsort((-score, group))
    group, score = group[order], score[order]
    same = (score[1:] == score[:-1]) | (np.isnan(score[1:]) & np.isnan(score[:-1]))
    tied = np.zeros(len(order), np.bool_)
    tied[1:] = same & (group[1:] == group[:-1])
    return _Ranked(order, group, tied)


def concordant(metric: Literal["gauc", "gauc_user"], rows: Rows, y: Numbers, score: Numbers) -> Sums:
    """The sums that ``gauc`` and ``gauc_user`` are a function of; two on the same rows meet the same draws."""
    positive = rows.outcomes(y)
    by_slate = metric == "gauc"
    group = rows.slate_code if by_slate else rows.user_code
    owner = rows.user_of_slate if by_slate else np.arange(rows.users)
    ranked = _ranked(group, rows.numbers(score, "score"))
    once = np.ones(rows.users, np.int64)
    won = _pairs(ranked.group, ranked.tied, positive[ranked.order], rows.user_code[ranked.order], once, len(owner))
    by_user = added(owner, rows.users, *won.T)
    pairs = won[:, 1]
    return Sums(metric, by_user, ratio, int(positive.sum()), int((pairs > 0).sum()), int(pairs.sum()))


def _discounted(rows: Rows, gain: Numbers, score: Numbers, k: int) -> Sums:
    if k < 1:
        raise MetricError(f"NDCG of the first {k}.", "Give k of 1 or more; 5 is usual.")
    gains, group = rows.numbers(gain, "gain"), rows.slate_code
    if not np.isfinite(gains).all():
        raise MetricError("A gain is NaN or infinite.", "Leave out rows whose outcomes have not matured.")
    ranked, ideal = _ranked(group, rows.numbers(score, "score")), _ranked(group, gains)
    starts = np.searchsorted(ideal.group, np.arange(rows.slates + 1))
    found, pairs = _ndcg_of_slates(starts, ranked.tied, gains[ranked.order], gains[ideal.order], k)
    counted = pairs > 0
    by_user = added(rows.user_of_slate, rows.users, found, counted.astype(np.float64))
    return Sums(f"ndcg{k}", by_user, ratio, int((gains > 0).sum()), int(counted.sum()), int(pairs.sum()))


@njit(nogil=True, cache=True)
def _pairs(
    group: IntArray, tied: BoolArray, positive: BoolArray, user: IntArray, weight: IntArray, groups: int
) -> DoubleArray:
    """Concordant and all pairs of each group (groups, 2), rows best first, a row counted as often as its user."""
    won = np.zeros((groups, 2))
    above = below = hits = misses = 0
    for i in range(len(group)):
        if not tied[i]:
            above, below, hits, misses = above + hits, below + misses, 0, 0
            if i > 0 and group[i] != group[i - 1]:
                above = below = 0
        times = weight[user[i]]
        if positive[i]:
            won[group[i], 0] += 0.5 * times * misses
            won[group[i], 1] += times * (below + misses)
            hits += times
        else:
            won[group[i], 0] += times * (above + 0.5 * hits)
            won[group[i], 1] += times * (above + hits)
            misses += times
    return won


@njit(nogil=True, cache=True)
def _ndcg_of_slates(
    starts: IntArray, tied: BoolArray, by_score: DoubleArray, by_gain: DoubleArray, k: int
) -> tuple[DoubleArray, IntArray]:
    """NDCG of each slate, 0 where its gains are one, and its pairs of rows whose gains differ."""
    found, pairs = np.zeros(len(starts) - 1), np.zeros(len(starts) - 1, np.int64)
    for slate in range(len(starts) - 1):
        start, end = starts[slate], starts[slate + 1]
        same = 0
        for i in range(start, end):
            same = same + 1 if i > start and by_gain[i] == by_gain[i - 1] else 0
            pairs[slate] += i - start - same
        if pairs[slate] == 0:
            continue
        least = min(by_gain[end - 1], 0.0)
        got = best = discounts = total = 0.0
        since = start
        for i in range(start, end):
            discount = 1.0 / np.log2(i - start + 2.0) if i - start < k else 0.0
            best += discount * (by_gain[i] - least)
            if not tied[i]:
                since, discounts, total = i, 0.0, 0.0
            discounts += discount
            total += by_score[i] - least
            if i + 1 == end or not tied[i + 1]:
                got += discounts * total / (i + 1 - since)
        found[slate] = got / best
    return found, pairs
