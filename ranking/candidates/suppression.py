"""What was shown or bought is not shown again: within a session never, later for a while, as the policy says.

A session lasts as long as no pause between two impressions is longer than ``session``. What the person was shown in it,
and what the request says is on the screen, is left out. So is what was shown within ``seen`` and bought within
``bought``, unless too few would be left for a page: then so many come back as are missing, in the policy's order, those
shown or bought longest ago first, and the page names what gave way. Where that is not enough the page is shorter.

The state keeps the last ``SEEN`` impressions and the last ``BOUGHT`` orders of a person, to the nearest 16 seconds, and
of a session that is longer ``MOST`` more, as far as the pool reaches that all sessions share: ``features.fold.rings``.
What is forgotten is what was shown longest ago. All of it is the fold of the log: what a page gave and nobody has
reported as an impression yet was not shown, unless the request says that it is on the screen.
"""

import numpy as np
from numba import njit

from features.fold.arrays import Arrays
from features.fold.rings import TICK_BITS, recalled
from features.state import FeatureState
from features.types import ByteArray, IntArray, RowArray
from ranking.policy import Suppress
from ranking.types import Candidates, Query

NAMES = ("", "seen", "bought", "session")
"""Why an item is left out, by code; of several the highest."""
_SEEN, _BOUGHT, _SESSION = range(1, 4)


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
    pause, seen, bought = rule.windows_ms
    personalised = query.personalised_user != 0
    return _suppressed(
        state.native, state.spilt, query.user, personalised, query.shown, rows, query.now_ms, pause, seen, bought
    )


@njit(nogil=True, cache=True)
def _suppressed(
    arrays: Arrays,
    spilt: IntArray,
    user: int,
    personalised: bool,
    shown: RowArray,
    rows: RowArray,
    now_ms: int,
    pause_ms: int,
    seen_ms: int,
    bought_ms: int,
) -> tuple[ByteArray, IntArray]:
    rings, sessions, now = arrays.rings, arrays.sessions, now_ms >> TICK_BITS
    seen, seen_at = recalled(rings, sessions, spilt, user) if user != 0 else (shown[:0].copy(), np.zeros(0, np.int64))
    begun = _session_start(seen_at, now, pause_ms >> TICK_BITS)
    keys, why, when = _table(shown.shape[0] + seen.shape[0] + rings.bought.shape[1])
    for row in shown:
        _put(keys, why, when, row, _SESSION, now)
    for j in range(seen.shape[0]):
        if seen_at[j] >= begun:
            _put(keys, why, when, seen[j], _SESSION, int(seen_at[j]))
        elif personalised and now - seen_at[j] <= seen_ms >> TICK_BITS:
            _put(keys, why, when, seen[j], _SEEN, int(seen_at[j]))
    if personalised:
        for j in range(rings.bought.shape[1]):
            at = int(rings.bought_at[user, j])
            if rings.bought[user, j] != 0 and now - at <= bought_ms >> TICK_BITS:
                _put(keys, why, when, rings.bought[user, j], _BOUGHT, at)
    codes, ticks = np.zeros(rows.shape[0], np.uint8), np.zeros(rows.shape[0], np.int64)
    for i in range(rows.shape[0]):
        place = _place(keys, rows[i])
        codes[i], ticks[i] = why[place], when[place]
    return codes, ticks


@njit(nogil=True, cache=True)
def _table(most: int) -> tuple[RowArray, ByteArray, IntArray]:
    """A table of at most so many rows, each found at its first free place or before: rows, reasons and ticks."""
    size = 64
    while size < 4 * most:
        size *= 2
    return np.zeros(size, np.int32), np.zeros(size, np.uint8), np.zeros(size, np.int64)


@njit(nogil=True, cache=True)
def _place(keys: RowArray, row: int) -> int:
    """Where a row stands, or would; 0 is no row."""
    place = (row * 0x9E3779B1 >> 7) & (keys.shape[0] - 1)
    while keys[place] != row and keys[place] != 0:
        place = (place + 1) & (keys.shape[0] - 1)
    return int(place)


@njit(nogil=True, cache=True)
def _put(keys: RowArray, why: ByteArray, when: IntArray, row: int, code: int, tick: int) -> None:
    """Say why a row is left out; of several reasons the highest, of several ticks the last."""
    place = _place(keys, row)
    keys[place] = row
    why[place], when[place] = max(why[place], code), max(when[place], tick)


@njit(nogil=True, cache=True)
def _session_start(seen_at: IntArray, now: int, pause: int) -> int:
    """The tick of the first impression of the session that is on; after now where none is."""
    begun, last = now + 1, now
    for when in np.sort(seen_at)[::-1]:
        if last - when > pause:
            break
        begun, last = when, min(last, when)
    return begun
