"""The peer of ``benchmarks.feed``: the same page as a competent engineer would serve it after an afternoon.

Everything that can be computed beforehand is: a matrix of item features, one row a person, a dictionary of what is
known of people and authors or categories, faiss HNSW graphs. A request looks them up with numpy, asks LightGBM for each
head over all rows in one thread, and spaces authors in a loop. It is given its snapshot for free: nothing is decayed,
folded or checked against the present, and nothing of it is explained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import lightgbm as lgb
import numpy as np

from features.factors import unit
from features.fold.rings import TICK_BITS
from features.outcomes import PRODUCT, ROOM
from features.reader import Reader
from features.records import Context
from features.state import FeatureState
from features.types import DoubleArray, FloatArray, IntArray, RowArray
from ranking.bundles.bundle import Bundle
from ranking.policy import Policy

LINKS, BUILD, SEARCH = 32, 80, 600
KINDS = (ROOM, PRODUCT)


@dataclass(frozen=True)
class Page:
    """What the naive stack answers: item ids in page order and their scores; and of all candidates, best first."""

    item_ids: list[str]
    scores: list[float]
    candidates: RowArray
    values: DoubleArray


def group_of(reader: Reader, entities: Sequence[str]) -> IntArray:
    """The columns of a FeatureSet that tell of some entities, such as ``user``."""
    heads = [name.removeprefix("age(").removeprefix("since(").split(".")[0] for name in reader.feature_set.names]
    return np.array([j for j, head in enumerate(heads) if head in entities], np.int64)


class Naive:
    """The stack, loaded with a snapshot of a state at one moment.

    Parameters
    ----------
    bundle : Bundle
        Its heads, calibrators and scales.
    policy : Policy
    reader : Reader
        Made to catch up with the state; only the snapshot is read with it.
    state : FeatureState
    people : sequence of int
        The rows of those who will ask.
    now_ms : int
    """

    def __init__(
        self, bundle: Bundle, policy: Policy, reader: Reader, state: FeatureState, people: Sequence[int], now_ms: int
    ) -> None:
        everything = np.arange(len(state.items), dtype=np.int32)
        items = state.arrays.items
        self.names = state.items.names
        self.kinds = items.categories[: len(everything), 4].astype(np.uint8)
        self.authors = items.categories[: len(everything), 0].copy()
        self.categories = items.categories[: len(everything), 3].copy()
        ended = items.ended | (items.pulse_ms < now_ms - policy.room_ttl_ms)
        self.alive = items.listed[: len(everything)] & ((self.kinds != ROOM) | ~ended[: len(everything)])
        self.seen = {user: set(state.arrays.rings.seen[user].tolist()) for user in people}
        self.seen_after = now_ms - policy.suppress.windows_ms[0]
        self.seen_ms = {user: int(state.arrays.rings.seen_at[user].max()) << TICK_BITS for user in people}
        self.user_columns = group_of(reader, ["user"])
        self.author_columns = group_of(reader, ["user*author"])
        self.category_columns = group_of(reader, ["user*category"])
        self.matrix = np.ascontiguousarray(reader.rows(state, 0, everything, now_ms, Context("feed")))
        self.vectors = [*map(unit, reader.vectors)]
        self.item_vectors = reader.vectors.item
        self.cosine_columns = [j for j, name in enumerate(reader.feature_set.names) if name.startswith("cosine")]
        self.taste_columns = [j for j, name in enumerate(reader.feature_set.names) if name.startswith("taste")]
        self.tastes = reader.tastes
        self.likes = {user: reader.user_taste(state, user, now_ms) for user in people}
        self.product_columns = [j for j, name in enumerate(reader.feature_set.names) if name.startswith("product")]
        self.people = {user: reader.user_vector(state, user, now_ms) for user in people}
        self.person: dict[tuple[int, int], FloatArray] = {}
        self.of_author: dict[tuple[int, int, int], FloatArray] = {}
        self.of_category: dict[tuple[int, int, int], FloatArray] = {}
        self.rows_of = {kind: np.flatnonzero(self.kinds == kind).astype(np.int32) for kind in KINDS}
        self._remember(reader, state, people, now_ms)
        self.boosters = [lgb.Booster(model_str=text) for text in bundle.models.values()]
        heads = tuple(bundle.heads)
        scale = bundle.scales_of(heads) * policy.weights_for("feed", bundle.weights).signed(heads)[:, None]
        self.factors = {kind: scale[:, kind] for kind in KINDS}
        self.knots = [
            {kind: (c.margins, c.probabilities) for kind, c in head.calibrators.items()}
            for head in bundle.heads.values()
        ]
        self.k = policy.candidates
        self.graphs = {kind: graph_of(reader.vectors.item[rows], 2) for kind, rows in self.rows_of.items()}

    def _remember(self, reader: Reader, state: FeatureState, people: Sequence[int], now_ms: int) -> None:
        """A person's own columns, and those of the person with authors and categories, by kind."""
        authors, categories = state.arrays.pairs
        groups = (
            (self.of_author, self.authors, authors.keys, self.author_columns),
            (self.of_category, self.categories, categories.keys, self.category_columns),
        )
        for store, of, keys, columns in groups:
            pairs, first = np.unique(np.stack([of, self.kinds], axis=1), axis=0, return_index=True)
            for user in people:
                wanted = np.flatnonzero(np.isin(pairs[:, 0], keys[user][keys[user] > 0]))
                rows = reader.rows(state, user, first[wanted].astype(np.int32), now_ms, Context("feed"))
                for (key, kind), row in zip(pairs[wanted].tolist(), rows, strict=True):
                    store[user, key, kind] = row[columns]
        some = np.array([self.rows_of[kind][0] for kind in KINDS], np.int32)
        for user in people:
            for kind, row in zip(KINDS, reader.rows(state, user, some, now_ms, Context("feed")), strict=True):
                self.person[user, kind] = row[self.user_columns]

    def feed(self, user: int, count: int) -> Page:
        """A page for a person."""
        rows = self.retrieve(user)
        value = self.score(user, rows)
        order = np.argsort(-value, kind="stable")
        page = self.spaced(rows, order.tolist(), count)
        return Page([self.names[rows[at]] for at in page], [float(value[at]) for at in page], rows[order], value[order])

    def retrieve(self, user: int) -> RowArray:
        """The nearest rooms and products that are alive and were not seen lately."""
        vector = self.people[user][None]
        found = []
        for kind in KINDS:
            _, ids = self.graphs[kind].search(vector, self.k)
            found.append(self.rows_of[kind][ids[0][ids[0] >= 0]])
        rows: RowArray = np.concatenate(found)
        rows = rows[self.alive[rows]]
        if self.seen_ms[user] >= self.seen_after:
            rows = rows[[row not in self.seen[user] for row in rows.tolist()]]
        return rows

    def features(self, user: int, rows: RowArray) -> FloatArray:
        """Feature rows (n, d) by look-up."""
        out = self.matrix[rows]
        for kind in KINDS:
            out[np.ix_(self.kinds[rows] == kind, self.user_columns)] = self.person[user, kind]
        kinds = self.kinds[rows].tolist()
        pairs = (
            (self.of_author, self.authors, self.author_columns),
            (self.of_category, self.categories, self.category_columns),
        )
        for store, of, columns in pairs:
            for i, key in enumerate(zip(of[rows].tolist(), kinds, strict=True)):
                known = store.get((user, *key))
                if known is not None:
                    out[i, columns] = known
        keys = (rows, self.authors[rows], self.categories[rows])
        for column, matrix, places in zip(self.cosine_columns, self.vectors, keys, strict=True):
            # Products in float32, their sum in float64: as the scores of the kernels are made.
            out[:, column] = (matrix[places] * self.people[user]).sum(axis=1, dtype=np.float64)
        for column in self.product_columns:
            out[:, column] = (self.item_vectors[rows] * self.people[user]).sum(axis=1, dtype=np.float64)
        for column in self.taste_columns:
            out[:, column] = (self.tastes[rows] * self.likes[user]).sum(axis=1, dtype=np.float64)
        return out

    def score(self, user: int, rows: RowArray) -> DoubleArray:
        """The value (n,) of items: LightGBM, calibration and weights, one head after the other."""
        features, kinds = self.features(user, rows), self.kinds[rows]
        value = np.zeros(len(rows))
        for head, (booster, knots) in enumerate(zip(self.boosters, self.knots, strict=True)):
            margin = np.asarray(booster.predict(features, raw_score=True, num_threads=1))
            for kind in KINDS:
                of_kind = kinds == kind
                value[of_kind] += self.factors[kind][head] * np.interp(margin[of_kind], *knots[kind])
        return value

    def spaced(self, rows: RowArray, order: Sequence[int], count: int) -> list[int]:
        """The best first, no author twice in four consecutive slots; where none fits, the best."""
        authors = self.authors[rows].tolist()
        left, page = list(order), list[int]()
        while left and len(page) < count:
            recent = {authors[at] for at in page[-3:]}
            best = next((at for at in left if authors[at] not in recent), left[0])
            left.remove(best)
            page.append(best)
        return page


def graph_of(vectors: FloatArray, threads: int) -> faiss.IndexHNSWFlat:
    """A graph of vectors by inner product."""
    faiss.omp_set_num_threads(threads)
    graph = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BUILD
    graph.add(np.ascontiguousarray(vectors))
    graph.hnsw.efSearch = SEARCH
    faiss.omp_set_num_threads(1)
    return graph
