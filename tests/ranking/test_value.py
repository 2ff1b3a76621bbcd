import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.errors import PolicyError
from features.outcomes import PRODUCT, ROOM, VIDEO
from features.types import DoubleArray
from ranking.value import Weights, gain, plain_gain, scales, value_of, value_terms

HEADS = ("complete", "like", "comment", "share", "hide")
BASE = np.array(
    [
        [0.0, 0.4, 0.2, 0.3],
        [0.0, 0.02, 0.01, 0.017],
        [0.0, 0.003, np.nan, 0.0024],
        [0.0, 0.001, 0.0, 0.0008],
        [0.0, 0.001, 0.002, 0.001],
    ]
)
probabilities = hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(len(HEADS))), elements=st.floats(0, 1))


def _kinds(n: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.resize(np.array([ROOM, PRODUCT, VIDEO], np.uint8), n)


def test_the_default_weights_are_four_three_two_one() -> None:
    assert Weights().signed(("complete", "like", "comment", "share")).tolist() == [4, 3, 2, 1]


@pytest.mark.parametrize(
    "changes", [{"like": 4.0}, {"like": 5.0}, {"comment": 3.0}, {"share": 2.0}, {"share": 0.0}, {"complete": 3.0}]
)
def test_weights_out_of_order_are_refused_by_name_wherever_they_come_from(changes: dict[str, float]) -> None:
    (name,) = changes
    with pytest.raises(PolicyError, match=rf"weights\.{name}"):
        Weights(**changes)
    with pytest.raises(PolicyError, match="complete > like > comment > share > 0"):
        Weights().with_changes(changes)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), 1.1e6, 1e308])
def test_a_weight_that_is_no_amount_is_refused(bad: float) -> None:
    with pytest.raises(PolicyError, match=r"weights\.order"):
        Weights(order=bad)


def test_a_weight_of_no_head_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(PolicyError, match="Did you mean 'comment'"):
        Weights().with_changes({"coment": 2.0})


@given(probabilities)
def test_terms_sum_to_the_value_to_the_bit(p: DoubleArray) -> None:
    terms = value_terms(p, HEADS, _kinds(len(p)), scales(BASE), Weights())
    for row, value in zip(terms, value_of(terms), strict=True):
        total = 0.0
        for term in row.tolist():
            total += term
        assert total == value


@given(probabilities)
def test_a_value_does_not_depend_on_its_company(p: DoubleArray) -> None:
    kinds = _kinds(len(p))
    together = gain(np.asfortranarray(p), HEADS, kinds, scales(BASE), Weights())
    alone = [gain(p[i : i + 1], HEADS, kinds[i : i + 1], scales(BASE), Weights())[0] for i in range(len(p))]
    assert together.tolist() == alone


def test_each_head_counts_in_units_of_its_standard_deviation() -> None:
    p = np.array([[0.5, 0.0, 0.0, 0.0, 0.1]])
    terms = value_terms(p, HEADS, np.array([VIDEO], np.uint8), scales(BASE), Weights())[0]
    assert terms[0] == pytest.approx(4 * 0.5 / np.sqrt(0.3 * 0.7))
    assert terms[4] == pytest.approx(-0.1 / np.sqrt(0.001 * 0.999))


def test_a_head_that_a_kind_does_not_have_adds_nothing_even_where_its_probability_is_nan() -> None:
    p = np.array([[0.5, 0.1, np.nan, 0.9, 0.1]])
    terms = value_terms(p, HEADS, np.array([PRODUCT], np.uint8), scales(BASE), Weights())[0]
    assert terms[2] == 0
    assert terms[3] == 0
    assert np.isfinite(value_of(terms[None])[0])


def test_a_head_without_a_weight_adds_nothing() -> None:
    heads = ("complete", "watch_rank")
    rates = np.full((2, 4), 0.5)
    assert value_terms(np.ones((1, 2)), heads, np.array([VIDEO], np.uint8), scales(rates), Weights())[0, 1] == 0


def test_base_rates_of_zero_one_and_nan_have_no_scale() -> None:
    assert scales(np.array([[0.0, 1.0, np.nan, 0.5]])).tolist() == [[0.0, 0.0, 0.0, 2.0]]


def test_gain_is_the_value_of_what_happened_and_a_hide_costs() -> None:
    kinds = np.array([VIDEO, VIDEO, VIDEO], np.uint8)
    outcomes = np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]], np.float64)
    completed, nothing, hidden = gain(outcomes, HEADS, kinds, scales(BASE), Weights())
    assert completed > nothing == 0 > hidden
    assert plain_gain(outcomes, HEADS, Weights()).tolist() == [4, 0, -1]


def test_no_items_have_no_values() -> None:
    terms = value_terms(np.zeros((0, 5)), HEADS, np.zeros(0, np.uint8), scales(BASE), Weights())
    assert value_of(terms).shape == (0,)
