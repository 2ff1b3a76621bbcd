"""A promotion beside what is served: the most memory it takes, how long, and what pages take meanwhile."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.market import NOW_MS
from benchmarks.people import asking, people_of, settle
from benchmarks.report import Row, peaking, quantiles, resident_gib, say
from features.fold.storage import give_back
from ranking import Engine
from ranking.api import Feed
from ranking.bundles.bundle import load, save
from ranking.bundles.pointer import current
from ranking.index.listed import ListedIndex

REST_S = 0.02
"""Between two pages: the promotion has a core of its own most of the time, as on a server at a third of its load."""


def swap_rows(home: Path) -> tuple[list[Row], float]:
    """Rows of a promotion in a process of its own, so that its memory is its own too; and the peak in GiB."""
    say("a promotion")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as trains:
        version = trains.submit(_another, home).result()
    with ProcessPoolExecutor(1, spawn) as serves:
        return serves.submit(_swapped, home, version).result()


def _another(home: Path) -> str:
    """A second bundle of the same features: its vectors are the first's, mirrored.

    Vectors, codes, indexes and lists must all be made anew for it, as after any training, and it ranks the same.
    """
    bundle = load(current(home / "bundles"))
    names = ("items", "authors", "categories", "words")
    mirrored = replace(bundle.factors, **{name: -getattr(bundle.factors, name) for name in names})
    return save(replace(bundle, factors=mirrored), home / "bundles", {}).name


def _swapped(home: Path, version: str) -> tuple[list[Row], float]:
    with Engine.open(home, writer=False) as engine, ThreadPoolExecutor(1) as beside:
        settle(engine.generation)
        state = engine.generation.state
        people = [state.users.name(user) for user in people_of(state)]
        ask = asking(engine, people)
        for _ in people:
            ask()
        give_back()
        before, started = resident_gib(), time.perf_counter()
        with peaking() as most:
            # As whoever watches the pointer does it.
            taking = beside.submit(lambda: engine.take_up(load(home / "bundles" / version), lambda: NOW_MS))
            during = _pages(ask, taking.done)
            taking.result()
            taken_s = time.perf_counter() - started
            after = _pages(ask, lambda: not _is_training(engine))
        row: Row = {"system": "swap", "before_gib": before, "peak_gib": most[0], "after_gib": resident_gib()}
        row |= {"taken_up_s": taken_s, "trained_s": time.perf_counter() - started}
    return [
        row,
        {"system": "feeds while it swaps", **quantiles(during)},
        {"system": "feeds while its lists are trained", **quantiles(after)},
    ], most[0]


def _pages(ask: Callable[[], Feed], over: Callable[[], bool]) -> list[float]:
    """Milliseconds of pages that are asked for until something is over, one at least."""
    took: list[float] = []
    while not (took and over()):
        started = time.perf_counter()
        ask()
        took.append(1e3 * (time.perf_counter() - started))
        time.sleep(REST_S)
    return took


def _is_training(engine: Engine) -> bool:
    indexes = engine.generation.indexes.values()
    return any(index.is_training for index in indexes if isinstance(index, ListedIndex))
