"""What heads are grown on: a table of features with its labels and slices, and the grid that cuts its columns."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.outcomes import KIND_NAMES
from features.schema import FeatureSet
from features.types import BoolArray, FloatArray
from training.learning.examples import Slices
from training.learning.labels import Labels

MOST_CUTS = 250
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


def kinds_of(table: Table, head: str) -> BoolArray:
    """(n,) whether the row's kind has the head at all: one positive of the kind in the training slice says so."""
    labels = table.labels
    positive = labels.of(head) & table.slices.train(labels, head)
    has = np.zeros(len(KIND_NAMES), np.bool_)
    has[labels.kind[positive]] = True
    has[0] = False
    return has[labels.kind]


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


def grid_of(table: Table, bins: Bins, features: FloatArray, folder: Path) -> dict[str, object]:
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
