"""What the index is measured beside: graphs, plain inverted lists and a flat scan, each with its effort to set.

There are two graphs of hnswlib, since what an add costs is a matter of how carefully it is linked. ``hnswlib`` is built
as its users get it, with the parameters that the library sets itself (M = 16, ef_construction = 200).
``hnswlib, cheapest`` is built with as little care as still finds what ours finds at a million vectors (M = 32,
ef_construction = 40): it adds several times as fast, and is the harder of the two to be faster than.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import faiss
import numpy as np

from features.types import FloatArray, IntArray, RowArray
from ranking.index.listed import ListedIndex
from ranking.index.lists import Lists

K, LINKS, BUILD = 100, 32, 40
HNSWLIB = {"hnswlib": (16, 200), "hnswlib, cheapest": (LINKS, BUILD)}
"""Links and care of construction by the name of the graph."""
EFFORTS = (100, 125, 150, 200, 250, 300, 400, 500, 700, 1000, 1500, 2000)
PROBES = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
Search = Callable[[FloatArray], RowArray]
Add = Callable[[RowArray, FloatArray], object]


@dataclass
class Peer:
    """A system that searches with more or less effort, and what effort means to it."""

    system: str
    search: Search
    effort: str = ""
    efforts: Sequence[int] = (0,)
    set_effort: Callable[[int], None] = lambda _: None


def huozhao(index: ListedIndex, lists: Lists) -> Peer:
    """Ours, as many lists visited as asked for."""

    def set_visits(visits: int) -> None:
        lists.visits = visits

    efforts = [visits for visits in PROBES if visits < len(lists)]
    return Peer("huozhao", lambda query: index.search(query, K)[0], "visits", efforts, set_visits)


def faiss_graph(vectors: FloatArray) -> tuple[Peer, Add]:
    """faiss HNSW32, built in two threads, and how it adds."""
    graph = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BUILD
    faiss.omp_set_num_threads(2)
    graph.add(vectors)
    faiss.omp_set_num_threads(1)

    def set_effort(effort: int) -> None:
        graph.hnsw.efSearch = effort

    return Peer("faiss HNSW32", _faiss(graph), "efSearch", EFFORTS, set_effort), lambda _, some: graph.add(some)


def plain_lists(vectors: FloatArray, lists: Lists) -> Iterator[Callable[[], Peer]]:
    """What builds faiss IVFFlat and IVFSQ8 over the centroids that ours trained: neither can be changed in place."""
    for system in ("faiss IVFFlat", "faiss IVFSQ8"):
        yield partial(_plain, system, vectors, lists)


def _plain(system: str, vectors: FloatArray, lists: Lists) -> Peer:
    dims, count = vectors.shape[1], len(lists)
    inner, eight = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_8bit
    near = faiss.IndexFlatIP(dims)
    near.add(lists.centroids)
    index = (
        faiss.IndexIVFFlat(near, dims, count, inner)
        if system == "faiss IVFFlat"
        else faiss.IndexIVFScalarQuantizer(near, dims, count, eight, inner, False)
    )
    faiss.omp_set_num_threads(2)
    index.train(vectors[: 39 * count])
    index.add(vectors)
    faiss.omp_set_num_threads(1)

    def set_probes(probes: int) -> None:
        index.nprobe = probes

    return Peer(system, _faiss(index, near), "nprobe", [probes for probes in PROBES if probes < count], set_probes)


def flat(vectors: FloatArray) -> Peer:
    """faiss Flat: every product, and none missed."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return Peer("faiss Flat", _faiss(index))


def hnswlib_graphs(vectors: FloatArray, more: int) -> Iterator[Callable[[], tuple[Peer, Add]]]:
    """What builds each graph of hnswlib, with room for more, in two threads; nothing where it is not installed."""
    if find_spec("hnswlib"):
        for system in HNSWLIB:
            yield partial(_hnswlib_graph, system, vectors, more)


def _hnswlib_graph(system: str, vectors: FloatArray, more: int) -> tuple[Peer, Add]:
    import hnswlib

    graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
    links, care = HNSWLIB[system]
    graph.init_index(max_elements=len(vectors) + more, M=links, ef_construction=care)
    graph.set_num_threads(2)
    graph.add_items(vectors)
    graph.set_num_threads(1)

    def search(query: FloatArray) -> RowArray:
        found: RowArray = graph.knn_query(query[None], K)[0][0].astype(np.int32)
        return found

    def add(rows: RowArray, some: FloatArray) -> None:
        graph.add_items(some, rows)

    return Peer(system, search, "ef", EFFORTS, graph.set_ef), add


def _faiss(index: faiss.Index, *_parts: faiss.Index) -> Search:
    """faiss holds the parts of an index by their addresses alone: the closure keeps them."""

    def search(query: FloatArray) -> RowArray:
        ids: IntArray = index.search(query[None], K)[1][0]
        return ids.astype(np.int32)

    return search
