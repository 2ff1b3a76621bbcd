"""A promotion beside what is served: how long until it is, the most memory it takes, and what pages take meanwhile.

Pages are timed before, while the bundle is made ready, and after; then back to the bundle before, whose lists are kept.
"""

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.market import NOW_MS
from benchmarks.people import PEOPLE, asking, people_of, settle
from benchmarks.report import Row, peaking, quantiles, resident_gib, say
from features.fold.storage import give_back
from ranking import Engine
from ranking.api import Feed
from ranking.bundles.bundle import load, save
from ranking.bundles.pointer import current
from serving import run

REST_S = 0.02
"""Between two pages: the promotion has a core of its own most of the time, as on a server at a third of its load."""
PAGES = 400
"""Pages that are asked for before and after."""


def swap_rows(home: Path) -> tuple[list[Row], dict[str, float]]:
    """Rows of a promotion in a process of its own, so that its memory is its own too; and ratios by name."""
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


def _swapped(home: Path, version: str) -> tuple[list[Row], dict[str, float]]:
    with Engine.open(home, writer=False) as engine:
        # As a server begins.
        engine.warm(NOW_MS)
        settle(engine.generation)
        run.settle()
        state = engine.generation.state
        ask = asking(engine, [state.users.name(user) for user in people_of(state)])
        _pages(ask, PEOPLE)
        give_back()
        before = _times(_pages(ask, PAGES))
        there, meanwhile, stages = _taken_up(engine, ask, version)
        after = _times(_pages(ask, PAGES))
        back, backwards, _ = _taken_up(engine, ask, current(home / "bundles").name)
    ratios = {
        "feed.swap_peak_gib": there["peak_gib"],
        "feed.swap_served_s": there["served_s"],
        "feed.swap_back_served_s": back["served_s"],
        "feed.swap_p50_ratio": meanwhile["p50_ms"] / before["p50_ms"],
        "feed.swap_p99_ratio": meanwhile["p99_ms"] / before["p99_ms"],
        "feed.swapped_p50_ratio": after["p50_ms"] / before["p50_ms"],
    }
    feeds = {"before a swap": before, "while it swaps": meanwhile, **stages, "after a swap": after}
    rows: list[Row] = [{"system": "swap", **there}, {"system": "swap back, lists kept", **back}]
    rows += [{"system": f"feeds {when}", **took} for when, took in feeds.items()]
    return [*rows, {"system": "feeds while it swaps back", **backwards}], ratios


def _taken_up(
    engine: Engine, ask: Callable[[], Feed], version: str
) -> tuple[dict[str, float], dict[str, float], dict[str, dict[str, float]]]:
    """Memory and seconds until a bundle is served; and what pages take meanwhile, by and large and by what is done."""
    during, before_gib, started = defaultdict[str, list[float]](list), resident_gib(), time.perf_counter()
    with ThreadPoolExecutor(1) as beside, peaking() as most:
        # As whoever watches the pointer does it.
        taking = beside.submit(lambda: engine.take_up(load(engine.bundles / version), lambda: NOW_MS))
        while not taking.done():
            coming = engine.status(NOW_MS).coming
            during[coming.stage if coming else "file"] += _pages(ask, 1)
        served_s = time.perf_counter() - started
        taking.result()
    memory = {"before_gib": before_gib, "peak_gib": most[0], "after_gib": resident_gib(), "served_s": served_s}
    stages = {f"while it swaps, its {stage}": _times(took) for stage, took in during.items()}
    return memory, _times([each for took in during.values() for each in took]), stages


def _pages(ask: Callable[[], Feed], count: int) -> list[float]:
    """Milliseconds of so many pages."""
    took: list[float] = []
    for _ in range(count):
        started = time.perf_counter()
        ask()
        took.append(1e3 * (time.perf_counter() - started))
        time.sleep(REST_S)
    return took


def _times(took: list[float]) -> dict[str, float]:
    return {name: float(value) for name, value in quantiles(took).items()} | {"max_ms": max(took), "pages": len(took)}
