"""Pages of what was found: composed by value or lined up as they stand, and checked once more before they leave.

``unscored`` and ``fit`` read the state, and their caller holds the mutex; the others read nothing that changes.
"""

from dataclasses import replace

import numpy as np

from features.factors import unit
from features.types import BoolArray, IntArray, RowArray
from ranking.mixing import exploration
from ranking.mixing.exploration import Lottery
from ranking.mixing.mixer import NONE, bounded, fitting, mix, without
from ranking.request.generation import Generation
from ranking.types import Batch, Bounded, Candidates, Page, Query, Scored, Slate


def compose(generation: Generation, scored: Scored, lottery: Lottery | None = None) -> tuple[Slate, tuple[str, ...]]:
    """A page within the surface's bounds, the reserve, and the bounds that gave way.

    Slots of the policy's ``[explore]`` are drawn by lot, each given the page so far.
    """
    batch, query = scored.batch, scored.batch.query
    order, bounds = generation.reranker.order(query, scored), _bounds(generation, batch)
    begun, drawn = NONE, dict[int, float]()
    if lottery and len(lottery.rows):
        asked = exploration.places_of(lottery.rows, batch.rows)
        for slot in generation.policy.explore.slots:
            if slot >= min(query.count, len(order)):
                break
            begun = mix(bounds, without(order, begun), slot, begun)[0].page
            q = lottery.chances(fitting(bounds, begun, asked))
            if q.any():
                won = lottery.pick(q, query.request_id, slot)
                begun = np.append(begun, asked[won])
                drawn[int(asked[won])] = float(q[won])
    slate, relaxed = mix(bounds, without(order, begun), query.count, begun)
    return replace(slate, drawn=drawn) if drawn else slate, relaxed


def line_up(generation: Generation, batch: Batch) -> tuple[Slate, tuple[str, ...]]:
    """A page of a batch as it stands, within the surface's bounds."""
    return mix(_bounds(generation, batch), np.arange(len(batch.rows)), batch.query.count)


def unscored(generation: Generation, query: Query, legal: Candidates) -> Scored:
    """Candidates that nobody scored, worth 0 each."""
    none = np.zeros((len(legal.rows), 0), np.float32)
    kinds, decided = generation.decisions.of(query, legal.rows)
    batch = Batch(query, legal.rows, kinds, legal.source, decided, none, none, generation.state.offset)
    return worthless(generation, batch)


def worthless(generation: Generation, batch: Batch) -> Scored:
    """A batch as if nothing were expected of it."""
    n, heads = len(batch.rows), len(generation.ranker.heads)
    terms = np.zeros((n, heads + len(generation.decisions.names)))
    return Scored(batch, np.zeros((n, heads)), terms, np.zeros(n))


def fit(generation: Generation, scored: Scored, slate: Slate) -> tuple[Page, dict[str, int]]:
    """The page after its last check: what has gone meanwhile is dropped and the reserve moves up."""
    batch, at, relaxed = scored.batch, slate.page, None
    still = _still_fit(generation, batch, at)
    gone = int(len(still) - still.sum())
    if gone:
        at = at[still]
    if gone and slate.bounds:
        # What follows a gap moves up and may now break a bound: the page's bounds are judged anew.
        spare = slate.reserve[_still_fit(generation, batch, slate.reserve)]
        mixed, relaxed = mix(slate.bounds, spare, min(batch.query.count, len(at) + len(spare)), at)
        at = mixed.page
    rows = batch.rows[at]
    payloads, near = generation.state.payloads.listed(rows), _near(generation, batch.query.liked, rows)
    return Page(at, payloads, slate.drawn, relaxed, near), {"gone": gone} if gone else {}


def _bounds(generation: Generation, batch: Batch) -> Bounded:
    written = generation.policy.surface(batch.query.context.surface).bounds
    return bounded(written, batch.decided.keys, batch.decided.held, batch.query.count)


def _still_fit(generation: Generation, batch: Batch, at: IntArray) -> BoolArray:
    query = batch.query
    return generation.showable(batch.rows[at], query.now_ms, query.context.surface, query.user)


def _near(generation: Generation, liked: RowArray, rows: RowArray) -> tuple[str, ...]:
    """Of what the person liked, the id of what each item (n,) is nearest to; "" where none is like it at all."""
    if not len(liked):
        return ()
    vectors = generation.reader.vectors.item
    # What is compared is of one item: its own length changes nothing.
    cosine = vectors[rows] @ unit(vectors[liked]).T
    best, names = cosine.argmax(axis=1), [generation.state.items.name(row) for row in liked.tolist()]
    some = np.take_along_axis(cosine, best[:, None], axis=1)[:, 0] > 0
    return tuple(names[one] if near else "" for one, near in zip(best.tolist(), some.tolist(), strict=True))
