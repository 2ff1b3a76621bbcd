"""LightGBM LambdaMART: one list-wise model of the gain itself, on all columns that ours has.

References
----------
Burges, "From RankNet to LambdaRank to LambdaMART: an overview", Microsoft Research, 2010.
"""

import lightgbm as lgb
import numpy as np

from features.types import BoolArray, DoubleArray, FloatArray, IntArray
from ranking.bundles.bundle import Bundle
from ranking.value import gain
from training.baselines.task import Scores, Task, by_slate, in_first_slot
from training.learning.grower import PARAMETERS, PATIENCE, ROUNDS
from training.learning.table import Table

LISTWISE = "lambdamart.txt"
"""The file beside a bundle that keeps LightGBM's text of the model."""
TOP = 5
"""The place that NDCG is judged at; pairs above a few more than it count in the fit."""
PLACES = 1e6
"""Gains that differ by less than the inverse are one level."""


def lambdamart(task: Task) -> Scores:
    """LambdaMART, fitted on the task's past."""
    columns = task.bundle.feature_set
    table = Table(task.features[:, : task.width], columns, task.labels, task.slices)
    return listwise(fit_listwise(task.bundle, table, task.slates.slate), task.bundle, table.features[task.test])


def fit_listwise(bundle: Bundle, table: Table, slate: IntArray) -> str:
    """LightGBM's text of LambdaMART within slates; a row's level is the rank of its gain, and worth that gain.

    Trees are grown on the training slice, their number is found on the early stopping slice by NDCG@5, and the last
    fit is on both, as for ours. A row counts once all heads that the gain weighs have matured.

    Parameters
    ----------
    bundle : Bundle
        Gives heads, weights, scales and the seed.
    table : Table
        Of the bundle's columns.
    slate : (n,) int64
        The page or session of each row, in order.
    """
    labels, slices, heads, weights = table.labels, table.slices, tuple(bundle.heads), bundle.weights
    outcomes = np.stack([labels.of(head) for head in heads], axis=1).astype(np.float64)
    got = gain(outcomes, heads, labels.kind, bundle.scales_of(heads), weights)
    weighed = [head for head, weight in zip(heads, weights.signed(heads).tolist(), strict=True) if weight]
    train, stop, fit = (
        np.all([part(labels, head) for head in weighed or heads], axis=0)
        for part in (slices.train, slices.stop, slices.fit)
    )
    levels, level = np.unique(np.round(got[fit] * PLACES) / PLACES, return_inverse=True)
    worth = np.zeros(len(got), np.int64)
    worth[fit] = level
    params = _parameters(levels - levels[0], len(level), bundle.trained.seed)
    stopping = lgb.early_stopping(PATIENCE, verbose=False)
    known = _dataset(table, slate, worth, train)
    found = lgb.train(params, known, ROUNDS, [_dataset(table, slate, worth, stop, known)], callbacks=[stopping])
    return lgb.train(params, _dataset(table, slate, worth, fit), max(found.best_iteration, 1)).model_to_string()


def listwise(text: str, bundle: Bundle, features: FloatArray) -> Scores:
    """What the model says of rows (n, d) of the bundle's columns, as if each stood in the first slot."""
    alike = in_first_slot(features, bundle.feature_set)
    score = lgb.Booster(model_str=text).predict(alike, num_threads=1)
    return Scores.of_order(np.asarray(score, np.float64), len(bundle.heads))


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


def _dataset(
    table: Table, slate: IntArray, worth: IntArray, rows: BoolArray, known: lgb.Dataset | None = None
) -> lgb.Dataset:
    return lgb.Dataset(
        table.features[rows],
        worth[rows],
        group=by_slate(slate, rows),
        categorical_feature=list(table.feature_set.categorical),
        reference=known,
        params={"verbosity": -1},
    )
