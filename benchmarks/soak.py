"""A server at 70 % of what it can do, for minutes, while rooms come and go: it holds, and stays as large as it was.

Twice: with all the time in the world, so that every answer must be a whole page, however long it took; and with the
deadline that requests have by default, so that the ladder is seen at work.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.churn import PAGE, SHARE, World, feed_asks
from benchmarks.effect import effects
from benchmarks.http import FULL, PEOPLE, QUICK
from benchmarks.load import LOAD_CORE, Heard, load, pin, poisson
from benchmarks.market import NOW_MS, Market, make_market
from benchmarks.report import Report, Row, quantiles, resident_gib
from benchmarks.served import Served, served
from benchmarks.standstill import Stood, watched
from ranking import FeedRequest

CONNECTIONS = 64
DEADLINE_MS = FeedRequest().deadline_ms
OK, TURNED_AWAY = 200, 429
LOOK_S = 0.25
"""How often the server's memory is looked at."""
SETTLED = 0.25
"""The share of a run after which memory is judged: caches and pools fill at first."""


class Plan(NamedTuple):
    """Pages that capacity is measured with, and seconds with patience and with the default deadline."""

    market: Market
    pages: int
    patient_s: float
    hurried_s: float


def run(*, quick: bool) -> Report:
    """Five minutes and two; six seconds each of a small market when quick, which say little of memory."""
    plan = Plan(QUICK, 400, 6.0, 6.0) if quick else Plan(FULL, 4_000, 300.0, 120.0)
    report = Report("soak")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_market(home, plan.market)
        with served(home, NOW_MS) as server, watched() as stood:
            _measure(report, server, plan, stood)
            report.rows.append(stood.row())
    return report


def _measure(report: Report, server: Served, plan: Plan, stood: Stood) -> None:
    world = World(NOW_MS, PEOPLE, [f"i{n}" for n in range(plan.market.rooms)], pulse=True)
    load(server.address, feed_asks(PEOPLE, 128), None, 1)
    closed = load(server.address, world.mix(np.arange(plan.pages) / 300, plan.pages / 300)[0], None, 8)
    rate = SHARE * float(closed.row("", "feed")["per_second"])
    pin(LOAD_CORE)
    asks, due = world.mix(poisson(rate, plan.patient_s, seed=1), plan.patient_s)
    with _beside(report, server, plan.patient_s), _memory(report, server.process):
        heard = load(server.address, asks, due, CONNECTIONS)
    report.rows.append(closed.row("feed and events, 8 connections", "feed"))
    report.rows += [heard.row(f"feed and events, 70 %, Poisson: {kind}", kind) for kind in ("feed", "events", "rooms")]
    judge(report, heard)
    asks, due = world.mix(poisson(rate, plan.hurried_s, seed=2), plan.hurried_s, DEADLINE_MS)
    judge_hurried(report, load(server.address, asks, due, CONNECTIONS), stood)


def judge(report: Report, heard: Heard) -> None:
    """What was wrong with the answers, and their quantiles unless the generator was late itself."""
    report.faults += heard.faults(PAGE)
    report.ratios["soak.dead_rooms"] = float(len(heard.dead))
    report.ratios["soak.errors"] = float((heard.status != OK).sum())
    if not heard.is_void:
        for name, q in (("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999)):
            report.ratios[f"soak.{name}_ms"] = float(np.quantile(heard.took_ms("feed"), q))


def judge_hurried(report: Report, heard: Heard, stood: Stood) -> None:
    """Pages by rung, refusals and what was late where each has the default deadline; a refusal is no error."""
    feeds = heard.kind == "feed"
    status, level, took = heard.status[feeds], heard.level[feeds], heard.took_ms("feed")
    refused, late = status == TURNED_AWAY, took > DEADLINE_MS
    named = np.where(refused, "refused", level)
    for rung in dict.fromkeys(["full", "light", "popular", "last", "refused", *named.tolist()]):
        if (of_rung := named == rung).any():
            shares: Row = {
                "answers": int(of_rung.sum()),
                "share": float(of_rung.mean()),
                "late": int(late[of_rung].sum()),
            }
            report.rows.append({"within_50_ms": rung or "error", **shares, **quantiles(took[of_rung].tolist())})
    report.rows.append(heard.row(f"feed and events, 70 %, {DEADLINE_MS} ms: feed", "feed"))
    moments = heard.began + np.column_stack([heard.due, heard.done])[feeds][late]
    report.rows += [{"late_ms": 1e3 * (b - a), "machine_stood_ms": stood.longest_ms(a, b)} for a, b in moments.tolist()]
    wrong = (heard.status != OK) & ~(feeds & (heard.status == TURNED_AWAY))
    short = int(((status == OK) & (heard.items[feeds] != PAGE)).sum())
    report.ratios |= {
        "soak.deadline_errors": float(wrong.sum()),
        "soak.deadline_dead_rooms": float(len(heard.dead)),
        "soak.deadline_refused_share": float(refused.mean()),
    }
    if not heard.is_void:
        report.ratios["soak.deadline_whole_share"] = float((level == "full").mean())
        report.ratios["soak.deadline_late_share"] = float(late.mean())
    for count, what in ((int(wrong.sum()), "answers were neither 200 nor a refused page"), (short, "pages were short")):
        report.faults += [f"default deadline: {count} {what}"] if count else []
    report.faults += [f"room {name} was shown after its end was acknowledged" for name in heard.dead[:5]]


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
