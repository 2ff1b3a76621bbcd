"""What a person was shown, bought and engaged with lately: rings in their row, and one pool of long sessions for all.

A ring holds the last ``SEEN`` impressions. What one of a longer session overwrites goes to a pool that all people
share, linked from the newest to the oldest of the person; a long pause begins a session anew, and what was linked is
let go. The pool holds the last ``POOL`` impressions so spilt, whoever's: under it the oldest of all are lost first.
So a million people who scroll little cost what their rings do, and who scrolls for hours is remembered.
"""

import numpy as np
from numba import njit

from features.fold.arrays import RING, WATCHED, Rings, Sessions
from features.layout import ACTION_CODE
from features.types import FloatArray, HashArray, IntArray, RowArray, TickArray

IMPRESSION = ACTION_CODE["impression"]
ORDER = ACTION_CODE["order"]
TICK_BITS = 14
"""When something was seen is kept to 2^14 ms: 16 seconds; so the last moment that a record may have fits 32 bits."""
PAUSE_MS = 2 * 3_600_000
"""After so long without an impression no session goes on, whatever a policy calls one."""
POOL = 8_000_000
"""Impressions that all long sessions share: 96 MB where it is full, nothing where nobody scrolls so far."""
MOST = 4_096
"""So many of a person's spilt impressions are recalled, the last ones."""
_PAUSE = PAUSE_MS >> TICK_BITS


@njit(nogil=True, cache=True)
def is_repeated(watched: HashArray, cursor: RowArray, user: int, item: int, request: int) -> bool:
    """Whether this (request, item) was watched before; remembers it. Without a request nothing repeats."""
    if request == 0:
        return False
    key = request ^ (np.uint64(item) * np.uint64(0x9E3779B97F4A7C15))
    for j in range(WATCHED):
        if watched[user, j] == key:
            return True
    watched[user, cursor[user, 2]] = key
    cursor[user, 2] = (cursor[user, 2] + 1) % WATCHED
    return False


@njit(nogil=True, cache=True)
def remember(
    rings: Rings, sessions: Sessions, spilt: IntArray, user: int, item: int, ts: int, action: np.int64, strength: float
) -> None:
    """Put an item in the person's rings: what was shown, what was bought, what was engaged with."""
    if action == IMPRESSION:
        spill(rings, sessions, spilt, user, ts)
        note(rings.seen, rings.seen_at, rings.cursor, 1, user, item, ts)
    elif action == ORDER:
        note(rings.bought, rings.bought_at, rings.cursor, 3, user, item, ts)
    if action != IMPRESSION and strength > 0:
        push(rings.item, rings.ms, rings.strength, rings.cursor, user, item, ts, strength)


@njit(nogil=True, cache=True)
def spill(rings: Rings, sessions: Sessions, spilt: IntArray, user: int, ts: int) -> None:
    """Before an impression is noted: begin the session anew after a long pause, else keep what the ring will lose."""
    if user == 0:
        return
    tick, last = np.int64(ts >> TICK_BITS), np.int64(sessions.at[user, 0])
    if tick - last > _PAUSE:
        sessions.at[user, 1] = 0
        sessions.newest[user] = 0
    if sessions.at[user, 1] < rings.seen.shape[1]:
        sessions.at[user, 1] += 1
    else:
        place = rings.cursor[user, 1]
        spilt[0] += 1
        before = sessions.newest[user]
        back = spilt[0] - before if before != 0 else 0
        entry = (spilt[0] - 1) % POOL
        sessions.pool[entry, 0] = rings.seen[user, place]
        sessions.pool[entry, 1] = rings.seen_at[user, place]
        sessions.pool[entry, 2] = back if back < POOL else 0
        sessions.newest[user] = spilt[0]
    sessions.at[user, 0] = max(last, tick)


@njit(nogil=True, cache=True)
def recalled(rings: Rings, sessions: Sessions, spilt: IntArray, user: int) -> tuple[RowArray, IntArray]:
    """Item rows (n,) that a person was shown and their ticks (n,): the ring, then what was spilt, newest first."""
    ring = rings.seen.shape[1]
    items, ticks = np.empty(ring + MOST, np.int32), np.empty(ring + MOST, np.int64)
    n = 0
    for j in range(ring):
        if rings.seen[user, j] != 0:
            items[n], ticks[n] = rings.seen[user, j], rings.seen_at[user, j]
            n += 1
    number = sessions.newest[user]
    while number > 0 and spilt[0] - number < POOL and n < items.shape[0]:
        entry = (number - 1) % POOL
        items[n], ticks[n] = sessions.pool[entry, 0], sessions.pool[entry, 1]
        back = np.int64(sessions.pool[entry, 2])
        number = number - back if back != 0 else 0
        n += 1
    return items[:n], ticks[:n]


@njit(nogil=True, cache=True)
def note(ring: RowArray, at: TickArray, cursor: RowArray, which: int, user: int, item: int, ts: int) -> None:
    """Note an item and its tick over the oldest entry of a ring."""
    place = cursor[user, which]
    ring[user, place] = item
    at[user, place] = ts >> TICK_BITS
    cursor[user, which] = (place + 1) % ring.shape[1]


@njit(nogil=True, cache=True)
def push(
    ring: RowArray,
    ms: IntArray,
    strengths: FloatArray,
    cursor: RowArray,
    user: int,
    item: int,
    ts: int,
    strength: float,
) -> None:
    """Put an item in the person's ring, or strengthen it where it is there; strength stops at 8."""
    for j in range(RING):
        if ring[user, j] == item:
            strengths[user, j] = min(strengths[user, j] + strength, 8.0)
            ms[user, j] = max(ms[user, j], ts)
            return
    ring[user, cursor[user, 0]] = item
    ms[user, cursor[user, 0]] = ts
    strengths[user, cursor[user, 0]] = strength
    cursor[user, 0] = (cursor[user, 0] + 1) % RING
