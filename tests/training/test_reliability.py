"""Log loss, calibration error and slope against what they are by definition."""

import numpy as np
import pytest
from scipy.special import expit, logit

from tests.training.judged_rows import BOOT, people
from training.judging.bootstrap import Bootstrap, Rows
from training.judging.reliability import calibration_slope, ece, logloss
from training.learning.logistic import fit_logistic


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
