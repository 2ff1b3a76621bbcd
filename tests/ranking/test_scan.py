"""The rows that two masks share, all of them where they are few and told where they are not; the best of many rows."""

import numpy as np
import pytest

from ranking.index.scan import FEW, MANY, count_both, few_of_both, highest, rows_of_both

SHARES = (0.0, 0.01, 0.3, 1.0)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000])
@pytest.mark.parametrize("share", SHARES)
def test_few_rows_are_all_that_two_masks_share_and_many_are_told_from_them(size: int, share: float) -> None:
    rng = np.random.default_rng(size)
    held, allowed = rng.random(size) < 0.9, rng.random(size + 70) < share
    true = np.flatnonzero(held & allowed[:size])
    assert count_both(held, allowed) == len(true)
    assert rows_of_both(held, allowed, len(true)).tolist() == true.tolist()
    for most in (len(true), len(true) + 1, size):
        assert few_of_both(held, allowed, most).tolist() == true.tolist()
    for most in range(len(true)):
        assert len(few_of_both(held, allowed, most)) > most


@pytest.mark.parametrize("size", [0, 1, 700, FEW, 4 * FEW + 3])
@pytest.mark.parametrize("kinds", [1, 3, 200, 10**6])
@pytest.mark.parametrize("sorted_by", ["nothing", "rising", "falling"])
def test_the_best_of_many_rows_are_those_of_a_sort_ties_by_row(size: int, kinds: int, sorted_by: str) -> None:
    rng = np.random.default_rng(size + kinds)
    scores = rng.integers(0, kinds, size).astype(np.float32)
    if size > 1:
        scores[rng.integers(size)] = np.inf
    if sorted_by != "nothing":
        scores = np.sort(scores)[:: 1 if sorted_by == "rising" else -1].copy()
    rows = rng.permutation(10 * size)[:size].astype(np.int32)
    order = np.lexsort((rows, -scores))
    for k in {0, min(1, size), size // (MANY * 20), size // MANY, size // 2, size}:
        best = np.empty(k, np.int32)
        highest(scores, rows, best)
        assert set(best.tolist()) == set(rows[order[:k]].tolist())
