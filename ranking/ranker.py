"""The ranker of a bundle: raw scores of all heads in one pass, made probabilities by head and kind."""

import numpy as np

from features.types import ByteArray, DoubleArray, FloatArray
from ranking.bundle import Bundle
from ranking.trees import Forest
from ranking.types import Batch


class BundleRanker:
    """Calibrated probabilities of a bundle's heads; immutable and safe to share between threads.

    Parameters
    ----------
    bundle : Bundle
    """

    def __init__(self, bundle: Bundle) -> None:
        self.heads = tuple(bundle.heads)
        self._forest = Forest.from_model_texts(bundle.models)
        self._calibrators = [
            (column, kind, calibrator)
            for column, head in enumerate(bundle.heads.values())
            for kind, calibrator in head.calibrators.items()
        ]

    def predict(self, batch: Batch) -> DoubleArray:
        """Probabilities (n, heads) float64 of a batch; 0 for a head that a kind does not have."""
        return self.probabilities(batch.features, batch.kinds)

    def probabilities(self, features: FloatArray, kinds: ByteArray) -> DoubleArray:
        """Probabilities (n, heads) float64 of feature rows (n, d) of items of kinds (n,)."""
        raw = self._forest.raw(features)
        out = np.zeros_like(raw)
        for column, kind, calibrator in self._calibrators:
            rows = np.flatnonzero(kinds == kind)
            if len(rows):
                out[rows, column] = calibrator.predict(raw[rows, column])
        return out
