"""The closed loop: an engine answers the visits of a world, the world answers its pages, and both go on the log.

What a system shows is what it learns of. The world is an argument: whoever can open visits, answer pages and say what
it would have answered; one visit has one luck, so that systems are compared on equal terms.
"""

import bisect
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from features.logs.log import DAY_MS, records_of
from features.outcomes import KIND_CODES, ROOM_TYPE_CODES, is_complete
from features.records import Action, Event, Item, Record
from features.types import ByteArray, DoubleArray, IntArray
from ranking import Engine, FeedRequest
from ranking.api import Feed
from ranking.value import ORDER, Weights, gain, scales

MINUTE_MS = 60_000
SESSION_MS = 30 * MINUTE_MS
REMEMBERED = 64
"""Items of a session that tire a person, the last ones."""


class Visits(Protocol):
    """Pages that people open, by time; n of each."""

    @property
    def user_id(self) -> list[str]:
        """Who."""
        ...

    @property
    def time_ms(self) -> IntArray:
        """When."""
        ...

    @property
    def surface(self) -> list[str]:
        """Where."""
        ...


class World(Protocol):
    """What a loop asks of a world; ``seeds.world.World`` is one."""

    @property
    def start_ms(self) -> int:
        """When the first day begins."""
        ...

    @property
    def end_ms(self) -> int:
        """When the last day ends."""
        ...

    def catalog(self) -> pa.Table:
        """People and items that are there before the start."""
        ...

    def room_records(self, since_ms: int, until_ms: int) -> pa.Table:
        """What catalog and rooms send in a time."""
        ...

    def visits(self, since_ms: int, until_ms: int) -> Visits:
        """Who opens a page in a time."""
        ...

    def respond(
        self, user_id: str, item_ids: Sequence[str], now_ms: int, request_id: str, visit: int, surface: str,
        seen: Sequence[str],
    ) -> list[tuple[int, Event]]:  # fmt: skip
        """What a person does with a page."""
        ...

    def base_rates(self, heads: Sequence[str]) -> DoubleArray:
        """The share of impressions that each head follows (heads, 4), by code of kind."""
        ...

    def log(self, until_ms: int | None = None) -> Iterator[pa.Table]:
        """What happened before a loop begins."""
        ...

    def expected(self, user_id: str, item_ids: Sequence[str], now_ms: int, surface: str) -> dict[str, DoubleArray]:
        """The true probability of each action by item."""
        ...


@dataclass(frozen=True, slots=True)
class Judge:
    """What pages are judged by, the same for all that are compared: heads, their scales (heads, 4), the catalog."""

    heads: tuple[str, ...]
    scale: DoubleArray
    catalog: dict[str, Item]

    @classmethod
    def of(cls, world: World) -> "Judge":
        """What a world's pages are judged by: scales by its base rates, whatever any bundle has learned."""
        tables = (world.catalog(), world.room_records(world.start_ms, world.end_ms))
        items = [record for table in tables for _, record in records_of(table) if isinstance(record, Item)]
        return cls(ORDER, scales(world.base_rates(ORDER)), {item.item_id: item for item in reversed(items)})

    def worth(self, ids: Sequence[str], outcomes: DoubleArray) -> DoubleArray:
        """The gain (n,) of outcomes or probabilities (n, heads) of items."""
        kinds: ByteArray = np.array([KIND_CODES[self.catalog[one].kind] for one in ids], np.uint8)
        return gain(outcomes, self.heads, kinds, self.scale, Weights())

    def expected(self, world: World, user_id: str, ids: Sequence[str], now_ms: int, surface: str) -> DoubleArray:
        """The gain (n,) that the world says is to be expected of items."""
        truth = world.expected(user_id, ids, now_ms, surface)
        return self.worth(ids, np.column_stack([truth[head] for head in self.heads]))

    def outcomes(self, page: Sequence[str], events: Sequence[Event]) -> DoubleArray:
        """What people did (n, heads), 0 or 1."""
        y = np.zeros((len(page), len(self.heads)))
        slots = {item: slot for slot, item in enumerate(page)}
        for event in events:
            slot, head, done = slots.get(event.item_id), str(event.action), True
            if slot is None:
                continue
            if event.action is Action.WATCH:
                item, head = self.catalog[event.item_id], "complete"
                room = ROOM_TYPE_CODES[item.room_type]
                done = is_complete(KIND_CODES[item.kind], room, item.duration_ms, event.value)
            if head in self.heads and done:
                y[slot, self.heads.index(head)] = 1.0
        return y


