"""How trees are grown: seeds averaged, fewer negatives, a rate beside them, and going on from a bundle."""

import re

import numpy as np
import pytest
from scipy.special import expit, logit

from features.columns import Column, InContext, Rate
from features.errors import TrainingError
from features.logs.log import DAY_MS
from features.outcomes import VIDEO
from features.schema import FeatureSet
from features.standard import standard
from ranking.bundles.bundle import Bundle
from ranking.forest.trees import Forest
from ranking.value import Weights
from tests.random_log import MemoryLog
from tests.training.test_training import MIDNIGHT_MS, taste_log
from training.learning.calibration import NOTHING, Known, Seen, fit_calibrators
from training.learning.examples import Slices
from training.learning.grower import Growth
from training.learning.heads import fit_heads
from training.learning.labels import Labels
from training.learning.models import trees_of
from training.learning.pipeline import learn
from training.learning.recipe import Recipe
from training.learning.stacking import OF_ITEM, OF_RATE, WHOLE, Believed, of_item, of_page, own_rate, shares
from training.learning.table import Table

ONE_OUTCOME = 3
"""Knots of a calibrator that knows one outcome alone: a level, and its ends."""


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return taste_log(slates=700, days=5)


@pytest.fixture(scope="module")
def bundle(log: MemoryLog) -> Bundle:
    return learn(log, Recipe(until_ms=MIDNIGHT_MS + 3 * DAY_MS)).bundle


def test_what_the_trees_left_behind_is_added_and_what_says_the_opposite_is_left_out() -> None:
    rng = np.random.default_rng(0)
    margin, odds, nothing = rng.normal(size=(3, 20_000))
    y = rng.random(20_000) < 1 / (1 + np.exp(-(0.8 * margin + 0.4 * odds - 1)))
    loose = [Believed(1.0, 1.0), Believed(0.0, 1.0)]
    np.testing.assert_allclose(shares([margin, odds], y, loose), (0.8, 0.4), atol=0.06)
    without = shares([margin, -odds], y, loose)
    assert without == (*shares([margin], y, loose[:1]), 0.0)
    assert abs(shares([margin, nothing], y, loose)[1]) < 0.05
    assert shares([-margin, -odds], y, loose) == (1.0, 0.0) == shares([margin, odds], np.zeros(20_000, np.bool_), loose)


def test_few_rows_leave_shares_where_they_were_believed_to_be() -> None:
    rng = np.random.default_rng(1)
    members = rng.normal(size=(3, 100_000))
    y = rng.random(100_000) < expit(0.9 * members[0] + 0.2 * members[1])
    believed = [WHOLE, OF_ITEM, OF_RATE]
    few = shares([*members[:, :40]], y[:40], believed)
    # The surer a share was, the less it is moved.
    assert abs(few[1] - 0.3) < 0.2 > abs(few[2] - 0.3)
    np.testing.assert_allclose(shares([*members], y, believed), (0.9, 0.2, 0.0), atol=0.05)


def test_columns_are_of_the_item_of_the_page_or_of_both() -> None:
    columns = standard({"tag": str}, {"register_days": float}).columns
    item, page = ({column.name for column in columns if which(column)} for which in (of_item, of_page))
    assert {"item.tag", "item.click/impression@7d", "author.like/impression@7d", "length(item.factors)"} <= item - page
    assert {"user.register_days", "user.click/impression@7d", "user.gender"} <= page - item
    assert item & page == {column.name for column in columns if isinstance(column, InContext)}
    both = {column.name for column in columns} - item - page
    assert {"taste@7d", "user*author.click/impression@7d", "cosine(user.factors,item.factors)"} <= both


def test_a_head_is_a_stack_of_trees_that_read_all_the_item_alone_and_the_page_alone(bundle: Bundle) -> None:
    columns, text = bundle.feature_set.columns, bundle.models["click"]
    read = [
        {columns[int(at)] for at in found.split()} for found in re.findall("^split_feature=(.*)$", text, re.MULTILINE)
    ]
    assert read[0] == {columns[own_rate(bundle.feature_set, "click") or 0]}
    # Then those that read all and those of the item in turn, those of the page last.
    assert all(of_item(column) for tree in read[2:10:2] for column in tree)
    assert not all(of_item(column) for tree in read[1:10:2] for column in tree)
    assert all(map(of_page, read[-1]))


def told(positives_until: int) -> Table:
    """3,000 clips of which a column says much; no click from some row on. Slices of 1,500, 750 and 750."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(3_000, 2)).astype(np.float32)
    at = np.arange(3_000, dtype=np.int64)
    y = (rng.random(3_000) < expit(2 * features[:, 0] - 1)) & (at < positives_until)
    labels = Labels(y[:, None], np.full(3_000, VIDEO, np.uint8), at, at, {"click": 0})
    columns = FeatureSet((Column("item.price"), Column("item.viewers")))
    return Table(features, columns, labels, Slices(0, 1_500, 2_250, 3_000))


def test_rows_that_stopped_the_trees_are_calibrated_on_by_trees_that_have_not_seen_them() -> None:
    table = told(positives_until=2_250)
    fitted = fit_heads(table, 0, lambda _done, _of: None, growth=Growth(seeds=1))
    by_earlier = fitted.heads["click"].calibrators[VIDEO]
    latest = np.flatnonzero(table.slices.calibrate(table.labels, "click"))
    margin = Forest.from_model_texts({"click": fitted.models["click"]}).raw(table.features)[:, 0]
    stopped = np.flatnonzero(table.slices.stop(table.labels, "click"))
    y = table.labels.of("click")[stopped].astype(np.float64)
    unlucky = Seen(margin[latest], np.zeros(len(latest)))
    alone, seen = (
        fit_calibrators({VIDEO: Known(unlucky, by_earlier.base_rate, earlier)})[VIDEO]
        for earlier in (NOTHING, Seen(margin[stopped], y))
    )
    assert len(alone.margins) == ONE_OUTCOME < len(by_earlier.margins)
    # The final trees have seen the rows that stopped and order them better than they would have unseen.
    spans = [np.ptp(logit(each.predict(np.array([-1.0, 1.0])))) for each in (by_earlier, seen)]
    assert spans[0] < spans[1]


def test_a_head_with_too_few_positives_to_stop_by_has_no_earlier_rows() -> None:
    fitted = fit_heads(told(positives_until=1_500), 0, lambda _done, _of: None, growth=Growth(seeds=1))
    assert len(fitted.heads["click"].calibrators[VIDEO].margins) == ONE_OUTCOME


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
