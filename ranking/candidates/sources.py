"""Recall channels: each finds items of one kind for a query, best first; what may be shown is judged later."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numba import njit

from features.fold.arrays import ITEM
from features.fold.faded import fade
from features.layout import half_life_ms
from features.outcomes import PRODUCT, ROOM, VIDEO
from features.schema import TRENDING_ACTIONS, TRENDING_HALF_LIFE
from features.state import NO_ROWS, FeatureState
from features.types import BoolArray, DoubleArray, FloatArray, IntArray, RowArray
from ranking.candidates.eligibility import presentable
from ranking.index.exact import top_k
from ranking.types import Candidates, Query, VectorIndex

PERSONAL_NAMES = {ROOM: "live", PRODUCT: "products", VIDEO: "videos"}
FRESH_MS = 86_400_000
TRENDING_PRIOR = 20.0
ENGAGEMENT = {"click": 1.0, "complete": 1.0, "like": 2.0, "order": 3.0}
"""What an action counts in the trend of an item."""
CHART_MS = 30_000
"""A chart is drawn anew after so long at the latest."""
CHART_ITEMS = 256
"""A chart is drawn anew after one record for so many items: the work stays in proportion to the log."""
CHART_PLACES = 1000
"""Places a chart keeps at least."""
CHART_POOL = 10_000
"""A chart is drawn from so many items, and from what the log spoke of since: it does not grow with the catalog."""


class Personal:
    """Items whose vectors are nearest to the person's; none where nothing is known of the person.

    Parameters
    ----------
    kind : int
        Code of the kind that the index holds, as in ``features.outcomes``.
    index : VectorIndex
    allowed : callable, optional
        Gives the mask by item row to search under, such as ``OnAir.mask`` for rooms.
    """

    def __init__(self, kind: int, index: VectorIndex, allowed: Callable[[Query], BoolArray] | None = None) -> None:
        self.name = PERSONAL_NAMES[kind]
        self.index = index
        self.allowed = allowed

    def retrieve(self, query: Query, k: int) -> RowArray:
        """At most k rows by inner product, highest first, ties by row; the caller holds the state's mutex."""
        if not query.vector.any():
            return NO_ROWS
        return self.index.search(query.vector, k, self.allowed(query) if self.allowed else None)[0]


class Chart(ABC):
    """The items of one kind by a score that changes slowly; drawn anew when log or clock have moved on.

    It is drawn from a pool: what stood high when it was last drawn, and what the log has spoken of since. A catalog of
    no more than ``CHART_POOL`` items is in the pool for good, and its chart is exact.

    Parameters
    ----------
    kind : int
        Code of the items' kind, as in ``features.outcomes``.
    state : FeatureState
    """

    name: str

    def __init__(self, kind: int, state: FeatureState) -> None:
        self.kind = kind
        self.state = state
        self._rows = np.zeros(0, np.int32)
        self._drawn: tuple[int, int, int] | None = None
        self._pool = np.zeros(0, np.bool_)
        self.follow(state.described())

    def follow(self, rows: RowArray) -> None:
        """Take in item rows that the log has spoken of since: described, started, or done something with."""
        known = len(self.state.items)
        if known > len(self._pool):
            self._pool = np.pad(self._pool, (0, 2 * known - len(self._pool)))
        self._pool[rows[self.state.arrays.items.categories[rows, 4] == self.kind]] = True

    def retrieve(self, query: Query, k: int) -> RowArray:
        """At most k rows, best first, ties by row, up to half a minute old; the caller holds the state's mutex."""
        if self._is_stale(query.now_ms, k):
            self._draw(query.now_ms, max(k, CHART_PLACES))
        return self._rows[:k]

    def _is_stale(self, now_ms: int, k: int) -> bool:
        if self._drawn is None:
            return True
        offset, drawn_ms, most = self._drawn
        moved = abs(self.state.offset - offset) * CHART_ITEMS > len(self.state.items)
        return moved or abs(now_ms - drawn_ms) > CHART_MS or k > most

    def _draw(self, now_ms: int, most: int) -> None:
        pool = np.flatnonzero(self._pool).astype(np.int32)
        pool = pool[presentable(self.state, pool) & (self.state.arrays.items.categories[pool, 4] == self.kind)]
        scores = self._scores(pool, now_ms)
        best, _ = top_k(pool[scores > 0], scores[scores > 0], max(most, CHART_POOL))
        self._rows, self._drawn = best[:most], (self.state.offset, now_ms, most)
        if len(pool) > CHART_POOL:
            self._pool[:] = False
            self._pool[best] = True
            self._pool[self._coming(pool)] = True

    def _coming(self, pool: RowArray) -> RowArray:
        """Those of the pool that will have a place when their time has come."""
        return pool[:0]

    @abstractmethod
    def _scores(self, rows: RowArray, now_ms: int) -> DoubleArray:
        """The scores (n,) of item rows; not above 0 where one has no place on the chart."""


