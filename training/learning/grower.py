"""Trees of a head, grown by LightGBM on one grid of bins, and the item's own rate beside them."""

import json
import re
from collections.abc import Callable, Mapping
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
from training.learning.models import averaged, joined, scaled
from training.learning.stacking import GROWN, WARM, log_odds, own_rate, shares
from training.learning.table import Bins, Table, kinds_of

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
        So many models a head are grown, and averaged into one of as many times the trees.
    negatives : float
        The share of negatives that are learned from, drawn by the seed, in (0, 1]; each then counts 1 / share, so
        that margins stay log-odds. Of a head with more than a million rows, 0.1 are usual.
    heads : tuple of str
        Grow these alone; where none is named, every head that has both outcomes.
    """

    seeds: int = 2
    negatives: float = 1.0
    heads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise TrainingError(f"{self.seeds} seeds cannot be averaged.", "Give 1 or more.")
        if not 0 < self.negatives <= 1:
            raise TrainingError(f"A share of {self.negatives} of the negatives.", "Give more than 0 and at most 1.")


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
            params=self._params | _grid(table, bins, self._features, folder),
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
        start = self._warm.get(head)
        margins = _margins(start, self._features) if start else None
        enough = labels.of(head)[self._rows][stop].sum() >= STOP_POSITIVES
        texts, stopped = [], []
        for seed in range(self._seed, self._seed + 1_000 * self._growth.seeds, 1_000):
            rounds = FEW_ROUNDS
            if enough:
                held = self._boosted(head, seed, margins, train, ROUNDS, stop)
                rounds = max(held.best_iteration, 1)
                stopped.append(held.model_to_string(num_iteration=rounds))
            texts.append(self._boosted(head, seed, margins, fit, rounds).model_to_string())
        text = _upon(start, texts)
        share, line = self._stack(head, text)
        seen = stop if enough else stop[:0]
        before = _margins(_stacked(_upon(start, stopped), share, line), self._features[seen]) if enough else np.zeros(0)
        text = re.sub(r"\[forcedbins_filename: .*\]", "[forcedbins_filename: ]", _stacked(text, share, line))
        return Grown(text, self._rows[seen], before)

    def _stack(self, head: str, text: str) -> tuple[float, str]:
        """The trees' share by ``stacking``, and a tree of the steps of the rate's line: "" for none."""
        table, column = self._table, own_rate(self._table.feature_set, head)
        rows = np.flatnonzero(table.slices.calibrate(table.labels, head) & kinds_of(table, head))
        if column is None or not len(rows):
            return 1.0, ""
        latest = table.features[rows]
        odds = log_odds(latest[:, column])
        prior = WARM if head in self._warm else GROWN
        share, slope = shares(_margins(text, latest), odds, table.labels.of(head)[rows], prior)
        if slope == 0:
            return 1.0, ""
        line = slope * (log_odds(self._features[:, column]) - odds.mean())
        params = self._params | STEPS | {"interaction_constraints": [[column]]}
        everyone = self._whole.subset(list(range(len(line)))).construct().set_label(line.astype(np.float32))
        return share, lgb.train(params, everyone, 1).model_to_string()

    def _boosted(
        self,
        head: str,
        seed: int,
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
        params = self._params | {"seed": seed, "monotone_constraints": trusted(self._table.feature_set, head)}
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


def _upon(start: str | None, texts: list[str]) -> str:
    """The mean of models of several seeds, upon what they go on from; "" of no model."""
    grown = averaged(texts) if texts else ""
    return joined([start, grown]) if start and grown else grown


def _stacked(text: str, share: float, line: str) -> str:
    return joined([line, scaled(text, share)]) if line else text


def _margins(text: str, features: FloatArray) -> DoubleArray:
    return Forest.from_model_texts({"": text}).raw(features)[:, 0]


def _grid(table: Table, bins: Bins, features: FloatArray, folder: Path) -> dict[str, object]:
    """What makes LightGBM cut columns as the grid does: it spends what is left of max_bin on cuts of its own."""
    missing = [bool(np.isnan(features[:, j]).any()) for j in range(features.shape[1])]
    codes = table.feature_set.categorical
    sizes = [255 if not cuts and j in codes else len(cuts) + 1 for j, cuts in enumerate(bins)]
    path = folder / "bins.json"
    path.write_text(json.dumps([{"feature": j, "bin_upper_bound": cuts} for j, cuts in enumerate(bins) if cuts]))
    return {
        "forcedbins_filename": str(path),
        "max_bin_by_feature": [max(size + int(more), 2) for size, more in zip(sizes, missing, strict=True)],
        "bin_construct_sample_cnt": len(features),
    }
