"""Bubble metrics on lists whose answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.logs.log import DAY_MS
from features.records import Item, Kind
from training.loops.bubble import FIGURES, Facts, by_day, by_person, discovered, entropy, list_distance, majority, newly
from training.loops.exposure import gini
from training.loops.loop import Shown


def shown(*rows: tuple[int, int, int, int]) -> Shown:
    """Slots of (day, page, user, item); the item's code is its id, and all but 0 sell."""
    day, page, user, item = (np.array(column) for column in zip(*rows, strict=True))
    names = tuple(str(code) for code in range(int(item.max()) + 1))
    ones = np.ones(len(day))
    none, sells = np.zeros(len(day), int), (item > 0).astype(int)
    return Shown(("u", "v"), names, day, page, user, item, day * DAY_MS + 5, ones, 2 * ones, none, sells)


def test_entropy_and_majority_of_known_lists() -> None:
    assert entropy(np.array([1, 2, 3, 4])) == pytest.approx(2)
    assert entropy(np.array([7, 7, 7])) == 0
    assert majority(np.array([1, 1, 1, 2])) == 0.75


def test_gini_of_known_exposures() -> None:
    assert gini(np.array([3.0, 3.0, 3.0])) == pytest.approx(0)
    assert gini(np.array([0.0, 0.0, 0.0, 8.0])) == pytest.approx(0.75)
    assert np.isnan(gini(np.zeros(3)))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=30).filter(any))
def test_gini_is_the_mean_difference_over_twice_the_mean(exposure: list[int]) -> None:
    x = np.array(exposure, float)
    assert gini(x) == pytest.approx(np.abs(x[:, None] - x).mean() / (2 * x.mean()))


@given(st.integers(2, 8), st.integers(0, 2**32))
def test_distance_within_a_list_is_the_mean_over_its_pairs(n: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(n, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [1 - float(vectors[i] @ vectors[j]) for i in range(n) for j in range(i)]
    assert list_distance(vectors.astype(np.float32)) == pytest.approx(np.mean(pairs), abs=1e-5)


def test_a_category_is_new_to_a_person_who_did_not_see_it_lately() -> None:
    user = np.array([0, 1, 0, 0, 0, 0])
    category = np.array([5, 5, 5, 6, 7, 5])
    assert newly(user, category, lately=2).tolist() == [True, True, False, True, True, True]
    assert newly(user, category, lately=3).tolist() == [True, True, False, True, True, False]


def test_a_loop_is_told_person_by_person() -> None:
    items = [Item(str(code), 1, Kind.VIDEO, category="xyz"[code]) for code in range(3)]
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], np.float32)
    facts = Facts.of(items, {item.item_id: item for item in items}, vectors)
    # One is shown two categories evenly over two days, a page of two unlike items and one of one; another a single one.
    told = by_person(shown((0, 0, 0, 0), (0, 0, 0, 1), (0, 1, 1, 2), (1, 2, 0, 0), (1, 3, 0, 1)), facts)
    assert told == {
        "u": {"entropy": 1.0, "distance": 1.0, "new_category": 0.5, "majority": 0.5},
        "v": {"entropy": 0.0, "distance": 0.0, "new_category": 1.0, "majority": 1.0},
    }


def test_a_loop_is_told_by_day_in_every_figure() -> None:
    items = [
        Item("0", 1, Kind.VIDEO, author_id="a", category="x", live_from_ms=1),
        Item("1", 1, Kind.PRODUCT, merchant_id="m", brand_id="n", category="y", live_from_ms=DAY_MS),
        Item("2", 1, Kind.ROOM, author_id="b", category="x", live_from_ms=1, room_type="merchant"),
    ]
    facts = Facts.of(items, {item.item_id: item for item in items}, np.array([[2.0, 0], [0, 3], [1, 0]]))
    told = by_day(shown((0, 0, 0, 0), (0, 0, 0, 2), (1, 1, 0, 0), (1, 1, 0, 1), (1, 2, 1, 1)), facts, 3)
    assert told.keys() == FIGURES.keys()
    assert told["gain"][:2].tolist() == [2, 1.5]
    assert told["entropy"][:2].tolist() == [0, 0.5]
    assert told["distance"][:2] == pytest.approx([0, 1])
    assert told["new_brands"][:2] == pytest.approx([0, 2 / 3])
    assert told["merchants"][0] == 1
    # a and b on the first day, a and twice m on the second, of three owners
    assert told["top_1pct"][:2] == pytest.approx([1 / 2, 2 / 3])
    # A product sells, and so does the room that had one pinned when it was shown.
    assert told["load"][:2] == pytest.approx([1 / 2, 2 / 3])
    assert told["cold"][:2] == pytest.approx([1, 2 / 3])
    assert all(np.isnan(values[2]) for values in told.values())


def test_discovered_is_what_was_shown_often_within_its_first_day() -> None:
    loop = shown(*[(0, n, 0, 0) for n in range(4)], *[(2, n, 0, 1) for n in range(4, 8)])
    assert discovered(loop, {"0": 0, "1": 0, "unseen": 0}, few=4) == {"0": True, "1": False, "unseen": False}
