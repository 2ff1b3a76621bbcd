"""Who did what with which item before a time, as one sparse matrix: what collaborative baselines learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import csr_matrix

from features.history import History
from features.types import DoubleArray, FloatArray, IntArray
from training.learning.factors import Interactions

BLOCK = 512
"""People scored at a time, so that dense scores stay small."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """People by items, each entry the sum of the strengths of what was done; names in sorted order.

    The strengths are those that factors are fitted on: an impression without an act is no entry.
    """

    users: dict[str, int]
    items: dict[str, int]
    matrix: "csr_matrix[np.float64]"

    @classmethod
    def before(cls, history: History, before_ms: int) -> "Preferences":
        """What was received before a time: the same to the bit whatever the history holds of later."""
        done = Interactions.of(history)
        known = np.flatnonzero((done.received_ms < before_ms) & (before_ms <= done.replaced_ms))
        users, user = np.unique(done.user[known], return_inverse=True)
        items, item = np.unique(done.item[known], return_inverse=True)
        strength = done.strength[known].astype(np.float64)
        return cls(
            {done.users[place]: row for row, place in enumerate(users.tolist())},
            {done.items[place]: row for row, place in enumerate(items.tolist())},
            csr_matrix((strength, (user, item)), shape=(len(users), len(items))),
        )

    def binary(self) -> "csr_matrix[np.float64]":
        """Whether anything was done at all, as 0 and 1."""
        return csr_matrix((np.ones(self.matrix.nnz), self.matrix.indices, self.matrix.indptr), self.matrix.shape)


class Affinity(Protocol):
    """How much people like items, of those that ``Preferences`` know."""

    @property
    def past(self) -> Preferences:
        """Who and what is known."""
        ...

    def of(self, users: IntArray) -> FloatArray:
        """Scores (m, items) float32 of people's rows (m,); higher is better."""
        ...


def score_pairs(affinity: Affinity, users: Sequence[str], items: Sequence[str]) -> DoubleArray:
    """The score (n,) of each person and item; 0 where the past knows either of them not at all."""
    past = affinity.past
    user = np.array([past.users.get(name, -1) for name in users], np.int64)
    item = np.array([past.items.get(name, -1) for name in items], np.int64)
    out = np.zeros(len(user))
    both = np.flatnonzero((user >= 0) & (item >= 0))
    both = both[np.argsort(user[both], kind="stable")]
    who, place = np.unique(user[both], return_inverse=True)
    for start in range(0, len(who), BLOCK):
        some = affinity.of(who[start : start + BLOCK])
        rows = both[slice(*np.searchsorted(place, [start, start + BLOCK]))]
        out[rows] = some[np.searchsorted(who, user[rows]) - start, item[rows]]
    return out
