"""The closed loop: what pages are worth in a world whose truth is known, ranked by four systems on paired luck.

Every system answers the same visits from a home of its own, over the same candidates and the same mixer; the world
answers its pages and they are folded back, so that what a system shows is what it learns of. The oracle ranks by the
true expected gain. A page is worth the gain that every metric uses, with the scales of the trained bundle: ``gain`` of
what people did, and ``expected`` of what the world says they would do at slots that are looked at.
"""

import bisect
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.homes import make_home
from benchmarks.report import Report, Row
from features.log import DAY_MS, records_of
from features.outcomes import KIND_CODES, ROOM_TYPE_CODES, is_complete
from features.records import Action, Event, Item
from features.schema import Age, Category, Column, FeatureSet, InContext
from features.state import FeatureState
from features.types import DoubleArray
from ranking import Engine, FeedRequest
from ranking.bundle import Bundle, current, load
from ranking.engine import bundled
from ranking.types import Batch, Feed, Ranker
from ranking.value import ORDER, Weights, gain
from seeds.world import Size, World

PAGE = 10
SIZE = Size(users=1_500, hosts=100, videos=2_500, products=800, days=4)
MINUTE_MS = 60_000
MakeRanker = Callable[[Bundle, FeatureState], Ranker]


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
    """Every head by the world's own probability."""

    world: World
    names: Sequence[str]
    heads: tuple[str, ...] = ORDER
    forest: None = None

    def predict(self, batch: Batch, trees: int | None = None) -> DoubleArray:
        """The true chances (n, heads)."""
        query = batch.query
        ids = [self.names[row] for row in batch.rows.tolist()]
        truth = self.world.expected(query.user_id, ids, query.now_ms, query.context.surface)
        return np.column_stack([truth[head] for head in self.heads])


def run(*, quick: bool) -> Report:
    """Gain a page of every system, served on the last day of one small world when quick, else of five larger ones."""
    report = Report("loop")
    seeds, pages, size = (1, 250, Size.small()) if quick else (5, 1_500, SIZE)
    worth: dict[str, list[DoubleArray]] = {}
    for seed in range(seeds):
        for system, mean in _systems(World.create(seed, size), pages).items():
            worth.setdefault(system, []).append(mean)
    popular, best = (np.mean(worth[system], axis=0) for system in ("popularity", "oracle"))
    for system, means in worth.items():
        value = np.mean(means, axis=0)
        row: Row = {"system": system, "seeds": seeds, "pages": pages}
        for k, figure in enumerate(("gain", "expected")):
            row |= {figure: float(value[k]), f"{figure}_±": _half_width([float(mean[k]) for mean in means])}
        report.rows.append(row)
        report.ratios[f"loop.{system}_gap_closed"] = float((value[1] - popular[1]) / (best[1] - popular[1]))
    if not (popular < best).all():
        report.faults.append("the oracle did not beat popularity")
    return report


def _half_width(means: Sequence[float]) -> float:
    """Of the 95 % interval of a mean over seeds, by Student's t; NaN for one seed."""
    if len(means) < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, len(means) - 1) * np.std(means, ddof=1) / np.sqrt(len(means)))


def _systems(world: World, pages: int) -> dict[str, DoubleArray]:
    # The last day is left for the loop.
    until_ms = world.end_ms - DAY_MS
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder) / "home", world, until_ms)
        bundle = load(current(home / "bundles"))
        plain = make_home(Path(folder) / "plain", world, until_ms, _static(bundle.feature_set))
        systems: dict[str, tuple[Path, MakeRanker]] = {
            "popularity": (home, Popularity.of),
            "static": (plain, bundled),
            "trained": (home, bundled),
            "oracle": (home, lambda _, state: Oracle(world, state.items.names)),
        }
        means = {}
        for system, (origin, ranker) in systems.items():
            copy = Path(folder) / system
            shutil.copytree(origin, copy)
            with Engine.open(copy, ranker=ranker) as engine:
                means[system] = _live(world, engine, bundle, until_ms, pages)
        return means


def _static(feature_set: FeatureSet) -> FeatureSet:
    """What can be known without a log: catalog and context alone."""
    columns = tuple(c for c in feature_set.columns if isinstance(c, Column | Category | Age | InContext))
    return FeatureSet(columns, feature_set.utc_offset_ms)


def _live(world: World, engine: Engine, bundle: Bundle, since_ms: int, pages: int) -> DoubleArray:
    """Mean gain and mean expected gain (2,) of the first ``pages`` pages opened from ``since_ms`` on."""
    visits = world.visits(since_ms, world.end_ms)
    asked = list(zip(visits.user_id, visits.time_ms.tolist(), visits.surface, strict=True))[:pages]
    until_ms = asked[-1][1]
    coming = records_of(world.room_records(since_ms, until_ms))
    known = [*records_of(world.catalog()), *records_of(world.room_records(world.start_ms, until_ms))]
    catalog = {record.item_id: record for _, record in known if isinstance(record, Item)}
    total = np.zeros(2)
    for number, (user, now_ms, surface) in enumerate(asked):
        coming.sort(key=lambda pair: pair[0])
        due = bisect.bisect_right(coming, now_ms, key=lambda pair: pair[0])
        if due and now_ms - coming[0][0] >= MINUTE_MS:
            engine.append([record for _, record in coming[:due]], now_ms)
            del coming[:due]
        feed = engine.feed(FeedRequest(user_id=user, surface=surface, count=PAGE), now_ms, f"loop-{number}")
        page = [item.item_id for item in feed.items]
        answer = world.respond(user, page, now_ms, feed.request_id, number, surface)
        coming += answer
        total += _worth(world, feed, [event for _, event in answer], catalog, bundle)
    return total / len(asked)


def _worth(world: World, feed: Feed, events: Sequence[Event], catalog: dict[str, Item], bundle: Bundle) -> DoubleArray:
    """The gain of a page's outcomes, and of their true probabilities."""
    known = tuple(head for head in ORDER if head in bundle.heads)
    kinds = np.array([KIND_CODES[item.kind] for item in feed.items], np.uint8)
    page = [item.item_id for item in feed.items]
    truth = world.expected(feed.user_id, page, feed.now_ms, feed.surface)
    outcomes = _outcomes(page, events, catalog, known)
    scale = bundle.scales_of(known)
    sums = [
        gain(y, known, kinds, scale, Weights()).sum()
        for y in (outcomes, np.column_stack([truth[head] for head in known]))
    ]
    return np.array(sums)


def _outcomes(
    page: Sequence[str], events: Sequence[Event], catalog: dict[str, Item], heads: Sequence[str]
) -> DoubleArray:
    y = np.zeros((len(page), len(heads)))
    slots = {item: slot for slot, item in enumerate(page)}
    for event in events:
        head, done = str(event.action), True
        if event.action is Action.WATCH and event.item_id in slots:
            item, head = catalog[event.item_id], "complete"
            done = is_complete(KIND_CODES[item.kind], ROOM_TYPE_CODES[item.room_type], item.duration_ms, event.value)
        if event.item_id in slots and head in heads and done:
            y[slots[event.item_id], heads.index(head)] = 1.0
    return y
