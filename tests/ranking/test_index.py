"""One suite for every index: what ``ranking.types.VectorIndex`` promises, against a dictionary of vectors."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import FeatureError
from features.types import BoolArray, FloatArray, RowArray
from ranking.index.exact import ExactIndex, top_k
from ranking.index.listed import ListedIndex
from ranking.types import VectorIndex

DIMS = 20
ROWS = 1200
SHARED = np.zeros((ROWS, DIMS), np.float32)


def _shared() -> FloatArray:
    return SHARED


def _beside() -> ListedIndex:
    index = ListedIndex(DIMS, threshold=300, probes=1.0, background=True)
    index.start()
    return index


EVERY = {
    "exact": lambda: ExactIndex(DIMS),
    "below the threshold of lists": lambda: ListedIndex(DIMS),
    "exact over a shared matrix": lambda: ExactIndex(DIMS, _shared),
    "exact with bytes": lambda: ExactIndex(DIMS, coarse=True),
    "with lists": lambda: ListedIndex(DIMS, threshold=300, probes=1.0),
    "training beside": _beside,
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())
steps_of = st.lists(st.sampled_from(["put", "put", "remove", "search"]), min_size=4, max_size=12)


def _rows(*rows: int) -> RowArray:
    return np.array(rows, np.int32)


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _products(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """As ``ranking.index.scan`` says: sixteen lanes, folded in halves, then the rest."""
    whole = len(vector) - len(vector) % 16
    lanes = np.zeros((len(matrix), 16), np.float32)
    for k in range(0, whole, 16):
        lanes += matrix[:, k : k + 16] * vector[k : k + 16]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    total = lanes[:, 0]
    for k in range(whole, len(vector)):
        total = total + vector[k] * matrix[:, k]
    return total


def _expected(
    kept: dict[int, FloatArray], vector: FloatArray, k: int, allowed: BoolArray | None
) -> tuple[list[int], list[float]]:
    rows = [row for row in sorted(kept) if allowed is None or (row < len(allowed) and allowed[row])]
    matrix = np.array([kept[row] for row in rows], np.float32).reshape(-1, DIMS)
    scores = _products(matrix, vector)
    best = np.argsort(-scores, kind="stable")[:k]
    return [rows[at] for at in best], scores[best].tolist()


@every
@given(steps=steps_of, k=st.integers(1, 40) | st.integers(0, ROWS + 9), seed=st.integers(0, 1000), ties=st.booleans())
def test_whatever_was_put_and_removed_a_search_finds_the_best_of_what_is_left(
    make: Callable[[], VectorIndex], steps: list[str], k: int, seed: int, ties: bool
) -> None:
    random, index = np.random.default_rng(seed), make()
    # Lists may choose among equals at the end of an answer.
    ties = ties and not (isinstance(index, ListedIndex) and index.threshold < ROWS)
    kept: dict[int, FloatArray] = {}
    for what in steps:
        size = int(random.integers(0, 700))
        rows = random.integers(0, ROWS, size).astype(np.int32)
        allowed = None
        if what == "put":
            drawn = random.integers(-1, 2, (size, DIMS)) if ties else random.normal(size=(size, DIMS))
            vectors = drawn.astype(np.float32) * (random.random((size, 1)) < 0.9)
            index.put(rows, vectors)
            kept |= dict(zip(rows.tolist(), vectors, strict=True))
            kept = {row: vector for row, vector in kept.items() if vector.any()}
        elif what == "remove":
            index.remove(rows)
            kept = {row: vector for row, vector in kept.items() if row not in set(rows.tolist())}
        else:
            allowed = np.zeros(int(random.integers(0, ROWS + 9)), np.bool_)
            allowed[rows[rows < len(allowed)]] = True
        query = random.normal(size=DIMS).astype(np.float32)
        found, scores = index.search(query, k, allowed)
        among = None if allowed is None else np.flatnonzero(allowed).astype(np.int32)
        (again, same), _ = index.search_many(np.stack([query, -query]), k, among, threads=2)
        assert (again.tolist(), same.tolist()) == (found.tolist(), scores.tolist())
        assert (found.tolist(), scores.tolist()) == _expected(kept, query, k, allowed)
        assert found.dtype == np.int32
        assert len(index) == len(kept)


@given(
    dims=st.sampled_from([1, 3, 16, 20, 64, 67]),
    k=st.integers(1, 60),
    seed=st.integers(0, 1000),
    power=st.sampled_from([-44, -38, -20, 0, 12, 18, 25, 28]),
    near=st.sampled_from([0.0, 1e-6, 1e-3, 0.1, 1.0]),
)
def test_bytes_change_no_bit_of_an_answer(dims: int, k: int, seed: int, power: int, near: float) -> None:
    random, rows = np.random.default_rng(seed), np.arange(500, dtype=np.int32)
    index, plain = ExactIndex(dims, coarse=True), ExactIndex(dims)
    # Alike up to a little, of any length, some of few numbers: where bounds are of least use.
    vectors = random.normal(size=dims) + near * random.normal(size=(500, dims))
    vectors *= 10.0**power * random.choice([0.5, 1.0, 1.0, 3.0], (500, 1)) * (random.random((500, dims)) < 0.9)
    with np.errstate(under="ignore"):
        small = vectors.astype(np.float32)
    query = (random.normal(size=dims) * 10.0 ** min(power, 8)).astype(np.float32)
    for one in (index, plain):
        one.put(rows, small)
        one.remove(rows[seed % 7 :: 9])
    allowed = random.random(490) < 0.8
    for mask in (None, allowed):
        with np.errstate(over="ignore"):
            (found, scores), (want, right) = index.search(query, k, mask), plain.search(query, k, mask)
        assert (found.tolist(), scores.tolist()) == (want.tolist(), right.tolist())


@every
def test_a_vector_put_again_replaces_the_first(make: Callable[[], VectorIndex]) -> None:
    index, axes = make(), np.eye(DIMS, dtype=np.float32)
    index.put(np.arange(DIMS, dtype=np.int32), axes)
    index.put(_rows(3), axes[5:6])
    found, scores = index.search(axes[5], 2)
    assert (found.tolist(), scores.tolist()) == ([3, 5], [1, 1])
    assert len(index) == DIMS


@every
def test_of_a_row_named_twice_the_last_vector_stays(make: Callable[[], VectorIndex]) -> None:
    index, axes = make(), np.eye(DIMS, dtype=np.float32)
    index.put(np.arange(DIMS, dtype=np.int32) + 20, axes)
    index.put(_rows(3, 3), axes[[5, 6]])
    assert index.search(axes[6], 1)[0].tolist() == [3]
    assert len(index) == DIMS + 1


@every
def test_an_empty_index_finds_nothing(make: Callable[[], VectorIndex]) -> None:
    index = make()
    index.remove(_rows(1, 2))
    found, scores = index.search(np.ones(DIMS, np.float32), 5)
    assert (len(index), len(found), len(scores)) == (0, 0, 0)


@every
def test_equal_vectors_tie_and_go_by_row_wherever_they_are_kept(make: Callable[[], VectorIndex]) -> None:
    index, random = make(), np.random.default_rng(0)
    same = random.normal(size=DIMS).astype(np.float32)
    rows = random.permutation(50).astype(np.int32)
    index.put(rows, np.tile(same, (50, 1)))
    index.remove(_rows(0, 7, 49))
    found, scores = index.search(same, 60)
    assert found.tolist() == [row for row in range(50) if row not in {0, 7, 49}]
    assert len(set(scores.tolist())) == 1


@every
@pytest.mark.parametrize(
    ("rows", "vectors"),
    [
        ([1, 2], np.array([[1.0] * DIMS, [np.nan] * DIMS], np.float32)),
        ([2], np.full((1, DIMS), np.inf, np.float32)),
        ([2], np.ones((1, DIMS + 1), np.float32)),
        ([1, 2], np.ones((1, DIMS), np.float32)),
        ([-1], np.ones((1, DIMS), np.float32)),
    ],
)
def test_what_is_no_vector_is_refused_and_changes_nothing(
    make: Callable[[], VectorIndex], rows: list[int], vectors: FloatArray
) -> None:
    index = make()
    with pytest.raises(FeatureError):
        index.put(_rows(*rows), vectors)
    assert len(index) == 0


@every
@pytest.mark.parametrize("length", [0, 1, DIMS - 1, DIMS + 1])
def test_a_query_of_another_length_is_refused(make: Callable[[], VectorIndex], length: int) -> None:
    index = make()
    index.put(np.arange(400, dtype=np.int32), np.ones((400, DIMS), np.float32))
    with pytest.raises(FeatureError, match="search with"):
        index.search(np.ones(length, np.float32), 5)
    with pytest.raises(FeatureError, match="search with"):
        index.search_many(np.ones((2, length), np.float32), 5)


@pytest.mark.parametrize("make", [lambda: ExactIndex(DIMS, coarse=True), lambda: ListedIndex(DIMS)])
def test_a_row_that_there_is_no_memory_for_is_refused_and_changes_nothing(
    make: Callable[[], ExactIndex | ListedIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, axes = make(), np.eye(DIMS, dtype=np.float32)
    index.put(_rows(3), axes[:1])
    before = index.memory()

    def none(rows: int, dims: int) -> FloatArray:
        raise MemoryError

    monkeypatch.setattr("ranking.index.exact.aligned", none)
    with pytest.raises(FeatureError, match="no memory"):
        index.put(_rows(5, 2**31 - 1), axes[:2])
    assert (len(index), index.memory(), index.search(axes[0], 9)[0].tolist()) == (1, before, [3])


def _clusters(n: int, dims: int, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    centres = _unit(random.normal(size=(40, dims)).astype(np.float32))
    noise = random.normal(size=(n, dims)) * 0.15
    return _unit((centres[random.integers(0, 40, n)] + noise).astype(np.float32))


def _recall(index: ListedIndex, exact: ExactIndex, queries: FloatArray, allowed: BoolArray | None) -> float:
    hits = 0
    for query in queries:
        found, scores = index.search(query, 50, allowed)
        best, best_scores = exact.search(query, 50, allowed)
        hits += len(np.intersect1d(found, best))
        common, here, there = np.intersect1d(found, best, return_indices=True)
        assert (scores[here] == best_scores[there]).all(), common
        assert allowed is None or allowed[found].all()
    return hits / (50 * len(queries))


@pytest.mark.parametrize("share", [None, 0.5, 0.1, 0.01])
def test_lists_find_nine_of_ten_through_churn_and_under_filters(share: float | None) -> None:
    vectors, random = _clusters(12_000, 16, 1), np.random.default_rng(2)
    index, exact = ListedIndex(16, threshold=4000), ExactIndex(16)
    for both in (index, exact):
        both.put(np.arange(8000, dtype=np.int32), vectors[:8000])
    gone = random.choice(8000, 3000, replace=False).astype(np.int32)
    moved = random.choice(8000, 2000, replace=False).astype(np.int32)
    for both in (index, exact):
        both.remove(gone)
        both.put(np.arange(8000, 12_000, dtype=np.int32), vectors[8000:])
        both.put(moved, vectors[moved[::-1]])
    assert len(index) == len(exact)
    allowed = None if share is None else random.random(12_000) < share
    assert _recall(index, exact, _clusters(60, 16, 3), allowed) >= 0.9


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "huozhao-lists"]


def test_what_changes_while_lists_are_trained_is_in_them() -> None:
    vectors, exact = _clusters(9000, 16, 6), ExactIndex(16)
    index = ListedIndex(16, threshold=1000, probes=1.0, background=True)
    for both in (index, exact):
        both.put(np.arange(6000, dtype=np.int32), vectors[:6000])
    index.start()
    for both in (index, exact):
        both.remove(np.arange(0, 4000, 3, dtype=np.int32))
        both.put(np.arange(6000, 9000, dtype=np.int32), vectors[6000:])
        both.put(np.arange(4000, 5000, dtype=np.int32), vectors[5000:6000])
    index.wait()
    assert index.lists is not None
    assert not index.is_training
    for query in vectors[::300]:
        found, scores = index.search(query, 40)
        best, expected = exact.search(query, 40)
        assert len(np.setdiff1d(best[expected > expected[-1]], found)) == 0
        assert scores.tolist() == expected.tolist()


# Of 1,500 that are nearly the same bytes tell too little.
@pytest.mark.filterwarnings("ignore::ranking.index.kept.ListsWarning")
def test_lists_are_trained_anew_when_they_have_doubled_or_grown_uneven() -> None:
    vectors, index = _clusters(9000, 16, 7), ListedIndex(16, threshold=1000)
    index.put(np.arange(1500, dtype=np.int32), vectors[:1500])
    first = index.lists
    index.put(np.arange(1500, 2500, dtype=np.int32), vectors[1500:2500])
    assert index.lists is first
    index.put(np.arange(2500, 3000, dtype=np.int32), vectors[2500:3000])
    second = index.lists
    assert second is not first
    near = vectors[:1] + 0.01 * vectors[3000:4500]
    index.put(np.arange(3000, 4500, dtype=np.int32), near)
    assert index.lists is not second


def test_closing_ends_a_training_and_the_index_still_answers() -> None:
    vectors = _clusters(60_000, 16, 8)
    index, exact = ListedIndex(16, background=True), ExactIndex(16)
    for both in (index, exact):
        both.put(np.arange(60_000, dtype=np.int32), vectors)
    index.start()
    assert _threads() == ["huozhao-lists"]
    index.close()
    assert _threads() == []
    assert index.lists is None
    assert index.search(vectors[5], 9)[0].tolist() == exact.search(vectors[5], 9)[0].tolist()


def test_a_change_that_empties_the_index_gives_up_lists_and_training() -> None:
    vectors = _clusters(3000, 16, 8)
    index = ListedIndex(16, threshold=1000, background=True)
    index.put(np.arange(3000, dtype=np.int32), vectors)
    index.start()
    index.remove(np.arange(2990, dtype=np.int32))
    index.wait()
    assert (len(index), index.lists, _threads()) == (10, None, [])


def test_shared_vectors_are_not_kept_twice_and_must_be_there() -> None:
    index = ExactIndex(DIMS, _shared)
    index.put(_rows(3), np.ones((1, DIMS), np.float32))
    assert index.memory()["vectors"] == 0
    with pytest.raises(FeatureError, match="shared"):
        index.put(_rows(ROWS), np.ones((1, DIMS), np.float32))


def test_memory_is_told_by_part() -> None:
    index = ListedIndex(16, threshold=1000)
    index.put(np.arange(2000, dtype=np.int32), _clusters(2000, 16, 9))
    parts = index.memory()
    assert parts.keys() == {"vectors", "mask", "rough", "lists", "centroids"}
    # Bytes of a row are filled up to 32, which are multiplied in one go; they stand by row and by list.
    assert 2 * 2000 * 32 <= parts["rough"] < 3 * 2000 * 32
    assert sum(parts.values()) < 2000 * 1024


def test_retraining_loses_no_row() -> None:
    vectors, index = _clusters(3000, 16, 4), ListedIndex(16, threshold=1000, probes=1.0)
    index.put(np.arange(3000, dtype=np.int32), vectors)
    index.remove(np.arange(0, 3000, 2, dtype=np.int32))
    before = index.search(vectors[1], 60)
    index.wait()
    index.train()
    index.wait()
    after = index.search(vectors[1], 60)
    assert len(index) == 1500
    assert before[0].tolist() == after[0].tolist()
    assert before[1].tolist() == after[1].tolist()


def test_two_indexes_of_one_history_answer_alike() -> None:
    vectors = _clusters(3000, 16, 5)
    answers = []
    for _ in range(2):
        index = ListedIndex(16, threshold=1000)
        index.put(np.arange(3000, dtype=np.int32), vectors)
        index.remove(np.arange(100, dtype=np.int32))
        answers.append(index.search(vectors[7], 100)[0].tolist())
    assert answers[0] == answers[1]


@given(st.lists(st.integers(-3, 3), max_size=40), st.integers(0, 50))
def test_top_k_is_the_head_of_a_full_sort(scores: list[int], k: int) -> None:
    rows = np.random.default_rng(0).permutation(len(scores)).astype(np.int32)
    found, best = top_k(rows, np.array(scores, np.float32), k)
    order = sorted(range(len(scores)), key=lambda at: (-scores[at], rows[at]))[:k]
    assert found.tolist() == [int(rows[at]) for at in order]
    assert best.tolist() == [scores[at] for at in order]
