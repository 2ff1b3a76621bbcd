"""The share of a day's slots that sell is held at its target, whatever traffic does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranking.mixing.mixer import best_first
from ranking.policy.load import Commerce


def day(rule: Commerce, moods: list[float], pages: int, seed: int) -> float:
    """The share that sold of a day whose people turn to commerce by mood after mood, in units of value."""
    rng = np.random.default_rng(seed)
    slots = selling = 0
    rows = np.arange(60, dtype=np.int32)
    for number in range(pages):
        mood = moods[number * len(moods) // pages]
        sells = rng.random(60) < 0.5
        value = rng.standard_normal(60) + (mood + rule.term(slots, selling)) * sells
        page = best_first(value, rows)[:10]
        slots, selling = slots + 10, selling + int(sells[page].sum())
    return selling / slots


@settings(max_examples=20)
@given(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=4), st.floats(0.2, 0.6), st.integers(0, 1000))
def test_a_day_of_shifting_moods_ends_within_a_point_of_the_target(
    moods: list[float], target: float, seed: int
) -> None:
    rule = Commerce(target, most=6.0, response=300, surfaces=("feed",))
    assert day(rule, moods, 3_000, seed) == pytest.approx(target, abs=0.01)


def test_without_it_the_share_goes_with_the_mood() -> None:
    free = Commerce(0.3, most=0.0, response=300, surfaces=("feed",))
    assert day(free, [1.0], 1_000, 0) > 0.6


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_term_is_bounded_and_zero_where_a_day_begins(slots: int, selling: int) -> None:
    rule = Commerce(0.3, most=2.0, response=300, surfaces=("feed",))
    assert abs(rule.term(slots, min(selling, slots))) <= 2.0
    assert rule.term(0, 0) == 0.0
