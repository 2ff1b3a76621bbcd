"""A page made on one rung of the ladder, up to its last check, which is the same for all."""

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from features.records import Context
from ranking.boosts import Lift
from ranking.exploration import Lottery
from ranking.generation import Generation
from ranking.ladder import Budget, Level
from ranking.leases import Ledger
from ranking.mixer import best_first
from ranking.popular import Popular
from ranking.types import Batch, Query, Scored, Slate

WARMED = 8
"""People that a generation is warmed with."""
SCORED: tuple[Level, ...] = ("full", "light")
"""The rungs that need the ranker."""


@dataclass(frozen=True, slots=True)
class Read:
    """Candidates with their rows, how many others were dropped, by reason, and what gave way to keep these."""

    batch: Batch
    dropped: dict[str, int]
    lottery: Lottery | None = None
    gave: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A page before its last check, and on which rung it was made."""

    lift: Lift
    slate: Slate
    dropped: dict[str, int]
    level: Level
    relaxed: tuple[str, ...] = ()


def read(generation: Generation, query: Query, budget: Budget, *, explain: bool) -> Read:
    """What may be shown to a person, with its rows; the caller holds the mutex."""
    found = generation.retrieve(query)
    legal, dropped = generation.legal(query, found)
    unseen, seen, gave = generation.unseen(query, legal)
    batch = generation.assemble(query, unseen, explain=explain)
    budget.sources = found.source
    lottery = generation.newcomers(query, batch)
    budget.lap("retrieve")
    return Read(batch, dropped | seen, lottery, gave)


def composed(generation: Generation, found: Read, level: Level, budget: Budget, ledger: Ledger) -> Made:
    """A page by scores: of all trees, or of the first of each head."""
    chosen, cut = found.batch, dict[str, int]()
    if level == "full":
        chosen, cut = generation.glance(found.batch, found.lottery)
    scored = _scored(generation, chosen, level, budget)
    with ExitStack() as held:
        lift = held.enter_context(generation.lift(scored, ledger))
        slate, relaxed = generation.compose(lift.scored, found.lottery)
        held.pop_all()
    return Made(lift, slate, found.dropped | cut, level, found.gave + relaxed)


def ordered(generation: Generation, found: Read, level: Level, budget: Budget, ledger: Ledger) -> Made:
    """Given items by their value, without bounds."""
    scored = _scored(generation, found.batch, level, budget)
    order = best_first(scored.value, scored.batch.rows)
    return Made(Lift(scored, ledger, {}), Slate(order, order[:0]), found.dropped, level)


def as_given(generation: Generation, found: Read, ledger: Ledger) -> Made:
    """Given items in the order they came."""
    scored, order = generation.worthless(found.batch), np.arange(len(found.batch.rows))
    return Made(Lift(scored, ledger, {}), Slate(order, order[:0]), found.dropped, "given")


def popular(generation: Generation, query: Query, lists: Popular, level: Level, budget: Budget, ledger: Ledger) -> Made:
    """A page of what charts hold, within the surface's bounds; the caller holds the mutex."""
    legal, dropped = generation.legal(query, lists.find(generation, query, level))
    legal, seen, gave = generation.unseen(query, legal)
    dropped |= seen
    scored = generation.unscored(query, legal)
    slate, relaxed = generation.line_up(scored.batch)
    budget.sources = legal.source
    budget.lap(level)
    return Made(Lift(scored, ledger, {}), slate, dropped, level, gave + relaxed)


def warm(generation: Generation, now_ms: int, ledger: Ledger) -> None:
    """Make a page of every surface for the people known last, on every rung, and keep none of them.

    Caches and kernels are warm then; nobody appends meanwhile.
    """
    known = range(max(len(generation.state.users) - WARMED, 1), len(generation.state.users))
    people = ["", *(generation.state.users.name(row) for row in known)]
    for surface in generation.policy.surfaces:
        for person in people:
            query, budget = generation.query("", person, 50, Context(surface), now_ms), Budget()
            found = read(generation, query, budget, explain=False)
            pages = [composed(generation, found, level, budget, ledger) for level in SCORED]
            pages.append(popular(generation, query, Popular(), "popular", budget, ledger))
            for made in pages:
                with made.lift as lift:
                    page, _ = generation.fit(lift.scored, made.slate)
                    generation.show(lift.scored, page, explain=False)


def _scored(generation: Generation, batch: Batch, level: Level, budget: Budget) -> Scored:
    scored = generation.score(batch) if level == "full" else generation.first_look(batch)
    budget.lap("score" if level == "full" else "light")
    return scored
