"""How trees are grown: seeds averaged, fewer negatives, a rate beside them, and going on from a bundle."""

import numpy as np
import pytest

from features.columns import Column, Rate
from features.errors import TrainingError
from features.log import DAY_MS
from features.schema import FeatureSet
from ranking.bundle import Bundle
from ranking.trees import Forest
from ranking.value import Weights
from tests.random_log import MemoryLog
from tests.training.test_training import MIDNIGHT_MS, taste_log
from training.grower import Growth
from training.models import trees_of
from training.pipeline import learn
from training.recipe import Recipe
from training.stacking import GROWN, own_rate, shares


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return taste_log(slates=700, days=5)


@pytest.fixture(scope="module")
def bundle(log: MemoryLog) -> Bundle:
    return learn(log, Recipe(until_ms=MIDNIGHT_MS + 3 * DAY_MS)).bundle


def test_a_rate_that_the_trees_left_behind_is_added_and_one_that_says_nothing_is_not() -> None:
    rng = np.random.default_rng(0)
    margin, odds, nothing = rng.normal(size=(3, 20_000))
    y = rng.random(20_000) < 1 / (1 + np.exp(-(0.8 * margin + 0.4 * odds - 1)))
    loose = (1.0, 1.0), (0.0, 1.0)
    np.testing.assert_allclose(shares(margin, odds, y, loose), (0.8, 0.4), atol=0.06)
    assert shares(margin, -odds, y, loose) == (1.0, 0.0)
    assert abs(shares(margin, nothing, y, loose)[1]) < 0.05
    assert shares(margin, odds, np.zeros(20_000, np.bool_), loose) == (1.0, 0.0)
    few = shares(margin[:60], 3 * odds[:60], y[:60], GROWN)
    assert 0.5 < few[0] < 1.5


def test_the_rate_that_is_added_is_the_items_own_that_forgets_last() -> None:
    columns = (Rate("author", "click"), Rate("item", "click", half_life="1d"), Rate("item", "click"))
    assert own_rate(FeatureSet(columns), "click") == 2
    assert own_rate(FeatureSet((*columns, Column("item.price"))), "like") is None


def test_seeds_are_averaged_and_fewer_negatives_keep_the_level(log: MemoryLog, bundle: Bundle) -> None:
    until_ms = MIDNIGHT_MS + 3 * DAY_MS
    grown = Growth(seeds=2, negatives=0.5)
    recipe = Recipe(until_ms=until_ms, growth=grown, weights=Weights(click=0.5))
    first, again = (learn(log, recipe).bundle for _ in range(2))
    assert first.version == again.version != bundle.version
    assert first.weights.click == 0.5
    assert first.bins == bundle.bins
    rows = np.random.default_rng(0).random((500, len(bundle.feature_set.columns))).astype(np.float32)
    alone, both = (Forest.from_model_texts({"": each.models["click"]}).raw(rows).mean() for each in (bundle, first))
    assert abs(alone - both) < 0.35


@pytest.mark.parametrize(("seeds", "negatives"), [(0, 1.0), (1, 0.0), (1, 1.5)])
def test_growth_that_cannot_be_is_refused(seeds: int, negatives: float) -> None:
    with pytest.raises(TrainingError):
        Growth(seeds, negatives)


def test_a_bundle_goes_on_from_another_on_its_grid(log: MemoryLog, bundle: Bundle) -> None:
    later = learn(log, Recipe(until_ms=MIDNIGHT_MS + 5 * DAY_MS, warm=bundle)).bundle
    assert (later.bins, later.codes, later.feature_set) == (bundle.bins, bundle.codes, bundle.feature_set)
    assert later.trained.since_ms == bundle.trained.until_ms
    before, after = (
        [tree.split("\nleaf_value", 1)[0] for tree in trees_of(each.models["like"])] for each in (bundle, later)
    )
    assert len(after) > len(before)
    assert "\n".join(before) in "\n".join(after)


def test_a_bundle_does_not_go_on_from_what_it_knows_or_on_other_columns(bundle: Bundle) -> None:
    with pytest.raises(TrainingError, match="columns"):
        Recipe(warm=bundle, feature_set=FeatureSet(bundle.feature_set.columns[1:]))
    with pytest.raises(TrainingError, match="knows"):
        Recipe(warm=bundle, since_ms=MIDNIGHT_MS)
