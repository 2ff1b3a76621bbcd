"""Requests at work: from what is asked to what is answered, whatever becomes of the ranker and the time."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from features.records import Context, Found
from ranking.api import Feed, FeedRequest, Level, RankRequest
from ranking.mixing.leases import Ledger
from ranking.request.generation import Generation
from ranking.request.intake import asked, record_of
from ranking.request.journal import Journal
from ranking.request.ladder import FEED, RANK, Budget, Ladder
from ranking.request.making import (
    SCORED,
    Made,
    Read,
    as_given,
    composed,
    gave_way,
    ordered,
    popular,
    read,
    read_given,
    unread_given,
)
from ranking.request.pages import fit
from ranking.request.popular import Popular
from ranking.request.sample import GIVEN, decision_of, found_by, is_kept
from ranking.request.show import given_up, show
from ranking.types import NOTHING, Candidates, Page, Query, Unlogged

Make = Callable[[Generation, Read, Level, Budget, Ledger], Made]
Beside = Callable[[Query, Candidates], None]
"""Told of each page that was made, with the candidates that were scored for it; it must return at once."""
Thing = TypeVar("Thing")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Shared:
    """What all threads of an engine share: the generation that answers now, and the mutex that guards it."""

    generation: Generation
    mutex: AbstractContextManager[object] = field(default_factory=threading.Lock)


class Answers:
    """Feeds and ranked lists of what is shared.

    Parameters
    ----------
    shared : Shared
    ledger : Ledger
        Pays for boosts.
    journal : Journal or None
        Where pages are written down, if they are.
    share : float
        Of how many pages the decision is kept.
    """

    def __init__(self, shared: Shared, ledger: Ledger, journal: Journal | None, share: float) -> None:
        self._shared, self._ledger, self._journal, self._share = shared, ledger, journal, share
        self._feeds, self._ranks = Ladder(FEED), Ladder(RANK)
        self._popular = Popular()
        self.beside: Beside | None = None

    def change(self, made: Generation) -> Generation:
        """Answer by another generation from now on, the caller holding the mutex; returns the one before."""
        before, self._shared.generation = self._shared.generation, made
        self._popular.forget()
        return before

    def feed(self, request: FeedRequest, now_ms: int, request_id: str, budget: Budget) -> Feed:
        """``Engine.feed``."""
        request, now_ms = asked(request, now_ms, request_id)
        made, explain = None, request.explain
        context = Context(request.surface, request.device, request.city_tier, 0)
        with self._shared.mutex:
            budget.lap("wait")
            generation, level = self._shared.generation, self._feeds.rung(budget)
            generation.policy.refuse_unknown(request.surface)
            count = min(request.count, generation.policy.page_most)
            unlogged = self._unlogged(generation, request.user_id, now_ms)
            query = generation.query(
                request_id, request.user_id, count, context, now_ms, request.seen,
                unlogged=unlogged, explain=request.explain,
            )  # fmt: skip
            found, why = None, "deadline"
            if level in SCORED:
                found = self._tried("state", generation, lambda: read(generation, query, budget, explain=explain))
                why = "state" if found is None else "source" if generation.recall.has_failed else ""
        if found:
            level = self._feeds.rung(budget, passed=("retrieve",))
            made, why = self._scored(composed, generation, found, level, budget, why)
        if made is None:
            with self._shared.mutex:
                # The state of another generation would not be folded on.
                generation = self._shared.generation
                rung: Level = "last" if level == "last" else "popular"
                made = popular(generation, query, self._popular, rung, budget, self._ledger)
        try:
            return self._finish(generation, made, why, budget, explain=request.explain)
        finally:
            self._feeds.learn(budget)

    def rank(self, request: RankRequest, now_ms: int, request_id: str, budget: Budget) -> Feed:
        """``Engine.rank``."""
        request, now_ms = asked(request, now_ms, request_id)
        context = Context(request.surface, request.device, request.city_tier, 0)
        names = tuple(dict.fromkeys(request.item_ids))
        with self._shared.mutex:
            budget.lap("wait")
            generation = self._shared.generation
            generation.policy.refuse_unknown(request.surface)
            unlogged = self._unlogged(generation, request.user_id, now_ms)
            query = generation.query(
                request_id, request.user_id, len(names), context, now_ms, unlogged=unlogged, explain=request.explain
            )
            rows = generation.state.items.find_all(names)
            known = Candidates(given := rows[rows > 0], np.zeros(len(given), np.uint8))
            read_all = self._tried(
                "state", generation, lambda: read_given(generation, query, budget, known, explain=request.explain)
            )
            found = read_all or unread_given(generation, query, known)
        if len(given) < len(names):
            found.dropped["unknown"] = len(names) - len(given)
        made, why = None, "state"
        if read_all:
            level = self._ranks.rung(budget, ("retrieve",), len(names))
            made, why = self._scored(ordered, generation, found, level, budget, "")
        made = made or as_given(generation, found, self._ledger)
        try:
            return self._finish(generation, made, why, budget, explain=request.explain, source=GIVEN)
        finally:
            self._ranks.learn(budget, len(names))

    def refresh(self, now_ms: int) -> None:
        """``Engine.refresh``."""
        with self._shared.mutex:
            for surface in self._shared.generation.policy.surfaces:
                query = self._shared.generation.query("", "", 1, Context(surface), now_ms)
                self._popular.find(self._shared.generation, query, "popular")

    def _unlogged(self, generation: Generation, user_id: str, now_ms: int) -> Unlogged:
        """What was served this day and waits for the log, where the policy goes by it."""
        if self._journal is None or not generation.policy.counts_served:
            return NOTHING
        return self._journal.waiting.of(generation.load, user_id, now_ms)

    def _scored(
        self, make: Make, generation: Generation, found: Read, level: Level, budget: Budget, why: str
    ) -> tuple[Made | None, str]:
        """A page by scores, None where there is no time for them or the ranker failed; and why it is a lesser one."""
        if level not in SCORED:
            return None, "deadline"
        made = self._tried("ranker", generation, lambda: make(generation, found, level, budget, self._ledger))
        return made, "ranker" if made is None else why if level == "full" else "deadline"

    def _tried(self, part: str, generation: Generation, make: Callable[[], Thing]) -> Thing | None:
        """What a part makes, None where it failed."""
        try:
            return make()
        except Exception:  # noqa: BLE001  # whatever it met, there is a page without it; the fault is counted and told
            if not generation.faults[part]:
                _log.exception("The %s failed; pages are made without it, and it is asked again", part)
            generation.faults[part] += 1
            return None

    def _finish(
        self, generation: Generation, made: Made, why: str, budget: Budget, *, explain: bool, source: str = ""
    ) -> Feed:
        scored = made.lift.scored
        query = scored.batch.query
        kept = self._journal is not None and (explain or is_kept(query.request_id, self._share))
        found, seen = tuple[Found, ...](), tuple[str, ...]()
        with made.lift as lift:
            with self._shared.mutex:
                # The last check goes by what is served now: only its state is folded on.
                page, gone = fit(self._shared.generation, scored, made.slate)
                checked_offset = self._shared.generation.state.offset
                if kept:
                    found = found_by(generation.state, made.found, generation.recall.names, source)
                    seen = tuple(map(generation.state.items.name, query.shown.tolist()))
            budget.claim()
            lift.spend(generation.policy.boosts, page.at)
        feed = _answered(generation, made, page, gone, why, explain=explain, source=source)
        if self._journal is not None:
            decision = decision_of(feed, made, found, seen, checked_offset) if kept else None
            self._journal.write_down(record_of(feed, query.context), decision)
        if self.beside and not source:
            self.beside(query, Candidates(scored.batch.rows, scored.batch.source))
        budget.lap("finish")
        return feed


def _answered(
    generation: Generation, made: Made, page: Page, gone: dict[str, int], why: str, *, explain: bool, source: str
) -> Feed:
    """The answer for a page after its last check, at which some were gone; ``why`` it is not of the first rung."""
    scored = made.lift.scored
    batch, query = scored.batch, scored.batch.query
    return Feed(
        request_id=query.request_id,
        user_id=query.user_id,
        surface=query.context.surface,
        now_ms=query.now_ms,
        read_offset=batch.read_offset,
        bundle=generation.bundle.version,
        policy=generation.policy.version,
        items=show(generation, scored, page, explain=explain, source=source),
        dropped=made.dropped | gone,
        relaxed=gave_way(made, page),
        level=made.level,
        degraded=why,
        given_up=given_up(generation, scored, page.at) if explain and not source else {},
    )
