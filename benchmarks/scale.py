"""How a feed's time and a home's memory grow: with items, users, candidates and threads, one varied at a time."""

import itertools
import multiprocessing
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.feed import people_of
from benchmarks.market import NOW_MS, Market, make_market
from benchmarks.report import Report, Row, quantiles, resident_gib, say
from features.state import FeatureState
from ranking import Engine, FeedRequest
from ranking.bundle import Bundle
from ranking.ranker import bundled
from ranking.types import Ranker

PAGE, PEOPLE = 50, 64
POLICY = """\
sources = ["live", "products"]
candidates = {each}

[surfaces.feed]
kinds = ["room", "product"]
bounds = [{{ of = "author", at_most = 1, window = 4 }}]
"""


@dataclass(frozen=True)
class Point:
    """What a feed is measured at; a tenth of the items are rooms, half of the candidates come from each kind."""

    items: int
    users: int
    candidates: int
    threads: int


class Plan(NamedTuple):
    """The point that all others differ from in one thing, what they vary, and how much is asked at each."""

    base: Point
    vary: dict[str, tuple[int, ...]]
    samples: int
    trees: int
    leaves: int
    feeds: int


FULL = Plan(
    Point(items=30_000, users=30_000, candidates=1_000, threads=1),
    {
        "items": (10_000, 30_000, 100_000, 300_000, 1_000_000),
        "users": (10_000, 30_000, 100_000, 1_000_000),
        "candidates": (100, 300, 1_000, 2_500, 5_000),
        "threads": (1, 2),
    },
    samples=6_000,
    trees=300,
    leaves=63,
    feeds=400,
)
QUICK = Plan(
    Point(items=2_000, users=1_000, candidates=300, threads=1),
    {"items": (2_000, 6_000), "candidates": (100, 300), "threads": (1, 2)},
    samples=4_000,
    trees=20,
    leaves=15,
    feeds=30,
)


def run(*, quick: bool) -> Report:
    """10,000 to 1M items and users, 100 to 5,000 candidates, one and two threads; three small curves when quick."""
    return curves(QUICK if quick else FULL)


def curves(plan: Plan) -> Report:
    """Measure the points of a plan, each in a process of its own, so that memory is its own too."""
    report = Report("scale")
    measured: dict[Point, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        for varied, values in plan.vary.items():
            for value in values:
                point = replace(plan.base, **{varied: value})
                home = Path(folder) / f"{point.items}-{point.users}"
                if not home.exists():
                    say(f"making a home of {point.items:,} items and {point.users:,} people")
                    make_market(home, _market(point, plan))
                if point not in measured:
                    say(f"asking it: {varied} {value:,}")
                    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                        measured[point] = pool.submit(measure, home, point, plan.feeds).result()
                report.rows.append({"system": "huozhao", "vary": varied, **asdict(point), **measured[point]})
                if measured[point]["page"] != PAGE:
                    report.faults.append(f"{point}: pages of {measured[point]['page']} instead of {PAGE} items")
    for varied in plan.vary:
        first, *_, last = [row for row in report.rows if row["vary"] == varied]
        name = "feeds_per_second" if varied == "threads" else "p50_ms"
        report.ratios[f"scale.{varied}_{name}"] = float(last[name]) / float(first[name])
    return report


def _market(point: Point, plan: Plan) -> Market:
    rooms = point.items // 10
    return Market(rooms, point.items - rooms, point.users, 4 * point.users, plan.samples, plan.trees, plan.leaves)


def measure(home: Path, point: Point, feeds: int) -> Row:
    """Open a home and ask for pages from so many threads."""
    (home / "policy.toml").write_text(POLICY.format(each=point.candidates // 2), "utf-8")
    kept: list[FeatureState] = []

    def keeping(bundle: Bundle, state: FeatureState) -> Ranker:
        kept.append(state)
        return bundled(bundle, state)

    started = time.perf_counter()
    with Engine.open(home, writer=False, ranker=keeping) as engine:
        opened = time.perf_counter() - started
        people = [kept[0].users.name(user) for user in people_of(kept[0])]
        _ask(engine, people, PEOPLE, [], [])
        took: list[float] = []
        pages: list[int] = []
        started = time.perf_counter()
        asking = [
            threading.Thread(target=_ask, args=(engine, people, feeds // point.threads, took, pages))
            for _ in range(point.threads)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        per_second = len(took) / (time.perf_counter() - started)
        made: Row = {"page": min(pages), "open_s": opened, "resident_gib": resident_gib()}
    return made | {"feeds_per_second": per_second} | quantiles(took)


def _ask(engine: Engine, people: list[str], feeds: int, took: list[float], pages: list[int]) -> None:
    for number, user in enumerate(itertools.islice(itertools.cycle(people), feeds)):
        started = time.perf_counter()
        feed = engine.feed(FeedRequest(user_id=user, count=PAGE), NOW_MS, f"scale-{number}")
        took.append(1e3 * (time.perf_counter() - started))
        pages.append(len(feed.items))
