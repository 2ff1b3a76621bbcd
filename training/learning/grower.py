"""Trees of a head, grown by LightGBM on one grid of bins, three models of them, and the item's own rate beside."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import lightgbm as lgb
import msgspec
import numpy as np

from features.columns import Rate
from features.errors import TrainingError
from features.schema import FeatureSet
from features.types import BoolArray, DoubleArray, FloatArray, IntArray
from ranking.bundles.model_text import model_names
from ranking.forest.trees import Forest
from training.learning.models import averaged, joined, stacked
from training.learning.stacking import (
    OF_ITEM,
    OF_PAGE,
    OF_RATE,
    WARM,
    WHOLE,
    Believed,
    Member,
    log_odds,
    of_item,
    of_page,
    own_rate,
    shares,
)
from training.learning.table import Bins, Table, grid_of, kinds_of

STOP_POSITIVES = 5
"""With fewer positives to stop early by, ``FEW_ROUNDS`` are grown."""
ROUNDS, FEW_ROUNDS, PATIENCE = 400, 40, 30
PARAMETERS: dict[str, object] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "cat_smooth": 50.0,
    "cat_l2": 20.0,
    "max_cat_threshold": 16,
    "max_bin": 255,
    "min_data_in_bin": 1,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}

STEPS: dict[str, object] = {
    "objective": "regression",
    "boost_from_average": False,
    "learning_rate": 1.0,
    "num_leaves": 63,
    "feature_fraction": 1.0,
    "bagging_freq": 0,
    "lambda_l2": 0.0,
}
"""How one tree of one column follows a line: as steps of least squares."""


class Growth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How trees are grown.

    Parameters
    ----------
    seeds : int
        So many models of every column are grown a head, and averaged into one of as many times the trees. Beside them
        stand one of the item's columns and one of what a page shares.
    negatives : float
        The share of negatives that are learned from, drawn by the seed, in (0, 1]; each then counts 1 / share, so
        that margins stay log-odds. Of a head with more than a million rows, 0.1 are usual.
    heads : tuple of str
        Grow these alone; where none is named, every head that has both outcomes.
    """

    seeds: int = 1
    negatives: float = 1.0
    heads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise TrainingError(f"{self.seeds} seeds cannot be averaged.", "Give 1 or more.")
        if not 0 < self.negatives <= 1:
            raise TrainingError(f"A share of {self.negatives} of the negatives.", "Give more than 0 and at most 1.")


class Cut(NamedTuple):
    """Places of rows to learn from: of the training slice, to stop by (none of too few positives), and of both."""

    train: IntArray
    stop: IntArray
    fit: IntArray


class Grown(NamedTuple):
    """A head's trees, and what those say that early stopping grew: they have not seen the rows that stopped them.

    Attributes
    ----------
    text : str
        LightGBM's text of the model, the item's own rate stacked on it.
    earlier : (m,) int64
        Positions of the early-stopping slice in the table; none where too few positives stop a head.
    margin : (m,) float64
        Their margins by the trees that were grown without them.
    """

    text: str
    earlier: IntArray
    margin: DoubleArray


def trusted(feature_set: FeatureSet, head: str) -> list[int]:
    """1 for a column of which more can only mean a higher probability of the head, else 0.

    These are the head's own rates of items, authors, categories, merchants, brands and pairs: in the little that a
    few days hold, a tree would otherwise bend them to its noise. The person's own rate is free: it orders no page.
    """
    return [
        int(isinstance(column, Rate) and column.action == head and column.of != "user")
        for column in feature_set.columns
    ]


