"""How many lists a search must visit: tried with vectors such as searches ask for, against the exact answers."""

import math

import numpy as np

from features.types import FloatArray, RowArray
from ranking.index.centroids import Pause
from ranking.index.exact import ExactIndex
from ranking.index.lists import ANY, Lists

RECALL = 0.98
"""Of the true best ``TRIED``, the share that lists must find for ``TRIALS`` queries: so many lists are visited."""
TRIED, TRIALS = 100, 64
FAR = 500
"""How many are asked for to see how visits grow with that."""


def try_lists(lists: Lists, exact: ExactIndex, rows: RowArray, asked: FloatArray, pause: Pause) -> None:
    """Find how many lists must be visited for the best ``TRIED``, by which power more for more, and if that is enough.

    It is tried with what is asked (n, dims), where that is enough; else with vectors that are there and with sums of
    two, of length 1: products of the shortest would all be 0.
    """
    filed = np.setdiff1d(rows, lists.outside)
    pairs = filed[np.random.default_rng(0).integers(0, len(filed), (2, TRIALS))]
    matrix = exact.matrix
    drawn = matrix[pairs].astype(np.float64)
    sums = drawn[0] + drawn[1] * (np.arange(TRIALS) % 2)[:, None]
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    queries = (sums / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    if len(asked) >= TRIALS:
        queries = asked[np.random.default_rng(0).permutation(len(asked))[:TRIALS]]
    best = []
    for query in queries:
        pause()
        best.append(exact.best(query, FAR, rows)[1])
    lists.visits, found = _visits(lists, matrix, queries, [some[:TRIED] for some in best], 4, pause)
    lists.most = ANY if found >= RECALL else 0
    if lists.most and len(rows) >= FAR:
        more, found = _visits(lists, matrix, queries, best, lists.visits, pause)
        lists.farther = math.log(more / lists.visits) / math.log(FAR / TRIED)
        lists.most = ANY if found >= RECALL else TRIED


def _visits(
    lists: Lists,
    matrix: FloatArray,
    queries: FloatArray,
    best: list[FloatArray],
    visits: int,
    pause: Pause,
) -> tuple[int, float]:
    """How many lists must be visited, from so many on, to find a share of the best of the queries; what they find.

    What scores as high as one of the best is as good: of equal scores lists may give any.
    """
    k, visits = len(best[0]), min(visits, len(lists))
    while True:
        pause()
        scores = [lists.nearest(matrix, query, k, None, visits)[1] for query in queries]
        hits = sum(int(np.count_nonzero(some >= true[-1])) for some, true in zip(scores, best, strict=True))
        found = hits / (k * len(best))
        if found >= RECALL or visits == len(lists):
            return visits, found
        visits = min(math.ceil(1.25 * visits), len(lists))
