"""Item-kNN: what people who did something with this also did something with, by the cosine of their co-visitation.

References
----------
Sarwar, Karypis, Konstan and Riedl, "Item-based collaborative filtering recommendation algorithms", WWW 2001.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, vstack

from features.types import DoubleArray, FloatArray, IntArray
from training.baselines.preferences import BLOCK, Preferences

NEIGHBOURS = 100
SHRINK = 10.0
"""Added to the product of lengths: two items that one person saw are not the same item."""


@dataclass(frozen=True, slots=True)
class ItemNeighbours:
    """Each item's nearest; a person's score of an item is the sum over what that person did something with."""

    past: Preferences
    seen: "csr_matrix[np.float64]"
    similarity: "csr_matrix[np.float64]"

    @classmethod
    def fit(cls, past: Preferences) -> "ItemNeighbours":
        """Keep the ``NEIGHBOURS`` nearest of each item; an item is no neighbour of its own."""
        seen = past.binary()
        length = np.sqrt(np.asarray(seen.sum(axis=0)).ravel())
        items = seen.T.tocsr()
        parts = [
            _nearest((items[start : start + BLOCK] @ seen).toarray(), start, length)
            for start in range(0, items.shape[0], BLOCK)
        ]
        none = csr_matrix((0, len(length)), dtype=np.float64)
        return cls(past, seen, csr_matrix(vstack([none, *parts])).T.tocsr())

    def of(self, users: IntArray) -> FloatArray:
        """Scores (m, items) float32."""
        return np.asarray((self.seen[users] @ self.similarity).toarray(), np.float32)


def _nearest(together: DoubleArray, start: int, length: DoubleArray) -> "csr_matrix[np.float64]":
    """The rows ``start …`` of the similarity, from counts of people (m, items) in common."""
    m, n = together.shape
    cosine = together / (length[start : start + m, None] * length + SHRINK)
    cosine[np.arange(m), np.arange(start, start + m)] = 0
    kept = np.argpartition(-cosine, min(NEIGHBOURS, n) - 1, axis=1)[:, :NEIGHBOURS]
    near = np.take_along_axis(cosine, kept, axis=1)
    rows = np.repeat(np.arange(m), kept.shape[1])
    matrix = csr_matrix((near.ravel(), (rows, kept.ravel())), shape=(m, n))
    matrix.eliminate_zeros()
    return matrix
