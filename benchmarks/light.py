"""The light first stage beside scoring all in full: what it costs, and what of the page's value it loses."""

from collections.abc import Sequence

import msgspec
import numpy as np

from benchmarks.market import NOW_MS
from benchmarks.report import Row, interleaved
from features.records import Context
from features.types import DoubleArray
from ranking.generation import Generation
from ranking.policy import Light
from ranking.types import Batch, Candidates

FOUND, PAGE = 5_000, 50
TREES, KEPT = (10, 20, 40, 80), (200, 500)
TURNS = 3
"""Times each way is taken for each person."""


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


def _row(stage: str, kept: int, took: float, mean: float, most: float) -> Row:
    return {"system": f"light: {stage}", "kept": kept, "score_ms": took, "ndcg_loss": mean, "ndcg_loss_most": most}


def _batch(generation: Generation, user: int) -> Batch:
    """Random candidates: nearer ones would all be alike, and the cut easier."""
    state = generation.state
    query = generation.query("light", state.users.name(user), PAGE, Context("feed"), NOW_MS)
    drawn = np.random.default_rng(user).choice(state.described(), min(2 * FOUND, len(state.items) // 2), replace=False)
    legal, _ = generation.legal(query, Candidates(drawn, np.zeros(len(drawn), np.uint8)))
    return generation.assemble(query, Candidates(legal.rows[:FOUND], legal.source[:FOUND]))


def _took(generation: Generation, batches: Sequence[Batch]) -> float:
    """The median time of both stages."""
    runs = [lambda batch=batch: generation.score(generation.glance(batch)[0]) for batch in batches]
    return float(np.median(np.concatenate(interleaved(runs, TURNS))))


def _loss(generation: Generation, batch: Batch, full: DoubleArray) -> float:
    """How far the ideal page's discounted gain is above that of the page that is left."""
    kept = generation.score(generation.glance(batch)[0]).value
    discount = 1 / np.log2(np.arange(PAGE) + 2)
    ideal, ours = (np.sort(value)[::-1][:PAGE] - full.min() for value in (full, kept))
    return float(1 - (ours * discount[: len(ours)]).sum() / (ideal * discount).sum())
