"""A generation: one bundle with the state, the indexes and the sources it is served from, and the stages of a request.

The owner's mutex guards a generation, but for ``score`` and ``compose``, which read nothing that changes.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from features.errors import RequestError
from features.outcomes import KIND_CODES, PRODUCT, ROOM, VIDEO
from features.reader import Reader
from features.records import Context
from features.state import NO_ROWS, FeatureState
from features.types import BoolArray, RowArray
from ranking import eligibility
from ranking.bundle import Bundle
from ranking.index import ExactIndex, FaissIndex
from ranking.mixer import best_first, mix
from ranking.policy import Policy
from ranking.sources import Fresh, Personal, Trending, merge
from ranking.types import Batch, Candidates, FeedItem, Query, Ranker, Scored, Slate, Source, VectorIndex
from ranking.value import value_of, value_terms

Placed = tuple[int, Source]
"""A source and the code of the kind it finds."""


def _personal(kind: int) -> Callable[[FeatureState, Mapping[int, VectorIndex], Policy], list[Placed]]:
    def placed(state: FeatureState, indexes: Mapping[int, VectorIndex], policy: Policy) -> list[Placed]:
        def on_air(query: Query) -> BoolArray:
            return eligibility.on_air(state, policy, query.now_ms)

        return [(kind, Personal(kind, indexes[kind], on_air if kind == ROOM else None))]

    return placed


_SOURCES: dict[str, Callable[[FeatureState, Mapping[int, VectorIndex], Policy], list[Placed]]] = {
    "live": _personal(ROOM),
    "products": _personal(PRODUCT),
    "videos": _personal(VIDEO),
    "trending": lambda state, indexes, _: [(kind, Trending(kind, state)) for kind in indexes],
    "fresh": lambda state, indexes, _: [(kind, Fresh(kind, state)) for kind in indexes],
}
"""What a policy may name, and the sources it then gets."""


class Generation:
    """What answers requests until the next promotion.

    Parameters
    ----------
    bundle : Bundle
    policy : Policy
    state : FeatureState
        Of the bundle's layout; from now on folded through the generation alone.
    ranker : Ranker
    """

    def __init__(self, bundle: Bundle, policy: Policy, state: FeatureState, ranker: Ranker) -> None:
        self.bundle = bundle
        self.policy = policy
        self.state = state
        self.ranker = ranker
        self._scales = bundle.scales_of(self.ranker.heads)
        self.reader = Reader(bundle.feature_set, bundle.codes, bundle.factors)
        dims = bundle.factors.dims
        self.indexes: dict[int, VectorIndex] = {
            ROOM: ExactIndex(dims),
            PRODUCT: FaissIndex(dims),
            VIDEO: FaissIndex(dims),
        }
        self.sources = tuple(
            (kind, source) for name in policy.sources for kind, source in _SOURCES[name](state, self.indexes, policy)
        )
        state.take_changed()
        self._catch_up(state.described())

    def fold(self, batch: pa.RecordBatch) -> None:
        """Fold a batch of the log and bring vectors and indexes up to it."""
        self.state.fold(batch)
        self._catch_up(self.state.take_changed())

    def _catch_up(self, rows: RowArray) -> None:
        self.reader.catch_up(self.state, rows)
        if not len(rows):
            return
        kinds = self.state.arrays.items.categories[rows, 4]
        shown = eligibility.presentable(self.state, rows)
        for kind, index in self.indexes.items():
            held = (kinds == kind) & shown
            index.remove(rows[~held])
            index.put(rows[held], self.reader.vectors.item[rows[held]])

    def query(self, request_id: str, user_id: str, count: int, context: Context, now_ms: int) -> Query:
        """Who asks, and what they like."""
        user = self.state.users.find(user_id)
        personal = user if self.state.arrays.users.personalised[user] else 0
        vector = self.reader.user_vector(self.state, personal, now_ms)
        return Query(request_id, user_id, user, personal, now_ms, count, context, vector)

    def retrieve(self, query: Query) -> Candidates:
        """What every source finds, each item once."""
        kinds = {KIND_CODES[kind] for kind in self.policy.surface(query.context.surface).kinds}
        k = self.policy.candidates
        return merge([source.retrieve(query, k) if kind in kinds else NO_ROWS for kind, source in self.sources])

    def legal(self, query: Query, found: Candidates) -> tuple[Batch, dict[str, int]]:
        """Candidates that may be shown, with their feature rows; and how many were dropped, by reason."""
        mask, reasons = eligibility.keep(self.state, self.policy, query, found.rows)
        dropped = Counter(eligibility.REASONS[code] for code in reasons[~mask].tolist())
        rows = found.rows[mask]
        features = self.reader.rows(self.state, query.personalised_user, rows, query.now_ms, query.context)
        categories = self.state.arrays.items.categories[rows]
        kinds, authors = categories[:, 4].astype(np.uint8), categories[:, 0]
        batch = Batch(query, rows, kinds, authors, found.source[mask], features, self.state.offset)
        return batch, dict(dropped)

    def unseen(self, query: Query, found: Candidates) -> tuple[Candidates, dict[str, int]]:
        """Candidates the person was not shown lately; all of them where too few would be left for a page."""
        seen = eligibility.seen_recently(self.state, query, found.rows, self.policy.seen_window_ms)
        if not seen.any() or (~seen).sum() < query.count:
            return found, {}
        return Candidates(found.rows[~seen], found.source[~seen]), {"seen": int(seen.sum())}

    def score(self, batch: Batch) -> Scored:
        """What is expected of each candidate, and what that is worth on the query's surface."""
        probabilities = self.ranker.predict(batch)
        weights = self.policy.weights_for(batch.query.context.surface)
        terms = value_terms(
            probabilities, self.ranker.heads, batch.kinds, self.bundle.scales_of(self.ranker.heads), weights
        )
        return Scored(batch, probabilities, terms, value_of(terms))

    def compose(self, scored: Scored) -> tuple[Slate, tuple[str, ...]]:
        """A page by value within the surface's bounds, the reserve, and the bounds that gave way."""
        batch = scored.batch
        surface = self.policy.surface(batch.query.context.surface)
        return mix(surface, batch.kinds, batch.authors, best_first(scored.value, batch.rows), batch.query.count)

    def show(
        self, scored: Scored, slate: Slate, *, explain: bool, source: str = ""
    ) -> tuple[tuple[FeedItem, ...], dict[str, int]]:
        """The page after its last check: what has gone meanwhile is dropped and the reserve moves up."""
        batch = scored.batch
        wanted = np.concatenate([slate.page, slate.reserve])
        fit = eligibility.fit_to_show(self.state, self.policy, batch.rows[wanted], batch.query.now_ms)
        gone = int((~fit[: len(slate.page)]).sum())
        page = wanted[fit][: batch.query.count]
        items = tuple(self._slot(scored, int(at), explain=explain, source=source) for at in page)
        return items, {"gone": gone} if gone else {}

    def _slot(self, scored: Scored, at: int, *, explain: bool, source: str) -> FeedItem:
        heads, names = self.ranker.heads, self.reader.feature_set.names
        features = dict(zip(names, scored.batch.features[at].tolist(), strict=True)) if explain else {}
        return self.describe(
            int(scored.batch.rows[at]),
            value=float(scored.value[at]),
            source=source or self.sources[scored.batch.source[at]][1].name,
            terms=dict(zip(heads, scored.terms[at].tolist(), strict=True)),
            heads=dict(zip(heads, scored.probabilities[at].tolist(), strict=True)),
            features={name: None if math.isnan(value) else value for name, value in features.items()},
        )

    def describe(
        self,
        row: int,
        *,
        value: float,
        source: str,
        terms: dict[str, float] | None = None,
        heads: dict[str, float] | None = None,
        features: dict[str, float | None] | None = None,
    ) -> FeedItem:
        """An item of the catalog as an answer shows it."""
        item = self.state.item(row)
        if item is None:
            raise RequestError(f"Item {self.state.items.names[row]!r} is not in the catalog.", "Put it there first.")
        return FeedItem(
            item_id=item.item_id,
            kind=item.kind,
            title=item.title,
            author_id=item.author_id,
            category=item.category,
            price=item.price,
            value=value,
            terms=terms or {},
            heads=heads or {},
            source=source,
            features=features or {},
        )
