"""One LightGBM head per action, all on one grid of bins that is chosen once; calibrated by kind.

The grid is ours, not LightGBM's: at most ``MOST_CUTS`` cuts a column from the unsampled rows, given to it as forced
bins, so that any later fit on this grid (another seed, a warm start) needs ``bins.json`` alone.
"""

import json
import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np

from features.errors import TrainingError
from features.outcomes import KIND_NAMES
from features.replay import Progress as Part
from features.schema import FeatureSet, Rate
from features.types import BoolArray, DoubleArray, FloatArray
from ranking.bundle import Head, model_names
from training.calibration import fit_calibrator
from training.examples import Slices
from training.labels import Labels

MOST_CUTS = 250
LEAST_POSITIVES = 20
"""A head with fewer positives, or negatives, in the training slice is not trained."""
STOP_POSITIVES = 5
"""With fewer positives to stop early by, ``FEW_ROUNDS`` are grown."""
WORKERS = 2
"""Heads grown at a time, each in one thread: two threads on one tree wait for each other whenever a core is busy."""
ROUNDS, FEW_ROUNDS, PATIENCE = 400, 40, 30
ZERO = float(np.float32(1e-35))
"""What LightGBM takes for zero: it always cuts on both sides of it."""

Bins = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to learn from: features (n, d) float32, what their columns are, labels and slices."""

    features: FloatArray
    feature_set: FeatureSet
    labels: Labels
    slices: Slices


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was fitted: LightGBM's text and the head by name, the grid, and why other heads were dropped."""

    models: dict[str, str]
    heads: dict[str, Head]
    bins: Bins
    dropped: dict[str, str]


def bins_of(features: FloatArray, categorical: Sequence[int]) -> Bins:
    """The grid: cuts of each column, ascending, none for columns of codes. NaN and infinities choose no cut."""
    return tuple(() if j in categorical else _cuts(features[:, j]) for j in range(features.shape[1]))


def _cuts(column: FloatArray) -> tuple[float, ...]:
    finite = np.sort(column[np.isfinite(column)].astype(np.float64))
    values, first = np.unique(finite, return_index=True)
    after = np.arange(1, len(values))
    if len(values) > MOST_CUTS:
        # Equal mass: the value that holds each quantile begins a bin.
        quantiles = np.arange(1, MOST_CUTS) * len(finite) // MOST_CUTS
        after = np.unique(np.searchsorted(first, quantiles, side="right") - 1)
        after = after[after > 0]
    cuts = (values[after - 1] + values[after]) / 2
    cuts = cuts[np.abs(cuts) > ZERO]
    zeros = [edge for edge, beside in ((-ZERO, finite < -ZERO), (ZERO, finite > ZERO)) if beside.any()]
    return tuple(np.union1d(cuts, zeros).tolist())


