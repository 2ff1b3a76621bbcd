"""Events that are durable and folded, over HTTP and in process: by the size of a batch, fsync on."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.crash_load import event_ids
from benchmarks.effect import effects
from benchmarks.http import FULL, QUICK
from benchmarks.load import Ask, by_second, load, request
from benchmarks.market import NOW_MS, Market, make_market
from benchmarks.report import Report, Row, quantiles
from benchmarks.served import served
from features.records import Action, Event
from features.types import IntArray
from ranking import Engine

SIZES = (1, 50, 500)
CONNECTIONS = 8
ACTIONS = (Action.IMPRESSION, Action.CLICK, Action.WATCH, Action.LIKE)


def run(*, quick: bool) -> Report:
    """Batches of 1, 50 and 500 from eight connections, then from one caller in process."""
    report, market = Report("ingest"), QUICK if quick else FULL
    events = 10_000 if quick else 1_000_000
    batches = _Batches(market)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_market(home, market)
        with served(home, NOW_MS) as server:
            _over_http(report, server.address, batches.some(500, 10))
            report.rows.clear()
            acknowledged = [_over_http(report, server.address, batches.some(n, _how_many(events, n))) for n in SIZES]
            report.keep("ingest.events_per_second", float(report.rows[-1]["events_per_second"]), acknowledged[-1])
            report.ratios["live.effect_p99_ms"] = effects(report, server.address, NOW_MS, 50 if quick else 1_000)
        kept = sum(name.startswith("ingest-") for name in event_ids(home))
        if kept != batches.drawn:
            report.faults.append(f"{kept} of {batches.drawn} acknowledged events are in the log")
        with Engine.open(home) as engine:
            offset = engine.status(0).offset
            for size in SIZES:
                report.rows.append(_in_process(engine, batches.some(size, _how_many(events, size))))
            added = engine.status(0).offset - offset
    expected = sum(size * _how_many(events, size) for size in SIZES)
    if added != expected:
        report.faults.append(f"{added} of {expected} events were folded")
    return report


def _how_many(events: int, size: int) -> int:
    return max(min(events // size, 2_000), 20)


class _Batches:
    """Draws events of a market; no id comes twice."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._rng = np.random.default_rng(5)
        self.drawn = 0

    def some(self, size: int, times: int) -> list[list[Event]]:
        users = self._rng.integers(0, self._market.users, (times, size)).tolist()
        items = self._rng.integers(0, self._market.rooms + self._market.products, (times, size)).tolist()
        return [[self._event(u, i) for u, i in zip(*pair, strict=True)] for pair in zip(users, items, strict=True)]

    def _event(self, user: int, item: int) -> Event:
        number, self.drawn = self.drawn, self.drawn + 1
        return Event(f"ingest-{number}", NOW_MS, f"i{item}", ACTIONS[number % 4], f"u{user}", value=number % 60_000)


def _over_http(report: Report, address: str, batches: Sequence[Sequence[Event]]) -> IntArray:
    """Send batches, each as soon as a connection is idle; how many events were acknowledged in each whole second."""
    asks = [Ask("events", request("POST", "/v1/events", msgspec.json.encode(batch))) for batch in batches]
    heard = load(address, asks, None, CONNECTIONS)
    size = len(batches[0])
    row = heard.row(f"HTTP, batches of {size}", "events")
    accepted = int(heard.accepted.sum())
    report.rows.append({"events_per_second": size * float(row["per_second"]), **row})
    report.faults += heard.faults(0)
    if accepted != size * len(batches):
        report.faults.append(f"{accepted} of {size * len(batches)} events were accepted")
    return by_second(heard.done, heard.accepted)


def _in_process(engine: Engine, batches: Sequence[Sequence[Event]]) -> Row:
    took: list[float] = []
    for batch in batches:
        start = time.perf_counter()
        engine.append(batch, NOW_MS)
        took.append(1e3 * (time.perf_counter() - start))
    rate = 1e3 * len(took) / sum(took)
    return {
        "system": f"in process, batches of {len(batches[0])}",
        "events_per_second": rate * len(batches[0]),
        "requests": len(took),
        "per_second": rate,
        **quantiles(took),
    }
