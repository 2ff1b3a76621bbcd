"""What ours must beat, on the same rows: chance, popularity, the latest first, and LightGBM on static features."""

from dataclasses import dataclass, replace

import numpy as np

from features.replay import Progress as Part
from features.schema import Age, Cosine, Count, Feature, FeatureSet, InContext, Rate, Recency
from features.types import BoolArray, ByteArray, DoubleArray, FloatArray
from ranking.bundle import Bundle
from ranking.ranker import BundleRanker
from ranking.value import value_of, value_terms
from training.examples import Slices
from training.heads import Table, fit_heads
from training.labels import Labels

POPULAR_HALF_LIFE = "7d"
LATEST: tuple[Feature, ...] = (Age("item.live_from_ms"), Age("item.started_ms"))


@dataclass(frozen=True, slots=True)
class Scores:
    """What a system says of rows.

    Parameters
    ----------
    score : (n, heads) float64
        Higher is better; of the heads in order.
    value : (n,) float64
        What the page is ordered by.
    probabilities : (n, heads) float64, optional
        For the slot the row was shown in; None for a system that gives none.
    """

    score: DoubleArray
    value: DoubleArray
    probabilities: DoubleArray | None


def needed(heads: tuple[str, ...], columns: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """The columns that baselines read and the bundle does not have."""
    wanted = (*(_popularity(head) for head in heads), *LATEST)
    names = {column.name for column in columns}
    return tuple(column for column in wanted if column.name not in names)


def _popularity(head: str) -> Rate:
    return Rate("item", head, half_life=POPULAR_HALF_LIFE, prior=20)


def judged(bundle: Bundle, features: FloatArray, kinds: ByteArray) -> Scores:
    """A bundle's own scores: ordered as if all stood in the first slot, probabilities for the slot they stood in."""
    ranker = BundleRanker(bundle)
    alike = features.copy()
    for j, column in enumerate(bundle.feature_set.columns):
        if column == InContext("position"):
            alike[:, j] = 0
    score = ranker.probabilities(alike, kinds)
    return Scores(score, _value(bundle, score, kinds), ranker.probabilities(features, kinds))


def _value(bundle: Bundle, probabilities: DoubleArray, kinds: ByteArray) -> DoubleArray:
    heads = tuple(bundle.heads)
    return value_of(value_terms(probabilities, heads, kinds, bundle.scales_of(heads), bundle.weights))


def popularity(bundle: Bundle, features: FloatArray, columns: FeatureSet, kinds: ByteArray) -> Scores:
    """The item's own smoothed rate of each head, as of the moment."""
    at = [columns.names.index(_popularity(head).name) for head in bundle.heads]
    rates = features[:, at].astype(np.float64)
    return Scores(rates, _value(bundle, rates, kinds), np.clip(rates, 0, 1))


def latest(bundle: Bundle, features: FloatArray, columns: FeatureSet) -> Scores:
    """The youngest first: since it was published or since its room started; of unknown age last."""
    ages = features[:, [columns.names.index(column.name) for column in LATEST]].astype(np.float64)
    return _everywhere(bundle, -np.fmin(ages[:, 0], ages[:, 1]))


def by_chance(bundle: Bundle, rows: int, seed: int) -> Scores:
    """An order drawn by lot."""
    return _everywhere(bundle, np.random.default_rng(seed).random(rows))


def _everywhere(bundle: Bundle, score: DoubleArray) -> Scores:
    return Scores(np.repeat(score[:, None], len(bundle.heads), axis=1), score, None)


def is_static(column: Feature) -> bool:
    """Whether a column is of the catalog, the person's row or the request alone."""
    return not isinstance(column, Rate | Count | Recency | Cosine)


def static(
    bundle: Bundle, features: FloatArray, labels: Labels, slices: Slices, test: BoolArray, progress: Part
) -> Scores:
    """LightGBM, fitted like ours on the same rows and calibrated alike, without a counter or a factor.

    Parameters
    ----------
    features : (n, d) float32
        Columns of the bundle; rows of the training slices and of the test.
    test : (n,) bool
        The rows to score.
    """
    columns = bundle.feature_set.columns
    at = [j for j, column in enumerate(columns) if is_static(column)]
    feature_set = FeatureSet(tuple(columns[j] for j in at), bundle.feature_set.utc_offset_ms)
    narrow = np.ascontiguousarray(features[:, at])
    table = Table(narrow, feature_set, labels, slices)
    fitted = fit_heads(table, bundle.trained.seed, progress)
    own = replace(bundle, feature_set=feature_set, models=fitted.models, heads=fitted.heads, bins=fitted.bins)
    return judged(own, narrow[test], labels.kind[test])
