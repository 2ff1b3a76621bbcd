"""No dead room on any page, while rooms start and end during the requests."""

import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.homes import small_home
from benchmarks.report import Report, quantiles
from features.records import Action, Event, Item, Kind
from ranking import Engine, FeedRequest

PAGE = 50
ALIVE = 80


class Churn:
    """Rooms that start and end without pause; ``ended`` maps each room to when its end was acknowledged."""

    def __init__(self, engine: Engine, now_ms: int) -> None:
        self.engine = engine
        self.now_ms = now_ms
        self.ended: dict[str, float] = {}
        self.started = 0
        self.stop = threading.Event()

    def start(self, rooms: int) -> None:
        """Start so many rooms."""
        records: list[Item | Event] = []
        for number in range(self.started, self.started + rooms):
            name, host = f"churn-{number}", f"churn-host-{number % 97}"
            records.append(Item(name, self.now_ms, Kind.ROOM, title="直播间", author_id=host, category="美妆"))
            records.append(self._event(name, Action.ROOM_START))
        self.engine.append(records, self.now_ms)
        self.started += rooms

    def end(self, names: Sequence[str]) -> None:
        """End rooms, and note when that was acknowledged."""
        self.engine.append([self._event(name, Action.ROOM_END) for name in names], self.now_ms)
        self.ended |= dict.fromkeys(names, time.perf_counter())

    def run(self) -> None:
        """Keep about ``ALIVE`` rooms alive, each for a short while."""
        self.start(ALIVE)
        first = 0
        while not self.stop.is_set():
            self.start(4)
            self.end([f"churn-{number}" for number in range(first, first + 4)])
            first += 4

    def _event(self, name: str, action: Action) -> Event:
        return Event(f"{name}-{action}", self.now_ms, name, action)


def run(*, quick: bool) -> Report:
    """100,000 slots of room pages (5,000 when quick) from two threads, beside one that starts and ends rooms."""
    report = Report("rooms")
    slots = 5_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        shutil.copytree(small_home(), home)
        with Engine.open(home) as engine:
            now_ms = engine.status(0).received_ms
            churn = Churn(engine, now_ms)
            churning = threading.Thread(target=churn.run)
            churning.start()
            took: list[float] = []
            shown: list[int] = []
            dead: list[str] = []
            halves = [
                threading.Thread(target=_ask, args=(engine, churn, slots // 2, f"t{i}", took, shown, dead))
                for i in range(2)
            ]
            for thread in halves:
                thread.start()
            for thread in halves:
                thread.join()
            churn.stop.set()
            churning.join()
    counts = {"slots": sum(shown), "rooms_ended": len(churn.ended), "dead": len(dead)}
    report.rows.append({"system": "huozhao", **counts, **quantiles(took)})
    report.ratios["rules.dead_rooms"] = float(len(dead))
    report.faults += [f"room {name} was shown after its end was acknowledged" for name in dead[:5]]
    return report


def _ask(
    engine: Engine, churn: Churn, slots: int, name: str, took: list[float], shown: list[int], dead: list[str]
) -> None:
    done = asked = 0
    while done < slots:
        request = FeedRequest(surface="plaza", count=PAGE)
        start = time.perf_counter()
        feed = engine.feed(request, churn.now_ms, f"{name}-{asked}")
        took.append(1e3 * (time.perf_counter() - start))
        dead += [item.item_id for item in feed.items if churn.ended.get(item.item_id, start) < start]
        done += max(len(feed.items), 1)
        shown.append(len(feed.items))
        asked += 1
