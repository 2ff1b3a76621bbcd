"""The index of products beside faiss HNSW at the same recall: searches, searches under a filter and adds."""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import cycle

import faiss
import numpy as np

from benchmarks.report import Report, Row, interleaved, quantiles
from features.types import BoolArray, FloatArray, RowArray
from ranking.index import FaissIndex

DIMS, K, LINKS, BUILD = 64, 100, 32, 40
QUERIES = 200
LEAST_RECALL, LEAST_FILTERED = 0.95, 0.99
Search = Callable[[FloatArray], RowArray]
Add = Callable[[RowArray, FloatArray], object]


def run(*, quick: bool) -> Report:
    """1M vectors of 64, 50,000 when quick; recall at 100 against an exact search, one thread."""
    report = Report("index")
    count, times = (50_000, 200) if quick else (1_000_000, 1_000)
    vectors, queries = clustered(count, QUERIES)
    rows = np.arange(count, dtype=np.int32)
    ours = FaissIndex(DIMS)
    ours.put(rows, vectors)
    graph = faiss.IndexHNSWFlat(DIMS, LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BUILD
    faiss.omp_set_num_threads(2)
    graph.add(vectors)
    faiss.omp_set_num_threads(1)
    _searches(report, vectors, queries, ours, graph, times)
    _filtered(report, vectors, queries, ours, times)
    _adds(report, vectors, ours, graph, 2_000 if quick else 10_000)
    return report


def clustered(count: int, queries: int) -> tuple[FloatArray, FloatArray]:
    """Unit vectors (count, 64) of a mixture within a mixture, as those of items by category and author; and queries.

    Clusters differ in size and in width; directions in space differ in weight. Queries are people: sums of a few
    items, some of one cluster and some of several.
    """
    rng = np.random.default_rng(0)
    weight = (np.arange(1, DIMS + 1) ** -0.4).astype(np.float32)
    broad = rng.standard_normal((60, DIMS), np.float32)
    fine = broad[rng.integers(0, 60, 3_000)] + 0.8 * rng.standard_normal((3_000, DIMS), np.float32)
    sizes = rng.random(3_000) ** 2
    chosen = rng.choice(3_000, count, p=sizes / sizes.sum())
    width = (0.5 + 0.5 * rng.random(3_000)).astype(np.float32)[chosen, None]
    vectors = (fine[chosen] + width * rng.standard_normal((count, DIMS), np.float32)) * weight
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(chosen, kind="stable")
    asked = np.empty((queries, DIMS), np.float32)
    for i in range(queries):
        near = order[(rng.integers(0, count) + rng.integers(0, 100, 6)) % count]
        liked = near if i % 2 else np.concatenate([near[:4], rng.integers(0, count, 2)])
        asked[i] = vectors[liked].sum(axis=0)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    return vectors, asked


def exact(vectors: FloatArray, queries: FloatArray, rows: RowArray) -> list[set[int]]:
    """The nearest 100 of some rows to each query."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(np.ascontiguousarray(vectors[rows]))
    _, found = flat.search(queries, K)
    return [set(rows[ids[ids >= 0]].tolist()) for ids in found]


def recall(search: Search, queries: FloatArray, best: list[set[int]]) -> float:
    """The share of the true nearest that a search finds."""
    hits = sum(len(some & set(search(query).tolist())) for query, some in zip(queries, best, strict=True))
    return hits / sum(map(len, best))


def _searches(
    report: Report, vectors: FloatArray, queries: FloatArray, ours: FaissIndex, graph: faiss.IndexHNSWFlat, times: int
) -> None:
    best = exact(vectors, queries, np.arange(len(vectors), dtype=np.int32))

    def search(query: FloatArray) -> RowArray:
        return ours.search(query, K)[0]

    def by_graph(query: FloatArray) -> RowArray:
        found: RowArray = graph.search(query[None], K)[1][0].astype(np.int32)
        return found

    found = recall(search, queries, best)
    of_graph = _as_good(graph, by_graph, queries, best, found)
    took = interleaved([_turns(search, queries), _turns(by_graph, queries)], times)
    size = f"{len(vectors)} x {DIMS}, k = {K}"
    for system, quality, spent in (("huozhao", found, took[0]), ("faiss HNSW32", of_graph, took[1])):
        report.rows.append({"system": system, "size": size, "filter": "none", "recall": quality, **quantiles(spent)})
    report.ratios["index.products_recall_at_100"] = found
    report.ratios["index.products_time_ratio"] = float(np.median(took[0]) / np.median(took[1]))
    if found < LEAST_RECALL:
        report.faults.append(f"recall at {K} is {found:.3f}, below {LEAST_RECALL}")


def _as_good(
    graph: faiss.IndexHNSWFlat, search: Search, queries: FloatArray, best: list[set[int]], wanted: float
) -> float:
    """Set the least effort at which the graph finds as much; its recall there, or at most effort."""
    found = 0.0
    for effort in (100, 125, 150, 200, 250, 300, 400, 500, 700, 1000, 1500, 2000):
        graph.hnsw.efSearch = effort
        found = recall(search, queries, best)
        if found >= wanted:
            break
    return found


def _filtered(report: Report, vectors: FloatArray, queries: FloatArray, ours: FaissIndex, times: int) -> None:
    rng = np.random.default_rng(1)
    masks: dict[str, BoolArray | None] = {"none": None}
    masks |= {f"{100 * share:g}%": rng.random(len(vectors)) < share for share in (0.01, 0.1, 0.5)}

    def through(mask: BoolArray | None) -> Search:
        return lambda query: ours.search(query, K, mask)[0]

    took = interleaved([_turns(through(mask), queries) for mask in masks.values()], times // 2)
    size = f"{len(vectors)} x {DIMS}, k = {K}"
    recalls = {}
    for (share, mask), spent in zip(masks.items(), took, strict=True):
        if mask is not None:
            best = exact(vectors, queries, np.flatnonzero(mask).astype(np.int32))
            recalls[share] = recall(through(mask), queries, best)
            row: Row = {"system": "huozhao", "size": size, "filter": share, "recall": recalls[share]}
            report.rows.append(row | quantiles(spent))
    report.ratios["index.filtered_1pct_recall"] = recalls["1%"]
    report.ratios["index.filtered_time_ratio"] = float(np.median(took[1]) / np.median(took[0]))
    if recalls["1%"] < LEAST_FILTERED:
        report.faults.append(f"recall at {K} under a filter of 1 % is {recalls['1%']:.3f}, below {LEAST_FILTERED}")


def _adds(report: Report, vectors: FloatArray, ours: FaissIndex, graph: faiss.IndexHNSWFlat, count: int) -> None:
    """New vectors in batches of a hundred, as records come; peers in one thread, each beside ours in turn."""
    rng = np.random.default_rng(2)
    new = vectors[rng.integers(0, len(vectors), count)] + 0.1 * rng.standard_normal((count, DIMS), np.float32)
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    rows = np.arange(len(vectors), len(vectors) + count, dtype=np.int32)
    adders: dict[str, Add] = {"huozhao": ours.put, "faiss HNSW32": lambda _, some: graph.add(some)}
    peer = "faiss HNSW32"
    if find_spec("hnswlib"):
        peer = "hnswlib"
        adders[peer] = _hnswlib(vectors, count)
    spent = dict.fromkeys(adders, 0.0)
    for start in range(0, count, 100):
        for system, add in adders.items():
            began = time.perf_counter()
            add(rows[start : start + 100], new[start : start + 100])
            spent[system] += time.perf_counter() - began
    for system, seconds in spent.items():
        report.rows.append({"system": system, "added": count, "to": len(vectors), "adds_per_second": count / seconds})
    name = "index.adds_vs_hnswlib" if peer == "hnswlib" else "index.adds_vs_faiss_hnsw"
    report.ratios[name] = spent[peer] / spent["huozhao"]
    missed = [
        row for row, vector in zip(rows[:100].tolist(), new, strict=False) if row not in ours.search(vector, 5)[0]
    ]
    if len(missed) > 5:
        report.faults.append(f"{len(missed)} of 100 added vectors are not found by themselves")


def _hnswlib(vectors: FloatArray, more: int) -> Add:
    import hnswlib

    graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
    graph.init_index(max_elements=len(vectors) + more, M=LINKS, ef_construction=BUILD)
    graph.set_num_threads(2)
    graph.add_items(vectors)
    graph.set_num_threads(1)
    return lambda rows, some: graph.add_items(some, rows)


def _turns(search: Search, queries: FloatArray) -> Callable[[], RowArray]:
    turns: Iterator[FloatArray] = cycle(queries)
    return lambda: search(next(turns))
