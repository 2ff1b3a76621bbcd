"""LightGBM LambdaMART: one list-wise model of the gain itself, on all columns that ours has.

References
----------
Burges, "From RankNet to LambdaRank to LambdaMART: an overview", Microsoft Research, 2010.
"""

import lightgbm as lgb
import numpy as np

from features.types import BoolArray, DoubleArray, IntArray
from ranking.value import gain
from training.grower import PARAMETERS, PATIENCE, ROUNDS
from training.task import Scores, Task, by_slate, in_first_slot

TOP = 5
"""The place that NDCG is judged at; pairs above a few more than it count in the fit."""
PLACES = 1e6
"""Gains that differ by less than the inverse are one level."""


def lambdamart(task: Task) -> Scores:
    """LambdaMART within slates; the level of a row is the rank of its gain among all, and is worth that gain.

    Trees are grown on the training slice, their number is found on the early stopping slice by NDCG@5, and the last
    fit is on both, as for ours. A row counts once all heads that the gain weighs have matured.
    """
    labels, slices = task.labels, task.slices
    heads, weights = task.heads, task.bundle.weights
    got = gain(labels.y.astype(np.float64), heads, labels.kind, task.bundle.scales_of(heads), weights)
    weighed = [head for head, weight in zip(heads, weights.signed(heads).tolist(), strict=True) if weight]
    train, stop, fit = (
        np.all([part(labels, head) for head in weighed], axis=0) for part in (slices.train, slices.stop, slices.fit)
    )
    levels, level = np.unique(np.round(got[fit] * PLACES) / PLACES, return_inverse=True)
    worth = np.zeros(len(got), np.int64)
    worth[fit] = level
    params = _parameters(levels - levels[0], len(level), task.bundle.trained.seed)
    stopping = lgb.early_stopping(PATIENCE, verbose=False)
    known = _dataset(task, worth, train)
    found = lgb.train(params, known, ROUNDS, [_dataset(task, worth, stop, known)], callbacks=[stopping])
    booster = lgb.train(params, _dataset(task, worth, fit), max(found.best_iteration, 1))
    alike = in_first_slot(task.features[task.test][:, : task.width], task.bundle.feature_set)
    return task.of_score(np.asarray(booster.predict(alike, num_threads=1), np.float64))


def _parameters(worth: DoubleArray, rows: int, seed: int) -> dict[str, object]:
    least = int(np.clip(rows // 300, 20, 200))
    return PARAMETERS | {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [TOP],
        "label_gain": worth.tolist(),
        "lambdarank_truncation_level": TOP + 3,
        "min_data_in_leaf": least,
        "min_data_in_bin": 3,
        "seed": seed,
    }


def _dataset(task: Task, worth: IntArray, rows: BoolArray, known: lgb.Dataset | None = None) -> lgb.Dataset:
    return lgb.Dataset(
        task.features[rows][:, : task.width],
        worth[rows],
        group=by_slate(task.slates, rows),
        categorical_feature=list(task.bundle.feature_set.categorical),
        reference=known,
        params={"verbosity": -1},
    )
