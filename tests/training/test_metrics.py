"""Metrics against O(n²) references, and what their intervals may claim."""

from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise, permutations, product
from random import Random
from typing import Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from features.types import DoubleArray, IntArray
from training.judging.bootstrap import Bootstrap, Figure, MetricError, Numbers, Rows
from training.judging.metrics import auc, gauc, gauc_user, ndcg, paired_difference
from training.judging.reliability import calibration_slope, ece, logloss
from training.learning.calibration import fit_logistic

BOOT = Bootstrap(20)
Measure = Callable[[Rows, Numbers, Numbers, Bootstrap], Figure]
RANKINGS: tuple[Measure, ...] = (gauc, gauc_user, auc, ndcg)
OF_PROBABILITIES: tuple[Measure, ...] = (logloss, ece, calibration_slope)


class Sample(NamedTuple):
    rows: Rows
    y: DoubleArray
    score: DoubleArray
    gain: DoubleArray


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    n = draw(st.integers(1, 24))
    slate = np.array(draw(st.lists(st.integers(-2, 4), min_size=n, max_size=n)), np.int64)
    y = np.array(draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)))
    few = st.sampled_from([-1.0, 0.0, 0.5, 2.0, np.nan, -np.inf, np.inf])
    score = np.array(draw(st.lists(few | st.floats(-5, 5), min_size=n, max_size=n)))
    gain = np.array(draw(st.lists(st.integers(-2, 3).map(float), min_size=n, max_size=n)))
    return Sample(Rows(slate * 7, slate % 3), y, score, gain)


def people(users: int, slates: int, length: int, skill: float, seed: int = 0) -> Sample:
    """Users who look at slates; scores that know log-odds up to noise, users who differ in how often they act."""
    rng = np.random.default_rng(seed)
    slate = np.repeat(np.arange(users * slates), length)
    user = slate // slates
    taste = rng.normal(size=len(slate))
    y = (rng.random(len(slate)) < expit(-1 + rng.normal(size=users)[user] + 1.5 * taste)).astype(np.float64)
    score = skill * taste + rng.normal(size=len(slate))
    return Sample(Rows(slate, user), y, score, 4 * y + rng.integers(0, 2, len(slate)))


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


def test_log_loss_is_the_mean_negative_log_likelihood() -> None:
    rows = Rows(np.arange(3), np.arange(3))
    figure = logloss(rows, np.array([1, 0, 1]), np.array([0.25, 0.5, 0.0]), BOOT)
    assert figure.value == pytest.approx((np.log(4) + np.log(2) + np.log(1e6)) / 3)
    assert (figure.positives, figure.slates) == (2, 3)


def test_ece_is_the_mean_gap_of_fifteen_equal_bins() -> None:
    rng = np.random.default_rng(0)
    p, y = rng.permutation(np.linspace(0.01, 0.9, 150)), rng.integers(0, 2, 150)
    bins = np.argsort(p).reshape(15, 10)
    expected = np.abs(p[bins].mean(axis=1) - y[bins].mean(axis=1)).mean()
    assert ece(Rows(np.arange(150), np.arange(150)), y, p, BOOT).value == pytest.approx(expected)


def test_rows_of_one_probability_share_a_bin() -> None:
    y = np.arange(300) % 2
    tied = ece(Rows(np.arange(300), np.arange(300)), y, np.full(300, 0.5), BOOT)
    assert tied.value == pytest.approx(0.0, abs=1e-12)
    assert tied.low == 0.0 < tied.high


