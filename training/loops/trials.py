"""Arms on trial in many worlds, in processes of their own: every arm begins where every other does, world by world."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from features.logs.log import DAY_MS
from training.loops.loop import Judge, Stretch, World
from training.loops.trial import Arm, Lived, begin, live_through
from training.progress import Progress, quiet


@dataclass(frozen=True, slots=True)
class Worlds:
    """Worlds that arms live in: made by seed, 0 the first; they begin after so many days of the world's own log.

    ``make`` is called in other processes, so it is a function of a module, or a ``functools.partial`` of one.
    """

    make: Callable[[int], World]
    seeds: int
    warm_days: int


def run(arms: Sequence[Arm], worlds: Worlds, progress: Progress = quiet) -> dict[str, list[Lived]]:
    """What became of each arm in each world, by name, worlds by seed."""
    count = max(1, min(worlds.seeds * len(arms), os.cpu_count() or 1))
    pool = ProcessPoolExecutor(count, get_context("spawn"))
    with TemporaryDirectory(prefix="huozhao-") as folder, pool:
        place = Path(folder)
        begun = [pool.submit(_begun, place, worlds, seed) for seed in range(worlds.seeds)]
        for done, one in enumerate(as_completed(begun), 1):
            one.result()
            progress("living the first days and training", done, len(begun))
        tasks = [[pool.submit(_lived, place, worlds, seed, arm) for seed in range(worlds.seeds)] for arm in arms]
        flat = [task for some in tasks for task in some]
        for done, task in enumerate(as_completed(flat), 1):
            task.result()
            progress("living through the days", done, len(flat))
    return {arm.name: [one.result() for one in some] for arm, some in zip(arms, tasks, strict=True)}


def _begun(folder: Path, worlds: Worlds, seed: int) -> None:
    world = worlds.make(seed)
    begin(folder / str(seed), world, world.start_ms + worlds.warm_days * DAY_MS)


def _lived(folder: Path, worlds: Worlds, seed: int, arm: Arm) -> Lived:
    world = worlds.make(seed)
    stretch = Stretch(world.start_ms + worlds.warm_days * DAY_MS, world.end_ms)
    return live_through(folder / str(seed), folder / f"{seed}-{arm.name}", world, Judge.of(world), arm, stretch)
