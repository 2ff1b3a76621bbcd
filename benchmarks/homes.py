"""Homes that benchmarks share: a small simulated world with a trained bundle, made once a run."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from features.logs.live import HomeLog
from features.schema import FeatureSet
from seeds.world import Size, World
from training.learning.grower import Growth
from training.learning.recipe import Recipe
from training.one_call import train


def make_home(
    folder: Path,
    world: World,
    until_ms: int | None = None,
    feature_set: FeatureSet | None = None,
    heads: tuple[str, ...] = (),
) -> Path:
    """A home with the world's log before ``until_ms`` and a bundle trained on all of it, of every head or of some."""
    with HomeLog(folder / "log", writer=True) as log:
        log.import_tables(world.log(until_ms))
        # One seed: what runs over these homes asks whether answers are right, not how good they are.
        recipe = Recipe(until_ms=log.last_ms + 1, feature_set=feature_set, growth=Growth(seeds=1, heads=heads))
        train(log, folder / "bundles", recipe)
    return folder


@cache
def small_home() -> Path:
    """A home of a small world; copy it before writing to it. Gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="huozhao-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_home(folder / "home", World.create(0, Size.small()))
