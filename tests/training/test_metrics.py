"""How scores order, against O(n²) references, and what no metric may do."""

from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise, permutations, product
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from features.types import DoubleArray, IntArray
from tests.training.judged_rows import BOOT, OF_PROBABILITIES, RANKINGS, Measure, Sample, people, samples
from training.judging.bootstrap import Bootstrap, Figure, MetricError, Rows
from training.judging.metrics import auc, gauc, gauc_user, ndcg
from training.judging.reliability import calibration_slope, ece, logloss


def worst_last(score: DoubleArray) -> list[tuple[bool, float]]:
    return [(not np.isnan(s), 0.0 if np.isnan(s) else float(s)) for s in score]


def concordance(group: IntArray, y: DoubleArray, score: DoubleArray) -> tuple[float, int]:
    key, won, pairs = worst_last(score), 0.0, 0
    for i, j in product(range(len(y)), repeat=2):
        if group[i] == group[j] and y[i] == 1 and y[j] == 0:
            pairs += 1
            won += 1.0 if key[i] > key[j] else 0.5 if key[i] == key[j] else 0.0
    return won, pairs


def expected_ndcg(gain: DoubleArray, score: DoubleArray, k: int) -> float:
    """Mean over every order that the scores allow."""
    key, worth = worst_last(score), gain - min(gain.min(), 0)
    discount = np.where(np.arange(len(gain)) < k, 1 / np.log2(np.arange(len(gain)) + 2), 0)
    orders = [o for o in permutations(range(len(gain))) if all(key[a] >= key[b] for a, b in pairwise(o))]
    return float(np.mean([(worth[list(o)] * discount).sum() for o in orders]) / (np.sort(worth)[::-1] * discount).sum())


def check_ratio(figure: Figure, won: float, pairs: int) -> None:
    assert figure.pairs == pairs
    assert figure.value == won / pairs if pairs else np.isnan(figure.value)


@given(samples())
def test_pairwise_figures_count_each_pair_once(sample: Sample) -> None:
    rows, y, score, _ = sample
    for measure, group in ((gauc, rows.slate), (gauc_user, rows.user), (auc, np.zeros_like(rows.slate))):
        figure = measure(rows, y, score, BOOT)
        check_ratio(figure, *concordance(group, y, score))
        assert figure.positives == y.sum()
    mixed = [s for s in np.unique(rows.slate) if len(np.unique(y[rows.slate == s])) == 2]
    assert gauc(rows, y, score, BOOT).slates == len(mixed)
    assert auc(rows, y, score, BOOT).slates == len(np.unique(rows.slate))


@given(
    st.lists(st.integers(-2, 3).map(float), min_size=2, max_size=6),
    st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan]), min_size=6, max_size=6),
    st.integers(1, 7),
)
def test_ndcg_is_its_mean_over_every_order_of_tied_rows(gains: list[float], scores: list[float], k: int) -> None:
    gain, score = np.array(gains), np.array(scores)[: len(gains)]
    figure = ndcg(Rows(np.zeros(len(gain), np.int64), np.zeros(len(gain), np.int64)), gain, score, BOOT, k)
    assert figure.metric == f"ndcg{k}"
    assert figure.pairs == sum(gain[i] < gain[j] for i, j in product(range(len(gain)), repeat=2))
    if figure.pairs:
        assert figure.value == pytest.approx(expected_ndcg(gain, score, k), abs=1e-12)
    else:
        assert np.isnan(figure.value)


@given(samples())
def test_ndcg_is_the_mean_over_slates_whose_gains_differ(sample: Sample) -> None:
    rows, _, score, gain = sample
    figure = ndcg(rows, gain, score, BOOT)
    one = [
        ndcg(Rows(rows.slate[m], rows.user[m]), gain[m], score[m], BOOT)
        for m in rows.slate == np.unique(rows.slate)[:, None]
    ]
    counted = [f.value for f in one if not np.isnan(f.value)]
    assert (figure.slates, figure.pairs) == (len(counted), sum(f.pairs for f in one))
    assert figure.positives == (gain > 0).sum()
    assert figure.value == pytest.approx(np.mean(counted)) if counted else np.isnan(figure.value)


@given(samples())
def test_only_the_order_of_scores_matters(sample: Sample) -> None:
    rows, y, _, gain = sample
    score = np.nan_to_num(sample.score, nan=-9, posinf=7, neginf=-8).round(3)
    for measure in RANKINGS:
        target = gain if measure is ndcg else y
        moved: DoubleArray = np.arctan(score) * 3 + 1
        here, there = measure(rows, target, moved, BOOT), measure(rows, target, score, BOOT)
        np.testing.assert_equal(asdict(here), asdict(there))


