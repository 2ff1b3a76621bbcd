"""Calibrators: monotone, bounded, true in the large, and the same bits wherever they are read."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from features.errors import BundleError, TrainingError
from features.types import DoubleArray
from ranking.bundles.calibration import Calibrator, Tables, calibrate
from training.judging.bootstrap import Bootstrap, Rows
from training.judging.reliability import calibration_slope, ece, logloss
from training.learning.calibration import ISOTONIC_OUTCOMES, NOTHING, Known, Seen, fit_calibrators
from training.learning.logistic import fit_logistic


def fit_calibrator(
    margin: DoubleArray,
    y: DoubleArray,
    *,
    base_rate: float | None = None,
    earlier: tuple[DoubleArray, DoubleArray] = NOTHING,
    learned: tuple[DoubleArray, DoubleArray] = NOTHING,
) -> Calibrator:
    """The calibrator of a head with one kind; its base rate is that of the rows unless told."""
    rate = (float(y.sum()) + 0.5) / (len(y) + 1) if base_rate is None else base_rate
    return fit_calibrators({0: Known(Seen(margin, y), rate, Seen(*earlier), Seen(*learned))})[0]


def outcomes(
    n: int, base: float, slope: float = 0.7, shift: float = 0.4, seed: int = 0
) -> tuple[DoubleArray, DoubleArray]:
    """Margins that are log-odds up to a slope and a shift, and what came of them."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(base, 1.3, n)
    return margin, (rng.random(n) < expit(slope * margin + shift)).astype(np.float64)


@st.composite
def fitted(draw: st.DrawFn) -> Calibrator:
    n = draw(st.integers(1, 20))
    margin = np.array(draw(st.lists(st.integers(-3, 3).map(float) | st.floats(-50, 50), min_size=n, max_size=n)))
    y = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.float64)
    base_rate = draw(st.none() | st.floats(1e-4, 0.9999))
    # Repeated, the same rows have outcomes enough for the isotonic fit.
    times = draw(st.sampled_from([1, ISOTONIC_OUTCOMES]))
    return fit_calibrator(np.tile(margin, times), np.tile(y, times), base_rate=base_rate)


@given(fitted(), st.lists(st.floats(allow_nan=False), min_size=1, max_size=50))
def test_a_higher_margin_never_has_a_lower_probability(calibrator: Calibrator, margins: list[float]) -> None:
    knots = np.array(calibrator.margins)
    near = np.concatenate([knots, np.nextafter(knots, np.inf), np.nextafter(knots, -np.inf)])
    p = calibrator.predict(np.sort(np.concatenate([margins, near])))
    assert (np.diff(p) >= 0).all()
    assert calibrator.base_rate / 50 <= p[0] <= p[-1] <= 1


@given(fitted(), st.lists(st.floats(-60, 60), min_size=1, max_size=40))
def test_json_gives_the_same_calibrator_and_the_same_bits(calibrator: Calibrator, margins: list[float]) -> None:
    again = Calibrator.from_json(calibrator.to_json())
    assert again == calibrator
    assert set(json.loads(calibrator.to_json())) == {"base_rate", "margins", "probabilities"}
    assert again.predict(np.array(margins)).tobytes() == calibrator.predict(np.array(margins)).tobytes()


@given(fitted(), st.lists(st.floats(-60, 60), min_size=1, max_size=40), st.integers(1, 7))
def test_a_probability_does_not_depend_on_its_batch(calibrator: Calibrator, margins: list[float], size: int) -> None:
    whole = np.array(margins)
    parts = np.concatenate([calibrator.predict(whole[i : i + size]) for i in range(0, len(whole), size)])
    assert parts.tobytes() == calibrator.predict(whole).tobytes()
    assert np.array_equal(calibrator.predict(whole[::-1])[::-1], parts)
    assert np.array_equal(calibrator.predict(whole[:, None])[:, 0], parts)


