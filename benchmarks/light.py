"""The light first stage beside scoring all in full: what it costs, and what of the page's value it loses.

And what the whole way from candidates to values takes, of 5,000 that were retrieved beside 500.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from benchmarks.market import NOW_MS
from benchmarks.report import Row, interleaved
from features.records import Context
from features.types import DoubleArray
from ranking.policy import Light
from ranking.request.generation import Generation
from ranking.types import Batch, Candidates, Query

FOUND, PAGE = 5_000, 50
TREES, KEPT = (10, 20, 40, 80), (200, 500)
TURNS = 3
"""Times each way is taken for each person."""
LIGHT, SIZES = Light(40, 500), (500, 1_000, FOUND)
"""The stage that a policy has which names no other, and the numbers of candidates that it is tried with."""


def light_rows(generation: Generation, people: Sequence[int]) -> list[Row]:
    """Milliseconds and loss of NDCG at 50 for first stages of several sizes, over the same 5,000 candidates each.

    The gain of an item is its full value above the least of the candidates'. What is kept stands in the order of its
    full value, as a page without bounds would have it.
    """
    batches = [_batch(generation, user) for user in people]
    full = [generation.score(batch).value for batch in batches]
    policy = generation.policy
    ways = [(trees, keep) for keep in KEPT for trees in TREES]
    rows: list[Row] = [_row("in full", FOUND, _took(generation, batches), 0.0, 0.0)]
    for trees, keep in ways:
        generation.policy = msgspec.structs.replace(policy, light=Light(trees, keep))
        took = _took(generation, batches)
        losses = [_loss(generation, batch, value) for batch, value in zip(batches, full, strict=True)]
        rows.append(_row(f"{trees} trees", keep, took, float(np.mean(losses)), float(np.max(losses))))
    generation.policy = policy
    return rows


def way_rows(generation: Generation, people: Sequence[int]) -> tuple[list[Row], float]:
    """Milliseconds from what sources found to values, rows included, by the number found; the last by the first.

    Everybody's candidates come in turn, as in serving: little of them is in the caches.
    """
    kinds = sum(len(index) > 0 for index in generation.indexes.values())
    served = generation.under(msgspec.structs.replace(generation.policy, light=LIGHT))
    runs, counts = [], []
    for size in SIZES:
        wide = generation.under(msgspec.structs.replace(generation.policy, candidates=size // kinds))
        asked = [_query(generation, user) for user in people]
        found = [(query, wide.retrieve(query)) for query in asked]
        runs += [lambda one=one: _way(served, *one) for one in found]
        counts.append(float(np.median([len(some.rows) for _, some in found])))
    took = np.median(np.array(interleaved(runs, TURNS)).reshape(len(SIZES), -1), axis=1).tolist()
    rows: list[Row] = [
        {"system": "light: from candidates to values", "candidates": n, "way_ms": ms}
        for n, ms in zip(counts, took, strict=True)
    ]
    return rows, took[-1] / took[0]


def _way(generation: Generation, query: Query, found: Candidates) -> None:
    chosen, *_ = generation.unseen(query, generation.legal(query, found)[0])
    generation.score(generation.glance(generation.assemble(query, chosen))[0])


def _query(generation: Generation, user: int) -> Query:
    return generation.query("light", generation.state.users.name(user), PAGE, Context("feed"), NOW_MS)


def _row(stage: str, kept: int, took: float, mean: float, most: float) -> Row:
    return {"system": f"light: {stage}", "kept": kept, "score_ms": took, "ndcg_loss": mean, "ndcg_loss_most": most}


def _batch(generation: Generation, user: int) -> Batch:
    """Random candidates: nearer ones would all be alike, and the cut easier."""
    state = generation.state
    query = _query(generation, user)
    drawn = np.random.default_rng(user).choice(state.described(), min(2 * FOUND, len(state.items) // 2), replace=False)
    legal, _ = generation.legal(query, Candidates(drawn, np.zeros(len(drawn), np.uint8)))
    return generation.assemble(query, Candidates(legal.rows[:FOUND], legal.source[:FOUND]))


def _took(generation: Generation, batches: Sequence[Batch]) -> float:
    """The median time of both stages."""
    runs = [lambda batch=batch: generation.score(generation.glance(batch)[0]) for batch in batches]
    return float(np.median(np.concatenate(interleaved(runs, TURNS))))


def page_loss(generation: Generation, batch: Batch) -> float:
    """The loss of NDCG at 50 by the cut that a policy makes among some candidates."""
    return _loss(generation, batch, generation.score(batch).value)


def _loss(generation: Generation, batch: Batch, full: DoubleArray) -> float:
    """How far the ideal page's discounted gain is above that of the page that is left."""
    kept = generation.score(generation.glance(batch)[0]).value
    discount = 1 / np.log2(np.arange(PAGE) + 2)
    ideal, ours = (np.sort(value)[::-1][:PAGE] - full.min() for value in (full, kept))
    return float(1 - (ours * discount[: len(ours)]).sum() / (ideal * discount).sum())