@given(samples(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(sample: Sample, random: Random) -> None:
    rows, y, score, gain = sample
    shuffled = np.array(random.sample(range(len(y)), len(y)))
    moved = Rows(rows.slate[shuffled], rows.user[shuffled])
    p = expit(np.nan_to_num(score))
    for measure in (*RANKINGS, *OF_PROBABILITIES):
        target, told = (gain if measure is ndcg else y), (p if measure in OF_PROBABILITIES else score)
        here, there = measure(rows, target, told, BOOT), measure(moved, target[shuffled], told[shuffled], BOOT)
        assert (here.positives, here.slates, here.pairs) == (there.positives, there.slates, there.pairs)
        for name in ("value", "low", "high"):
            assert getattr(here, name) == pytest.approx(getattr(there, name), rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("measure", [gauc, gauc_user, auc])
def test_a_perfect_order_is_one_and_its_reverse_zero(measure: Measure) -> None:
    rows, y, *_ = people(20, 3, 5, 1.0)
    assert [measure(rows, y, sign * y, BOOT).value for sign in (1, -1, 0)] == [1.0, 0.0, 0.5]
    assert ndcg(rows, y, y, BOOT).value == pytest.approx(1.0)
    assert ndcg(rows, y, -y, BOOT).value < ndcg(rows, y, 0 * y, BOOT).value < 1


def test_a_score_that_is_nan_is_worse_than_any() -> None:
    rows, y = Rows(np.zeros(3, np.int64), np.zeros(3, np.int64)), np.array([1, 0, 0])
    assert gauc(rows, y, np.array([np.nan, -np.inf, 1.0]), BOOT).value == 0.0
    assert auc(rows, y, np.array([np.nan, np.nan, np.nan]), BOOT).value == 0.5
    assert ndcg(rows, y, np.array([-np.inf, np.nan, np.nan]), BOOT).value == 1.0


@pytest.mark.parametrize("measure", [*RANKINGS, *OF_PROBABILITIES])
def test_no_rows_give_nan_and_no_counts(measure: Measure) -> None:
    none = np.empty(0, np.int64)
    figure = measure(Rows(none, none), none, np.empty(0), BOOT)
    assert np.isnan([figure.value, figure.low, figure.high]).all()
    assert (figure.positives, figure.slates, figure.pairs) == (0, 0, 0)


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_class_gives_nan_and_its_count(outcome: int) -> None:
    rows, y = Rows(np.arange(6) // 2, np.arange(6) // 3 * 0), np.full(6, outcome)
    p = np.linspace(0.1, 0.9, 6)
    for measure in (*RANKINGS, calibration_slope):
        figure = measure(rows, y, p, BOOT)
        assert np.isnan([figure.value, figure.low, figure.high]).all()
        assert (figure.positives, figure.pairs) == (6 * outcome, 0)
    assert np.isfinite([logloss(rows, y, p, BOOT).value, ece(rows, y, p, BOOT).value]).all()


TWO = Rows(np.array([0, 0]), np.array([7, 7]))
HALF = np.array([0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Rows(np.array([4, 4]), np.array([0, 1])), "Slate 4 has rows of two users"),
        (lambda: Rows(np.array([0, 1]), np.array([0])), "2 slates, 1 users"),
        (lambda: Rows(np.array([0.5]), np.array([0])), "slate is float64"),
        (lambda: Rows(np.array([[0]]), np.array([[0]])), "slate is int64"),
        (lambda: Bootstrap(0), "0 resamples"),
        (lambda: gauc(TWO, np.array([0, 2]), HALF, BOOT), "neither 0 nor 1"),
        (lambda: gauc(TWO, np.array([0, np.nan]), HALF, BOOT), "neither 0 nor 1"),
        (lambda: auc(TWO, np.array([0, 1]), np.array([0.5]), BOOT), "score has shape"),
        (lambda: ndcg(TWO, np.array([0, np.nan]), HALF, BOOT), "gain is NaN"),
        (lambda: ndcg(TWO, np.array([0, 1]), HALF, BOOT, k=0), "first 0"),
        (lambda: logloss(TWO, np.array([0, 1]), np.array([0.5, np.nan]), BOOT), "NaN or outside"),
        (lambda: ece(TWO, np.array([0, 1]), np.array([0.5, 1.5]), BOOT), "NaN or outside"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MetricError, match=message):
        call()
