"""A whole log of the simulated world: pages chosen by a logging policy of its own, and what people did with them."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from features import outcomes
from features.layout import ACTIONS
from features.logs.log import events_table, records_table
from features.records import Context, Served, Slot
from features.types import BoolArray, IntArray, RowArray
from seeds import constants as c
from seeds import schedule, words
from seeds.cast import Cast
from seeds.respond import ACTION, FIELDS, ITEM, MOST_EVENTS, NUMBER, POSITION, RECEIVED, TS, VALUE, VIA, VISIT, answer
from seeds.truth import SHOWN, Truth, luck, taste_of

CHUNK_MS = 6 * c.HOUR_MS
BIN_MS = 10 * c.MINUTE_MS
MEMORY = 64
SOURCES = ("popular", "random")
BUNDLE = "world-logging"

Progress = Callable[[int, int], None]


class Policy(NamedTuple):
    """What the logging policy is: draws by surface and kind (videos, rooms, products), and weights."""

    draws: IntArray
    random_pages: float
    quality: float
    taste: float
    page: int
    session_ms: int


class Pools(NamedTuple):
    """What pages are drawn from: videos and products by the time they appear; rooms by bin of time (CSR)."""

    videos: RowArray
    products: RowArray
    rooms: RowArray
    room_start: IntArray
    first_ms: int
    bin_ms: int


class Memory(NamedTuple):
    """What each person saw in the session that is on: items (users, MEMORY), how many, and when the last page came."""

    items: RowArray
    length: IntArray
    last_ms: IntArray


@njit(nogil=True, cache=True)
def first_after(truth: Truth, pool: RowArray, now_ms: int) -> int:
    """How many of a pool are there at a time."""
    low, high = 0, len(pool)
    while low < high:
        middle = (low + high) // 2
        if truth.things.from_ms[pool[middle]] <= now_ms:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def draw(truth: Truth, policy: Policy, pools: Pools, user: int, now_ms: int, surface: int, found: RowArray) -> int:
    """Fill ``found`` with candidates drawn evenly from each pool, each once; returns their number."""
    here = (now_ms - pools.first_ms) // pools.bin_ms
    rooms = pools.rooms[pools.room_start[here] : pools.room_start[here + 1]]
    n, number = 0, 0
    for kind, pool in enumerate((pools.videos, rooms, pools.products)):
        size = len(pool) if kind == 1 else first_after(truth, pool, now_ms)
        for _ in range(policy.draws[surface, kind] if size else 0):
            item = pool[int(luck(truth.seed, user, number, now_ms, SHOWN) * size)]
            number += 1
            there = truth.things.from_ms[item] <= now_ms < truth.things.until_ms[item]
            for k in range(n):
                there = there and found[k] != item
            if there:
                found[n] = item
                n += 1
    return n


@njit(nogil=True, cache=True)
def choose(
    truth: Truth, policy: Policy, pools: Pools, user: int, now_ms: int, surface: int, page: RowArray, found: RowArray
) -> tuple[int, bool]:
    """Fill ``page`` with the best of the drawn; returns its length and whether it was left to chance.

    Other pages are a softmax over popularity and taste, drawn without replacement by the Gumbel trick.
    """
    n = draw(truth, policy, pools, user, now_ms, surface, found)
    by_chance = luck(truth.seed, user, 0, now_ms, SHOWN + 1) < policy.random_pages
    scores = np.empty(n)
    for k in range(n):
        scores[k] = -math.log(-math.log(luck(truth.seed, user, found[k], now_ms, SHOWN + 2)))
        if not by_chance:
            scores[k] += policy.quality * truth.things.quality[found[k]] + policy.taste * taste_of(
                truth, user, found[k]
            )
    length = min(policy.page, n)
    for position in range(length):
        best = int(np.argmax(scores))
        page[position] = found[best]
        scores[best] = -np.inf
    return length, by_chance


@njit(nogil=True, cache=True)
def simulate(
    truth: Truth, policy: Policy, pools: Pools, memory: Memory, user: IntArray, time_ms: IntArray, surface: IntArray,
    pages: RowArray, by_chance: BoolArray, out: IntArray,
) -> int:  # fmt: skip
    """Choose and answer a page for each visit, in order; returns the number of events in ``out``."""
    end = 0
    found = np.empty(policy.draws.sum(), np.int32)
    seen = np.empty(MEMORY + policy.page, np.int32)
    for row in range(len(user)):
        who, now_ms = user[row], time_ms[row]
        if now_ms - memory.last_ms[who] > policy.session_ms:
            memory.length[who] = 0
        old = memory.length[who]
        seen[:old] = memory.items[who, :old]
        length, by_chance[row] = choose(truth, policy, pools, who, now_ms, surface[row], pages[row], found)
        seen[old : old + length] = pages[row, :length]
        end = answer(truth, who, now_ms, now_ms, surface[row], seen[: old + length], old, out, end, row)
        kept = min(old + length, MEMORY)
        memory.items[who, :kept] = seen[old + length - kept : old + length]
        memory.length[who], memory.last_ms[who] = kept, now_ms
    return end


def _policy() -> Policy:
    draws = np.array([c.CANDIDATES[surface] for surface in words.SURFACES], np.int64)
    return Policy(draws, c.RANDOM_PAGES, c.POLICY_QUALITY, c.POLICY_TASTE, c.PAGE, c.SESSION_MS)


def _pools(cast: Cast, since_ms: int, until_ms: int) -> Pools:
    goods = cast.goods
    videos, products, rooms = (
        np.flatnonzero(goods.kind == kind) for kind in (outcomes.VIDEO, outcomes.PRODUCT, outcomes.ROOM)
    )
    bins = [
        rooms[(goods.from_ms[rooms] < start + BIN_MS) & (goods.until_ms[rooms] > start)]
        for start in range(since_ms, until_ms, BIN_MS)
    ]
    return Pools(
        videos=videos[np.argsort(goods.from_ms[videos], kind="stable")].astype(np.int32),
        products=products[np.argsort(goods.from_ms[products], kind="stable")].astype(np.int32),
        rooms=np.concatenate(bins).astype(np.int32),
        room_start=np.cumsum([0, *(len(each) for each in bins)]),
        first_ms=since_ms,
        bin_ms=BIN_MS,
    )


class _Chunk(NamedTuple):
    """Visits of a stretch of time and their pages (n, PAGE), -1 where there is nothing."""

    visits: schedule.Visits
    pages: RowArray
    by_chance: BoolArray


class _Rows(NamedTuple):
    """Events not received yet: rows as ``answer`` wrote them, and who, when and where each page was."""

    rows: IntArray
    user: IntArray
    page_ms: IntArray
    surface: IntArray


def log(cast: Cast, until_ms: int, progress: Progress) -> Iterator[pa.Table]:
    """The catalog, then a table for every six hours; see ``World.log``."""
    first = schedule.catalog(cast)
    yield first
    offset = len(first)
    memory = Memory(
        np.zeros((cast.size.users, MEMORY), np.int32),
        np.zeros(cast.size.users, np.int64),
        np.zeros(cast.size.users, np.int64),
    )
    none = np.zeros(0, np.int64)
    waiting = _Rows(np.zeros((0, FIELDS), np.int64), none, none, none)
    starts = range(cast.start_ms, until_ms, CHUNK_MS)
    for done, start in enumerate(starts, 1):
        stop = min(start + CHUNK_MS, until_ms)
        chunk, fresh = _simulated(cast, memory, start, stop)
        waiting = _Rows(*(np.concatenate(pair) for pair in zip(waiting, fresh, strict=True)))
        ready = waiting.rows[:, RECEIVED] < stop
        events = _Rows(*(part[ready] for part in waiting))
        waiting = _Rows(*(part[~ready] for part in waiting))
        table = _table(cast, chunk, events, schedule.room_records(cast, start, stop), offset)
        yield table
        offset += len(table)
        progress(done, len(starts))


def _simulated(cast: Cast, memory: Memory, start: int, stop: int) -> tuple[_Chunk, _Rows]:
    visits = schedule.visits_between(cast, start, stop)
    n = len(visits.user)
    pages, by_chance = np.full((n, c.PAGE), -1, np.int32), np.zeros(n, np.bool_)
    out = np.empty((n * c.PAGE * MOST_EVENTS, FIELDS), np.int64)
    end = simulate(cast.truth, _policy(), _pools(cast, start, stop), memory, *visits, pages, by_chance, out)
    rows = out[:end].copy()
    visit = rows[:, VISIT]
    chunk = _Chunk(visits, pages, by_chance)
    return chunk, _Rows(rows, visits.user[visit], visits.time_ms[visit], visits.surface[visit])


def _table(cast: Cast, chunk: _Chunk, events: _Rows, rooms: pa.Table, offset: int) -> pa.Table:
    """All records of a stretch by reception; of one moment the rooms' come first, then pages, then what people did."""
    shown = np.flatnonzero(chunk.pages[:, 0] >= 0)
    by_page = np.lexsort((events.rows[:, NUMBER], events.page_ms, events.user, events.rows[:, RECEIVED]))
    events = _Rows(*(part[by_page] for part in events))
    received = np.concatenate([rooms["received_ms"].to_numpy(), chunk.visits.time_ms[shown], events.rows[:, RECEIVED]])
    order = np.argsort(received, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    served = [
        _served(cast, chunk, row, offset + at)
        for row, at in zip(shown.tolist(), place[len(rooms) :].tolist(), strict=False)
    ]
    whole = pa.concat_tables([rooms, records_table(served), _events_table(cast, events)])
    return whole.take(pa.array(order)).combine_chunks()


def _served(cast: Cast, chunk: _Chunk, row: int, read_offset: int) -> tuple[int, Served]:
    user, now_ms = int(chunk.visits.user[row]), int(chunk.visits.time_ms[row])
    people, user_id = cast.people, cast.user_ids[user]
    surface = words.SURFACES[chunk.visits.surface[row]]
    source = SOURCES[int(chunk.by_chance[row])]
    return now_ms, Served(
        request_id=f"{user_id}-{now_ms}",
        ts_ms=now_ms,
        read_offset=read_offset,
        user_id=user_id,
        context=Context(surface, words.DEVICES[people.device[user]], words.CITY_TIERS[people.tier[user]]),
        bundle=BUNDLE,
        slots=tuple(Slot(cast.item_ids[item], source) for item in chunk.pages[row].tolist() if item >= 0),
    )


def _events_table(cast: Cast, events: _Rows) -> pa.Table:
    def named(names: list[str] | tuple[str, ...], codes: IntArray) -> pa.Array:
        return pa.array(names, pa.string()).take(pa.array(codes))

    rows, items = events.rows, [*cast.item_ids, ""]
    user = named(cast.user_ids, events.user)
    moment, number = (pc.cast(pa.array(column), pa.string()) for column in (events.page_ms, rows[:, NUMBER]))
    request = pc.binary_join_element_wise(user, moment, "-")
    return events_table({
        "received_ms": rows[:, RECEIVED],
        "ts_ms": rows[:, TS],
        "event_id": pc.binary_join_element_wise(request, number, "-"),
        "user_id": user,
        "item_id": named(items, rows[:, ITEM]),
        "via_item_id": named(items, np.where(rows[:, VIA] < 0, len(cast.item_ids), rows[:, VIA])),
        "action": named(ACTIONS, rows[:, ACTION]),
        "value": rows[:, VALUE],
        "request_id": request,
        "surface": named(words.SURFACES, events.surface),
        "device": named(words.DEVICES, cast.people.device[events.user]),
        "city_tier": named(words.CITY_TIERS, cast.people.tier[events.user]),
        "position": rows[:, POSITION],
    })  # fmt: skip
