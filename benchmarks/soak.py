"""A server at 70 % of what it can do, for minutes, while rooms come and go: it holds, and stays as large as it was."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.churn import PAGE, SHARE, World, feed_asks
from benchmarks.effect import effects
from benchmarks.http import FULL, PEOPLE, QUICK
from benchmarks.load import LOAD_CORE, Heard, load, pin, poisson
from benchmarks.market import NOW_MS, Market, make_market
from benchmarks.report import Report, Row, resident_gib
from benchmarks.served import Served, served

CONNECTIONS = 64
LOOK_S = 0.25
"""How often the server's memory is looked at."""
SETTLED = 0.25
"""The share of a run after which memory is judged: caches and pools fill at first."""


def run(*, quick: bool) -> Report:
    """Five minutes; eight seconds of a small market when quick, which say little of memory."""
    report, market = Report("soak"), QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_market(home, market)
        with served(home, NOW_MS) as server:
            _measure(report, server, market, 400 if quick else 4_000, 8.0 if quick else 300.0)
    return report


def _measure(report: Report, server: Served, market: Market, pages: int, seconds: float) -> None:
    world = World(NOW_MS, PEOPLE, [f"i{n}" for n in range(market.rooms)], pulse=True)
    load(server.address, feed_asks(PEOPLE, 128), None, 1)
    closed = load(server.address, world.mix(np.arange(pages) / 300, pages / 300)[0], None, 8)
    capacity = float(closed.row("", "feed")["per_second"])
    asks, due = world.mix(poisson(SHARE * capacity, seconds, seed=1), seconds)
    pin(LOAD_CORE)
    with _beside(report, server, seconds), _memory(report, server.process):
        heard = load(server.address, asks, due, CONNECTIONS)
    report.rows.append(closed.row("feed and events, 8 connections", "feed"))
    report.rows += [heard.row(f"feed and events, 70 %, Poisson: {kind}", kind) for kind in ("feed", "events", "rooms")]
    judge(report, heard)


def judge(report: Report, heard: Heard) -> None:
    """What was wrong with the answers, and their quantiles unless the generator was late itself."""
    report.faults += heard.faults(PAGE)
    report.ratios["soak.dead_rooms"] = float(len(heard.dead))
    report.ratios["soak.errors"] = float((heard.status != 200).sum())
    if not heard.is_void:
        for name, q in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999)):
            report.ratios[f"soak.{name}_ms"] = float(np.quantile(heard.took_ms("feed"), q))


@contextmanager
def _beside(report: Report, server: Served, seconds: float) -> Iterator[None]:
    """Changes made one by one meanwhile, each looked for as soon as it is acknowledged."""
    found: list[float] = []

    def change() -> None:
        found.append(effects(report, server.address, NOW_MS, int(2 * seconds), 0.25))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    report.ratios["soak.effect_p99_ms"] = found[0]


@contextmanager
def _memory(report: Report, process: int) -> Iterator[None]:
    """What a process holds meanwhile; the growth is the share by which a straight line through it rises at last."""
    held: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_S):
            held.append(resident_gib(process))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    settled = np.array(held[int(SETTLED * len(held)) :])
    slope, start = np.polyfit(np.arange(len(settled)), settled, 1).tolist()
    report.ratios["soak.memory_growth"] = slope * len(settled) / start
    per_minute = 1024 * slope * 60 / LOOK_S
    row: Row = {"system": "memory", "first_gib": held[0], "last_gib": held[-1], "most_gib": max(held)}
    report.rows.append(row | {"mib_per_minute": per_minute})
