"""The ranker of a bundle: raw scores of all heads in one pass, made probabilities by head and kind."""

import numpy as np

from features.state import FeatureState
from features.types import ByteArray, DoubleArray, FloatArray
from ranking.bundles.bundle import Bundle
from ranking.bundles.calibration import Tables, calibrate
from ranking.forest.trees import Forest
from ranking.types import Batch, Ranker


class BundleRanker:
    """Calibrated probabilities of a bundle's heads; immutable and safe to share between threads.

    Parameters
    ----------
    bundle : Bundle
    """

    def __init__(self, bundle: Bundle) -> None:
        self.heads = tuple(bundle.heads)
        self.forest = Forest.from_model_texts(bundle.models)
        self._tables = Tables.of([head.calibrators for head in bundle.heads.values()])

    def predict(self, batch: Batch, trees: int | None = None) -> DoubleArray:
        """Probabilities (n, heads) float64 of a batch, by the first ``trees`` of each head or by all.

        0 for a head that a kind does not have.
        """
        if batch.coded is None:
            return self.probabilities(batch.features, batch.kinds, trees)
        return self._calibrated(self.forest.score(batch.coded, trees), batch.kinds)

    def probabilities(self, features: FloatArray, kinds: ByteArray, trees: int | None = None) -> DoubleArray:
        """Probabilities (n, heads) float64 of feature rows (n, d) of items of kinds (n,)."""
        return self._calibrated(self.forest.raw(features, trees), kinds)

    def _calibrated(self, raw: DoubleArray, kinds: ByteArray) -> DoubleArray:
        out = np.empty_like(raw)
        calibrate(self._tables, kinds, raw, out)
        return out


def bundled(bundle: Bundle, _: FeatureState) -> Ranker:
    """The bundle's own ranker."""
    return BundleRanker(bundle)
