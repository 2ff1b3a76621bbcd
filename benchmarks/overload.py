"""Three times what a server can do: what it still answers in time, and how it turns the rest away."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.churn import feed_asks
from benchmarks.http import FULL, PEOPLE, QUICK
from benchmarks.load import Heard, by_second, load, poisson
from benchmarks.market import NOW_MS, make_market
from benchmarks.report import Report
from benchmarks.served import served
from features.types import BoolArray

DEADLINE_MS = 50
TIMES = 3
AT_ONCE = (4, 8, 16)
"""Connections that the peak is looked for with: too few leave the server idle between pages, too many make it late."""
CONNECTIONS = 256
"""More than can wait at once, so that none waits for a connection."""
OK, TURNED_AWAY = 200, 429


def run(*, quick: bool) -> Report:
    """The most that a few connections get, each page after the one before; then three times that when it is due."""
    report = Report("overload")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_market(home, QUICK if quick else FULL)
        with served(home, NOW_MS) as server:
            measure(report, server.address, 500 if quick else 4_000, 4 if quick else 30)
    return report


def measure(report: Report, address: str, pages: int, seconds: float) -> None:
    """Rows of all runs; the ratios are those of the last, none where its generator was late itself.

    ``goodput_share`` counts pages of every rung that came in time, ``whole_share`` those of the first rung alone, both
    beside the pages in time of the best run before. A refusal that is late is a late answer as well.
    """
    load(address, feed_asks(PEOPLE, 256, DEADLINE_MS), None, 8)
    closed = {n: load(address, feed_asks(PEOPLE, pages, DEADLINE_MS), None, n) for n in AT_ONCE}
    best = max(closed.values(), key=_goodput)
    due = poisson(TIMES * len(best.done) / float(best.done.max()), seconds, seed=1)
    judge(report, closed, load(address, feed_asks(PEOPLE, len(due), DEADLINE_MS), due, CONNECTIONS))


def judge(report: Report, closed: Mapping[int, Heard], heard: Heard) -> None:
    """Rows and ratios of what was heard at capacity, by connections, and beyond it."""
    for connections, one in closed.items():
        _kept(report, f"{connections} connections, each at once", one)
    _kept(report, f"{TIMES} times that, Poisson", heard)
    if heard.is_void:
        return
    peak = max(map(_goodput, closed.values()))
    took, whole = heard.took_ms("feed"), _in_time(heard) & heard.whole
    for name, good in (("goodput", _in_time(heard)), ("whole", whole)):
        seconds = by_second(heard.done, good.astype(np.int64))
        report.keep(f"overload.{name}_share", _per_second(heard, good) / peak, seconds / peak)
    report.ratios |= {
        "overload.past_deadline_share": float(np.mean(took > 1.1 * DEADLINE_MS)),
        "overload.past_twice": float(np.sum(took > 2 * DEADLINE_MS)),
    }


def _kept(report: Report, system: str, heard: Heard) -> None:
    pages = heard.status == OK
    counts = {"pages": pages.sum(), "in_time": _in_time(heard).sum(), "whole": heard.whole.sum()}
    refused = heard.took_ms("feed")[~pages]
    row = heard.row(system, "feed") | {name: int(count) for name, count in counts.items()}
    if len(refused):
        row |= {"refused_p50_ms": float(np.median(refused)), "refused_max_ms": float(refused.max())}
    report.rows.append(row)
    strange = int((~np.isin(heard.status, (OK, TURNED_AWAY))).sum())
    report.faults += [f"{system}: {strange} answers were neither a page nor a refusal"] if strange else []
    empty = int((heard.items[pages] == 0).sum())
    report.faults += [f"{system}: {empty} pages were empty"] if empty else []


def _in_time(heard: Heard) -> BoolArray:
    in_time: BoolArray = (heard.status == OK) & (heard.took_ms("feed") <= DEADLINE_MS)
    return in_time


def _goodput(heard: Heard) -> float:
    return _per_second(heard, _in_time(heard))


def _per_second(heard: Heard, chosen: BoolArray) -> float:
    return float(chosen.sum() / (heard.done.max() - heard.due.min()))