@pytest.mark.parametrize(("n", "base"), [(20_000, -2.5), (200_000, -5.0), (6_000, 0.0), (20_000, 2.0), (3_000, -3.0)])
def test_the_mean_probability_is_the_rate_of_positives(n: int, base: float) -> None:
    margin, y = outcomes(n, base)
    assert fit_calibrator(margin, y).predict(margin).mean() == pytest.approx(y.mean(), rel=0.01)


@pytest.mark.parametrize("positives", [3, 30, 300])
def test_few_positives_keep_the_mean_near_the_base_rate(positives: int) -> None:
    margin, y = outcomes(positives * 100, -5.5, shift=-0.5, seed=positives)
    mean = fit_calibrator(margin, y).predict(margin).mean()
    assert mean == pytest.approx((y.sum() + 0.5) / (len(y) + 1), rel=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_unseen_rows_are_calibrated(seed: int) -> None:
    calibrator = fit_calibrator(*outcomes(30_000, -2.0, seed=seed))
    margin, y = outcomes(60_000, -2.0, seed=seed + 100)
    rows, p, boot = Rows(np.arange(len(y)), np.arange(len(y))), calibrator.predict(margin), Bootstrap(1)
    assert ece(rows, y, p, boot).value < 0.01
    assert calibration_slope(rows, y, p, boot).value == pytest.approx(1, abs=0.07)
    truth = logloss(rows, y, expit(0.7 * margin + 0.4), boot).value
    # Two parameters may happen to lie nearer to these rows than the truth they were drawn from.
    assert (
        0.9995 * truth <= logloss(rows, y, p, boot).value < 1.004 * truth < logloss(rows, y, expit(margin), boot).value
    )


def test_isotonic_follows_a_curve_that_is_not_logistic() -> None:
    rng = np.random.default_rng(0)
    margin = rng.uniform(-1, 1, 100_000)
    truth = np.where(margin < 0, 0.1, 0.1 + 0.6 * margin)
    p = fit_calibrator(margin, (rng.random(len(margin)) < truth).astype(np.float64)).predict(margin)
    assert np.abs(p - truth).mean() < 0.01
    # Joined between block centres, it parts rows that a step would tie.
    assert len(np.unique(p)) > 0.8 * len(margin)


def test_a_lucky_row_at_the_top_is_no_certainty() -> None:
    margin, y = outcomes(40_000, -2.0)
    top = margin.argmax()
    y[top] = 1
    assert fit_calibrator(margin, y).predict(margin[[top]])[0] < 0.9


def test_platt_is_shrunk_to_the_margin_and_less_so_with_more_positives() -> None:
    slopes = []
    for n in (40, 400, 10_000):
        ends = []
        for seed in range(10):
            margin, y = outcomes(n, -3.0, slope=0.3, shift=-1.5, seed=seed)
            assert y.sum() < ISOTONIC_OUTCOMES
            ends.append(fit_calibrator(margin, y).predict(np.array([-4.0, -2.0])))
        slopes.append(float(np.diff(logit(np.array(ends)), axis=1).mean() / 2))
    assert 1.0 > slopes[0] > 0.6 > slopes[1] > slopes[2] > 0.25


def slope(calibrator: Calibrator) -> float:
    return float(np.diff(logit(calibrator.predict(np.array([-4.0, -2.0]))))[0] / 2)


def test_earlier_rows_tell_a_rare_head_its_slope_and_are_worth_no_more_than_so_many_positives() -> None:
    few, many = outcomes(400, -3.0, slope=0.5, shift=-1.5), outcomes(60_000, -3.0, slope=0.5, shift=-1.5, seed=1)
    before = outcomes(40_000, -3.0, slope=0.5, shift=-1.5, seed=2)
    alone, helped = (fit_calibrator(*few, earlier=earlier) for earlier in (NOTHING, before))
    assert abs(slope(helped) - 0.5) < 0.8 * abs(slope(alone) - 0.5)
    # What held yesterday does not outvote today.
    otherwise = outcomes(400_000, -3.0, slope=1.5, shift=1.0, seed=3)
    assert slope(fit_calibrator(*few, earlier=otherwise)) > 1.2
    assert slope(fit_calibrator(*many, earlier=otherwise)) < 0.7
    assert fit_calibrator(*NOTHING, base_rate=0.1, earlier=before).predict(np.array([-3.0]))[0] < 0.1


def test_the_level_of_earlier_rows_is_their_own() -> None:
    latest, lower = outcomes(20_000, -3.0), outcomes(40_000, -3.0, shift=-0.6, seed=1)
    alone, both = (fit_calibrator(*latest, earlier=earlier).predict(latest[0]).mean() for earlier in (NOTHING, lower))
    assert both == pytest.approx(alone, rel=0.02)


def test_a_rare_head_has_the_level_of_what_was_learned_from_and_a_frequent_one_that_of_its_latest_rows() -> None:
    learned = outcomes(100_000, -3.0, shift=0.0, seed=1)
    for n, low, high in ((200, 0.6, 1.05), (60_000, 0.0, 0.2)):
        margin, y = outcomes(n, -3.0, shift=-1.0, seed=2)
        alone, told = (
            logit(fit_calibrator(margin, y, learned=each).predict(margin).mean()) for each in (NOTHING, learned)
        )
        there = logit(expit(0.7 * margin).mean())
        assert low < (told - alone) / (there - alone) < high


def test_kinds_of_one_head_share_their_slope_as_far_as_their_own_rows_are_few() -> None:
    many = Known(Seen(*outcomes(20_000, -2.0, slope=0.6)), 0.2)
    off = []
    for seed in range(8):
        few = Known(Seen(*outcomes(300, -3.0, slope=0.6, seed=seed)), 0.1)
        alone, shared = fit_calibrators({1: few})[1], fit_calibrators({1: few, 3: many})
        off.append([abs(slope(each) - 0.6) for each in (alone, shared[1])])
        assert slope(shared[3]) == pytest.approx(0.6, abs=0.03)
    apart, together = np.mean(off, axis=0)
    assert together < 0.5 * apart
    # One that is otherwise stays so.
    other = Known(Seen(*outcomes(20_000, -2.0, slope=1.2, seed=1)), 0.2)
    assert slope(fit_calibrators({1: many, 3: other})[3]) > 1.0


def test_platt_is_shrunk_to_the_base_rate_it_is_told() -> None:
    margin, y = outcomes(400, -3.0)
    means = [fit_calibrator(margin, y, base_rate=rate).predict(margin).mean() for rate in (0.01, 0.05, 0.2)]
    assert means == sorted(means)
    assert 0.01 < means[0] < y.mean() < means[2] < 0.2


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_one_class_gives_one_smoothed_probability(outcome: float) -> None:
    margin, y = np.linspace(-3, 3, 50), np.full(50, outcome)
    alone = fit_calibrator(margin, y).predict(np.array([-9.0, 0.0, 9.0]))
    assert alone[2] - alone[0] < 1e-6
    assert abs(alone[0] - outcome) < 0.02
    assert 0 < alone[0] < 1
    told = fit_calibrator(margin, y, base_rate=0.1).predict(margin)
    assert told[0] == pytest.approx((50 * outcome + 10) / (50 + 100))


def test_the_raw_margin_breaks_ties_where_a_fit_is_level_and_moves_nothing_else() -> None:
    few, many = outcomes(300, -2.0), outcomes(120_000, 0.0)
    many[1][many[0] < -1] = 0.0
    for margin, y in (few, many, (few[0], np.zeros(300))):
        calibrator = fit_calibrator(margin, y)
        ends = np.array(calibrator.margins)[[1, -2]]
        beyond = np.concatenate([ends[0] - np.linspace(15, 0, 31), ends[1] + np.linspace(0, 15, 31)])
        for part in (beyond[:31], beyond[31:], np.linspace(-3, 3, 301)):
            p = calibrator.predict(part)
            assert (np.diff(p) > 0).all()
        for part in (beyond[:31], beyond[31:]):
            assert np.ptp(calibrator.predict(part)) < 1e-6 * calibrator.base_rate


def test_without_rows_the_base_rate_is_served() -> None:
    none = np.empty(0)
    assert fit_calibrator(none, none, base_rate=0.03).predict(np.array([5.0]))[0] == pytest.approx(0.03)


def test_margins_that_say_the_opposite_give_a_constant() -> None:
    margin, y = outcomes(3_000, -2.0)
    assert len(fit_calibrator(-8 * margin, y).margins) == 1


def test_a_margin_that_is_nan_has_no_probability() -> None:
    for calibrator in (fit_calibrator(*outcomes(500, -1.0)), fit_calibrator(np.zeros(3), np.zeros(3))):
        assert np.isnan(calibrator.predict(np.array([0.0, np.nan]))).tolist() == [False, True]


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_newton_finds_the_logistic_regression(seed: int) -> None:
    margin, y = outcomes(400, -0.5, seed=seed)
    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(margin[:, None], y)
    assert fit_logistic(margin, y) == pytest.approx((peer.intercept_[0], peer.coef_[0, 0]), rel=1e-3, abs=1e-4)


def test_newton_says_when_there_is_no_single_solution() -> None:
    y = np.array([0.0, 0.0, 1.0, 1.0])
    assert np.isnan(fit_logistic(np.array([1.0, 2.0, 3.0, 4.0]), y)).all()
    assert np.isnan(fit_logistic(np.ones(4), y)).all()


@pytest.mark.parametrize(
    ("margin", "y", "base_rate", "message"),
    [
        ([0.0, 1.0], [0.0], None, "shape"),
        ([0.0, np.nan], [0.0, 1.0], None, "not within"),
        ([0.0, np.inf], [0.0, 1.0], None, "not within"),
        ([0.0, 1.0], [0.0, np.nan], None, "neither 0 nor 1"),
        ([0.0, 1.0], [0.0, 1.0], 0.0, "base rate"),
        ([], [], 1.0, "base rate"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_by_name(
    margin: list[float], y: list[float], base_rate: float | None, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        fit_calibrator(np.array(margin), np.array(y), base_rate=base_rate)


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b'{"base_rate":0.1,"margins":[0,1],"probabilities":[0.1,"x"]}',
        b'{"base_rate":0.1,"margins":[0,1],"probabilities":[0.2,0.1]}',
        b'{"base_rate":0.1,"margins":[1,1],"probabilities":[0.1,0.2]}',
        b'{"base_rate":0.1,"margins":[0],"probabilities":[0.1,0.2]}',
        b'{"base_rate":0.1,"margins":[],"probabilities":[]}',
        b'{"base_rate":0.1,"margins":[0],"probabilities":[0.001]}',
        b'{"base_rate":0.1,"margins":[0],"probabilities":[1.1]}',
        b'{"base_rate":0,"margins":[0],"probabilities":[0.1]}',
        b'{"base_rate":0.1,"margins":[0],"probabilities":[0.1],"more":1}',
    ],
)
def test_a_damaged_calibrator_is_not_loaded(text: bytes) -> None:
    with pytest.raises(BundleError):
        Calibrator.from_json(text)


@settings(max_examples=40)
@given(st.lists(fitted(), min_size=1, max_size=3), st.lists(st.floats(), max_size=30))
def test_many_calibrators_in_one_table_give_the_bits_of_each(fits: list[Calibrator], margins: list[float]) -> None:
    far = Calibrator(0.5, (-1e308, 0.0, 5e-324, 1e-323, 1e308), (0.1, 0.2, 0.3, 0.4, 0.5))
    heads = [dict(enumerate(fits, 1)), {0: far, 2: fits[0]}, {}]
    knots = np.concatenate([one.margins for one in [far, *fits]])
    raw = np.concatenate([knots, np.nextafter(knots, np.inf), np.nextafter(knots, -np.inf), margins])
    for kind in range(4):
        out = np.empty((len(raw), len(heads)))
        rows = np.repeat(raw[:, None], len(heads), axis=1)
        calibrate(Tables.of(heads), np.full(len(raw), kind, np.uint8), rows, out)
        for head, calibrators in enumerate(heads):
            expected = calibrators[kind].predict(raw) if kind in calibrators else np.zeros(len(raw))
            assert out[:, head].tobytes() == expected.tobytes()
