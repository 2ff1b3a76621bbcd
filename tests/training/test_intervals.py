"""What intervals over users, and differences of two scores, may claim."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from features.types import DoubleArray
from tests.training.judged_rows import BOOT, OF_PROBABILITIES, RANKINGS, Measure, people
from training.judging.bootstrap import Bootstrap, Rows, interval, p_value
from training.judging.metrics import auc, gauc, gauc_user, ndcg, paired_difference
from training.judging.reliability import logloss


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
        assert [figure.low, figure.high] == pytest.approx([min(values), max(values)])


@given(st.integers(39, 400), st.integers(0, 60))
def test_an_interval_leaves_zero_out_where_p_is_at_most_one_in_twenty(resamples: int, below: int) -> None:
    draws = np.linspace(0.1, 1.0, resamples)
    draws[:below] = -1.0
    for told in (draws, -draws):
        low, high = interval(np.random.default_rng(0).permutation(told))
        assert (low > 0 or high < 0) == (p_value(told) <= 0.05)
    assert p_value(np.abs(draws)) == pytest.approx(2 / (resamples + 1))


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