class Trending(Chart):
    """What people engage with now: ``rate · ln(1 + impressions)`` of counts that halve every hour.

    The rate is engagement per impression, smoothed towards that of the pool by ``TRENDING_PRIOR`` impressions. Counts
    are read as of the kind's last event where that is earlier than now, so a quiet night forgets nothing.
    """

    name = "trending"

    def _scores(self, rows: RowArray, now_ms: int) -> DoubleArray:
        layout = self.state.layout
        slots = [layout.slot("item", action, TRENDING_HALF_LIFE) for action in TRENDING_ACTIONS]
        weights = [ENGAGEMENT.get(action, 0.0) for action in TRENDING_ACTIONS]
        impressions = layout.slot("item", "impression", TRENDING_HALF_LIFE)
        table = self.state.arrays.tables[ITEM]
        half_life = float(half_life_ms(TRENDING_HALF_LIFE))
        return _trend(
            table.values, table.stamp, rows, np.array(slots), np.array(weights), impressions, half_life, now_ms
        )


class Fresh(Chart):
    """What began within the last day, newest first: rooms by their start, others by ``live_from_ms`` or first row."""

    name = "fresh"

    def _scores(self, rows: RowArray, now_ms: int) -> DoubleArray:
        begun = self._begun(rows)
        fresh = (begun > 0) & (begun <= now_ms) & (now_ms - begun <= FRESH_MS)
        return np.where(fresh, begun, 0).astype(np.float64)

    def _coming(self, pool: RowArray) -> RowArray:
        # By the log's time: a request of another moment must not empty the pool.
        coming: RowArray = pool[self._begun(pool) > self.state.received_ms]
        return coming

    def _begun(self, rows: RowArray) -> IntArray:
        begun: IntArray = np.abs(self.state.arrays.items.times[rows, 1 if self.kind == ROOM else 0])
        return begun


def merge(found: Sequence[RowArray]) -> Candidates:
    """What the sources found, each row once, credited to the first source that found it, in the order of sources."""
    rows = np.concatenate([NO_ROWS, *found])
    source = np.repeat(np.arange(len(found), dtype=np.uint8), [len(some) for some in found])
    first = _first_of_each(rows)
    return Candidates(rows[first], source[first])


@njit(nogil=True, cache=True)
def _first_of_each(rows: RowArray) -> IntArray:
    """Where each row stands first, ascending; by a table of twice as many places that is probed in line."""
    bits = 1
    while 1 << bits < 2 * rows.shape[0]:
        bits += 1
    places = np.full(1 << bits, -1, np.int32)
    first, n = np.empty(rows.shape[0], np.int64), 0
    for i in range(rows.shape[0]):
        at = ((rows[i] * 0x9E3779B1) & 0xFFFFFFFF) >> (32 - bits)
        while places[at] >= 0 and places[at] != rows[i]:
            at = (at + 1) & (places.shape[0] - 1)
        if places[at] < 0:
            places[at] = rows[i]
            first[n] = i
            n += 1
    return first[:n]


@njit(nogil=True, cache=True)
def _trend(
    values: FloatArray,
    stamp: IntArray,
    rows: RowArray,
    slots: IntArray,
    weights: DoubleArray,
    impressions: int,
    half_life: float,
    now_ms: int,
) -> DoubleArray:
    score = np.zeros(rows.shape[0], np.float64)
    volume = np.zeros(rows.shape[0], np.float64)
    last_ms = 0
    for row in rows:
        last_ms = max(last_ms, stamp[row])
    at_ms = min(last_ms, now_ms)
    for i in range(rows.shape[0]):
        row = rows[i]
        if stamp[row] != 0:
            faded = fade(stamp[row], at_ms, half_life)
            volume[i] = values[row, impressions] * faded
            for s in range(slots.shape[0]):
                score[i] += weights[s] * values[row, slots[s]] * faded
    total = volume.sum()
    mean = score.sum() / total if total > 0 else 0.0
    for i in range(rows.shape[0]):
        if volume[i] > 0:
            rate = (score[i] + TRENDING_PRIOR * mean) / (volume[i] + TRENDING_PRIOR)
            score[i] = rate * np.log1p(volume[i])
        else:
            score[i] = 0.0
    return score
