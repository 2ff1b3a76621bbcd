"""Centroids found through groups, and rough scores by bytes: near what trying all would give."""

import numpy as np
import pytest

from features.types import FloatArray
from ranking.index.centroids import Nearest
from ranking.index.exact import ExactIndex
from ranking.index.listed import ListedIndex
from ranking.index.ranges import ranges_of
from ranking.index.rough import Rough, rough_scores, weights_of


def _mixture(n: int, dims: int, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    middles = random.standard_normal((30, dims))
    drawn = middles[random.integers(0, 30, n)] + 0.7 * random.standard_normal((n, dims))
    unit: FloatArray = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.mark.parametrize("count", [1, 2, 3, 15, 400])
@pytest.mark.parametrize("dims", [3, 16, 50])
def test_most_vectors_find_the_centroid_of_highest_product_and_the_rest_one_nearly_as_high(
    count: int, dims: int
) -> None:
    centroids, vectors = _mixture(count, dims, 1), _mixture(2000, dims, 2)
    near, products = Nearest(centroids)(vectors), vectors @ centroids.T
    lost = products.max(axis=1) - np.take_along_axis(products, near[:, None], axis=1)[:, 0]
    assert (lost < 1e-5).mean() >= 0.8
    assert lost.mean() < 0.01


def test_centroids_that_are_equal_are_all_filed_somewhere() -> None:
    same = np.tile(_mixture(1, 16, 3), (40, 1))
    near = Nearest(same)(_mixture(100, 16, 4))
    assert ((near >= 0) & (near < 40)).all()


@pytest.mark.parametrize("dims", [3, 16, 50])
def test_rough_scores_keep_the_best(dims: int) -> None:
    vectors, query = _mixture(5000, dims, 5), _mixture(1, dims, 6)[0]
    rough = Rough(ranges_of(vectors))
    codes, scores = np.zeros((5000, rough.width), np.uint8), np.zeros(2501, np.float32)
    rough.put(codes, np.arange(5000, dtype=np.int32)[::-1], vectors)
    rows = np.arange(0, 5000, 2, dtype=np.int32)
    best = rows[np.argsort(-(vectors[rows] @ query))[:50]]
    rough_scores(codes, np.append(4999 - rows, np.int32(5000)), weights_of(query, rough.reach, rough.width), scores)
    assert scores[-1] == np.inf
    assert len(np.intersect1d(rows[np.argsort(-scores[:-1])[:91]], best)) >= 49


def test_rows_far_beyond_those_that_lists_were_made_of_are_found() -> None:
    vectors = _mixture(12_000, 16, 7)
    index, exact = ListedIndex(16, threshold=3000), ExactIndex(16)
    for both in (index, exact):
        both.put(np.arange(3000, dtype=np.int32), vectors[:3000])
        both.put(np.arange(60_000, 62_800, dtype=np.int32), vectors[3000:5800])
    few = np.arange(60_000, 62_500, dtype=np.int32)
    assert index.search(vectors[4000], 10, few)[0].tolist() == exact.search(vectors[4000], 10, few)[0].tolist()


def test_lists_are_tried_with_what_is_asked() -> None:
    vectors = _mixture(9000, 16, 8)

    def visits(asked: FloatArray) -> int:
        index = ListedIndex(16, threshold=4000, asked=lambda: asked)
        index.put(np.arange(9000, dtype=np.int32), vectors)
        assert index.lists is not None
        return index.lists.visits

    assert visits(vectors[:100]) < visits(np.random.default_rng(9).standard_normal((100, 16)).astype(np.float32))
