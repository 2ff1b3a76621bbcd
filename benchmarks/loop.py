"""The closed loop: what pages are worth in worlds whose truth is known, ranked by several systems on paired luck.

Every system answers the same visits of the same days from a home of its own, over the same stages; the world answers
its pages and they are folded back, so that what a system shows is what it learns of. Each may train anew every few days
on what it showed. The oracle ranks by the true expected gain. A page is worth the gain that every metric uses, with
scales by the world's own base rates: ``gain`` of what people did, ``expected`` of what the world says they would do at
slots that are looked at by one who is not tired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from benchmarks.report import Report, Row
from features.columns import is_static
from features.schema import FeatureSet
from features.state import FeatureState
from features.types import DoubleArray
from ranking.bundles.bundle import Bundle
from ranking.succession.successor import MakeRanker
from ranking.types import Batch
from ranking.value import ORDER
from seeds.world import Size, World
from training.loops.bubble import FIGURES
from training.loops.loop import World as AnyWorld
from training.loops.trial import FEWS, Arm, Lived
from training.loops.trials import Worlds
from training.loops.trials import run as run_trials

WARM_DAYS, QUICK_WARM_DAYS = 14, 4
SIZE = Size(users=60, hosts=40, videos=400, products=150, days=WARM_DAYS + 14, pages_per_day=12)
QUICK = Size(users=20, hosts=30, videos=250, products=80, days=QUICK_WARM_DAYS + 2, pages_per_day=6)
EXPLORE = "[explore]\nrate = 0.7\n"
DIVERSE = '[rerank]\nmethod = "dpp"\ntheta = 0.98\n'
EVERY = 7
"""Days between trainings."""
LATE = 4
"""The last days, when there is most to have learned."""


@dataclass(frozen=True)
class Popularity:
    """Every head by the item's own smoothed rate as of the moment, the same for everybody."""

    heads: tuple[str, ...]
    columns: tuple[int, ...]
    forest: None = None

    @classmethod
    def of(cls, bundle: Bundle, _: FeatureState) -> "Popularity":
        """The rates that the bundle's features hold."""
        names = bundle.feature_set.names
        columns = {head: f"item.{head}/impression@7d" for head in ORDER}
        return cls(
            tuple(head for head, name in columns.items() if name in names),
            tuple(names.index(name) for name in columns.values() if name in names),
        )

    def predict(self, batch: Batch, trees: int | None = None) -> DoubleArray:
        """The rates (n, heads)."""
        return batch.features[:, list(self.columns)].astype(np.float64)


@dataclass(frozen=True)
class Oracle:
    """Every head that the bundle has by the world's own probability."""

    world: AnyWorld
    state: FeatureState
    heads: tuple[str, ...]
    forest: None = None

    @classmethod
    def of(cls, world: AnyWorld, bundle: Bundle, state: FeatureState) -> "Oracle":
        """What knows the world."""
        return cls(world, state, tuple(head for head in ORDER if head in bundle.heads))

    def predict(self, batch: Batch, trees: int | None = None) -> DoubleArray:
        """The true chances (n, heads)."""
        query = batch.query
        ids = [self.state.items.name(row) for row in batch.rows.tolist()]
        truth = self.world.expected(query.user_id, ids, query.now_ms, query.context.surface)
        return np.column_stack([truth[head] for head in self.heads])


def popularity(_: AnyWorld) -> MakeRanker:
    """What ranks by popularity, in any world."""
    return Popularity.of


def oracle(world: AnyWorld) -> MakeRanker:
    """What knows a world."""
    return partial(Oracle.of, world)


def static(feature_set: FeatureSet) -> FeatureSet:
    """What can be known without a log: catalog and context alone."""
    columns = tuple(column for column in feature_set.columns if is_static(column))
    return FeatureSet(columns, feature_set.utc_offset_ms)


ARMS = (
    Arm("popularity", every=0, ranker=popularity),
    Arm("static", every=0, features=static),
    Arm("trained", every=EVERY),
    Arm("explore", EXPLORE + DIVERSE, every=EVERY),
    Arm("random slots", EXPLORE + "epsilon = 1.0\n" + DIVERSE, every=EVERY),
    Arm("oracle", every=0, ranker=oracle),
)


def make_world(size: Size, seed: int) -> World:
    """The world of a seed."""
    return World.create(seed, size)


def run(*, quick: bool) -> Report:
    """Every system through two days of one small world when quick, else fourteen of five larger ones."""
    report = Report("loop")
    arms = tuple(arm for arm in ARMS if arm.name != "random slots") if quick else ARMS
    size, warm_days = (QUICK, QUICK_WARM_DAYS) if quick else (SIZE, WARM_DAYS)
    worlds = Worlds(partial(make_world, size), 1 if quick else 5, warm_days)
    lived = run_trials(arms, worlds)
    for system, some in lived.items():
        row: Row = {"system": system, "seeds": len(some), "pages": int(np.mean([one.pages for one in some]))}
        for figure in ("gain", "expected"):
            means = [mean_of(one, figure) for one in some]
            row |= {figure: float(np.mean(means)), f"{figure}_±": half_width(means)}
        row |= {name: float(np.mean([mean_of(one, name) for one in some])) for name in FIGURES if name not in row}
        row |= {f"discovered_{few}": float(np.mean([one.discovery[few] for one in some])) for few in FEWS}
        report.rows.append(row)
    for system, some in lived.items():
        for day in range(len(some[0].figures["gain"])):
            of_day: Row = {"system": system, "day": day + 1}
            of_day |= {name: float(np.mean([one.figures[name][day] for one in some])) for name in FIGURES}
            report.rows.append(of_day)
    _judge(report, lived)
    return report


def _judge(report: Report, lived: dict[str, list[Lived]]) -> None:
    """Ratios of what became of the systems, in pairs by world; and whether the oracle knows what it should."""
    value = {system: np.array([mean_of(one, "expected") for one in some]) for system, some in lived.items()}
    low, gap = value["popularity"], value["oracle"] - value["popularity"]
    for system in ("static", "trained"):
        report.ratios[f"loop.{system}_gap_closed"] = float(np.sum(value[system] - low) / np.sum(gap))
    late = {system: np.array([mean_of(one, "expected", LATE) for one in lived[system]]) for system in value}
    report.ratios["loop.trained_gap_closed_late"] = float(
        np.sum(late["trained"] - late["popularity"]) / np.sum(late["oracle"] - late["popularity"])
    )
    gain, entropy = (
        {name: np.mean([mean_of(one, figure) for one in lived[name]]) for name in ("trained", "explore")}
        for figure in ("gain", "entropy")
    )
    report.ratios["loop.explore_gain_cost"] = float(1 - gain["explore"] / gain["trained"])
    report.ratios["loop.explore_entropy"] = float(entropy["explore"] / entropy["trained"])
    if "random slots" in lived:
        for few in FEWS:
            mine, theirs = (
                np.mean([one.discovery[few] for one in lived[name]]) for name in ("explore", "random slots")
            )
            if theirs > 0:
                report.ratios[f"loop.discovered_{few}_vs_random"] = float(mine / theirs)
    if not (gap > 0).all():
        report.faults.append("the oracle did not beat popularity")


def mean_of(lived: Lived, figure: str, last: int = 0) -> float:
    """A figure's mean over the days of a loop, or over so many last ones."""
    return float(np.nanmean(lived.figures[figure][-last:]))


def half_width(means: Sequence[float]) -> float:
    """Of the 95 % interval of a mean over seeds, by Student's t; NaN for one seed."""
    if len(means) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(means) - 1) * np.std(means, ddof=1) / np.sqrt(len(means)))
