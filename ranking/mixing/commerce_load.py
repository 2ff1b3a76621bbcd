"""How much of a day sold something: a fold over the pages that were served, by day and by person and day.

Whether a slot sold is written in its record as of when it was served, so that the same log gives the same counts. Pages
that were answered and wait for the log are counted apart, until the log has them; a decision keeps what it added.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.logs.log import DAY_MS
from features.records import Served, decode
from features.state import FeatureState
from features.types import RowArray
from ranking.types import Unlogged


class Day(NamedTuple):
    """Slots served in a day, and how many of them sold."""

    slots: int
    selling: int


class Load:
    """Counts of what was served, of the days that the log spoke of last; the caller holds the state's mutex.

    Parameters
    ----------
    state : FeatureState
        Gives people their rows.
    surfaces : tuple of str
        Whose pages count for the day; a person's own count is of all.
    utc_offset_ms : int
        What is added to UTC to get the clock whose midnight begins a day.
    """

    def __init__(self, state: FeatureState, surfaces: tuple[str, ...], utc_offset_ms: int) -> None:
        self.surfaces = surfaces
        self._state = state
        self._utc_offset_ms = utc_offset_ms
        self._days: dict[int, Day] = {}
        self._day_of: RowArray = np.zeros(64, np.int32)
        self._sold: RowArray = np.zeros(64, np.int32)

    def goes_on(self, other: "Load") -> bool:
        """Know all that another over the same state knows, if it counts alike; whether it does."""
        alike = (self.surfaces, self._utc_offset_ms) == (other.surfaces, other._utc_offset_ms)
        if alike:
            self._days = dict(other._days)
            self._day_of, self._sold = other._day_of.copy(), other._sold.copy()
        return alike

    def number(self, now_ms: int) -> int:
        """The day of a moment."""
        return (now_ms + self._utc_offset_ms) // DAY_MS

    def begun_ms(self, now_ms: int) -> int:
        """When the day of a moment began."""
        return self.number(now_ms) * DAY_MS - self._utc_offset_ms

    def day(self, now_ms: int, more: Unlogged) -> Day:
        """What was served on the day of a moment: by what is folded, and more."""
        slots, selling = self._days.get(self.number(now_ms), Day(0, 0))
        return Day(slots + more.slots, selling + more.selling)

    def sold_to(self, user: int, now_ms: int, more: Unlogged) -> int:
        """How many slots that sold a person was served on the day of a moment; 0 for nobody."""
        if not 0 < user < len(self._sold) or self._day_of[user] != self.number(now_ms):
            return more.sold
        return int(self._sold[user]) + more.sold

    def fold(self, batch: pa.RecordBatch) -> None:
        """Take in a batch of the log that the state has folded."""
        pages = batch["payload"].filter(pc.equal(batch["type"], "served"))
        for text in pages.to_pylist():
            record = decode(text)
            if isinstance(record, Served):
                self._take(record)

    def _take(self, page: Served) -> None:
        selling, number = sum(slot.sells for slot in page.slots), self.number(page.ts_ms)
        if page.context.surface in self.surfaces:
            slots, sold = self._days.get(number, Day(0, 0))
            self._days[number] = Day(slots + len(page.slots), sold + selling)
            self._days.pop(number - 2, None)
        user = self._state.users.find(page.user_id) if page.user_id and selling else 0
        if user:
            if user >= len(self._sold):
                more = 2 * user - len(self._sold)
                self._sold, self._day_of = np.pad(self._sold, (0, more)), np.pad(self._day_of, (0, more))
            if self._day_of[user] < number:
                self._day_of[user], self._sold[user] = number, 0
            if self._day_of[user] == number:
                self._sold[user] += selling


QUARTER_MS = 900_000
"""Days begin at full quarters of an hour, wherever one is."""


class Waiting:
    """Counts of the pages that wait for the log, as many as the journal keeps. Safe to call from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._quarters = Counter[tuple[str, int]]()
        self._selling = Counter[tuple[str, int]]()
        self._sold = dict[str, Counter[int]]()

    def add(self, page: Served) -> None:
        """Count a page that was answered."""
        self._count(page, 1)

    def remove(self, pages: Iterable[Served]) -> None:
        """Count pages no more: the log has them."""
        for page in pages:
            self._count(page, -1)

    def of(self, load: Load, user_id: str, now_ms: int) -> Unlogged:
        """What the day of a moment has more than the log says, on a load's surfaces and for a person."""

        def today(quarter: int) -> bool:
            return load.number(quarter * QUARTER_MS) == load.number(now_ms)

        with self._lock:
            where = [key for key in self._quarters if key[0] in load.surfaces and today(key[1])]
            sold = sum(count for quarter, count in self._sold.get(user_id, {}).items() if today(quarter))
            slots, selling = (sum(one[key] for key in where) for one in (self._quarters, self._selling))
        return Unlogged(slots, selling, sold)

    def _count(self, page: Served, sign: int) -> None:
        quarter, selling = page.ts_ms // QUARTER_MS, sum(slot.sells for slot in page.slots)
        key = page.context.surface, quarter
        with self._lock:
            _change(self._quarters, key, sign * len(page.slots))
            _change(self._selling, key, sign * selling)
            if page.user_id and selling:
                own = self._sold.setdefault(page.user_id, Counter())
                _change(own, quarter, sign * selling)
                if not own:
                    del self._sold[page.user_id]


Key = TypeVar("Key")


def _change(counts: Counter[Key], key: Key, by: int) -> None:
    """Change a count; what is none is not kept."""
    counts[key] += by
    if not counts[key]:
        del counts[key]
