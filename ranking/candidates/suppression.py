"""What was shown or bought is not shown again: within a session never, later for a while, as the policy says.

A session lasts as long as no pause between two impressions is longer than ``session``. What the person was shown in it,
and what the request says is on the screen, is left out. So is what was shown within ``seen`` and bought within
``bought``, unless too few would be left for a page: then so many come back as are missing, in the policy's order, those
shown or bought longest ago first, and the page names what gave way. Where that is not enough the page is shorter.

The state keeps the last ``SEEN`` impressions and the last ``BOUGHT`` orders of a person, to the nearest 16 seconds.
"""

import numpy as np
from numba import njit

from features.fold.arrays import Rings
from features.fold.counters import TICK_BITS
from features.state import FeatureState
from features.types import BoolArray, ByteArray, IntArray, RowArray
from ranking.policy import Suppress
from ranking.types import Candidates, Query

NAMES = ("", "seen", "bought", "session")
"""Why an item is left out, by code; of several the highest."""
_SEEN, _BOUGHT, _SESSION = range(1, 4)
MARKS = 1024
"""Marks that most rows do not share with any of the few that are left out."""


def unseen(
    state: FeatureState, rule: Suppress, query: Query, legal: Candidates
) -> tuple[Candidates, dict[str, int], tuple[str, ...]]:
    """Candidates that the person may be shown again, how many were left out by reason, and what gave way.

    One who switched personalisation off has a session, and nothing else is remembered for it.
    """
    codes, at = suppressed(state, rule, query, legal.rows)
    if not codes.any():
        return legal, {}, ()
    missing, gave = query.count - int((codes == 0).sum()), []
    for name in rule.gives_way:
        back = np.flatnonzero(codes == NAMES.index(name))
        if missing > 0 and len(back):
            # Stable: ties by the order found.
            back = back[np.argsort(at[back], kind="stable")[:missing]]
            codes[back] = 0
            missing -= len(back)
            gave.append(name)
    left = codes == 0
    counts = np.bincount(codes, minlength=len(NAMES))
    dropped = {name: int(counts[code]) for code, name in enumerate(NAMES) if code and counts[code]}
    return Candidates(legal.rows[left], legal.source[left]), dropped, tuple(gave)


def suppressed(state: FeatureState, rule: Suppress, query: Query, rows: RowArray) -> tuple[ByteArray, IntArray]:
    """The code (n,) of why each item is left out, into ``NAMES``, and the tick (n,) of when it was last shown."""
    windows = np.array(rule.windows_ms) >> TICK_BITS
    now = query.now_ms >> TICK_BITS
    return _suppressed(state.arrays.rings, query.user, query.personalised_user != 0, query.shown, rows, now, windows)


@njit(nogil=True, cache=True)
def _suppressed(
    rings: Rings, user: int, personalised: bool, shown: RowArray, rows: RowArray, now: int, windows: IntArray
) -> tuple[ByteArray, IntArray]:
    codes, at = np.zeros(rows.shape[0], np.uint8), np.zeros(rows.shape[0], np.int64)
    begun = _session_start(rings.seen[user], rings.seen_at[user], now, windows[0]) if user != 0 else now
    marks = _marks(shown, rings.seen[user], rings.bought[user])
    for i in range(rows.shape[0]):
        row = rows[i]
        if not marks[row % MARKS]:
            continue
        for other in shown:
            if other == row:
                codes[i], at[i] = _SESSION, now
        if user == 0:
            continue
        for j in range(rings.seen.shape[1]):
            if rings.seen[user, j] == row:
                when = np.int64(rings.seen_at[user, j])
                at[i] = max(at[i], when)
                if when >= begun:
                    codes[i] = _SESSION
                elif personalised and now - when <= windows[1]:
                    codes[i] = max(codes[i], _SEEN)
        if personalised and codes[i] != _SESSION:
            for j in range(rings.bought.shape[1]):
                if rings.bought[user, j] == row and now - np.int64(rings.bought_at[user, j]) <= windows[2]:
                    codes[i], at[i] = _BOUGHT, max(at[i], np.int64(rings.bought_at[user, j]))
    return codes, at


@njit(nogil=True, cache=True)
def _marks(shown: RowArray, seen: RowArray, bought: RowArray) -> BoolArray:
    """The marks of the few rows that may be left out."""
    marks = np.zeros(MARKS, np.bool_)
    for some in (shown, seen, bought):
        for row in some:
            marks[row % MARKS] |= row != 0
    return marks


@njit(nogil=True, cache=True)
def _session_start(seen: RowArray, seen_at: IntArray, now: int, pause: int) -> int:
    """The tick of the first impression of the session that is on; after now where none is."""
    begun, last = now + 1, now
    for when in np.sort(seen_at.astype(np.int64))[::-1]:
        if when == 0 or last - when > pause:
            break
        begun, last = int(when), min(last, int(when))
    return begun
