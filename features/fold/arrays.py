"""What the kernels read and write: the arrays of a feature state, of its layout, and of a batch of events."""

from typing import NamedTuple

from features.types import BoolArray, ByteArray, DoubleArray, FloatArray, HashArray, IntArray, RowArray, TickArray

N_ENTITIES = 7
USER, ITEM, AUTHOR, MERCHANT, BRAND, CATEGORY, KIND = range(N_ENTITIES)
SPILT = N_ENTITIES
"""Beside the entities: rows that are impressions of long sessions."""
AUTHORS, CATEGORIES = 0, 1
PAIR_ENTRIES = (16, 8)
RING = 24
SEEN = 40
BOUGHT = 8
WATCHED = 16


class Table(NamedTuple):
    """Counters of one entity: values (rows, slots) float32, stamp (rows,) int64 ms, last (rows, recencies) int64 ms."""

    values: FloatArray
    stamp: IntArray
    last: IntArray


class PairTable(NamedTuple):
    """Counters of (user, key): keys (rows, entries) int32, 0 where free; the rest as in ``Table`` an entry."""

    keys: RowArray
    values: FloatArray
    stamp: IntArray
    last: IntArray


class Rings(NamedTuple):
    """A person's recent items, oldest overwritten first: engaged with strength, seen, bought, and watches counted.

    When an item was seen and bought is kept in ticks of ``2 ** TICK_BITS`` ms.
    """

    item: RowArray
    ms: IntArray
    strength: FloatArray
    seen: RowArray
    seen_at: TickArray
    bought: RowArray
    bought_at: TickArray
    watched: HashArray
    cursor: RowArray


class Sessions(NamedTuple):
    """What long sessions showed beyond the rings.

    at (users, 2) uint32: the tick of a person's last impression, and how many of the session the ring holds; newest
    (users,) int64: the number of the last that was spilt, from 1, 0 none. pool (rows, 3) uint32: an impression's item
    row and tick, and how many were spilt since the person's one before, 0 where there is none.
    """

    at: TickArray
    newest: IntArray
    pool: TickArray


class Items(NamedTuple):
    """Catalog and live status by item row.

    categories (rows, columns) int32 vocabulary rows, in the order of ``Layout.item_categories``; numbers (rows,
    columns) float32; times (rows, columns) int64 ms, 0 unknown, a first column below 0 the negative of when an item of
    unknown ``live_from_ms`` was first described; room status from its events, ``pinned`` an item row.
    """

    categories: RowArray
    numbers: FloatArray
    times: IntArray
    listed: BoolArray
    ended: BoolArray
    pulse_ms: IntArray
    pinned: RowArray


class Users(NamedTuple):
    """Catalog by user row; ``personalised`` is false for those who switched it off."""

    categories: RowArray
    numbers: FloatArray
    times: IntArray
    personalised: BoolArray


class Arrays(NamedTuple):
    """Everything the kernels read or write; tables in the order of ``ENTITIES``, pairs in that of ``PAIRS``."""

    tables: tuple[Table, ...]
    pairs: tuple[PairTable, ...]
    rings: Rings
    items: Items
    users: Users
    sessions: Sessions


class SlotArrays(NamedTuple):
    """The layout as arrays, a row for each entity then pair, filled with -1 beyond what one keeps.

    action, life (entities + pairs, most slots) int32; recency (entities + pairs, most recencies) int32 action codes;
    half_lives (h,) float64 ms.
    """

    action: RowArray
    life: RowArray
    recency: RowArray
    half_lives: DoubleArray


class Pages(NamedTuple):
    """Pages that are read while a log is folded, in its order; (m,) each but where said.

    How many records of the log come before each and when it is; its person; words (m, 3) of its surface, device and
    city tier, 0 none; position; first (m + 1,) where each one's items begin among item (n,). People and items are rows
    for the kernel, 0 nobody; for who asks they are codes.
    """

    read_offset: IntArray
    now_ms: IntArray
    user: RowArray
    words: RowArray
    position: RowArray
    first: IntArray
    item: RowArray


class Words(NamedTuple):
    """What a reader makes of where a page is.

    codes (3, words) of surface, device and city tier; tiers (t,) the same of city tiers by row of the state;
    utc_offset_ms what local time is ahead.
    """

    codes: DoubleArray
    tiers: DoubleArray
    utc_offset_ms: int


class Steps(NamedTuple):
    """Events as arrays, ids already rows of the state; (n,) each."""

    action: ByteArray
    user: RowArray
    item: RowArray
    via: RowArray
    value: IntArray
    ts_ms: IntArray
    received_ms: IntArray
    request: HashArray
