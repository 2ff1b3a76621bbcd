"""The kernels of the fold: decayed counters, last times, pairs, rooms, updated in place one event at a time.

A row keeps ``(values, stamp_ms)``. Folding an event at ``ts`` multiplies the row by ``2^(-Δt/half-life)`` and adds one
to the slots that count its action; an event older than the row's stamp adds its decayed share and leaves the stamp.
Reading decays to the asked time without writing. Floating point is the same everywhere: no fastmath, no libm.
"""

import math

import numpy as np
from numba import njit

from features.fold.arrays import (
    AUTHOR,
    AUTHORS,
    BRAND,
    CATEGORIES,
    CATEGORY,
    ITEM,
    KIND,
    MERCHANT,
    N_ENTITIES,
    USER,
    Arrays,
    Items,
    PairTable,
    SlotArrays,
    Steps,
    Table,
)
from features.fold.rings import is_repeated, remember
from features.layout import ACTION_CODE
from features.outcomes import ROOM, is_complete, is_long_view
from features.records import LATE_MS
from features.types import IntArray, RowArray

WATCH = ACTION_CODE["watch"]
ROOM_START = ACTION_CODE["room_start"]
ROOM_PULSE = ACTION_CODE["room_pulse"]
ROOM_END = ACTION_CODE["room_end"]
ROOM_PIN = ACTION_CODE["room_pin"]
COMPLETE = ACTION_CODE["complete"]
LONG_VIEW = ACTION_CODE["long_view"]

STRENGTH = np.zeros(len(ACTION_CODE), np.float32)
"""How much an action says of a person's taste: the weight of its item in the person's vector."""
for _action, _strength in (
    ("click", 0.5),
    ("long_view", 1.0),
    ("complete", 1.5),
    ("like", 3.0),
    ("comment", 3.0),
    ("share", 3.0),
    ("follow", 3.0),
    ("gift", 4.0),
    ("cart", 2.0),
    ("order", 4.0),
):
    STRENGTH[ACTION_CODE[_action]] = _strength


NO_ACTION = 255
"""The action of a record that is no event."""
LATE, REPEATED_WATCH = 0, 1
"""Where the fold counts what it ignored."""

UNKNOWN = -1.0
"""What is left after a half-life that no slot has been found of yet: most entities count with one of three."""
FAR = 1000.0
"""So many half-lives leave nothing."""
POWERS = np.append(np.ldexp(1.0, -np.arange(int(FAR))), 0.0)
"""What whole half-lives leave, exactly: a table, since loops that look something up are made vectors of."""
TAYLOR = tuple((-math.log(2.0)) ** k / math.factorial(k) * math.sqrt(0.5) for k in range(13))


@njit(nogil=True, cache=True)
def exp2_neg(x: float) -> float:
    """2^(-x) for x >= 0, in float64: the integer part by exponent, the fraction by a fixed polynomial.

    The polynomial is the Taylor series of 2^-f at f = 1/2, so that every machine computes the same bits; its
    remainder on [0, 1) is below 1e-15 of the value.
    """
    near = min(x, FAR)
    whole = math.floor(near)
    f = near - whole - 0.5
    power = TAYLOR[12]
    for k in range(11, -1, -1):
        power = TAYLOR[k] + f * power
    return float(power * POWERS[np.uint64(whole)])


@njit(nogil=True, cache=True)
def fold(
    arrays: Arrays, slots: SlotArrays, steps: Steps, start: int, stop: int, ignored: IntArray, spilt: IntArray
) -> None:
    """Fold the events start <= i < stop, in order.

    ``ignored`` (2,) counts late events and repeated watches, ``spilt`` (1,) impressions that went to the pool.
    """
    rings, items = arrays.rings, arrays.items
    categories, numbers = items.categories, items.numbers
    users_of, items_of, authors_of, merchants_of, brands_of, categories_of, kinds_of = arrays.tables
    author_pairs, category_pairs = arrays.pairs
    for i in range(start, stop):
        action, ts = np.int64(steps.action[i]), steps.ts_ms[i]
        user, item, via = steps.user[i], steps.item[i], steps.via[i]
        if action == NO_ACTION:
            continue
        # However late, an end is final.
        if steps.received_ms[i] - ts > LATE_MS and action != ROOM_END:
            ignored[LATE] += 1
            continue
        if action >= ROOM_START and action <= ROOM_PIN:
            fold_room(items, action, via if action == ROOM_PIN else item, item, steps.value[i], ts)
            continue
        hits, strength = np.int64(1) << action, STRENGTH[action]
        kind, author, category = categories[item, 4], categories[item, 0], categories[item, 3]
        if action == WATCH:
            if is_repeated(rings.watched, rings.cursor, user, item, steps.request[i]):
                ignored[REPEATED_WATCH] += 1
                continue
            if is_long_view(kind, numbers[item, 2], steps.value[i]):
                hits |= np.int64(1) << LONG_VIEW
                strength = STRENGTH[LONG_VIEW]
            if is_complete(kind, categories[item, 6], numbers[item, 2], steps.value[i]):
                hits |= np.int64(1) << COMPLETE
                strength = STRENGTH[COMPLETE]
        touch(users_of, slots, USER, user, ts, hits)
        touch(items_of, slots, ITEM, item, ts, hits)
        touch(authors_of, slots, AUTHOR, author, ts, hits)
        touch(merchants_of, slots, MERCHANT, categories[item, 1], ts, hits)
        touch(brands_of, slots, BRAND, categories[item, 2], ts, hits)
        touch(categories_of, slots, CATEGORY, category, ts, hits)
        touch(kinds_of, slots, KIND, kind, ts, hits)
        touch_pair(author_pairs, slots, AUTHORS, user, author, ts, hits)
        touch_pair(category_pairs, slots, CATEGORIES, user, category, ts, hits)
        if via != 0:
            # What happened in a room or under a video is also theirs, and their author's if it is another.
            touch(items_of, slots, ITEM, via, ts, hits)
            host = categories[via, 0]
            if host != author:
                touch(authors_of, slots, AUTHOR, host, ts, hits)
                touch_pair(author_pairs, slots, AUTHORS, user, host, ts, hits)
        remember(rings, arrays.sessions, spilt, user, item, ts, action, strength)


