"""What those do whom a person follows or often engages with: their rooms on air first, then what they last put up.

The graph is a signal and never a gate: it finds candidates, and they are valued like all others.
"""

from collections.abc import Callable

import numpy as np
from numba import njit

from features.fold.arrays import AUTHORS, N_ENTITIES
from features.fold.counters import exp2_neg
from features.fold.rings import IMPRESSION
from features.state import NO_ROWS, FeatureState
from features.types import BoolArray, DoubleArray, FloatArray, IntArray, RowArray
from ranking.types import Query

EACH = 32
"""Items that one author may bring, the last described."""


class Works:
    """The items of every author, the last described first: a list linked through arrays, that only grows."""

    def __init__(self, state: FeatureState) -> None:
        self._state = state
        self.newest = np.full(64, -1, np.int32)
        self.before = np.full(64, -1, np.int32)
        self._author = np.zeros(64, np.int32)
        self.follow(state.described())

    def follow(self, rows: RowArray) -> None:
        """Take in items that the catalog has described; one that changes its author stays where it was first."""
        if not len(rows):
            return
        authors = self._state.arrays.items.categories[rows, 0]
        self.newest = _longer(self.newest, int(authors.max()) + 1, -1)
        self.before = _longer(self.before, int(rows.max()) + 1, -1)
        self._author = _longer(self._author, int(rows.max()) + 1, 0)
        _link(self.newest, self.before, self._author, rows, authors)


class Follow:
    """The items of one kind by the authors that a person engages with, the author of most engagement first.

    Engagement is the sum of what the person's row counts of the author, impressions left out, decayed to now.

    Parameters
    ----------
    kind : int
        Code of the items' kind, as in ``features.outcomes``.
    allowed : callable, optional
        The mask of items that may be found at all at a time, such as rooms on air.
    """

    name = "follow"

    def __init__(
        self, kind: int, state: FeatureState, works: Works, allowed: Callable[[Query], BoolArray] | None = None
    ) -> None:
        self.kind, self.state, self.works, self.allowed = kind, state, works, allowed
        slots = state.layout.slots[N_ENTITIES + AUTHORS].counters
        self._half_life = np.array([state.layout.half_lives_ms[life] for _, life in slots], np.float64)
        self._counts = np.array([action != IMPRESSION for action, _ in slots], np.bool_)

    def follow(self, rows: RowArray) -> None:
        """Take in items that the log has spoken of."""
        self.works.follow(rows)

    def retrieve(self, query: Query, k: int) -> RowArray:
        """At most k rows, by author then the last described first; the caller holds the state's mutex."""
        user = query.personalised_user
        if user == 0 or not self._counts.any():
            return NO_ROWS
        pairs, items = self.state.arrays.pairs[AUTHORS], self.state.arrays.items
        every = np.zeros(0, np.bool_)
        return _found(
            pairs.keys[user], pairs.values[user], pairs.stamp[user], self._half_life, self._counts, query.now_ms,
            self.works.newest, self.works.before, items.categories, self.kind,
            self.allowed(query) if self.allowed else every, k,
        )  # fmt: skip


def _longer(array: RowArray, length: int, filler: int) -> RowArray:
    if length <= len(array):
        return array
    longer = np.full(2 * length, filler, np.int32)
    longer[: len(array)] = array
    return longer


@njit(nogil=True, cache=True)
def _link(newest: RowArray, before: RowArray, linked: RowArray, rows: RowArray, authors: RowArray) -> None:
    for i in range(rows.shape[0]):
        if authors[i] != 0 and linked[rows[i]] == 0:
            linked[rows[i]] = authors[i]
            before[rows[i]] = newest[authors[i]]
            newest[authors[i]] = rows[i]


@njit(nogil=True, cache=True)
def _found(
    keys: RowArray,
    values: FloatArray,
    stamp: IntArray,
    half_life: DoubleArray,
    counts: BoolArray,
    now_ms: int,
    newest: RowArray,
    before: RowArray,
    categories: RowArray,
    kind: int,
    allowed: BoolArray,
    k: int,
) -> RowArray:
    mass = np.zeros(keys.shape[0], np.float64)
    for entry in range(keys.shape[0]):
        if keys[entry] != 0:
            age = max(0, now_ms - stamp[entry])
            for s in range(counts.shape[0]):
                if counts[s]:
                    mass[entry] += values[entry, s] * exp2_neg(age / half_life[s])
    out, n = np.empty(k, np.int32), 0
    for entry in np.argsort(-mass, kind="mergesort"):
        author = keys[entry]
        if mass[entry] <= 0.0 or author >= newest.shape[0]:
            continue
        row, left = newest[author], EACH
        while row >= 0 and left > 0 and n < k:
            fits = categories[row, 4] == kind and categories[row, 0] == author
            if fits and allowed.shape[0] > 0:
                fits = row < allowed.shape[0] and allowed[row]
            if fits:
                out[n] = row
                n += 1
                left -= 1
            row = before[row]
    return out[:n]
