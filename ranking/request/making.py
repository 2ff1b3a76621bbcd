"""A page made on one rung of the ladder, up to its last check, which is the same for all."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from features.records import Context
from ranking.api import Level
from ranking.candidates.recall import DEEPER
from ranking.mixing.boosts import Lift, Purse, lift
from ranking.mixing.exploration import Lottery
from ranking.mixing.mixer import best_first
from ranking.request.generation import Generation
from ranking.request.ladder import Budget
from ranking.request.pages import compose, fit, line_up, unscored, worthless
from ranking.request.popular import Popular
from ranking.request.show import show
from ranking.types import Batch, Candidates, Page, Query, Scored, Slate

WARMED = 8
"""People that a generation is warmed with."""
AHEAD = 2.0 * DEEPER
"""What a deeper look and the rest of the page may take, as a multiple of what the looks before it took."""
SCORED: tuple[Level, ...] = ("full", "light")
"""The rungs that need the ranker."""


@dataclass(frozen=True, slots=True)
class Read:
    """Candidates with their rows, how many others were dropped, by reason, and what gave way to keep these.

    ``found`` are all, before any was dropped.
    """

    batch: Batch
    dropped: dict[str, int]
    found: Candidates
    lottery: Lottery | None = None
    gave: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A page before its last check, and on which rung it was made, of what was ``found``.

    ``granted`` are the impressions that were set aside for boosts.
    """

    lift: Lift
    slate: Slate
    dropped: dict[str, int]
    level: Level
    found: Candidates
    relaxed: tuple[str, ...] = ()
    granted: Mapping[str, int] = field(default_factory=dict)


def read(
    generation: Generation, query: Query, budget: Budget, *, explain: bool, found: Candidates | None = None
) -> Read:
    """What may be shown to a person, of candidates or of all that sources find, with its rows.

    Where too little of what sources find first is left for a page, they are looked into deeper before anything that
    the person was shown gives way, as far as there is time. The caller holds the mutex.
    """
    deeper = generation.deeper(query) if found is None else iter(())
    found = found or generation.retrieve(query)
    unseen, dropped, gave = _showable(generation, query, found)
    stage = "retrieve"
    while (gave or len(unseen.rows) < query.count) and budget.has_time_for(AHEAD):
        more = next(deeper, None)
        if more is None:
            break
        found, stage = more, "deeper"
        unseen, dropped, gave = _showable(generation, query, found)
    batch = generation.assemble(query, unseen, explain=explain)
    budget.sources = found.source
    lottery = generation.newcomers(query, batch)
    # A deep look is a stage of its own: what it takes says nothing of what the next person's page will.
    budget.lap(stage)
    return Read(batch, dropped, found, lottery, gave)


def _showable(
    generation: Generation, query: Query, found: Candidates
) -> tuple[Candidates, dict[str, int], tuple[str, ...]]:
    """Candidates that are legal and unseen, how many others were dropped, by reason, and what gave way."""
    legal, dropped = generation.legal(query, found)
    unseen, seen, gave = generation.unseen(query, legal)
    return unseen, dropped | seen, gave


def read_given(generation: Generation, query: Query, budget: Budget, given: Candidates, *, explain: bool) -> Read:
    """What may be shown of items that a caller named, with its rows; the caller holds the mutex."""
    legal, dropped = generation.legal(query, given)
    batch = generation.assemble(query, legal, explain=explain)
    budget.lap("retrieve")
    return Read(batch, dropped, given)


def unread_given(generation: Generation, query: Query, given: Candidates) -> Read:
    """What may be shown of items that a caller named, without rows; the caller holds the mutex."""
    legal, dropped = generation.legal(query, given)
    return Read(unscored(generation, query, legal).batch, dropped, given)


