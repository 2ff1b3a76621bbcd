"""Rooms on air, kept as a short list: who is alive is asked of the rooms that could be, whatever the catalog holds."""

import numpy as np
from numba import njit

from features.outcomes import ROOM
from features.records import FUTURE_MS
from features.state import FeatureState
from features.types import BoolArray, IntArray, RowArray
from ranking.candidates.eligibility import alive

GONE_MS = 86_400_000
"""A room that gave no pulse for so long before the log's last record is let go; longer than any ``room_ttl``."""
_EVER = -(2**62)


class OnAir:
    """The listed rooms that started and did not end; which of them still pulse depends on the time, and is asked.

    A room whose host never says that it ended is let go a day after its last pulse, by the log's time, and comes back
    with the next. The caller holds the state's mutex.

    Parameters
    ----------
    state : FeatureState
    ttl_ms : int
        How long a room is alive after its last pulse.
    """

    def __init__(self, state: FeatureState, ttl_ms: int) -> None:
        self.state = state
        self.ttl_ms = ttl_ms
        self._size = 0
        self._most = 64
        self._rows = np.zeros(64, np.int32)
        self._place = np.full(64, -1, np.int32)
        self._mask = np.zeros(64, np.bool_)
        # The mask is that of a moment, and of every other from ``since`` to ``until``; of none at first.
        self._moment_ms = 0
        self._since_ms, self._until_ms = 1, 0
        self.follow(np.arange(len(state.items), dtype=np.int32))

    def __len__(self) -> int:
        return self._size

    def follow(self, rows: RowArray) -> None:
        """Take in item rows whose catalog row changed, or whose room started, gave a pulse or ended."""
        self._take(rows)
        if self._size > self._most:
            # Only when as many came as there were: the work stays in proportion to the log.
            self._take(self._rows[: self._size].copy())
            self._most = max(64, 2 * self._size)

    def _take(self, rows: RowArray) -> None:
        known = len(self.state.items)
        if known > len(self._place):
            more = 2 * known - len(self._place)
            self._place = np.pad(self._place, (0, more), constant_values=-1)
            self._mask = np.pad(self._mask, (0, more))
        if self._size + len(rows) > len(self._rows):
            self._rows = np.pad(self._rows, (0, self._size + len(rows)))
        items = self.state.arrays.items
        held = items.listed[rows] & (items.categories[rows, 4] == ROOM)
        held &= (items.times[rows, 1] != 0) & ~items.ended[rows]
        held &= self.state.received_ms - items.pulse_ms[rows] <= max(GONE_MS, self.ttl_ms)
        self._size = _follow(self._rows, self._place, self._mask, self._size, rows, held)
        if self._since_ms <= self._until_ms:
            self._look(rows[held], self._moment_ms, self._since_ms, self._until_ms)

    def mask(self, now_ms: int) -> BoolArray:
        """Mask by item row of the rooms that are alive at a time; a view that the next call overwrites.

        Rooms are only looked at when the time comes at which one of them falls silent, or time has gone back.
        """
        if not self._since_ms <= now_ms <= self._until_ms:
            self._look(self._rows[: self._size], now_ms, _EVER, -_EVER)
        return self._mask

    def count(self, now_ms: int) -> int:
        """How many rooms are alive at a time."""
        return int(np.count_nonzero(self.mask(now_ms)))

    def _look(self, rows: RowArray, now_ms: int, since_ms: int, until_ms: int) -> None:
        """Set the mask of some rows to what it is at a time, which lies in a span that they may make shorter."""
        pulse_ms = self.state.arrays.items.pulse_ms
        self._moment_ms = now_ms
        self._since_ms, self._until_ms = _look(rows, pulse_ms, self.ttl_ms, now_ms, since_ms, until_ms, self._mask)


@njit(nogil=True, cache=True)
def _follow(have: RowArray, place: RowArray, mask: BoolArray, size: int, rows: RowArray, held: BoolArray) -> int:
    for i in range(rows.shape[0]):
        row = rows[i]
        if held[i] and place[row] < 0:
            have[size], place[row] = row, size
            size += 1
        elif not held[i] and place[row] >= 0:
            size -= 1
            last = have[size]
            have[place[row]], place[last] = last, place[row]
            place[row], mask[row] = -1, False
    return size


@njit(nogil=True, cache=True)
def _look(
    rows: RowArray, pulse_ms: IntArray, ttl_ms: int, now_ms: int, since_ms: int, until_ms: int, mask: BoolArray
) -> tuple[int, int]:
    """The part of a span around now in which each of the rows stays what it is."""
    for row in rows:
        mask[row] = alive(1, False, pulse_ms[row], now_ms, ttl_ms)
        for turn_ms in (pulse_ms[row] - FUTURE_MS, pulse_ms[row] + ttl_ms + 1):
            if turn_ms <= now_ms:
                since_ms = max(since_ms, turn_ms)
            else:
                until_ms = min(until_ms, turn_ms - 1)
    return since_ms, until_ms
