"""One decision, computed again: the engine's own course over a state as it was, and what became of each candidate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from features.logs.live import HomeLog
from features.records import Decision, Found, Served
from features.types import IntArray, RowArray
from ranking.api import FeedItem, Level
from ranking.candidates import suppression
from ranking.mixing.mixer import best_first
from ranking.policy.boosts import Boost
from ranking.replay.account import Considered
from ranking.request.generation import Generation
from ranking.request.ladder import Budget
from ranking.request.making import SCORED, Made, as_given, composed, gave_way, lined_up, ordered, read, read_given
from ranking.request.pages import fit
from ranking.request.sample import GIVEN
from ranking.request.show import show
from ranking.types import Candidates, Page, Query, Unlogged


@dataclass(frozen=True, slots=True)
class Granted:
    """Boosts as they were paid for when the page was served: no more, and nothing is spent."""

    impressions: Mapping[str, int]

    def take(self, boost: Boost, wanted: int, now_ms: int) -> int:
        """As many as were set aside then, at most."""
        return min(wanted, self.impressions.get(boost.name, 0))

    def give_back(self, name: str, impressions: int) -> None:
        """Take nothing back: nothing was spent."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A page computed again: its items as an answer shows them, and every candidate."""

    items: tuple[FeedItem, ...]
    candidates: tuple[Considered, ...]
    dropped: dict[str, int]
    relaxed: tuple[str, ...]
    unknown: int


def taken_again(generation: Generation, log: HomeLog, served: Served, kept: Decision) -> Outcome:
    """Decide once more for the candidates of a page, and check it where its last check was.

    Parameters
    ----------
    generation : Generation
        As of the page's ``read_offset``; it is folded on.
    log : HomeLog
    served, kept : Served, Decision
        The page, and what was kept of its decision.
    """
    query = generation.query(
        served.request_id, served.user_id, kept.count, served.context, served.ts_ms, kept.seen,
        unlogged=Unlogged(*kept.unlogged), explain=True,
    )  # fmt: skip
    found, unknown = _candidates(generation, kept.found)
    source = GIVEN if kept.found and kept.found[0].source == GIVEN else ""
    reasons = _reasons(generation, query, found, given=bool(source))
    made = _made(generation, query, found, kept, given=bool(source))
    for batch in log.read(served.read_offset, kept.checked_offset):
        generation.fold(batch)
    page, gone = fit(generation, made.lift.scored, made.slate)
    items = show(generation, made.lift.scored, page, explain=True, source=source)
    candidates = _considered(generation, made, page, reasons, source)
    return Outcome(items, candidates, made.dropped | gone, gave_way(made, page), unknown)


def _made(generation: Generation, query: Query, found: Candidates, kept: Decision, *, given: bool) -> Made:
    """The page of a rung, by the functions that the engine makes it with."""
    level, budget, purse = cast("Level", kept.level), Budget(), Granted(kept.granted)
    if given:
        known = read_given(generation, query, budget, found, explain=True)
        return (
            ordered(generation, known, level, budget, purse) if level in SCORED else as_given(generation, known, purse)
        )
    if level in SCORED:
        return composed(generation, read(generation, query, budget, explain=True, found=found), level, budget, purse)
    return lined_up(generation, query, found, level, budget, purse)


def _candidates(generation: Generation, found: tuple[Found, ...]) -> tuple[Candidates, int]:
    """Candidates as they were merged, and how many the log does not know any more."""
    names = generation.recall.names
    parts = [generation.state.items.find_all(some.items) for some in found]
    codes = [names.index(some.source) if some.source in names else 0 for some in found]
    rows = np.concatenate([np.zeros(0, np.int32), *parts])
    source = np.repeat(np.array(codes, np.uint8), [len(part) for part in parts])
    return Candidates(rows[rows > 0], source[rows > 0]), int((rows == 0).sum())


def _reasons(generation: Generation, query: Query, found: Candidates, *, given: bool) -> dict[int, str]:
    """Why candidates may not be shown, or not again, by row; what gave way has a reason and is on the page."""
    said = dict(zip(found.rows.tolist(), generation.why_not(query, found.rows), strict=True))
    if not given:
        codes, _ = suppression.suppressed(generation.state, generation.policy.suppress, query, found.rows)
        again = zip(found.rows.tolist(), codes.tolist(), strict=True)
        said |= {row: suppression.NAMES[code] for row, code in again if code and not said[row]}
    return said


def _considered(
    generation: Generation, made: Made, page: Page, reasons: Mapping[int, str], source: str
) -> tuple[Considered, ...]:
    """What became of each candidate: the page, then the rest by value, then what was dropped before."""
    scored = made.lift.scored
    rows, every = scored.batch.rows, np.arange(len(scored.batch.rows))
    by_value = best_first(scored.value, rows)
    order = by_value if source else generation.reranker.order(scored.batch.query, scored)
    places, reranked, slots = _inverse(by_value), _inverse(order), {int(at): n for n, at in enumerate(page.at)}
    gone = _gone(generation, made)
    payloads = generation.state.payloads.listed(rows)
    shown = show(generation, scored, Page(every, payloads, made.slate.drawn), explain=True, source=source)
    looked_at = [
        Considered(
            item_id=item.item_id,
            source=item.source,
            kind=str(item.kind),
            title=item.title,
            dropped="gone" if at in gone else "",
            place=places[at],
            reranked=reranked[at],
            slot=slots.get(at),
            propensity=item.propensity,
            boost_spent=item.boost_spent,
            value=item.value,
            terms=item.terms,
            heads=item.heads,
            features=item.features,
        )
        for at, item in enumerate(shown)
    ]
    looked_at.sort(key=lambda one: (one.slot is None, one.slot or 0, one.place or 0))
    return (*looked_at, *_not_scored(generation, made.found, rows, reasons, source))


def _gone(generation: Generation, made: Made) -> set[int]:
    """Positions that stood on the slate and may not be shown any more, by the state at the last check."""
    batch = made.lift.scored.batch
    stood, query = made.slate.page, batch.query
    still = generation.showable(batch.rows[stood], query.now_ms, query.context.surface)
    return set(stood[~still].tolist())


def _not_scored(
    generation: Generation, found: Candidates, scored: RowArray, reasons: Mapping[int, str], source: str
) -> tuple[Considered, ...]:
    left = np.flatnonzero(~np.isin(found.rows, scored))
    fallen = []
    for row, code in zip(found.rows[left].tolist(), found.source[left].tolist(), strict=True):
        item, name = generation.state.item(row), generation.state.items.name(row)
        fallen.append(
            Considered(
                item_id=name,
                source=source or generation.recall.names[code],
                kind=str(item.kind) if item else "",
                title=item.title if item else "",
                dropped=reasons.get(row) or "light",
            )
        )
    return tuple(fallen)


def _inverse(order: IntArray) -> list[int]:
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return list(map(int, places))
