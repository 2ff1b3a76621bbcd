"""Vectors much longer than others: what they cost those others, and whether they are found, before and after."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.types import BoolArray, FloatArray, RowArray
from ranking.index.exact import ExactIndex
from ranking.index.kept import Kept, ListsWarning
from ranking.index.listed import ListedIndex

DIMS, COUNT, K = 16, 3000, 50
Random = np.random.Generator


def _some(share: float, times: float) -> Callable[[Random, int], FloatArray]:
    def lengths(random: Random, n: int) -> FloatArray:
        return np.where(random.permutation(n) < max(1, share * n), times, 1.0).astype(np.float32)

    return lengths


def _lognormal(random: Random, n: int) -> FloatArray:
    return np.exp(1.5 * random.normal(size=n)).astype(np.float32)


def _cauchy(random: Random, n: int) -> FloatArray:
    return np.abs(random.standard_cauchy(n)).astype(np.float32)


LENGTHS: dict[str, Callable[[Random, int], FloatArray]] = {
    "one, ten times": _some(0, 10),
    "one, a thousand times": _some(0, 1000),
    "one, nearly beyond floats": _some(0, 1e37),
    "some, fifty times": _some(0.004, 50),
    "some, a bit": _some(0.02, 1.4),
    "many, fifty times": _some(0.05, 50),
    "all, ever fewer": _lognormal,
    "all, without a mean": _cauchy,
    "all tiny": _some(1, 1e-30),
}


def _clusters(n: int, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, DIMS))
    vectors = centres[random.integers(0, 40, n)] + 0.6 * random.normal(size=(n, DIMS))
    unit: FloatArray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _both() -> tuple[ListedIndex, ExactIndex]:
    return ListedIndex(DIMS, threshold=1500), ExactIndex(DIMS)


def _recall(index: ListedIndex, exact: ExactIndex, queries: FloatArray, allowed: BoolArray | RowArray | None) -> float:
    hits = 0
    for query in queries:
        found, scores = index.search(query, K, allowed)
        best, right = exact.search(query, K, allowed)
        _, here, there = np.intersect1d(found, best, return_indices=True)
        assert (scores[here] == right[there]).all()
        hits += int(np.count_nonzero(scores >= right[-1]))
    return hits / (K * len(queries))


@pytest.mark.filterwarnings("ignore::ranking.index.kept.ListsWarning")
@settings(max_examples=25)
@given(
    lengths=st.sampled_from(sorted(LENGTHS)),
    later=st.sampled_from([0, 20, 100, 600]),
    share=st.sampled_from([None, 0.9, 0.3]),
    in_rows=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_best_are_found_however_long_some_vectors_are(
    lengths: str, later: int, share: float | None, in_rows: bool, seed: int
) -> None:
    random, (index, exact), plain = np.random.default_rng(seed), _both(), _clusters(COUNT, seed)
    long = plain * LENGTHS[lengths](random, COUNT)[:, None]
    rows = random.permutation(COUNT).astype(np.int32)
    for both in (index, exact):
        if later:
            both.put(np.arange(COUNT, dtype=np.int32), plain)
            both.put(rows[:later], long[rows[:later]])
        else:
            both.put(np.arange(COUNT, dtype=np.int32), long)
        both.remove(rows[5:40])
        both.put(rows[40:60], plain[rows[40:60]])
        both.put(rows[5:20], long[rows[5:20]])
    mask = None if share is None else random.random(COUNT) < share
    allowed = np.flatnonzero(mask).astype(np.int32) if in_rows and mask is not None else mask
    assert _recall(index, exact, _clusters(30, seed + 1), allowed) >= 0.93


def test_long_vectors_are_found_in_whatever_list_they_would_stand() -> None:
    vectors, rows = _clusters(COUNT, 1), np.arange(0, COUNT, 150, dtype=np.int32)
    index, exact = ListedIndex(DIMS, threshold=1500, probes=0.001), ExactIndex(DIMS)
    for both in (index, exact):
        both.put(np.arange(COUNT, dtype=np.int32), vectors)
        both.put(rows, 100 * vectors[rows])
    assert index.lists is not None
    assert index.lists.outside.tolist() == rows.tolist()

    def found(query: FloatArray, mask: BoolArray | None = None) -> tuple[list[int], list[int]]:
        (one, first), (other, second) = index.search(query, 5, mask), exact.search(query, 5, mask)
        assert first.tolist() == second.tolist()
        return one.tolist(), other.tolist()

    mask = np.arange(COUNT) % 300 < 200
    for query in _clusters(20, 2):
        for one, other in (found(query), found(query, mask[:2800])):
            assert one == other
    both_rows = rows[:18]
    for both in (index, exact):
        both.remove(rows[18:19])
        both.put(both_rows, vectors[both_rows])
    assert index.lists.outside.tolist() == rows[19:].tolist()
    query = vectors[rows[19]]
    assert index.search(query, 1)[0].tolist() == rows[19:].tolist()
    assert index.search(vectors[rows[0]], 1)[0].tolist() == exact.search(vectors[rows[0]], 1)[0].tolist()


@pytest.mark.parametrize(("share", "k"), [(0.02, K), (0.05, 400)])
def test_lists_that_miss_too_many_say_so_and_all_is_scored(share: float, k: int) -> None:
    (index, exact), random = _both(), np.random.default_rng(3)
    vectors = _clusters(COUNT, 3) * _some(share, 1e6)(random, COUNT)[:, None]
    with pytest.warns(ListsWarning, match="miss more than 2%"):
        index.put(np.arange(COUNT, dtype=np.int32), vectors)
    exact.put(np.arange(COUNT, dtype=np.int32), vectors)
    assert index.lists is not None
    assert index.lists.most < k
    for query in _clusters(10, 4):
        assert index.search(query, k)[0].tolist() == exact.search(query, k)[0].tolist()


def test_lists_are_trained_anew_for_what_does_not_fit_them_but_not_again_and_again() -> None:
    index, _ = _both()
    vectors = _clusters(2 * COUNT, 5)
    index.put(np.arange(COUNT, dtype=np.int32), vectors[:COUNT])
    first = index.lists
    index.put(np.arange(20, dtype=np.int32), 50 * vectors[:20])
    assert index.lists is first
    index.put(np.arange(20, 200, dtype=np.int32), 50 * vectors[20:200])
    second = index.lists
    assert second is not None
    assert second is not first
    assert len(second.outside) <= COUNT / 64
    heavy, _ = _both()
    heavy.put(np.arange(COUNT, dtype=np.int32), vectors[:COUNT] * _cauchy(np.random.default_rng(6), COUNT)[:, None])
    lists = heavy.lists
    assert lists is not None
    assert len(lists.outside) > 0
    for row in range(30):
        heavy.put(np.array([row], np.int32), vectors[row : row + 1])
    assert heavy.lists is lists


def test_long_vectors_that_come_while_lists_are_trained_or_kept_are_found(tmp_path: Path) -> None:
    vectors, kept = _clusters(COUNT, 7), Kept(tmp_path, "a", "product")
    long = vectors.copy()
    long[::100] *= 200

    def started(later: bool) -> ListedIndex:
        index = ListedIndex(DIMS, 1500, probes=0.02, background=True, kept=kept)
        index.put(np.arange(COUNT, dtype=np.int32), vectors if later else long)
        index.start()
        if later:
            index.put(np.arange(0, COUNT, 100, dtype=np.int32), long[::100])
        index.wait()
        return index

    exact = ExactIndex(DIMS)
    exact.put(np.arange(COUNT, dtype=np.int32), long)
    # The first trains, the others read what it has kept.
    for later in (True, False, True):
        index = started(later)
        assert index.lists is not None
        assert index.lists.outside.tolist() == list(range(0, COUNT, 100))
        for query in _clusters(10, 8):
            assert index.search(query, 5)[0].tolist() == exact.search(query, 5)[0].tolist()