@dataclass(frozen=True, slots=True)
class Shown:
    """What a loop showed, an entry a slot, in order; (n,) each.

    ``day`` from 0, the loop's first; ``user`` and ``item`` are codes into ``users`` and ``items``; ``page`` numbers
    pages; ``gain`` is of what people did, ``expected`` of what the world says of a slot that is looked at by one who
    is not tired; ``explored`` marks slots of exploration, ``sells`` those that sold as the policy counts commerce.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    day: IntArray
    page: IntArray
    user: IntArray
    item: IntArray
    time_ms: IntArray
    gain: DoubleArray
    expected: DoubleArray
    explored: IntArray
    sells: IntArray

    def by_day(self, of: DoubleArray) -> DoubleArray:
        """The mean page's sum of a figure (n,), by day."""
        sums = np.bincount(self.day, of)
        pages = np.bincount(self.day[np.unique(self.page, return_index=True)[1]], minlength=len(sums))
        return sums / np.maximum(pages, 1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which visits a loop answers: of a time, at most so many pages of so many slots."""

    since_ms: int
    until_ms: int
    page: int = 10
    most: int | None = None


def live(
    world: World,
    engine: Engine,
    judge: Judge,
    stretch: Stretch,
    midnight: Callable[[int], None] = lambda now_ms: None,
) -> Shown:
    """Answer the visits of a stretch, page by page, and fold what people do with them.

    What is received goes on the log when it has waited for a minute, so that a session's next page knows of it.

    Parameters
    ----------
    engine : Engine
        The writer of a home whose log ends where the stretch begins.
    midnight : callable
        Called after every day but the last with the moment, all of the day before on the log: the time to train.
    """
    visits = world.visits(stretch.since_ms, stretch.until_ms)
    asked = list(zip(visits.user_id, visits.time_ms.tolist(), visits.surface, strict=True))[: stretch.most]
    inbox = _Inbox(records_of(world.room_records(stretch.since_ms, asked[-1][1])))
    seen: dict[str, tuple[int, list[str]]] = {}
    rows: list[_Row] = []
    day = 0
    for number, (user, now_ms, surface) in enumerate(asked):
        today = (now_ms - stretch.since_ms) // DAY_MS
        if due := inbox.take(now_ms, 0 if today > day else MINUTE_MS):
            engine.append(due, now_ms)
        if today > day:
            midnight(stretch.since_ms + today * DAY_MS)
            day = today
        feed = engine.feed(FeedRequest(user_id=user, surface=surface, count=stretch.page), now_ms, f"loop-{number}")
        last_ms, before = seen.get(user, (0, []))
        tired = before if now_ms - last_ms <= SESSION_MS else []
        page = [item.item_id for item in feed.items]
        answer = world.respond(user, page, now_ms, feed.request_id, number, surface, tired)
        inbox.put(answer)
        seen[user] = (now_ms, [*tired, *page][-REMEMBERED:])
        rows += _slots(world, judge, feed, [event for _, event in answer], number, day)
    return _table(rows)


class _Inbox:
    """What is on its way to the log: what rooms and catalog will send, and what people have answered."""

    def __init__(self, scheduled: list[tuple[int, Record]]) -> None:
        self._scheduled, self._at = scheduled, 0
        self._answers: list[tuple[int, int, Event]] = []
        self._count = 0

    def put(self, answers: Sequence[tuple[int, Event]]) -> None:
        for received_ms, event in answers:
            heapq.heappush(self._answers, (received_ms, self._count, event))
            self._count += 1

    def take(self, now_ms: int, patience_ms: int) -> list[Record]:
        """All that is received by now, in order, once the first of it has waited for so long; else nothing."""
        first_ms = min(
            self._scheduled[self._at][0] if self._at < len(self._scheduled) else now_ms,
            self._answers[0][0] if self._answers else now_ms,
        )
        if now_ms - first_ms < max(patience_ms, 1):
            return []
        upto = bisect.bisect_right(self._scheduled, now_ms, self._at, key=lambda pair: pair[0])
        due, self._at = self._scheduled[self._at : upto], upto
        while self._answers and self._answers[0][0] <= now_ms:
            received_ms, _, event = heapq.heappop(self._answers)
            due.append((received_ms, event))
        return [record for _, record in sorted(due, key=lambda pair: pair[0])]


_Row = tuple[int, int, str, str, int, float, float, int, int]


def _slots(world: World, judge: Judge, feed: Feed, events: Sequence[Event], number: int, day: int) -> list[_Row]:
    ids = [item.item_id for item in feed.items]
    if not ids:
        return []
    got = judge.worth(ids, judge.outcomes(ids, events))
    expected = judge.expected(world, feed.user_id, ids, feed.now_ms, feed.surface)
    marks = [(int(item.source == "explore"), int(item.sells)) for item in feed.items]
    fixed = (day, number, feed.user_id)
    return [
        (*fixed, one, feed.now_ms, mine, true, *marked)
        for one, mine, true, marked in zip(ids, got.tolist(), expected.tolist(), marks, strict=True)
    ]


def _table(rows: list[_Row]) -> Shown:
    day, page, user, item, time_ms, got, expected, explored, sells = zip(*rows, strict=True)
    users, user_codes = np.unique(user, return_inverse=True)
    items, item_codes = np.unique(item, return_inverse=True)
    return Shown(
        tuple(users.tolist()),
        tuple(items.tolist()),
        np.array(day),
        np.array(page),
        user_codes,
        item_codes,
        np.array(time_ms),
        np.array(got),
        np.array(expected),
        np.array(explored),
        np.array(sells),
    )
