"""One LightGBM head per action, all on one grid of bins that is chosen once; calibrated by kind.

The grid is ours, not LightGBM's: at most ``MOST_CUTS`` cuts a column from the unsampled rows, given to it as forced
bins, so that any later fit on this grid (another seed, a warm start) needs ``bins.json`` alone.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.errors import TrainingError
from features.outcomes import KIND_NAMES
from features.replay import Progress as Part
from ranking.bundles.bundle import Bundle, Head
from ranking.forest.trees import Forest
from training.learning.calibration import Known, Seen, fit_calibrators
from training.learning.grower import Grower, Grown, Growth
from training.learning.table import Bins, Table, bins_of, kinds_of

__all__ = ["Fitted", "Growth", "Table", "fit_heads"]

LEAST_POSITIVES = 20
"""A head with fewer positives, or negatives, in the training slice is not trained."""
WORKERS = 2
"""Heads grown at a time, each in one thread: two threads on one tree wait for each other whenever a core is busy."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was fitted: LightGBM's text and the head by name, the grid, and why other heads were dropped."""

    models: dict[str, str]
    heads: dict[str, Head]
    bins: Bins
    dropped: dict[str, str]


def fit_heads(
    table: Table, seed: int, progress: Part, *, growth: Growth | None = None, warm: Bundle | None = None
) -> Fitted:
    """Fit every head that has both outcomes.

    Early stopping by log loss says how many trees; then as many are grown on the training and the early-stopping
    slice together. Calibrators are fitted on rows of neither, and on the early-stopping slice by the trees that were
    grown without it.

    Parameters
    ----------
    growth : Growth, optional
        How many seeds are averaged and how many negatives are kept.
    warm : Bundle, optional
        Of the same columns and codes: its grid is kept, and every head that it has goes on from its trees.

    Raises
    ------
    TrainingError
        If no head can be fitted.
    """
    slices, labels = table.slices, table.labels
    fit_rows = (labels.begins >= slices.since_ms) & (labels.begins < slices.calibrate_ms)
    bins = warm.bins if warm else bins_of(table.features[fit_rows], table.feature_set.categorical)
    dropped = {head: reason for head in labels.windows_ms if (reason := _too_rare(table, head))}
    growth = growth or Growth()
    wanted = [head for head in growth.heads or labels.windows_ms if head in labels.windows_ms and head not in dropped]
    models, heads = {}, {}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        grower = Grower(table, bins, fit_rows, Path(folder), seed, growth, warm.models if warm else {})
        for done, (head, grown) in enumerate(zip(wanted, pool.map(grower.grow, wanted), strict=True)):
            progress(done, len(wanted))
            models[head], heads[head] = grown.text, _calibrated(table, head, grown)
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


def _calibrated(table: Table, head: str, grown: Grown) -> Head:
    labels, slices = table.labels, table.slices
    y, kinds = labels.of(head).astype(np.float64), kinds_of(table, head)
    rows, learned = (np.flatnonzero(part(labels, head) & kinds) for part in (slices.calibrate, slices.fit))
    forest = Forest.from_model_texts({head: grown.text})
    slice_of = [
        (margin, y[at], labels.kind[at])
        for margin, at in (
            (forest.raw(table.features[rows])[:, 0], rows),
            (grown.margin, grown.earlier),
            (forest.raw(table.features[learned])[:, 0], learned),
        )
    ]
    rates, known = [0.0] * len(KIND_NAMES), {}
    for kind in np.unique(labels.kind[np.concatenate([rows, learned])]).tolist():
        latest, earlier, seen = (Seen(margin[of == kind], y[of == kind]) for margin, y, of in slice_of)
        rates[kind] = (float(latest.y.sum() + seen.y.sum()) + 0.5) / (len(latest.y) + len(seen.y) + 1)
        known[kind] = Known(latest, rates[kind], earlier, seen)
    return Head(labels.windows_ms[head], (rates[0], rates[1], rates[2], rates[3]), fit_calibrators(known))
