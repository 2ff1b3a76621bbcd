"""Pages at 70 % load while the world changes: rooms start and end each second, ten events come with every page."""

import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.load import Ask, load, poisson, request, steady
from benchmarks.report import Row
from features.records import Action, Event, Item, Kind
from features.types import DoubleArray

PAGE = 50
EVENTS_A_PAGE = 10
BATCH = 50
ROOMS_A_SECOND = 4
PULSE_S = 60
"""How often a room says that it is still on air."""
SHARE = 0.7
PATIENT_MS = 60_000
"""Where a whole page is what is measured, however long it waits: a lesser one or a refusal would look fast."""


class Tail(NamedTuple):
    """Rows, ratios by name and faults, to be added to a report."""

    rows: list[Row]
    ratios: dict[str, float]
    faults: list[str]


def feed_asks(people: Sequence[str], count: int, deadline_ms: int = PATIENT_MS) -> list[Ask]:
    """Requests for pages, people in turn."""
    bodies = [msgspec.json.encode({"user_id": user, "count": PAGE, "deadline_ms": deadline_ms}) for user in people]
    return [Ask("feed", request("POST", "/v1/feed", body)) for body in islice(cycle(bodies), count)]


def tail(address: str, now_ms: int, people: Sequence[str], items: Sequence[str], pages: int) -> Tail:
    """How far the slow pages of a server are from the middle one, under churn.

    Capacity is that of the mix, in a closed loop; then comes 70 % of it, once evenly and once as independent people
    come. ``feed.p99_over_p50`` is the even one's: Poisson arrivals at 70 % of one server put the ratio at 4.4 even
    when every page takes the same time (M/D/1), so their ratio, beside it, says more of arrivals than of the server.

    Parameters
    ----------
    address : str
        Of a server whose clock was at ``now_ms`` or later when it started.
    now_ms : int
    people : sequence of str
    items : sequence of str
        What events are about; the first of them are rooms on air, and end one after the other.
    pages : int
        How many a run.
    """
    world = World(now_ms, people, items)
    load(address, feed_asks(people, 64), None, 1)
    closed = load(address, world.mix(np.arange(pages) / 300, pages / 300)[0], None, 8)
    capacity = float(closed.row("", "feed")["per_second"])
    found = Tail([closed.row("feed and events, 8 connections", "feed")], {}, closed.faults(PAGE))
    seconds = pages / (SHARE * capacity)
    runs = {"": steady(SHARE * capacity, seconds), "_poisson": poisson(SHARE * capacity, seconds, seed=1)}
    for name, arrivals in runs.items():
        asks, due = world.mix(arrivals, seconds)
        heard = load(address, asks, due, 64)
        system = f"feed and events, 70 %, {'Poisson' if name else 'even'}"
        for kind in ("feed", "events"):
            p50, p99 = np.quantile(heard.took_ms(kind), [0.5, 0.99])
            found.rows.append(heard.row(f"{system}: {kind}", kind) | {"p99_over_p50": float(p99 / p50)})
            if kind == "feed" and not heard.is_void:
                found.ratios[f"feed.p99_over_p50{name}"] = float(p99 / p50)
        found.faults.extend(f"{system}: {fault}" for fault in heard.faults(PAGE))
    found.ratios["feed.churn_feeds_per_second"] = capacity
    return found


class World:
    """Draws what people and rooms do; nothing is named twice, whatever is run one after the other.

    What happens is stamped with the server's time, which is ``now_ms`` as the world is made. Rooms that give no
    ``pulse`` fall silent after a while: a run of minutes wants it.
    """

    def __init__(self, now_ms: int, people: Sequence[str], items: Sequence[str], *, pulse: bool = False) -> None:
        self._pulse = pulse
        self._start_ms, self._began = now_ms, time.perf_counter()
        self._now_ms = now_ms
        self._people, self._items = people, items
        self._rng = np.random.default_rng(7)
        self._events = self._rooms = 0

    def mix(
        self, arrivals: DoubleArray, seconds: float, deadline_ms: int = PATIENT_MS
    ) -> tuple[list[Ask], DoubleArray]:
        """Pages when they are due, the events that come with them, rooms each second: asks, and when, in order."""
        self._now_ms = self._start_ms + int(1e3 * (time.perf_counter() - self._began))
        pages = feed_asks(self._people, len(arrivals), deadline_ms)
        batches = len(arrivals) * EVENTS_A_PAGE // BATCH
        timed = list(zip(arrivals.tolist(), pages, strict=True))
        timed += [(due, self._deeds()) for due in np.linspace(0, seconds, batches, endpoint=False).tolist()]
        for second in range(int(seconds)):
            timed += [(second + 0.5, ask) for ask in self._second(self._now_ms + 1000 * second)]
        timed.sort(key=lambda one: one[0])
        return [ask for _, ask in timed], np.array([due for due, _ in timed])

    def _deeds(self) -> Ask:
        people = self._rng.integers(0, len(self._people), BATCH).tolist()
        items = self._rng.integers(0, len(self._items), BATCH).tolist()
        first, self._events = self._events, self._events + BATCH
        events = [
            Event(f"deed-{number}", self._now_ms, self._items[item], Action.CLICK, self._people[user])
            for number, user, item in zip(range(first, first + BATCH), people, items, strict=True)
        ]
        return Ask("events", request("POST", "/v1/events", msgspec.json.encode(events)))

    def _second(self, now_ms: int) -> Iterator[Ask]:
        """What rooms do in a second: some begin, as many of the oldest end, and some of the others give a pulse."""
        tick, first = self._rooms // ROOMS_A_SECOND, self._rooms
        self._rooms += ROOMS_A_SECOND
        new = range(first + len(self._items), self._rooms + len(self._items))
        yield from self._change(
            [self._room(n) for n in new], [self._room(n) for n in range(first, self._rooms)], now_ms
        )
        # Each has its second of every minute, whoever went before.
        on_air = [self._room(n) for n in range(tick % PULSE_S, new.stop, PULSE_S) if n >= self._rooms]
        for start in range(0, len(on_air) if self._pulse else 0, BATCH):
            pulses = [_event(name, Action.ROOM_PULSE, now_ms, f"-{tick}") for name in on_air[start : start + BATCH]]
            yield Ask("rooms", request("POST", "/v1/events", msgspec.json.encode(pulses)))

    def _change(self, new: Sequence[str], gone: Sequence[str], now_ms: int) -> Iterator[Ask]:
        """Rooms put, rooms started, and others ended."""
        rooms = [Item(n, now_ms, Kind.ROOM, title="直播间", author_id=f"host-{n}", category="category-1") for n in new]
        starts = [_event(name, Action.ROOM_START, now_ms) for name in new]
        ends = [_event(name, Action.ROOM_END, now_ms) for name in gone]
        yield Ask("rooms", request("PUT", "/v1/items", msgspec.json.encode(rooms)))
        yield Ask("rooms", request("POST", "/v1/events", msgspec.json.encode(starts)))
        yield Ask("rooms", request("POST", "/v1/events", msgspec.json.encode(ends)), tuple(n.encode() for n in gone))

    def _room(self, number: int) -> str:
        """Rooms in the order they began: those that were there, then those that were not."""
        there = len(self._items)
        return self._items[number] if number < there else f"churn-{number - there}"


def _event(name: str, action: Action, now_ms: int, turn: str = "") -> Event:
    return Event(f"{name}-{action}{turn}", now_ms, name, action)
