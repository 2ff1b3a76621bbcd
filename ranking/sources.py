"""Recall channels: each finds items of one kind for a query, best first; what may be shown is judged later."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numba import njit

from features.arrays import ITEM
from features.assemble import fade
from features.outcomes import PRODUCT, ROOM, VIDEO
from features.schema import TRENDING_ACTIONS, TRENDING_HALF_LIFE, half_life_ms
from features.state import FeatureState
from features.types import BoolArray, DoubleArray, FloatArray, IntArray, RowArray
from ranking.eligibility import presentable
from ranking.index import top_k
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


class Personal:
    """Items whose vectors are nearest to the person's; none where nothing is known of the person.

    Parameters
    ----------
    kind : int
        Code of the kind that the index holds, as in ``features.outcomes``.
    index : VectorIndex
    allowed : callable, optional
        Gives the mask by item row to search under, such as ``eligibility.on_air`` for rooms.
    """

    def __init__(self, kind: int, index: VectorIndex, allowed: Callable[[Query], BoolArray] | None = None) -> None:
        self.name = PERSONAL_NAMES[kind]
        self.index = index
        self.allowed = allowed

    def retrieve(self, query: Query, k: int) -> RowArray:
        """At most k rows by inner product, highest first, ties by row; the caller holds the state's mutex."""
        if not query.vector.any():
            return np.zeros(0, np.int32)
        return self.index.search(query.vector, k, self.allowed(query) if self.allowed else None)[0]


class _Chart(ABC):
    """All items of one kind by a score that changes slowly; drawn anew when log or clock have moved on.

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

    def retrieve(self, query: Query, k: int) -> RowArray:
        """At most k rows, best first, ties by row, up to half a minute old; the caller holds the state's mutex."""
        if self._is_stale(query.now_ms, k):
            most = max(k, CHART_PLACES)
            scores = self._scores(query.now_ms)
            rows = np.flatnonzero(scores > 0).astype(np.int32)
            self._rows, _ = top_k(rows, scores[rows], most)
            self._drawn = self.state.offset, query.now_ms, most
        return self._rows[:k]

    def _is_stale(self, now_ms: int, k: int) -> bool:
        if self._drawn is None:
            return True
        offset, drawn_ms, most = self._drawn
        moved = abs(self.state.offset - offset) * CHART_ITEMS > len(self.state.items)
        return moved or abs(now_ms - drawn_ms) > CHART_MS or k > most

    def _shown(self) -> BoolArray:
        """Mask by item row of what may be found at all."""
        return presentable(self.state, np.arange(len(self.state.arrays.items.listed), dtype=np.int32))

    @abstractmethod
    def _scores(self, now_ms: int) -> DoubleArray:
        """The score of every item row; not above 0 where it has no place on the chart."""


class Trending(_Chart):
    """What people engage with now: ``rate · ln(1 + impressions)`` of counts that halve every hour.

    The rate is engagement per impression, smoothed towards the kind's own by ``TRENDING_PRIOR`` impressions. Counts
    are read as of the kind's last event where that is earlier than now, so a quiet night forgets nothing.
    """

    name = "trending"

    def _scores(self, now_ms: int) -> DoubleArray:
        layout, items = self.state.layout, self.state.arrays.items
        slots = [layout.slot("item", action, TRENDING_HALF_LIFE) for action in TRENDING_ACTIONS]
        weights = [ENGAGEMENT.get(action, 0.0) for action in TRENDING_ACTIONS]
        impressions = layout.slot("item", "impression", TRENDING_HALF_LIFE)
        table = self.state.arrays.tables[ITEM]
        return _trend(
            table.values, table.stamp, items.categories, self._shown(), self.kind,
            np.array(slots), np.array(weights), impressions, float(half_life_ms(TRENDING_HALF_LIFE)), now_ms,
        )  # fmt: skip


class Fresh(_Chart):
    """What began within the last day, newest first: rooms by their start, others by ``live_from_ms``."""

    name = "fresh"

    def _scores(self, now_ms: int) -> DoubleArray:
        items = self.state.arrays.items
        begun = items.times[:, 1 if self.kind == ROOM else 0]
        fresh = (begun > 0) & (begun <= now_ms) & (now_ms - begun <= FRESH_MS)
        fresh &= (items.categories[:, 4] == self.kind) & self._shown()
        return np.where(fresh, begun, 0).astype(np.float64)


def merge(found: Sequence[RowArray]) -> Candidates:
    """What the sources found, each row once, credited to the first source that found it, in the order of sources."""
    rows = np.concatenate([np.zeros(0, np.int32), *found]).astype(np.int32)
    source = np.repeat(np.arange(len(found), dtype=np.uint8), [len(some) for some in found])
    first = np.sort(np.unique(rows, return_index=True)[1])
    return Candidates(rows[first], source[first])


@njit(nogil=True, cache=True)
def _trend(
    values: FloatArray,
    stamp: IntArray,
    categories: RowArray,
    shown: BoolArray,
    kind: int,
    slots: IntArray,
    weights: DoubleArray,
    impressions: int,
    half_life: float,
    now_ms: int,
) -> DoubleArray:
    n = min(values.shape[0], shown.shape[0])
    score = np.zeros(n, np.float64)
    volume = np.zeros(n, np.float64)
    last_ms = 0
    for row in range(n):
        if shown[row] and categories[row, 4] == kind:
            last_ms = max(last_ms, stamp[row])
    at_ms = min(last_ms, now_ms)
    for row in range(n):
        if stamp[row] != 0 and shown[row] and categories[row, 4] == kind:
            faded = fade(stamp[row], at_ms, half_life)
            volume[row] = values[row, impressions] * faded
            for s in range(slots.shape[0]):
                score[row] += weights[s] * values[row, slots[s]] * faded
    total = volume.sum()
    mean = score.sum() / total if total > 0 else 0.0
    for row in range(n):
        if volume[row] > 0:
            rate = (score[row] + TRENDING_PRIOR * mean) / (volume[row] + TRENDING_PRIOR)
            score[row] = rate * np.log1p(volume[row])
        else:
            score[row] = 0.0
    return score
