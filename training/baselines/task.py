"""What a baseline is given and what it gives: a past to learn from and rows to score, on the terms of ours."""

from dataclasses import dataclass

import numpy as np

from features.columns import InContext
from features.history import History, Slates
from features.schema import FeatureSet
from features.types import BoolArray, ByteArray, DoubleArray, FloatArray, IntArray
from ranking.bundles.bundle import Bundle
from ranking.bundles.ranker import BundleRanker
from ranking.value import value_of, value_terms
from training.learning.examples import Slices
from training.learning.labels import Labels


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

    @classmethod
    def of_order(cls, score: DoubleArray, heads: int) -> "Scores":
        """Of a system that knows one order (n,) for every head."""
        return cls(np.repeat(score[:, None], heads, axis=1), score, None)


@dataclass(frozen=True, slots=True)
class Task:
    """Impressions to learn from and to score, (n,) each but for the history.

    Parameters
    ----------
    bundle : Bundle
        Gives heads, weights and scales, the columns ours has, and the seed.
    history : History
        A baseline reads of it what was received before ``slices.until_ms``, and of later rows who saw what.
    slates : Slates
        Which impressions they are, slate by slate.
    labels : Labels
        Learned from as far as ``slices`` allow; those of the rows to score are not looked at.
    slices : Slices
        The same that ours was fitted on.
    features : (n, d) float32
        As of each slate's moment: ``columns``, of which the first are the bundle's.
    columns : FeatureSet
    test : (n,) bool
        The rows to score.
    """

    bundle: Bundle
    history: History
    slates: Slates
    labels: Labels
    slices: Slices
    features: FloatArray
    columns: FeatureSet
    test: BoolArray

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads to score, in order."""
        return tuple(self.bundle.heads)

    @property
    def width(self) -> int:
        """How many of the columns are the bundle's."""
        return len(self.bundle.feature_set.columns)

    def column(self, name: str) -> DoubleArray:
        """A column (rows to score,) by name."""
        column: DoubleArray = self.features[self.test, self.columns.names.index(name)].astype(np.float64)
        return column

    def names(self, of_item: bool, rows: BoolArray) -> list[str]:
        """The ids (rows,) of the items, or of the users, of some impressions."""
        events, shown = self.history.events, self.slates.event[rows]
        codes, names = (events.item, self.history.items) if of_item else (events.user, self.history.users)
        return [names[code] for code in codes[shown].tolist()]

    def of_probabilities(self, p: DoubleArray, probabilities: DoubleArray | None = None) -> Scores:
        """Scores of a system that says p (rows to score, heads): its value is theirs, weighed like ours."""
        return Scores(p, value(self.bundle, p, self.labels.kind[self.test]), probabilities)

    def of_score(self, score: DoubleArray) -> Scores:
        """Scores of a system that knows one order (rows to score,) for every head."""
        return Scores.of_order(score, len(self.heads))


def value(bundle: Bundle, p: DoubleArray, kinds: ByteArray) -> DoubleArray:
    """The value (n,) of probabilities p (n, heads) by the bundle's weights and scales."""
    heads = tuple(bundle.heads)
    return value_of(value_terms(p, heads, kinds, bundle.scales_of(heads), bundle.weights))


def judged(bundle: Bundle, features: FloatArray, kinds: ByteArray) -> Scores:
    """A bundle's own scores: ordered as if all stood in the first slot, probabilities for the slot they stood in."""
    ranker = BundleRanker(bundle)
    score = ranker.probabilities(in_first_slot(features, bundle.feature_set), kinds)
    return Scores(score, value(bundle, score, kinds), ranker.probabilities(features, kinds))


def in_first_slot(features: FloatArray, columns: FeatureSet) -> FloatArray:
    """The rows (n, d) as if each stood first: where an item was shown says nothing of where it should be."""
    alike = features.copy()
    for j, column in enumerate(columns.columns):
        if column == InContext("position"):
            alike[:, j] = 0
    return alike


def by_slate(slate: IntArray, rows: BoolArray) -> IntArray:
    """How many of the marked impressions each slate has that has any, in order: the groups of a listwise fit."""
    return np.unique(slate[rows], return_counts=True)[1]
