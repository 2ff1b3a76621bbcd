"""Embeddings that come with items: what is learned of them gives new items a vector."""

import numpy as np
import pytest

from features.factors import Factors
from features.history import read_history
from features.logs.log import DAY_MS, Stored
from features.records import Item, Kind
from tests.random_log import MemoryLog
from tests.training.test_training import MIDNIGHT_MS, UTC_OFFSET_MS, taste_log
from training.learning.factors import fit_by_day

DIRECTIONS = np.random.default_rng(3).normal(size=(2, 6))
"""Where the embeddings of items of each of two tastes lie."""


def embedding(taste: int, seed: int) -> tuple[float, ...]:
    return tuple((7 * (DIRECTIONS[taste] + 0.2 * np.random.default_rng(seed).normal(size=6))).tolist())


def bare(place: int, given: tuple[float, ...]) -> Item:
    """An item of which nothing is known but its embedding."""
    return Item(f"i{place}", MIDNIGHT_MS, Kind.VIDEO, duration_ms=20_000, embedding=given)


def fitted(embedded: bool) -> Factors:
    """The last day's factors of the log of two tastes, its items bare: one has no embedding, one another length."""
    log = taste_log(slates=1_200)
    given = [*(embedding(place // 2 % 2, place) for place in range(38)), (), (1.0, 2.0)]
    items = iter(bare(place, one if embedded else ()) for place, one in enumerate(given))
    stored = [
        Stored(one.offset, one.received_ms, next(items) if isinstance(one.record, Item) else one.record)
        for one in log.stored
    ]
    history = read_history(MemoryLog(stored, 8192))
    return fit_by_day(history, MIDNIGHT_MS + 4 * DAY_MS, UTC_OFFSET_MS, 0, lambda _done, _of: None)[-1][1]


@pytest.fixture(scope="module")
def factors() -> Factors:
    return fitted(embedded=True)


def test_a_new_item_stands_near_those_whose_embeddings_are_like_its_own(factors: Factors) -> None:
    of_taste_0 = np.array([int(name[1:]) // 2 % 2 == 0 for name in factors.item_names])
    one, other = factors.vectors_of([bare(100 + taste, embedding(taste, 100 + taste)) for taste in (0, 1)])
    nearer_one = factors.items @ (one - other)
    pairs = nearer_one[of_taste_0][:, None] > nearer_one[~of_taste_0]
    assert pairs.mean() > 0.9


def test_an_embedding_says_where_it_points_and_the_same_alone_as_among_others(factors: Factors) -> None:
    one, other = embedding(0, 200), embedding(1, 201)
    longer = tuple(3 * number for number in one)
    alone = factors.vectors_of([bare(100, one)])
    among = factors.vectors_of([bare(101, other), bare(100, one), bare(102, longer), bare(103, ())])
    np.testing.assert_array_equal(among[1], alone[0])
    np.testing.assert_allclose(among[2], alone[0], rtol=1e-4, atol=1e-6)
    assert not np.allclose(among[0], alone[0])


def test_an_embedding_of_another_length_says_nothing_and_none_says_nothing_where_none_was_known(
    factors: Factors,
) -> None:
    without = fitted(embedded=False)
    assert without.given is None
    for known, same in ((factors, (1.0, 2.0)), (without, embedding(0, 200))):
        vectors = known.vectors_of([bare(100, ()), bare(101, same)])
        np.testing.assert_array_equal(vectors[0], vectors[1])
