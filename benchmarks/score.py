"""The scorer beside LightGBM's own predict and what else scores the same trees, on the same rows, one thread each."""

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import lightgbm as lgb
import numpy as np

from benchmarks.report import Report, Row, interleaved, quantiles, times_as_long
from benchmarks.score_peers import Scores, peers
from features.types import DoubleArray, FloatArray
from ranking.forest.trees import Forest

HEADS, LEAVES, ROWS, COLUMNS = 4, 63, 1000, 64
ITEM, CONSTANT = np.arange(24), np.arange(24, 44)
"""Columns as served: the item's, kept as codes; then the person's and the moment's; the rest varies by candidate."""
CLOSE = 1e-6
REQUESTS = 5
"""What a thread scores in a turn, so that starting it weighs little."""


class Plan(NamedTuple):
    """Trees a head, rows they are grown on, items whose codes are kept, times each system is asked, and loads."""

    trees: int
    samples: int
    items: int
    times: int
    loads: int = 1


FULL = Plan(trees=300, samples=20_000, items=1_000_000, times=40, loads=5)
QUICK = Plan(trees=60, samples=10_000, items=100_000, times=10)


def run(*, quick: bool) -> Report:
    """1,000 rows x 4 heads x 300 trees x 63 leaves (60 trees when quick), float32 in, binning included."""
    return measure(QUICK if quick else FULL)


def measure(plan: Plan) -> Report:
    """Every system that is there on the same rows, in turn.

    As served, codes of 24 columns are gathered by random row of a million, 20 columns are one value for all rows, and
    20 vary and are binned. We take turns with one system at a time, or the caches that others fill would be ours to
    fill again. Peers that are further than 1e-6 from LightGBM are shown but do not count.
    """
    report = Report("score")
    boosters = _boosters(plan)
    texts = {f"head{i}": booster.model_to_string() for i, booster in enumerate(boosters)}
    forest = Forest.from_model_texts(texts)
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    served, as_served = _as_served(forest, rows, rng, plan.items)
    turns = _Turns(report, f"{ROWS} rows x {HEADS} heads x {plan.trees} trees x {LEAVES} leaves", plan.times)

    def floats() -> DoubleArray:
        return forest.raw(rows)

    lightgbm, exact = _lightgbm(boosters, rows), list[_Beside]()
    report.keep("score.vs_lightgbm", *turns.taken("", floats, "lightgbm", lightgbm, lightgbm()).times)
    lightgbm_served = _lightgbm(boosters, served)
    beside = turns.taken(", as served", as_served, "lightgbm, as served", lightgbm_served, lightgbm_served())
    report.keep("score.as_served_vs_lightgbm", *beside.times)
    with tempfile.TemporaryDirectory() as folder:
        for name, peer in peers(boosters, rows, Path(folder)).items():
            beside = turns.taken(f", beside {name}", floats, name, peer, lightgbm())
            exact += [beside] if beside.apart <= CLOSE else []
    if exact:
        report.keep("score.vs_best_peer", *min(beside.times for beside in exact))
    report.keep("score.two_threads_vs_one", *_two_threads(turns, floats))
    took = np.array([_in_a_new_process(texts, rows) for _ in range(plan.loads)])
    load, first = np.median(took, axis=0).tolist()
    row: Row = {"system": "huozhao, loading in a new process", "trees": HEADS * plan.trees, "loads": plan.loads}
    report.rows.append(row | {"load_seconds": load, "first_scores_seconds": first})
    report.keep("score.load_seconds", load, took[:, 0])
    return report


