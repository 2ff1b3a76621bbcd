"""New vectors into the index of products and into its peers', each in turn; and searches while lists are trained."""

import time
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.index_peers import Add
from benchmarks.report import Report, Row, interleaved, quantiles
from features.types import FloatArray
from ranking.index.listed import ListedIndex

BATCH = 100
"""Vectors that come at a time, as records do."""
TOLD = 100
"""New vectors that must be found by themselves."""
RATIOS = {
    "hnswlib": "index.adds_vs_hnswlib",
    "hnswlib, cheapest": "index.adds_vs_hnswlib_cheapest",
    "faiss HNSW32": "index.adds_vs_faiss_hnsw",
}


def adds(report: Report, vectors: FloatArray, ours: ListedIndex, others: Mapping[str, Add], count: int) -> None:
    """Add to all of them; one thread each."""
    rng = np.random.default_rng(2)
    noise = 0.1 * rng.standard_normal((count, vectors.shape[1]), np.float32)
    new = vectors[rng.integers(0, len(vectors), count)] + noise
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    rows = np.arange(len(vectors), len(vectors) + count, dtype=np.int32)
    adders: dict[str, Add] = {"huozhao": ours.put, **others}
    took: dict[str, list[float]] = {system: [] for system in adders}
    for start in range(0, count, BATCH):
        for system, add in adders.items():
            began = time.perf_counter()
            add(rows[start : start + BATCH], new[start : start + BATCH])
            # The first turn warms up.
            if start:
                took[system].append(1e3 * (time.perf_counter() - began))
    for system, spent in took.items():
        row: Row = {
            "system": system,
            "added": count,
            "to": len(vectors),
            "adds_per_second": 1e3 * BATCH / float(np.mean(spent)),
        }
        report.rows.append(row | quantiles(spent))
        if system in RATIOS:
            report.ratios[RATIOS[system]] = sum(spent) / sum(took["huozhao"])
    missed = sum(row not in ours.search(vector, 5)[0] for row, vector in zip(rows[:TOLD].tolist(), new, strict=False))
    if missed > TOLD // 20:
        report.faults.append(f"{missed} of {TOLD} added vectors are not found by themselves")


def beside_training(
    report: Report, ours: ListedIndex, search: Callable[[], object], times: int, seconds: float
) -> None:
    """How long searches take while new lists are trained in a thread of their own."""
    alone, spent = interleaved([search], times)[0], []
    ours.train()
    until = time.perf_counter() + seconds
    while ours.is_training and time.perf_counter() < until:
        start = time.perf_counter()
        search()
        spent.append(1e3 * (time.perf_counter() - start))
    ours.close()
    for step, took in (("alone", alone), ("beside a training", spent)):
        report.rows.append({"system": "huozhao", "searches": step, "asked": len(took), **quantiles(took)})
    report.ratios["index.p99_while_training"] = float(np.quantile(spent, 0.99) / np.quantile(alone, 0.99))