def composed(generation: Generation, found: Read, level: Level, budget: Budget, ledger: Purse) -> Made:
    """A page by scores: of all trees, or of the first of each head."""
    chosen, cut = found.batch, dict[str, int]()
    if level == "full":
        chosen, cut = generation.glance(found.batch, found.lottery)
    scored = _scored(generation, chosen, level, budget)
    with ExitStack() as held:
        lifted = held.enter_context(lift(scored, generation.policy.boosts, ledger))
        granted = dict(lifted.held)
        slate, relaxed = compose(generation, lifted.scored, found.lottery)
        held.pop_all()
    return Made(lifted, slate, found.dropped | cut, level, found.found, found.gave + relaxed, granted)


def ordered(generation: Generation, found: Read, level: Level, budget: Budget, ledger: Purse) -> Made:
    """Given items by their value, without bounds."""
    scored = _scored(generation, found.batch, level, budget)
    order = best_first(scored.value, scored.batch.rows)
    return Made(Lift(scored, ledger), Slate(order, order[:0]), found.dropped, level, found.found)


def as_given(generation: Generation, found: Read, ledger: Purse) -> Made:
    """Given items in the order they came."""
    scored, order = worthless(generation, found.batch), np.arange(len(found.batch.rows))
    return Made(Lift(scored, ledger), Slate(order, order[:0]), found.dropped, "given", found.found)


def popular(generation: Generation, query: Query, lists: Popular, level: Level, budget: Budget, ledger: Purse) -> Made:
    """A page of what charts hold, or held the last time, within the surface's bounds; the caller holds the mutex."""
    found = lists.find(generation, query, level)
    if level == "popular" and not len(found.rows):
        level = "last"
        found = lists.find(generation, query, level)
    return lined_up(generation, query, found, level, budget, ledger)


def lined_up(
    generation: Generation, query: Query, found: Candidates, level: Level, budget: Budget, ledger: Purse
) -> Made:
    """A page of candidates in the order they were found, within the surface's bounds; the caller holds the mutex."""
    legal, dropped, gave = _showable(generation, query, found)
    scored = unscored(generation, query, legal)
    slate, relaxed = line_up(generation, scored.batch)
    budget.sources = legal.source
    budget.lap(level)
    return Made(Lift(scored, ledger), slate, dropped, level, found, gave + relaxed)


def gave_way(made: Made, page: Page) -> tuple[str, ...]:
    """What gave way for a page: for want of items as it was made, and the bounds that it breaks as it is now."""
    if page.relaxed is None or not made.slate.bounds:
        return made.relaxed
    bounds = made.slate.bounds.names
    return (*(name for name in made.relaxed if name not in bounds), *page.relaxed)


def warm(generation: Generation, now_ms: int, ledger: Purse) -> None:
    """Make a page of every surface for the people known last, on every rung, and keep none of them.

    Caches and kernels are warm then; nobody appends meanwhile.
    """
    for _ in warming(generation, now_ms, ledger):
        pass


def warming(generation: Generation, now_ms: int, ledger: Purse) -> Iterator[None]:
    """``warm`` in steps of one page; nobody appends during a step."""
    known = range(max(len(generation.state.users) - WARMED, 1), len(generation.state.users))
    people = ["", *(generation.state.users.name(row) for row in known)]
    for surface in generation.policy.surfaces:
        for person in people:
            query, budget = generation.query("", person, 50, Context(surface), now_ms), Budget()
            found = read(generation, query, budget, explain=False)
            pages = [partial(composed, generation, found, level, budget, ledger) for level in SCORED]
            pages.append(partial(popular, generation, query, Popular(), "popular", budget, ledger))
            for make in pages:
                made = make()
                with made.lift as lifted:
                    page, _ = fit(generation, lifted.scored, made.slate)
                    show(generation, lifted.scored, page, explain=False)
                yield


def _scored(generation: Generation, batch: Batch, level: Level, budget: Budget) -> Scored:
    scored = generation.score(batch) if level == "full" else generation.first_look(batch)
    budget.lap("score" if level == "full" else "light")
    return scored