def _in_a_new_process(texts: dict[str, str], rows: FloatArray) -> tuple[float, float]:
    """Seconds that a process which has just begun takes to make a scorer of model texts, and to its first scores."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_loaded, texts, rows).result()


def _loaded(texts: dict[str, str], rows: FloatArray) -> tuple[float, float]:
    started = time.perf_counter()
    forest = Forest.from_model_texts(texts)
    load = time.perf_counter() - started
    forest.raw(rows)
    return load, time.perf_counter() - started


class _Beside(NamedTuple):
    """How many times as long a system takes as we do, in all and by turn, and how far its scores are off."""

    times: tuple[float, list[float]]
    apart: float


@dataclass(frozen=True)
class _Turns:
    """Where the figures of a run go, and how often each system is asked."""

    report: Report
    size: str
    times: int

    def add(self, system: str, threads: int, apart: float, took: list[float]) -> None:
        row: Row = {"system": system, "size": self.size, "threads": threads, "max_difference": apart}
        self.report.rows.append(row | quantiles(took))

    def taken(self, how: str, ours: Scores, name: str, theirs: Scores, right: DoubleArray) -> _Beside:
        """How a system does in turn with us alone."""
        took = interleaved([ours, theirs], self.times)
        apart = [float(np.abs(score() - right).max()) for score in (ours, theirs)]
        self.add(f"huozhao{how}", 1, apart[0], took[0])
        self.add(name, 1, apart[1], took[1])
        if apart[0] != 0:
            self.report.faults.append(f"huozhao{how}: scores differ from LightGBM's by up to {apart[0]}")
        return _Beside(times_as_long(took[1], took[0]), apart[1])


def _two_threads(turns: _Turns, score: Scores) -> tuple[float, list[float]]:
    """How many times as many requests two threads score in a second as one does, each scoring whole requests.

    The row of two threads says how much of the clock a request takes up while both score.
    """
    right = score()

    def several(_: int) -> float:
        return max(float(np.abs(score() - right).max()) for _ in range(REQUESTS))

    with ThreadPoolExecutor(2) as pool:
        one, two = interleaved(
            [lambda: list(pool.map(several, range(1))), lambda: list(pool.map(several, range(2)))], turns.times
        )
        apart = max(pool.map(several, range(2)))
    if apart != 0:
        turns.report.faults.append(f"huozhao: two threads' scores differ from one's by up to {apart}")
    turns.add("huozhao, two threads, a request", 2, apart, [ms / (2 * REQUESTS) for ms in two])
    return times_as_long([2 * ms for ms in one], two)


def _lightgbm(boosters: list[lgb.Booster], x: FloatArray) -> Scores:
    wide = x.astype(np.float64)
    return lambda: np.column_stack([np.asarray(b.predict(wide, raw_score=True, num_threads=1)) for b in boosters])


def _as_served(forest: Forest, rows: FloatArray, rng: np.random.Generator, items: int) -> tuple[FloatArray, Scores]:
    """The rows of a request as floats, and what scores them from the codes of a catalog and what moves."""
    catalog = rng.normal(size=(items, len(ITEM))).astype(np.float32)
    columns = forest.columns_of(ITEM.tolist())
    kept = np.empty((items, len(columns)), np.uint8)
    for start in range(0, items, 50_000):
        some = np.zeros((len(catalog[start : start + 50_000]), COLUMNS), np.float32)
        some[:, ITEM] = catalog[start : start + 50_000]
        kept[start : start + 50_000] = forest.coded(some).columns(columns)
    chosen = rng.integers(0, items, ROWS).astype(np.int32)
    served = rows.copy()
    served[:, ITEM], served[:, CONSTANT] = catalog[chosen], rows[0, CONSTANT]
    moving = np.asfortranarray(served)
    moving[:, ITEM] = np.nan
    return served, lambda: forest.score(forest.coded(moving, columns, kept, chosen))


def _boosters(plan: Plan) -> list[lgb.Booster]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(plan.samples, COLUMNS)).astype(np.float32)
    options = {"objective": "binary", "num_leaves": LEAVES, "max_bin": 254, "verbose": -1, "num_threads": 2, "seed": 0}
    options["bin_construct_sample_cnt"] = len(x)
    grid = lgb.Dataset(x, params=options)
    boosters = []
    for head in range(HEADS):
        y = x[:, head] * x[:, head + 4] + x[:, 8:16].sum(1) * 0.3 + rng.normal(size=len(x)) > 0.5
        boosters.append(lgb.train(options, lgb.Dataset(x, y.astype(int), reference=grid), plan.trees))
    return boosters