class Grower:
    """LightGBM on the grid: one binned data set, of which every head takes its rows.

    Parameters
    ----------
    fit_rows : (n,) bool
        The rows of the table that any head learns from.
    folder : Path
        For files that LightGBM reads.
    warm : mapping of str to str
        The models that heads go on from.
    """

    def __init__(
        self,
        table: Table,
        bins: Bins,
        fit_rows: BoolArray,
        folder: Path,
        seed: int,
        growth: Growth,
        warm: Mapping[str, str],
    ) -> None:
        self._table, self._growth, self._warm, self._seed = table, growth, warm, seed
        self._rows = np.flatnonzero(fit_rows)
        self._features = table.features[self._rows]
        least = int(np.clip(len(self._rows) // 300, 20, 200))
        self._params = PARAMETERS | {"min_data_in_leaf": least}
        self._whole = lgb.Dataset(
            self._features,
            np.zeros(len(self._rows)),
            feature_name=model_names(table.feature_set),
            categorical_feature=list(table.feature_set.categorical),
            params=self._params | grid_of(table, bins, self._features, folder),
            free_raw_data=False,
        ).construct()

    def grow(self, head: str) -> Grown:
        """A head's trees; seeds follow one another from the given one in steps of 1,000.

        Early stopping says how many trees, then as many are grown on all rows that are not for calibration.
        """
        slices, labels = self._table.slices, self._table.labels
        kinds = kinds_of(self._table, head)[self._rows]
        train, stop, fit = (
            np.flatnonzero(each(labels, head)[self._rows] & kinds) for each in (slices.train, slices.stop, slices.fit)
        )
        enough = labels.of(head)[self._rows][stop].sum() >= STOP_POSITIVES
        cut = Cut(train, stop if enough else stop[:0], fit)
        members = self._members(head, cut)
        weights, line = self._stack(head, members)
        before = np.zeros(0)
        if enough:
            before = _margins(stacked([each.stopped for each in members], weights, line), self._features[cut.stop])
        text = stacked([member.text for member in members], weights, line)
        text = re.sub(r"\[forcedbins_filename: .*\]", "[forcedbins_filename: ]", text)
        return Grown(text, self._rows[cut.stop], before)

    def _members(self, head: str, cut: Cut) -> list[Member]:
        """What is stacked: trees of every column, then, of a head with a rate of its own, of the item and of the page.

        A model that is gone on from is a stack already, and more trees of every column are grown upon it.
        """
        start, columns = self._warm.get(head), self._table.feature_set.columns
        seeds = range(self._seed, self._seed + 1_000 * self._growth.seeds, 1_000)
        if start:
            grown = self._member(head, cut, seeds, {}, WARM[0], _margins(start, self._features))
            return [Member(_upon(start, grown.text), _upon(start, grown.stopped), WARM[0])]
        members = [self._member(head, cut, seeds, {}, WHOLE)]
        if own_rate(self._table.feature_set, head) is None:
            return members
        for some, believed in ((of_item, OF_ITEM), (of_page, OF_PAGE)):
            places = [j for j, column in enumerate(columns) if some(column)]
            if places:
                members.append(self._member(head, cut, seeds[:1], {"interaction_constraints": [places]}, believed))
        return members

    def _member(
        self,
        head: str,
        cut: Cut,
        seeds: Sequence[int],
        view: Mapping[str, object],
        believed: Believed,
        margins: DoubleArray | None = None,
    ) -> Member:
        """Trees of some seeds, averaged; ``view`` says what they may read."""
        texts, stopped = [], []
        for seed in seeds:
            rounds = FEW_ROUNDS
            if len(cut.stop):
                held = self._boosted(head, seed, view, margins, cut.train, ROUNDS, cut.stop)
                rounds = max(held.best_iteration, 1)
                stopped.append(held.model_to_string(num_iteration=rounds))
            texts.append(self._boosted(head, seed, view, margins, cut.fit, rounds).model_to_string())
        return Member(averaged(texts), averaged(stopped) if stopped else "", believed)

    def _stack(self, head: str, members: Sequence[Member]) -> tuple[Sequence[float], str]:
        """The members' shares by ``stacking``, and a tree of the steps of the rate's line: "" for none."""
        table, column = self._table, own_rate(self._table.feature_set, head)
        rows = np.flatnonzero(table.slices.calibrate(table.labels, head) & kinds_of(table, head))
        if column is None:
            return (1.0,), ""
        latest = table.features[rows]
        odds = log_odds(latest[:, column])
        said = [*(_margins(member.text, latest) for member in members), odds]
        prior = [*(member.believed for member in members), WARM[1] if head in self._warm else OF_RATE]
        *weights, slope = shares(said, table.labels.of(head)[rows], prior)
        if slope == 0:
            return weights, ""
        line = slope * (log_odds(self._features[:, column]) - (odds.mean() if len(odds) else 0.0))
        params = self._params | STEPS | {"interaction_constraints": [[column]]}
        everyone = self._whole.subset(list(range(len(line)))).construct().set_label(line.astype(np.float32))
        return weights, lgb.train(params, everyone, 1).model_to_string()

    def _boosted(
        self,
        head: str,
        seed: int,
        view: Mapping[str, object],
        margins: DoubleArray | None,
        rows: IntArray,
        rounds: int,
        stop: IntArray | None = None,
    ) -> lgb.Booster:
        rows = self._sampled(head, rows, seed)
        data = self._subset(head, rows, margins)
        if self._growth.negatives < 1:
            positive = self._table.labels.of(head)[self._rows[rows]]
            data.set_weight(np.where(positive, 1.0, 1.0 / self._growth.negatives))
        held = [] if stop is None else [self._subset(head, stop, margins)]
        callbacks: list[Callable[..., object]] = []
        if stop is not None:
            callbacks.append(lgb.early_stopping(PATIENCE, verbose=False))
        params = self._params | {"seed": seed, "monotone_constraints": trusted(self._table.feature_set, head), **view}
        return lgb.train(params, data, rounds, held, callbacks=callbacks)

    def _sampled(self, head: str, rows: IntArray, seed: int) -> IntArray:
        if self._growth.negatives == 1:
            return rows
        kept = np.random.default_rng(seed).random(len(rows)) < self._growth.negatives
        return rows[kept | self._table.labels.of(head)[self._rows[rows]]]

    def _subset(self, head: str, rows: IntArray, margins: DoubleArray | None) -> lgb.Dataset:
        y = self._table.labels.of(head)[self._rows[rows]].astype(np.float32)
        part = self._whole.subset(rows.tolist()).construct().set_label(y)
        if margins is not None:
            part.set_init_score(margins[rows])
        return part


def _upon(start: str, grown: str) -> str:
    """A model upon what it goes on from; "" of no model."""
    return joined([start, grown]) if grown else ""


def _margins(text: str, features: FloatArray) -> DoubleArray:
    return Forest.from_model_texts({"": text}).raw(features)[:, 0]
