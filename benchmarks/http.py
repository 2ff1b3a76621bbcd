"""What HTTP adds to a page: one server process on one core, the generator on another, connections kept."""

import tempfile
from pathlib import Path

from benchmarks.churn import PAGE, feed_asks
from benchmarks.load import Ask, Heard, load, poisson, request, steady
from benchmarks.market import NOW_MS, Market, make_market
from benchmarks.report import Report
from benchmarks.served import Served, served

FULL = Market(10_000, 100_000, 20_000, 400_000, 20_000, 100, 63)
QUICK = Market(2_000, 20_000, 4_000, 100_000, 4_000, 40, 31)
PEOPLE = tuple(f"u{n}" for n in range(64))
SHARE = 0.7
"""Of its capacity, that a server is asked for in an open loop."""


def run(*, quick: bool) -> Report:
    """An empty route and a page of 50: one at a time, as many as it can, and 70 % of that when they are due."""
    report = Report("http")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_market(home, QUICK if quick else FULL)
        with served(home, NOW_MS, PEOPLE * (4 if quick else 30), PAGE) as server:
            _measure(report, server, 300 if quick else 4_000)
    return report


def _measure(report: Report, server: Served, pages: int) -> None:
    health = [Ask("empty", request("GET", "/healthz"))] * 5 * pages
    feeds = feed_asks(PEOPLE, pages)
    load(server.address, feeds[:64], None, 1)
    _kept(report, "empty, 1 connection", load(server.address, health, None, 1), "empty")
    empty = _kept(report, "empty, 8 connections", load(server.address, health, None, 8), "empty")
    alone = _kept(report, "feed of 50, 1 connection", load(server.address, feeds, None, 1), "feed")
    busy = _kept(report, "feed of 50, 8 connections", load(server.address, feeds, None, 8), "feed")
    report.rows.append({"system": "feed of 50, in process", "p50_ms": server.feed_ms})
    report.ratios["http.overhead_ms"] = float(alone["p50_ms"]) - server.feed_ms
    report.ratios["http.empty_per_second"] = float(empty["per_second"])
    report.ratios["http.feeds_per_second"] = capacity = float(busy["per_second"])
    rate, seconds = SHARE * capacity, pages / (SHARE * capacity)
    for name, due in (("even", steady(rate, seconds)), ("Poisson", poisson(rate, seconds, seed=1))):
        heard = load(server.address, feeds[: len(due)], due, 64)
        _kept(report, f"feed of 50, 70 %, {name}", heard, "feed")


def _kept(report: Report, system: str, heard: Heard, kind: str) -> dict[str, str | float]:
    row = heard.row(system, kind)
    report.rows.append(row)
    report.faults += [f"{system}: {fault}" for fault in heard.faults(PAGE)]
    return row
