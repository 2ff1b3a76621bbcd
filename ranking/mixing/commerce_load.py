"""How much of a day sold something: a fold over the pages that were served, by day and by person and day.

Whether a slot sold is written in its record as of when it was served, so that the same log gives the same counts.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.logs.log import DAY_MS
from features.records import Served, decode
from features.state import FeatureState
from features.types import RowArray


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

    def day(self, now_ms: int) -> Day:
        """What was served on the day of a moment, by what is folded."""
        return self._days.get(self.number(now_ms), Day(0, 0))

    def sold_to(self, user: int, now_ms: int) -> int:
        """How many slots that sold a person was served on the day of a moment; 0 for nobody."""
        if not 0 < user < len(self._sold) or self._day_of[user] != self.number(now_ms):
            return 0
        return int(self._sold[user])

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
