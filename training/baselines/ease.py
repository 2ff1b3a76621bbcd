"""EASE: a linear model of items by items with a closed form.

References
----------
Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from features.types import FloatArray, IntArray
from training.baselines.preferences import Preferences

MOST_ITEMS = 4_000
"""The most frequent items are modelled; the inverse of their Gram matrix costs the cube of their number."""
PENALTY = 200.0


@dataclass(frozen=True, slots=True)
class ShallowAutoencoder:
    """Weights (items, items) float32 of the ``MOST_ITEMS`` most frequent items, whose places are ``kept``."""

    past: Preferences
    seen: "csr_matrix[np.float32]"
    kept: IntArray
    weights: FloatArray

    @classmethod
    def fit(cls, past: Preferences) -> "ShallowAutoencoder":
        """``B = I - P·diag(1 / diag P)`` with ``P = (XᵀX + PENALTY·I)⁻¹``: least squares without self-similarity."""
        seen = past.binary()
        count = np.asarray(seen.sum(axis=0)).ravel()
        kept = np.sort(np.lexsort((np.arange(len(count)), -count))[:MOST_ITEMS])
        seen = seen[:, kept]
        gram = (seen.T @ seen).toarray()
        gram[np.diag_indices(len(kept))] += PENALTY
        with threadpool_limits(1):
            inverse = np.linalg.inv(gram)
        weights = -inverse / np.diag(inverse)
        weights[np.diag_indices(len(kept))] = 0
        return cls(past, seen.astype(np.float32), kept, weights.astype(np.float32))

    def of(self, users: IntArray) -> FloatArray:
        """Scores (m, items) float32; 0 for an item that is not modelled."""
        out = np.zeros((len(users), len(self.past.items)), np.float32)
        out[:, self.kept] = self.seen[users] @ self.weights
        return out
