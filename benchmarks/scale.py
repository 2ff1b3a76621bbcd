"""How a feed's time and a home's memory grow: with items, users, candidates and threads, one varied at a time.

Beside each time stands what it gives: how many of the nearest retrieval finds, and what of the page's value the cut to
the candidates that are scored in full loses.
"""

import itertools
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.light import page_loss
from benchmarks.market import NOW_MS, Market, make_market
from benchmarks.people import PAGE, PEOPLE, people_of, settle
from benchmarks.report import Report, Row, free_gib, quantiles, resident_gib, say
from features.outcomes import PRODUCT
from features.records import Context
from ranking import Engine, FeedRequest
from ranking.request.generation import Generation

LEAST_RECALL = 0.9
"""Of what is nearest, retrieval must find so much."""
GIB_A_MILLION = 3.0
"""More than a home of a million items takes, made or served: points for which there is not enough are left out."""
JUDGED = 16
"""People whose candidates are compared with the exact ones."""
CLOSE = 1e-5
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
        "items": (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000),
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
    """10,000 to 3M items, to 1M users, 100 to 5,000 candidates, one and two threads; three small curves when quick."""
    return curves(QUICK if quick else FULL)


def curves(plan: Plan) -> Report:
    """Measure the points of a plan, each in a process of its own, so that memory is its own too."""
    report = Report("scale")
    measured: dict[Point, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        for varied, values in plan.vary.items():
            for value in values:
                point = replace(plan.base, **{varied: value})
                if point not in measured:
                    if lacking := _lacking(point):
                        report.rows.append({"system": f"huozhao, {varied} {value:,}", "skipped": lacking})
                        continue
                    say(f"asking: {varied} {value:,}")
                    measured[point] = _alone(_home_of(Path(folder), point, plan), point, plan.feeds)
                row: Row = {"system": "huozhao", "vary": varied, **asdict(point), **measured[point]}
                report.rows.append(row)
                report.faults += _faults(point, row)
    for varied in plan.vary:
        first, *_, last = [row for row in report.rows if row.get("vary") == varied]
        name = "feeds_per_second" if varied == "threads" else "p50_ms"
        report.ratios[f"scale.{varied}_{name}"] = float(last[name]) / float(first[name])
    return report


def _lacking(point: Point) -> str:
    """Why a point cannot be measured here; empty where it can."""
    needs, free = GIB_A_MILLION * point.items / 1e6, free_gib()
    return f"it needs about {needs:.0f} GiB, and {free:.0f} are free" if needs > free else ""


def _home_of(folder: Path, point: Point, plan: Plan) -> Path:
    """The home of a point, made where it is not there yet; trees are grown for the first alone."""
    home = folder / f"{point.items}-{point.users}"
    if not home.exists():
        say(f"making a home of {point.items:,} items and {point.users:,} people")
        make_market(home, _market(point, plan), next(folder.iterdir(), None))
    return home


def _alone(home: Path, point: Point, feeds: int) -> Row:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, home, point, feeds).result()


def _faults(point: Point, row: Row) -> list[str]:
    wrong = [f"{point}: pages of {row['page']} instead of {PAGE} items"] if row["page"] != PAGE else []
    missed = float(row["recall"]) < LEAST_RECALL
    return wrong + [f"{point}: retrieval finds {row['recall']} of the nearest"] * missed


def _market(point: Point, plan: Plan) -> Market:
    rooms = point.items // 10
    return Market(rooms, point.items - rooms, point.users, 4 * point.users, plan.samples, plan.trees, plan.leaves)


def measure(home: Path, point: Point, feeds: int) -> Row:
    """Open a home and ask for pages from so many threads."""
    (home / "policy.toml").write_text(POLICY.format(each=point.candidates // 2), "utf-8")
    started = time.perf_counter()
    with Engine.open(home, writer=False) as engine:
        opened = time.perf_counter() - started
        settle(engine.generation)
        rows = people_of(engine.generation.state)
        people = [engine.generation.state.users.name(user) for user in rows]
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
        made |= quality(engine.generation, rows[:JUDGED])
    return made | {"feeds_per_second": per_second} | quantiles(took)


def quality(generation: Generation, people: Sequence[int]) -> Row:
    """Of as many products as a page asks for, the share of the nearest that are found; and the light stage's loss."""
    state, products, k = generation.state, generation.indexes[PRODUCT], generation.policy.candidates
    names = [state.users.name(user) for user in people]
    queries = [generation.query("scale", name, PAGE, Context("feed"), NOW_MS) for name in names]
    asked, vectors = np.column_stack([query.vector for query in queries]), generation.reader.vectors.item
    near = vectors[: len(state.items)] @ asked
    near[state.arrays.items.categories[: len(state.items), 4] != PRODUCT] = -np.inf
    recalls, losses = list[float](), list[float]()
    for query, scores in zip(queries, near.T, strict=True):
        found, _ = products.search(query.vector, k)
        # What ties with the last of the nearest is as near.
        least = np.partition(scores, -min(k, len(products)))[-min(k, len(products))]
        recalls.append(float(np.sum(vectors[found] @ query.vector >= least - CLOSE)) / min(k, len(products)))
        chosen, *_ = generation.unseen(query, generation.legal(query, generation.retrieve(query))[0])
        losses.append(page_loss(generation, generation.assemble(query, chosen)))
    return {"recall": float(np.mean(recalls)), "ndcg_loss": float(np.mean(losses))}


def _ask(engine: Engine, people: list[str], feeds: int, took: list[float], pages: list[int]) -> None:
    for number, user in enumerate(itertools.islice(itertools.cycle(people), feeds)):
        started = time.perf_counter()
        feed = engine.feed(FeedRequest(user_id=user, count=PAGE), NOW_MS, f"scale-{number}")
        took.append(1e3 * (time.perf_counter() - started))
        pages.append(len(feed.items))
