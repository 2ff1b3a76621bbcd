"""Feeds alone, then beside a thread that appends what people do and starts and ends rooms: who waits for whom."""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.report import Row, quantiles
from features.records import Action, Event, Item, Kind, Record
from ranking import Engine, Feed

BATCH = 100
"""Events of one append; before each, a room starts and an earlier one ends."""
PAUSE_S = 0.02
"""Between two appends: with a batch each, about 4,000 events a second."""
ROOMS = 50


class Waits:
    """A lock that keeps how long was waited for it and how long it was held, in ms, by thread name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = 0.0
        self.waited: dict[str, list[float]] = {}
        self.held: dict[str, list[float]] = {}

    def __enter__(self) -> None:
        start = time.perf_counter()
        self._lock.acquire()
        self._since = time.perf_counter()
        self.waited.setdefault(threading.current_thread().name, []).append(1e3 * (self._since - start))

    def __exit__(self, *_: object) -> None:
        self.held.setdefault(threading.current_thread().name, []).append(1e3 * (time.perf_counter() - self._since))
        self._lock.release()


class Writer:
    """Appends batches until it is stopped."""

    def __init__(self, engine: Engine, people: Sequence[str], items: Sequence[str], now_ms: int) -> None:
        self._engine = engine
        self._people = people
        self._items = items
        self._now_ms = now_ms
        self._rng = np.random.default_rng(5)
        self._number = 0
        self.took: list[float] = []
        self.stop = threading.Event()

    def run(self) -> None:
        """Append, rest, append."""
        while not self.stop.wait(PAUSE_S):
            records = [*self._rooms(), *self._deeds()]
            start = time.perf_counter()
            self._engine.append(records, self._now_ms)
            self.took.append(1e3 * (time.perf_counter() - start))
            self._number += 1

    def _rooms(self) -> list[Record]:
        name, over = f"churn-{self._number}", f"churn-{self._number - ROOMS}"
        room = Item(name, self._now_ms, Kind.ROOM, title="直播专享", author_id=f"host-{self._number % 97}")
        records: list[Record] = [room, Event(f"start-{name}", self._now_ms, name, Action.ROOM_START)]
        if self._number >= ROOMS:
            records.append(Event(f"end-{over}", self._now_ms, over, Action.ROOM_END))
        return records

    def _deeds(self) -> list[Record]:
        items = (len(self._items) * self._rng.random(BATCH) ** 3).astype(np.int64).tolist()
        people = self._rng.integers(0, len(self._people), BATCH).tolist()
        actions = self._rng.choice(["impression", "click", "like"], BATCH, p=[0.8, 0.15, 0.05]).tolist()
        at = zip(items, people, actions, strict=True)
        return [
            Event(
                f"churn-{self._number}-{n}", self._now_ms, self._items[item], Action(action), self._people[person]
            )
            for n, (item, person, action) in enumerate(at)
        ]  # fmt: skip


def churn_rows(ask: Callable[[], Feed], writer: Writer, waits: Waits, times: int) -> list[Row]:
    """Quantiles of feeds alone, of feeds beside a writer, of its appends, and of the waits for the mutex."""
    alone = _asked(ask, times)
    waits.waited.clear()
    waits.held.clear()
    thread = threading.Thread(target=writer.run, name="writer")
    thread.start()
    beside = _asked(ask, times)
    writer.stop.set()
    thread.join()
    rows: list[Row] = [
        {"system": "feeds alone", **quantiles(alone)},
        {"system": "feeds with churn", **quantiles(beside)},
        {"system": "appends with churn", **quantiles(writer.took or [0.0])},
    ]
    feeds = threading.current_thread().name
    for who, name in (("feeds", feeds), ("appends", "writer")):
        rows.append({"system": f"mutex: {who} wait", **quantiles(waits.waited.get(name, [0.0]))})
        rows.append({"system": f"mutex: {who} hold", **quantiles(waits.held.get(name, [0.0]))})
    return rows


def _asked(ask: Callable[[], Feed], times: int) -> list[float]:
    took = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        took.append(1e3 * (time.perf_counter() - start))
    return took
