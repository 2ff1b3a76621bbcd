"""Where the time of a feed goes: its stages one after the other, as the engine calls them."""

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from benchmarks.market import NOW_MS
from benchmarks.report import Row
from features.records import Context
from ranking.request.generation import Generation
from ranking.request.pages import compose, fit
from ranking.request.show import show

STAGES = ("query", "retrieve", "legal", "assemble", "glance", "score", "compose", "show")


def stage_rows(generation: Generation, people: Sequence[int], page: int, rounds: int) -> list[Row]:
    """The median milliseconds of each stage, and its share of them all."""
    took = [_once(generation, user, page) for _ in range(rounds) for user in people]
    medians = np.median(np.array(took[len(people) :]), axis=0)
    shares = medians / medians.sum()
    return [
        {"system": f"stage: {name}", "ms": float(ms), "share": float(share)}
        for name, ms, share in zip(STAGES, medians, shares, strict=True)
    ]


def _once(generation: Generation, user: int, page: int) -> list[float]:
    """Milliseconds of each stage of one feed."""
    at = [time.perf_counter()]
    name = generation.state.users.name(user)
    query = generation.query("stages", name, page, Context("feed"), NOW_MS)
    at.append(time.perf_counter())
    found = generation.retrieve(query)
    at.append(time.perf_counter())
    chosen, *_ = generation.unseen(query, generation.legal(query, found)[0])
    at.append(time.perf_counter())
    batch = generation.assemble(query, chosen)
    at.append(time.perf_counter())
    batch, _ = generation.glance(batch)
    at.append(time.perf_counter())
    scored = generation.score(batch)
    at.append(time.perf_counter())
    slate, _ = compose(generation, scored)
    at.append(time.perf_counter())
    show(generation, scored, fit(generation, scored, slate)[0], explain=False)
    at.append(time.perf_counter())
    return [1e3 * (after - before) for before, after in pairwise(at)]
