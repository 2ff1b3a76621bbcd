import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rerank import dpp_gains, mmr_gains, plain, similarity
from features.errors import HuozhaoError, PolicyError, RequestError
from features.records import Context
from features.types import DoubleArray, FloatArray
from ranking import Engine, FeedRequest
from ranking.mixing.rerank import LEAST_GAIN, METHODS, Diverse, Greedy, dpp, mmr, reranker_of, standardised
from ranking.policy import parse
from ranking.types import Batch, Decided, Query, Scored
from tests.small_home import NOW

theta = st.sampled_from([0.0, 0.3, 0.7, 0.95])
window = st.one_of(st.none(), st.integers(1, 12))
sizes = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(0, 45), st.integers(0, 2**32 - 1))
NEAR = 1e-4
"""The kernels take similarities in single precision."""


def _items(n: int, dims: int, seed: int) -> tuple[DoubleArray, FloatArray]:
    """Values and unit vectors, some of them zero and some alike."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, dims))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.random(n) < 0.1] = 0.0
    alike = rng.random(n) < 0.2
    vectors[alike] = vectors[rng.integers(0, n, alike.sum())]
    return rng.normal(size=n), vectors.astype(np.float32)


@given(sizes, theta, window)
def test_every_slot_of_a_dpp_takes_the_largest_gain(
    size: tuple[int, int, int, int], theta: float, window: int | None
) -> None:
    n, dims, count, seed = size
    value, vectors = _items(n, dims, seed)
    order = dpp(value, vectors, count, theta, window).tolist()
    similar, z = similarity(vectors), standardised(value, vectors, theta, window)
    quality = np.exp(theta / (1 - theta) * (z - z.max()))
    for slot, taken in enumerate(order[: min(count, n)]):
        near = order[:slot][-window:] if window else order[:slot]
        gain = np.exp(dpp_gains(np.zeros(n), similar, near, 0.0))
        rest = order[slot:]
        if gain[rest].max() <= LEAST_GAIN + NEAR:  # nothing left, or within rounding of nothing
            break
        assert quality[taken] * (gain[taken] + NEAR) >= (quality * (gain - NEAR))[rest].max()


@given(sizes, theta, window)
def test_every_slot_of_mmr_takes_the_largest_gain(
    size: tuple[int, int, int, int], theta: float, window: int | None
) -> None:
    n, dims, count, seed = size
    value, vectors = _items(n, dims, seed)
    order = mmr(value, vectors, count, theta, window).tolist()
    similar, z = similarity(vectors), standardised(value, vectors, theta, window)
    for slot, taken in enumerate(order[: min(count, n)]):
        near = order[:slot][-window:] if window else order[:slot]
        gain = mmr_gains(z, similar, near, theta)
        assert gain[taken] + NEAR >= gain[order[slot:]].max()


@given(sizes, theta, window, st.sampled_from([dpp, mmr]))
def test_an_order_names_every_position_once_and_only_the_slots_asked_for_differ(
    size: tuple[int, int, int, int], theta: float, window: int | None, method: Greedy
) -> None:
    n, dims, count, seed = size
    value, vectors = _items(n, dims, seed)
    order = method(value, vectors, count, theta, window).tolist()
    assert sorted(order) == list(range(n))
    assert order[count:] == sorted(order[count:])
    assert order == method(value, vectors, count, theta, window).tolist()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("window", [None, 1, 7])
def test_an_order_is_the_plain_greedy_one(name: str, window: int | None) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        vectors = rng.standard_normal((120, 64))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        value = rng.normal(size=120)
        expected = plain(name, value, vectors, 50, 0.7, window)
        assert METHODS[name](value, vectors, 50, 0.7, window)[:50].tolist() == expected


@pytest.mark.parametrize("method", METHODS.values())
def test_ties_go_to_the_first_position(method: Greedy) -> None:
    vectors = np.eye(6, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]
    order = method(np.ones(6), vectors, 3, 0.5)
    assert order.tolist() == [0, 2, 4, 1, 3, 5]


def test_a_twin_of_what_stands_in_the_window_waits_until_it_has_left() -> None:
    value, vectors = np.array([9.0, 8.0, 1.0, 0.0]), np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    assert dpp(value, vectors, 4, 0.5, 1).tolist() == [0, 2, 1, 3]
    assert dpp(value, vectors, 4, 0.5).tolist() == [0, 2, 3, 1]


def test_values_below_zero_and_of_any_scale_order_alike() -> None:
    value, vectors = _items(30, 8, 3)
    for method in (dpp, mmr):
        order = method(value, vectors, 10, 0.5, 4).tolist()
        assert method(value * 1024 - 4096, vectors, 10, 0.5, 4).tolist() == order


def test_equal_values_are_ordered_by_variety_alone() -> None:
    _, vectors = _items(20, 8, 4)
    assert dpp(np.full(20, 5.0), vectors, 8, 0.9).tolist() == dpp(np.zeros(20), vectors, 8, 0.0).tolist()


@pytest.mark.parametrize("method", METHODS.values())
def test_towards_one_theta_is_the_order_by_value(method: Greedy) -> None:
    value, vectors = np.sort(np.random.default_rng(0).normal(size=50))[::-1].copy(), _items(50, 8, 5)[1]
    assert method(value, vectors, 20, 0.999_999).tolist() == list(range(50))


ONES, ZEROS = np.ones(2), np.zeros((2, 3), np.float32)


@pytest.mark.parametrize("method", METHODS.values())
@pytest.mark.parametrize(
    ("value", "vectors", "theta", "window", "error", "says"),
    [
        (np.array([1.0, np.nan]), ZEROS, 0.5, None, RequestError, "not finite"),
        (np.array([1.0, np.inf]), ZEROS, 0.5, None, RequestError, "not finite"),
        (ONES, np.full((2, 3), np.nan, np.float32), 0.5, None, RequestError, "not finite"),
        (np.ones(3), ZEROS, 0.5, None, RequestError, "not of the same items"),
        (ONES, ZEROS, 1.0, None, PolicyError, "rerank.theta"),
        (ONES, ZEROS, float("nan"), None, PolicyError, "rerank.theta"),
        (ONES, ZEROS, 0.5, 0, PolicyError, "rerank.window"),
    ],
)
def test_what_cannot_be_ordered_is_refused(
    method: Greedy,
    value: DoubleArray,
    vectors: FloatArray,
    theta: float,
    window: int | None,
    error: type[HuozhaoError],
    says: str,
) -> None:
    with pytest.raises(error, match=says):
        method(value, vectors, 2, theta, window)


@pytest.mark.parametrize("method", METHODS.values())
def test_nothing_is_ordered_as_nothing(method: Greedy) -> None:
    assert method(np.empty(0), np.empty((0, 4), np.float32), 3, 0.5).tolist() == []


NOTHING = Decided(
    np.zeros((0, 0)),
    np.zeros(0, np.int64),
    np.zeros((0, 0), np.bool_),
    np.zeros(0, np.bool_),
    np.zeros((0, 0), np.int32),
    np.zeros(0, np.int64),
)


def _scored(value: list[float], rows: list[int], vectors: FloatArray) -> Scored:
    n = len(value)
    query = Query("q", "u", 0, 0, 0, 2, Context("feed"), np.zeros(3, np.float32))
    empty = np.zeros((n, 0))
    batch = Batch(
        query=query,
        rows=np.array(rows, np.int32),
        kinds=np.ones(n, np.uint8),
        source=np.zeros(n, np.uint8),
        decided=NOTHING,
        features=empty.astype(np.float32),
        vectors=vectors,
        read_offset=0,
    )
    return Scored(batch, empty, empty, np.array(value))


def test_only_the_best_by_value_are_re_ranked_and_nan_stays_last() -> None:
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2, 2]]
    scored = _scored([5.0, 4.0, 3.0, 9.0, np.nan], [7, 6, 5, 4, 3], vectors)
    query = scored.batch.query
    by_value = reranker_of(parse("").rerank).order(query, scored).tolist()
    assert by_value == [3, 0, 1, 2, 4]
    assert Diverse(mmr, 0.1, None, 5).order(query, scored).tolist() == [3, 0, 2, 1, 4]
    assert Diverse(dpp, 0.1, None, 5).order(query, scored).tolist() == [3, 0, 2, 1, 4]
    assert Diverse(dpp, 0.1, None, 3).order(query, scored).tolist() == [3, 0, 1, 2, 4]


@pytest.mark.parametrize("method", METHODS)
def test_a_policy_re_ranks_the_feeds_of_a_home(home: Path, method: str, tmp_path: Path) -> None:
    request = FeedRequest(user_id="u1", count=10)
    plain_home = shutil.copytree(home, tmp_path / "plain")
    (home / "policy.toml").write_text(f'[rerank]\nmethod = "{method}"\ntheta = 0.0\nwindow = 0\n')
    with Engine.open(plain_home) as by_value, Engine.open(home) as diverse:
        plain_page, page = by_value.feed(request, NOW, "r"), diverse.feed(request, NOW, "r")
        assert [item.item_id for item in page.items] != [item.item_id for item in plain_page.items]
        assert page.items[0] == plain_page.items[0]
        assert [item.item_id for item in diverse.feed(request, NOW, "r2").items][:1] == [page.items[0].item_id]
