"""iALS: matrix factorisation of implicit feedback by alternating least squares.

References
----------
Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
"""

from dataclasses import dataclass

import numpy as np

from features.types import DoubleArray, FloatArray, IntArray
from training.baselines.preferences import Preferences
from training.learning.least_squares import solved

DIMS = 32
ROUNDS = 10
ALPHA = 10.0
"""The confidence of an entry is ``1 + ALPHA·ln(1 + strength)``, of all that is not there 1."""
PENALTY = 20.0


@dataclass(frozen=True, slots=True)
class ImplicitFactors:
    """Vectors (users, DIMS) and (items, DIMS) float64 whose products are preferences."""

    past: Preferences
    users: DoubleArray
    items: DoubleArray

    @classmethod
    def fit(cls, past: Preferences, seed: int) -> "ImplicitFactors":
        """``ROUNDS`` times users from items, then items from users."""
        by_user = past.matrix.copy()
        by_user.data = 1.0 + ALPHA * np.log1p(by_user.data)
        by_item = by_user.T.tocsr()
        rng = np.random.default_rng(seed)
        items = rng.normal(0, 0.1, (by_user.shape[1], DIMS))
        users = np.zeros((by_user.shape[0], DIMS))
        for _ in range(ROUNDS):
            users = solved(by_user.indptr, by_user.indices, by_user.data, items, PENALTY)
            items = solved(by_item.indptr, by_item.indices, by_item.data, users, PENALTY)
        return cls(past, users, items)

    def of(self, users: IntArray) -> FloatArray:
        """Scores (m, items) float32."""
        return (self.users[users] @ self.items.T).astype(np.float32)
