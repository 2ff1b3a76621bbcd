from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.outcomes import KIND_NAMES, PRODUCT, ROOM, VIDEO
from features.types import IntArray
from ranking.mixing.mixer import best_first, best_mask, bounded, mix
from ranking.policy import Bound
from ranking.types import Slate

AUTHOR = Bound("author", 1, 3)
PRODUCTS = Bound("product", 1, 3)
bound = st.builds(
    lambda of, at_most, more: Bound(of, at_most, at_most + more),
    st.sampled_from(["author", "room", "product", "video"]),
    st.integers(1, 3),
    st.integers(1, 4),
)
item = st.tuples(st.integers(1, 3), st.integers(0, 4))


def _mix(bounds: Sequence[Bound], items: Sequence[tuple[int, int]], count: int) -> tuple[Slate, tuple[str, ...]]:
    keys = np.array([[_key(one.of, item) for item in items] for one in bounds], np.int32).reshape(
        len(bounds), len(items)
    )
    limits = bounded(tuple(bounds), keys, np.zeros(len(bounds), np.int64), count)
    return mix(limits, np.arange(len(items)), count)


def _key(what: str, one: tuple[int, int]) -> bool | int:
    return one[1] if what == "author" else KIND_NAMES[one[0]] == what


def _window(limit: Bound) -> int:
    return 1000 if limit.window == "day" else limit.window


def _broken(limit: Bound, page: Sequence[tuple[int, int]]) -> bool:
    for end in range(1, len(page) + 1):
        window = [_key(limit.of, one) for one in page[max(0, end - _window(limit)) : end]]
        if any(key and window.count(key) > limit.at_most for key in window):
            return True
    return False


@given(st.lists(item, max_size=30), st.integers(1, 12), st.lists(bound, max_size=3))
def test_a_page_breaks_the_bounds_it_names_and_no_others(
    items: list[tuple[int, int]], count: int, bounds: list[Bound]
) -> None:
    slate, relaxed = _mix(bounds, items, count)
    page = [items[at] for at in slate.page]
    assert list(relaxed) == [limit.name for limit in bounds if _broken(limit, page)]


@given(st.lists(item, max_size=30), st.integers(1, 12), st.lists(bound, max_size=3))
def test_page_and_reserve_hold_every_item_once_and_the_reserve_is_best_first(
    items: list[tuple[int, int]], count: int, bounds: list[Bound]
) -> None:
    slate, _ = _mix(bounds, items, count)
    assert len(slate.page) == min(count, len(items))
    assert sorted([*slate.page, *slate.reserve]) == list(range(len(items)))
    assert list(slate.reserve) == sorted(slate.reserve)


@given(st.lists(item, min_size=1, max_size=30), st.integers(1, 12), st.lists(bound, max_size=3))
def test_every_slot_takes_the_best_item_that_breaks_the_fewest_first_bounds(
    items: list[tuple[int, int]], count: int, bounds: list[Bound]
) -> None:
    page = _mix(bounds, items, count)[0].page.tolist()
    for slot, taken in enumerate(page):
        before = [items[at] for at in page[:slot]]

        def waived(at: int, before: list[tuple[int, int]] = before) -> int:
            broken = []
            for number, limit in enumerate(bounds, 1):
                key = _key(limit.of, items[at])
                tail = before[max(0, len(before) - _window(limit) + 1) :]
                if key and sum(_key(limit.of, one) == key for one in tail) >= limit.at_most:
                    broken.append(number)
            return max(broken, default=0)

        rest = [at for at in range(len(items)) if at not in page[:slot]]
        assert taken == min(rest, key=lambda at: (waived(at), at))


@given(st.lists(item, max_size=30), st.integers(1, 12))
def test_without_bounds_a_page_is_the_best(items: list[tuple[int, int]], count: int) -> None:
    slate, relaxed = _mix([], items, count)
    assert list(slate.page) == list(range(min(count, len(items))))
    assert relaxed == ()


def test_bounds_give_way_in_their_written_order() -> None:
    # Two products of different authors, and a video of the first product's author: one bound has to give.
    items = [(PRODUCT, 1), (PRODUCT, 2), (VIDEO, 1)]
    assert _mix([AUTHOR, PRODUCTS], items, 2)[0].page.tolist() == [0, 2]
    assert _mix([AUTHOR, PRODUCTS], items, 2)[1] == ("author 1/3",)
    assert _mix([PRODUCTS, AUTHOR], items, 2)[0].page.tolist() == [0, 1]
    assert _mix([PRODUCTS, AUTHOR], items, 2)[1] == ("product 1/3",)


def test_a_later_bound_does_not_give_way_while_an_earlier_one_will_do() -> None:
    items = [(PRODUCT, 1), (PRODUCT, 1), (VIDEO, 1)]
    assert _mix([AUTHOR, PRODUCTS], items, 2)[0].page.tolist() == [0, 2]
    assert _mix([AUTHOR, PRODUCTS], items, 2)[1] == ("author 1/3",)


def test_items_without_an_author_do_not_keep_each_other_away() -> None:
    slate, relaxed = _mix([AUTHOR], [(ROOM, 0)] * 5, 5)
    assert slate.page.tolist() == [0, 1, 2, 3, 4]
    assert relaxed == ()


def test_an_author_comes_again_when_the_window_has_passed() -> None:
    items = [(VIDEO, 1), (VIDEO, 1), (VIDEO, 2), (VIDEO, 3), (VIDEO, 4)]
    assert _mix([AUTHOR], items, 4)[0].page.tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize("count", [1, 20])
def test_nothing_makes_an_empty_page(count: int) -> None:
    slate, relaxed = _mix([AUTHOR], [], count)
    assert (len(slate.page), len(slate.reserve), relaxed) == (0, 0, ())


def _total(values: list[float], rows: list[int]) -> IntArray:
    return best_first(np.array(values), np.array(rows, np.int32))


def test_values_are_totally_ordered_nan_last_and_ties_by_row() -> None:
    values = [np.nan, 1.0, -np.inf, 2.0, 1.0, np.inf, np.nan, 0.0, -0.0]
    rows = [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert _total(values, rows).tolist() == [5, 3, 4, 1, 8, 7, 2, 6, 0]


@given(st.lists(st.tuples(st.floats(), st.integers(0, 1000)), unique_by=lambda one: one[1]), st.randoms())
def test_the_order_does_not_depend_on_how_items_were_found(items: list[tuple[float, int]], random: Random) -> None:
    shuffled = items.copy()
    random.shuffle(shuffled)
    first = [items[at][1] for at in _total([v for v, _ in items], [r for _, r in items])]
    second = [shuffled[at][1] for at in _total([v for v, _ in shuffled], [r for _, r in shuffled])]
    assert first == second


@given(st.lists(st.tuples(st.floats(), st.integers(0, 9))))
def test_the_order_is_that_of_values_then_rows(items: list[tuple[float, int]]) -> None:
    value, rows = np.array([one for one, _ in items]), np.array([row for _, row in items], np.int32)
    assert best_first(value, rows).tolist() == np.lexsort((rows, -value)).tolist()


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan, np.inf, -np.inf])), st.integers(1, 12), st.randoms())
def test_the_best_few_are_the_first_in_order(values: list[float], count: int, random: Random) -> None:
    value, rows = np.array(values), np.array(random.sample(range(100), len(values)), np.int32)
    first = best_first(value, rows)[:count]
    assert np.flatnonzero(best_mask(value, rows, count)).tolist() == sorted(first.tolist())