def test_the_slope_says_how_overconfident_log_odds_are() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(-1, 1.5, 40_000)
    y, rows = rng.random(len(z)) < expit(z), Rows(np.arange(len(z)), np.arange(len(z)) // 8)
    for stretch in (0.5, 1.0, 2.0):
        figure = calibration_slope(rows, y, expit(stretch * z), BOOT)
        assert figure.value == pytest.approx(1 / stretch, rel=0.05)
        assert figure.low < figure.value < figure.high
    assert np.isnan(calibration_slope(rows, z > 0, expit(z), BOOT).value)


def test_one_newton_step_gives_the_interval_of_refitting() -> None:
    rows, y, score, _ = people(300, 2, 4, 1.0)
    p, boot = expit(score), Bootstrap(200)
    refits = []
    for weight in boot.weights(rows.users):
        again = np.repeat(np.arange(len(y)), weight[rows.user])
        refits.append(fit_logistic(logit(p[again]), y[again])[1])
    figure = calibration_slope(rows, y, p, boot)
    low, high = np.quantile(refits, [0.025, 0.975])
    assert [figure.low, figure.high] == pytest.approx([low, high], abs=0.1 * (high - low))


def test_a_resample_is_the_figure_of_the_drawn_users() -> None:
    rows, y, score, gain = people(12, 2, 4, 1.0)
    for measure, target in ((gauc, y), (gauc_user, y), (auc, y), (ndcg, gain), (logloss, y)):
        told, boot, values = expit(score), Bootstrap(30, seed=3), []
        for weight in boot.weights(rows.users):
            again = np.repeat(np.arange(len(y)), weight[rows.user])
            visit = np.concatenate([np.arange(weight[u]) for u in rows.user])
            drawn = Rows(rows.slate[again] * 100 + visit, rows.user[again] * 100 + visit)
            if measure is gauc_user:
                drawn = Rows(drawn.user, drawn.user)
            values.append(measure(drawn, target[again], told[again], BOOT).value)
        figure = measure(rows, target, told, boot)
        assert [figure.low, figure.high] == pytest.approx(np.quantile(values, [0.025, 0.975]))


@pytest.mark.parametrize("measure", [*RANKINGS, *OF_PROBABILITIES])
def test_a_seed_gives_its_interval_again(measure: Measure) -> None:
    rows, y, score, gain = people(40, 2, 4, 1.0)
    target = gain if measure is ndcg else y
    figures = [measure(rows, target, expit(score), Bootstrap(50, seed)) for seed in (5, 5, 6)]
    assert figures[0] == figures[1]
    assert (figures[0].low, figures[0].high) != (figures[2].low, figures[2].high)
    assert figures[0].low <= figures[0].value <= figures[0].high


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    truth = gauc(*people(20_000, 2, 4, 1.0, seed=999)[:3], BOOT).value
    held = 0
    for seed in range(60):
        rows, y, score, _ = people(150, 2, 4, 1.0, seed)
        figure = gauc(rows, y, score, Bootstrap(100))
        held += figure.low <= truth <= figure.high
    assert 51 <= held <= 60


def test_rows_repeated_within_users_add_no_certainty() -> None:
    rows, y, score, _ = people(60, 2, 4, 1.0)
    once = gauc(rows, y, score, Bootstrap(100))
    offset = len(y)
    repeated = Rows(np.concatenate([rows.slate, rows.slate + offset]), np.concatenate([rows.user, rows.user]))
    twice = gauc(repeated, np.tile(y, 2), np.tile(score, 2), Bootstrap(100))
    assert (twice.value, twice.low, twice.high) == (once.value, once.low, once.high)
    assert twice.pairs == 2 * once.pairs


def test_one_user_gives_a_value_without_an_interval() -> None:
    rows, y, score, _ = people(1, 5, 6, 1.0)
    for measure in (*RANKINGS, *OF_PROBABILITIES):
        figure = measure(rows, y, expit(score), BOOT)
        assert np.isfinite(figure.value)
        assert np.isnan([figure.low, figure.high]).all()


def test_a_difference_is_that_of_the_figures_and_knows_its_sign() -> None:
    rows, y, good, gain = people(200, 2, 5, 2.0)
    bad = good + np.random.default_rng(1).normal(0, 3, len(good))
    boot = Bootstrap(100)
    cases: tuple[tuple[Literal["gauc", "gauc_user", "ndcg"], Measure, DoubleArray], ...] = (
        ("gauc", gauc, y),
        ("gauc_user", gauc_user, y),
        ("ndcg", ndcg, gain),
    )
    for metric, measure, target in cases:
        ahead = paired_difference(metric, rows, target, good, bad, boot)
        behind = paired_difference(metric, rows, target, bad, good, boot)
        ours, theirs = measure(rows, target, good, boot), measure(rows, target, bad, boot)
        assert ahead.value == pytest.approx(ours.value - theirs.value)
        assert (ahead.metric, ahead.pairs) == (ours.metric, ours.pairs)
        assert ahead.low > 0 > behind.high
        assert (ahead.low, ahead.high) == pytest.approx((-behind.high, -behind.low))
        assert ahead.p_value == behind.p_value == pytest.approx(2 / 101)


def test_pairing_takes_out_what_two_scores_share() -> None:
    rows, y, score, _ = people(200, 2, 5, 2.0)
    near = score + np.random.default_rng(1).normal(0, 0.1, len(score))
    alone, both = gauc(rows, y, score, Bootstrap(100)), paired_difference("gauc", rows, y, score, near, Bootstrap(100))
    assert both.high - both.low < 0.5 * (alone.high - alone.low)


def test_a_score_does_not_differ_from_itself() -> None:
    rows, y, score, _ = people(30, 2, 4, 1.0)
    same = paired_difference("gauc", rows, y, score, 2 * score, BOOT)
    assert (same.value, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    nothing = paired_difference("gauc", rows, 0 * y, score, score, BOOT)
    assert np.isnan([nothing.value, nothing.low, nothing.high, nothing.p_value]).all()


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