def fit_heads(table: Table, seed: int, progress: Part) -> Fitted:
    """Fit every head that has both outcomes.

    Early stopping by log loss says how many trees; then as many are grown on the training and the early-stopping
    slice together. Calibrators are fitted on rows of neither.

    Raises
    ------
    TrainingError
        If no head can be fitted.
    """
    slices, labels = table.slices, table.labels
    fit_rows = (labels.begins >= slices.since_ms) & (labels.begins < slices.calibrate_ms)
    bins = bins_of(table.features[fit_rows], table.feature_set.categorical)
    dropped = {head: reason for head in labels.windows_ms if (reason := _too_rare(table, head))}
    wanted = [head for head in labels.windows_ms if head not in dropped]
    models, heads = {}, {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        grower = _Grower(table, bins, fit_rows, Path(folder), seed)
        for done, (head, booster) in enumerate(zip(wanted, pool.map(grower.grow, wanted), strict=True)):
            progress(done, len(wanted))
            models[head] = re.sub(r"\[forcedbins_filename: .*\]", "[forcedbins_filename: ]", booster.model_to_string())
            heads[head] = _calibrated(table, head, booster)
    progress(len(wanted), len(wanted))
    if not models:
        raise TrainingError("No head has both outcomes often enough.", "Train on a longer log.")
    return Fitted(models, heads, bins, dropped)


def _too_rare(table: Table, head: str) -> str:
    y = table.labels.of(head)[table.slices.train(table.labels, head)]
    positives, negatives = int(y.sum()), int((~y).sum())
    if min(positives, negatives) >= LEAST_POSITIVES:
        return ""
    return f"{positives} positives and {negatives} negatives to train on; {LEAST_POSITIVES} of each are the least"


def kinds_of(table: Table, head: str) -> BoolArray:
    """(n,) whether the row's kind has the head at all: one positive of the kind in the training slice says so."""
    labels = table.labels
    positive = labels.of(head) & table.slices.train(labels, head)
    has = np.zeros(len(KIND_NAMES), np.bool_)
    has[labels.kind[positive]] = True
    has[0] = False
    return has[labels.kind]


def trusted(feature_set: FeatureSet, head: str) -> list[int]:
    """1 for a column of which more can only mean a higher probability of the head, else 0.

    These are the head's own rates of items, authors, categories, merchants, brands and pairs: in the little that a
    few days hold, a tree would otherwise bend them to its noise. The person's own rate is free: it orders no page.
    """
    return [
        int(isinstance(column, Rate) and column.action == head and column.of != "user")
        for column in feature_set.columns
    ]


class _Grower:
    """LightGBM on the grid: one binned data set, of which every head takes its rows."""

    def __init__(self, table: Table, bins: Bins, fit_rows: BoolArray, folder: Path, seed: int) -> None:
        self._table = table
        self._position = np.cumsum(fit_rows) - 1
        features = table.features[fit_rows]
        missing = [bool(np.isnan(features[:, j]).any()) for j in range(features.shape[1])]
        # LightGBM spends what is left of max_bin on cuts of its own, so nothing is left.
        sizes = [
            255 if not cuts and j in table.feature_set.categorical else len(cuts) + 1 for j, cuts in enumerate(bins)
        ]
        forced = [{"feature": j, "bin_upper_bound": cuts} for j, cuts in enumerate(bins) if cuts]
        path = folder / "bins.json"
        path.write_text(json.dumps(forced))
        least = int(np.clip(len(features) // 300, 20, 200))
        self._params = PARAMETERS | {"min_data_in_leaf": least, "seed": seed}
        grid = {
            "forcedbins_filename": str(path),
            "max_bin_by_feature": [max(size + int(more), 2) for size, more in zip(sizes, missing, strict=True)],
            "bin_construct_sample_cnt": len(features),
        }
        self._whole = lgb.Dataset(
            features,
            np.zeros(len(features)),
            feature_name=model_names(table.feature_set),
            categorical_feature=list(table.feature_set.categorical),
            params=self._params | grid,
            free_raw_data=False,
        ).construct()

    def grow(self, head: str) -> lgb.Booster:
        table, slices, labels = self._table, self._table.slices, self._table.labels
        kinds = kinds_of(table, head)
        params = self._params | {"monotone_constraints": trusted(table.feature_set, head)}
        stop = slices.stop(labels, head) & kinds
        rounds = FEW_ROUNDS
        if labels.of(head)[stop].sum() >= STOP_POSITIVES:
            train = self._subset(head, slices.train(labels, head) & kinds)
            stopping = lgb.early_stopping(PATIENCE, verbose=False)
            found = lgb.train(params, train, ROUNDS, [self._subset(head, stop)], callbacks=[stopping])
            rounds = max(found.best_iteration, 1)
        return lgb.train(params, self._subset(head, slices.fit(labels, head) & kinds), rounds)

    def _subset(self, head: str, rows: BoolArray) -> lgb.Dataset:
        wanted = np.flatnonzero(rows)
        part = self._whole.subset(self._position[wanted].tolist())
        return part.construct().set_label(self._table.labels.of(head)[wanted].astype(np.float32))


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


def _calibrated(table: Table, head: str, booster: lgb.Booster) -> Head:
    labels, slices = table.labels, table.slices
    y, kinds = labels.of(head), kinds_of(table, head)
    rows = np.flatnonzero(slices.calibrate(labels, head) & kinds)
    known = np.flatnonzero((slices.fit(labels, head) | slices.calibrate(labels, head)) & kinds)
    margin = _margins(booster, table.features[rows])
    rates, calibrators = [0.0] * len(KIND_NAMES), {}
    for kind in np.unique(labels.kind[known]).tolist():
        of_kind, seen = labels.kind[rows] == kind, y[known][labels.kind[known] == kind]
        rates[kind] = (float(seen.sum()) + 0.5) / (len(seen) + 1)
        calibrators[kind] = fit_calibrator(margin[of_kind], y[rows][of_kind].astype(float), base_rate=rates[kind])
    return Head(labels.windows_ms[head], (rates[0], rates[1], rates[2], rates[3]), calibrators)


def _margins(booster: lgb.Booster, features: FloatArray) -> DoubleArray:
    if not len(features):
        return np.zeros(0)
    return np.asarray(booster.predict(features, raw_score=True, num_threads=1), np.float64)
