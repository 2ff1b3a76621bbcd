"""Rows to judge: drawn at random, and of people who look at slates; and every metric of both sorts."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit

from features.types import DoubleArray
from training.judging.bootstrap import Bootstrap, Figure, Numbers, Rows
from training.judging.metrics import auc, gauc, gauc_user, ndcg
from training.judging.reliability import calibration_slope, ece, logloss

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
