"""Policies on trial: each lives through the same days of a world from the same beginning, and may learn from them."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from features.factors import unit
from features.logs.live import HomeLog
from features.logs.log import DAY_MS
from features.schema import FeatureSet
from features.types import DoubleArray
from ranking import Engine
from ranking.bundles.bundle import load
from ranking.bundles.pointer import current
from ranking.bundles.ranker import bundled
from ranking.succession.successor import MakeRanker
from ranking.value import ORDER
from training.learning.grower import Growth
from training.learning.recipe import Recipe
from training.loops.bubble import Facts, by_day, by_person, discovered
from training.loops.loop import Judge, Shown, Stretch, World, live
from training.one_call import train
from training.progress import Progress, quiet

PEOPLE = 32
"""What an item is truly worth is the mean of its expected gain over so many people."""
FEWS = (30, 50, 100)
"""Impressions within a first day by which discovery is told."""
BEST = 0.1
"""The share of what is new that ought to be discovered."""
GAINFUL = Growth(seeds=1, heads=ORDER)
"""Heads that the value weighs, and no others, of one seed: a loop trains often."""
ARM = "an arm of the trial serves what it learned last"


@dataclass(frozen=True, slots=True)
class Arm:
    """What is on trial: a policy (TOML, "" the default), what ranks, and how often it learns.

    ``every`` is the number of days between trainings, 0 for none; ``ranker`` makes what ranks in place of the bundle;
    ``features`` chooses those of a bundle of its own.
    """

    name: str
    policy: str = ""
    every: int = 1
    ranker: Callable[[World], MakeRanker] | None = None
    features: Callable[[FeatureSet], FeatureSet] | None = None


@dataclass(frozen=True, slots=True)
class Lived:
    """What became of an arm in a world: every figure of ``training.loops.bubble`` by day, (days,) each; and discovery.

    ``discovery`` is the share of the best tenth of what began in the loop that was shown so often within its first day,
    by how often; ``best`` counts that tenth; ``pages`` those shown; ``people`` is how narrow it was for each person, as
    ``training.loops.bubble.by_person`` tells it.
    """

    arm: str
    figures: dict[str, DoubleArray]
    discovery: dict[int, float]
    best: int
    pages: int
    people: dict[str, dict[str, float]] = field(default_factory=dict)


def begin(home: Path, world: World, since_ms: int) -> None:
    """Write the log of a world up to a moment into a home, and train on it."""
    with HomeLog(home / "log", writer=True) as log:
        log.import_tables(world.log(since_ms))
        train(log, home / "bundles", Recipe(until_ms=log.last_ms + 1, growth=GAINFUL))


def live_through(
    home: Path, folder: Path, world: World, judge: Judge, arm: Arm, stretch: Stretch, progress: Progress = quiet
) -> Lived:
    """Let an arm live through a stretch in a copy of a home that ``begin`` made, in a folder that is gone then."""
    vectors_of = load(current(home / "bundles")).factors.vectors_of
    shutil.copytree(home, folder)
    try:
        shown = _shown(folder, world, judge, arm, stretch, progress)
    finally:
        shutil.rmtree(folder)
    items = [judge.catalog[name] for name in shown.items]
    days = -(-(stretch.until_ms - stretch.since_ms) // DAY_MS)
    best = best_of_new(world, judge, stretch)
    shares = {few: float(np.mean([*discovered(shown, best, few).values(), *([] if best else [0])])) for few in FEWS}
    facts = Facts.of(items, judge.catalog, unit(vectors_of(items)))
    pages, people = int(shown.page.max()) + 1, by_person(shown, facts)
    return Lived(arm.name, by_day(shown, facts, days), shares, len(best), pages, people)


def _shown(home: Path, world: World, judge: Judge, arm: Arm, stretch: Stretch, progress: Progress) -> Shown:
    bundles = home / "bundles"
    (home / "policy.toml").write_text(arm.policy, "utf-8")
    if arm.features:
        feature_set = arm.features(load(current(bundles)).feature_set)
        with HomeLog(home / "log", writer=False) as log:
            own = Recipe(until_ms=stretch.since_ms, feature_set=feature_set, growth=GAINFUL)
            train(log, bundles, own, force=ARM)
    days = (stretch.until_ms - stretch.since_ms) // DAY_MS
    ranker = arm.ranker(world) if arm.ranker else bundled
    # What a trial lives through is thrown away: nothing waits for the disk.
    with Engine.open(home, ranker=ranker, durability="relaxed") as engine:

        def midnight(now_ms: int) -> None:
            day = (now_ms - stretch.since_ms) // DAY_MS
            progress(arm.name, day, days)
            if arm.every and day % arm.every == 0:
                engine.flush()
                with HomeLog(home / "log", writer=False) as log:
                    train(log, bundles, Recipe(until_ms=now_ms, growth=GAINFUL), force=ARM)
                engine.take_up(load(current(bundles)), lambda: now_ms)

        return live(world, engine, judge, stretch, midnight)


def best_of_new(world: World, judge: Judge, stretch: Stretch) -> dict[str, int]:
    """The tenth that is worth most of all that begins a day before a stretch ends or earlier, and when each begins."""
    begun = {name: item.live_from_ms or item.ts_ms for name, item in judge.catalog.items()}
    new = [name for name, at in begun.items() if stretch.since_ms <= at < stretch.until_ms - DAY_MS]
    people = world.visits(stretch.since_ms, stretch.until_ms).user_id[:: max(1, PEOPLE)][:PEOPLE]
    worth = [
        np.mean([judge.expected(world, one, [name], begun[name] + 1000, "feed")[0] for one in people]) for name in new
    ]
    best = np.argsort(-np.array(worth), kind="stable")[: int(np.ceil(BEST * len(new)))]
    return {new[place]: begun[new[place]] for place in best.tolist()}
