"""From a log of a million records to a bundle of all heads: seconds by stage, and the most memory that was held."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from benchmarks.report import Report, Row, peak_gib
from features.logs.live import HomeLog
from ranking.bundles.bundle import load
from seeds.world import Size, World
from training.learning.recipe import Recipe
from training.one_call import train

P = ParamSpec("P")
T = TypeVar("T")
ALWAYS = ("complete", "like")
"""Heads that any world has enough of."""


def run(*, quick: bool) -> Report:
    """The simulated world of ``Size.standard()``, the small one when quick; as ``huozhao train`` does it."""
    report = Report("train")
    with tempfile.TemporaryDirectory() as folder:
        # A process for each: what makes the log must not count in the memory of what trains.
        records = _apart(make_log, Path(folder), Size.small() if quick else Size.standard())
        stages, whole = _apart(train_log, Path(folder))
    report.rows = [{"system": "huozhao", "stage": name, "seconds": seconds} for name, seconds in stages.items()]
    report.rows.append({"system": "huozhao", "records": records, **whole})
    seconds = sum(stages.values())
    report.ratios = {"train.minutes": seconds / 60, "train.memory_gib": float(whole["peak_gib"])}
    if missing := [head for head in ALWAYS if head not in str(whole["heads"]).split()]:
        report.faults.append(f"the bundle has no head for {', '.join(missing)}")
    return report


def _apart(job: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(job, *given, **named).result()


def make_log(folder: Path, size: Size) -> int:
    """Write a world's log; returns how many records it has."""
    with HomeLog(folder / "log", writer=True) as log:
        log.import_tables(World.create(0, size).log())
        return log.end()


def train_log(folder: Path) -> tuple[dict[str, float], Row]:
    """Train on a whole log: seconds of each stage, from its first word to the next one's, and a row of the whole."""
    began: dict[str, float] = {}
    with HomeLog(folder / "log", writer=True) as log:

        def progress(stage: str, _done: int, _of: int) -> None:
            began.setdefault(stage, time.perf_counter())

        result = train(log, folder / "bundles", Recipe(until_ms=log.last_ms + 1), progress=progress)
        ended = time.perf_counter()
    bundle = load(result.place)
    starts = [*began.values(), ended]
    stages = {stage: after - start for stage, start, after in zip(began, starts, starts[1:], strict=False)}
    return stages, {
        "impressions": sum(result.rows.values()),
        "heads": " ".join(bundle.heads),
        "seconds": ended - starts[0],
        "peak_gib": peak_gib(),
    }