@njit(nogil=True, cache=True)
def fold_room(items: Items, action: np.int64, room: int, item: int, value: int, ts: int) -> None:
    """A room's own events; its end is final, whatever comes later. What is known to be no room has none."""
    kind = items.categories[room, 4]
    if kind not in (ROOM, 0):
        return
    if action == ROOM_PIN:
        items.pinned[room] = item
    elif action == ROOM_END:
        items.ended[room] = True
    else:
        if action == ROOM_START and items.times[room, 1] == 0:
            items.times[room, 1] = ts
        if action == ROOM_PULSE:
            items.numbers[room, 3] = value
        items.pulse_ms[room] = max(items.pulse_ms[room], ts)


@njit(nogil=True, cache=True)
def touch(table: Table, slots: SlotArrays, entity: int, row: int, ts: int, hits: np.int64) -> None:
    """Decay one row to ``ts`` and count what ``hits`` has bits for; its stamp never goes back. Row 0 is nobody."""
    if row == 0:
        return
    values, last = table.values, table.last
    elapsed = ts - table.stamp[row]
    table.stamp[row] = max(table.stamp[row], ts)
    half_lives = slots.half_lives
    for h in range(half_lives.shape[0]):
        factor = UNKNOWN
        for s in range(values.shape[1]):
            if slots.life[entity, s] == h:
                if factor == UNKNOWN:
                    factor = exp2_neg(abs(elapsed) / half_lives[h]) if elapsed != 0 else 1.0
                hit = (hits >> slots.action[entity, s]) & 1
                if elapsed >= 0:
                    values[row, s] = values[row, s] * factor + hit
                elif hit:
                    values[row, s] += factor
    for s in range(last.shape[1]):
        if (hits >> slots.recency[entity, s]) & 1:
            last[row, s] = max(last[row, s], ts)


@njit(nogil=True, cache=True)
def touch_pair(pairs: PairTable, slots: SlotArrays, pair: int, user: int, key: int, ts: int, hits: np.int64) -> None:
    """Count in the person's entry for ``key``; when all are taken, that of least decayed mass leaves, ties by key."""
    values, last, half_lives = pairs.values, pairs.last, slots.half_lives
    if key == 0 or values.shape[2] + last.shape[2] == 0:
        return
    entity = N_ENTITIES + pair
    entry = find_entry(pairs.keys, user, key)
    if entry < 0:
        entry = find_entry(pairs.keys, user, 0)
        if entry < 0:
            entry = least_entry(pairs, slots, entity, user, ts)
        pairs.keys[user, entry] = key
        pairs.stamp[user, entry] = ts
        values[user, entry] = 0.0
        last[user, entry] = 0
    elapsed = ts - pairs.stamp[user, entry]
    pairs.stamp[user, entry] = max(pairs.stamp[user, entry], ts)
    for h in range(half_lives.shape[0]):
        factor = UNKNOWN
        for s in range(values.shape[2]):
            if slots.life[entity, s] == h:
                if factor == UNKNOWN:
                    factor = exp2_neg(abs(elapsed) / half_lives[h]) if elapsed != 0 else 1.0
                hit = (hits >> slots.action[entity, s]) & 1
                if elapsed >= 0:
                    values[user, entry, s] = values[user, entry, s] * factor + hit
                elif hit:
                    values[user, entry, s] += factor
    for s in range(last.shape[2]):
        if (hits >> slots.recency[entity, s]) & 1:
            last[user, entry, s] = max(last[user, entry, s], ts)


@njit(nogil=True, cache=True)
def find_entry(keys: RowArray, user: int, key: int) -> int:
    """The entry of a key in a person's row, -1 when it has none."""
    for entry in range(keys.shape[1]):
        if keys[user, entry] == key:
            return entry
    return -1


@njit(nogil=True, cache=True)
def least_entry(pairs: PairTable, slots: SlotArrays, entity: int, user: int, ts: int) -> int:
    """The entry whose counters, decayed to ``ts``, sum to the least; ties by the smaller key."""
    best, best_mass = -1, np.inf
    for entry in range(pairs.keys.shape[1]):
        elapsed = max(0, ts - pairs.stamp[user, entry])
        mass = 0.0
        for h in range(slots.half_lives.shape[0]):
            factor = UNKNOWN
            for s in range(pairs.values.shape[2]):
                if slots.life[entity, s] == h:
                    if factor == UNKNOWN:
                        factor = exp2_neg(elapsed / slots.half_lives[h])
                    mass += pairs.values[user, entry, s] * factor
        if mass < best_mass or (mass == best_mass and pairs.keys[user, entry] < pairs.keys[user, best]):
            best, best_mass = entry, mass
    return best
