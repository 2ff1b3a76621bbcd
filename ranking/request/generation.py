"""A generation: a bundle with the state, the indexes and the sources it is served from; a request up to its scores.

The owner's mutex guards a generation, but for ``glance`` and ``score``, which read nothing that changes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from features.fold.arrays import Steps
from features.fold.counters import ROOM_PULSE
from features.reader import Reader
from features.records import Context, Item, Kind
from features.state import NO_ROWS, FeatureState, rehearse
from features.types import BoolArray, DoubleArray, FloatArray, RowArray
from ranking.api import Indexed
from ranking.bundles.bundle import Bundle, factors_of
from ranking.candidates import suppression
from ranking.candidates.indexes import Indexes
from ranking.candidates.legality import Legality
from ranking.candidates.on_air import OnAir
from ranking.candidates.quality import Quality
from ranking.candidates.recall import Recall
from ranking.forest.item_codes import ItemCodes
from ranking.index.kept import Kept
from ranking.mixing import exploration
from ranking.mixing.commerce_load import Load
from ranking.mixing.decided import Decisions
from ranking.mixing.exploration import Lottery
from ranking.mixing.mixer import best_mask
from ranking.mixing.rerank import reranker_of
from ranking.policy import Policy
from ranking.types import NOTHING, Batch, Candidates, Query, Ranker, Scored, Unlogged, VectorIndex
from ranking.value import weights_by_kind, worth

CHUNK = 10_000
"""Items that are taken in at a time when a generation is made."""


class Generation:
    """What answers requests until the next promotion.

    Parameters
    ----------
    bundle : Bundle
    policy : Policy
    state : FeatureState
        Of the bundle's layout; from now on folded through the generation alone.
    ranker : Ranker
    lists : Path, optional
        Where the indexes' trained lists are kept from one start to the next.
    bundles : Path, optional
        The folder of bundles whose factors' lists stay there.
    keeps : bool
        Whether they are kept there, or only read.
    exact : bool
        Whether to search without lists, for one who asks little: nothing is trained beside.
    whole : bool
        Whether to take in all items at once. Else the caller does, by ``take_in``, before anything is asked of it.

    ``followers`` are told the item rows that a fold has changed, under the mutex.
    """

    def __init__(
        self,
        bundle: Bundle,
        policy: Policy,
        state: FeatureState,
        ranker: Ranker,
        *,
        lists: Path | None = None,
        bundles: Path | None = None,
        keeps: bool = False,
        exact: bool = False,
        whole: bool = True,
    ) -> None:
        self.bundle = bundle
        self.state = state
        self.ranker = ranker
        self.reader = Reader(bundle.feature_set, bundle.codes, bundle.factors)
        self.reader.begin(state)
        forest = ranker.forest
        self._item_codes = ItemCodes(forest, self.reader) if forest and forest.compiled else None
        factors = factors_of(bundle.sha256)

        def kept(kind: str) -> Kept | None:
            return Kept(lists, factors, kind, keeps, bundles) if lists else None

        self._indexes = Indexes(state, self.reader, None if exact else kept)
        self._evidence = exploration.evidence_slots(state.layout)
        self.faults = Counter[str]()
        self.followers: list[Callable[[RowArray], None]] = []
        self._go_by(policy)
        self._heir: Generation | None = None
        state.take_changed()
        if whole:
            for _ in self.take_in(CHUNK):
                pass

    def take_in(self, most: int) -> Iterator[None]:
        """Take in all items that were there at the first step, at most so many a step; nobody folds during a step."""
        for rows in np.array_split(self.state.described(), 1 + len(self.state.items) // most):
            self._catch_up(rows)
            yield
        self._indexes.start()

    def bequeath(self, heir: "Generation | None") -> None:
        """Tell another generation over the same state of all that is folded from now on; None: nobody any more."""
        self._heir = heir

    def _go_by(self, policy: Policy) -> None:
        """Set up what follows from the policy alone; nothing that is trained or indexed does."""
        state = self.state
        self.policy = policy
        self.reranker = reranker_of(policy.rerank)
        self._dims_read = 0 if policy.rerank.method == "none" else self.bundle.factors.dims
        self.on_air = OnAir(state, policy.room_ttl_ms)
        self.recall = Recall(policy, state, self.indexes, self.on_air, self.faults)
        quality = Quality(state, policy.quality)
        self._legality = Legality(state, policy, quality)
        self.load = Load(state, policy.commerce.surfaces, self.bundle.feature_set.utc_offset_ms)
        self.decisions = Decisions(state, policy, quality, self.load)
        heads, scales = self.ranker.heads, self.bundle.scales_of(self.ranker.heads)
        weights = {name: policy.weights_for(name, self.bundle.weights) for name in policy.surfaces}
        self._factors = {name: weights_by_kind(heads, scales, of_surface) for name, of_surface in weights.items()}

    def under(self, policy: Policy) -> Self:
        """The same under another policy, over the same state and indexes; nobody folds meanwhile."""
        other = copy(self)
        other._go_by(policy)
        return other

    def fill_load(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Count what the log says was served on the last day, where the policy goes by it."""
        for batch in batches:
            self.load.fold(batch)

    def fold(self, batch: pa.RecordBatch) -> None:
        """Fold a batch of the log, and bring vectors, indexes, charts and rooms up to it; the heir's, too."""
        steps, changed = self.state.fold(batch).steps, self.state.take_changed()
        self._follow(batch, steps, changed)
        if self._heir is not None:
            self._heir._follow(batch, steps, changed)

    def _follow(self, batch: pa.RecordBatch, steps: Steps, changed: RowArray) -> None:
        """Come up to a batch that the state has folded, whose rows of items are ``changed``."""
        self._catch_up(changed)
        for follow in self.followers:
            follow(changed)
        self.on_air.follow(np.concatenate([changed, steps.item[steps.action == ROOM_PULSE]]))
        self._legality.follow(changed)
        if self.policy.counts_served:
            self.load.fold(batch)
        self.recall.follow(np.concatenate([changed, steps.item, steps.via]))

    def rehearse(self) -> None:
        """Do for one item of each kind what a batch of the log would, and for some vectors what a training would.

        Kernels are compiled then, or read from their caches, before pages wait for it; nothing else changes. The caller
        holds the mutex.
        """
        rehearse(self.state.layout)
        self.reader.factors.vectors_of([Item("", 0, Kind.VIDEO, title="an item that nobody knew")])
        rows = self.state.described()
        some = rows[np.unique(self.state.arrays.items.categories[rows, 4], return_index=True)[1]]
        self._catch_up(some)
        self.on_air.follow(some)
        self._legality.follow(some)
        self.recall.follow(some)
        self._indexes.rehearse()

    @property
    def indexes(self) -> dict[int, VectorIndex]:
        """The vectors of what may be shown, by the code of its kind."""
        return self._indexes.by_kind

    def indexed(self) -> dict[str, Indexed]:
        """How the index of each kind stands, by the kind's name."""
        return self._indexes.standing()

    @property
    def is_training(self) -> bool:
        """Whether lists are being trained: what has none yet is searched one and all."""
        return self._indexes.is_training

    def close(self) -> None:
        """End what runs beside: a training of lists that is under way is given up."""
        self._indexes.close()

    def _catch_up(self, rows: RowArray) -> None:
        self.reader.catch_up(self.state, rows)
        if self._item_codes:
            self._item_codes.catch_up(self.state, rows)
        self._indexes.catch_up(rows)

    def query(
        self,
        request_id: str,
        user_id: str,
        count: int,
        context: Context,
        now_ms: int,
        seen: Sequence[str] = (),
        *,
        unlogged: Unlogged = NOTHING,
        explain: bool = False,
    ) -> Query:
        """Who asks, what they like, what they have on the screen, and what was served that the log has not yet."""
        user = self.state.users.find(user_id)
        personal = user if self.state.arrays.users.personalised[user] else 0
        vector = self.reader.user_vector(self.state, personal, now_ms)
        on_screen = _known(self.state.items.find_all(seen)) if seen else NO_ROWS
        liked = _known(self.state.arrays.rings.item[personal]) if explain else NO_ROWS
        return Query(request_id, user_id, user, personal, now_ms, count, context, vector, on_screen, liked, unlogged)

    def alike(self, row: int, k: int) -> tuple[RowArray, FloatArray]:
        """At most k item rows of the same kind by the cosine of their vectors, highest first, ties by row."""
        return self._indexes.alike(row, k)

    def retrieve(self, query: Query, *, charts: bool = False) -> Candidates:
        """What every source finds, or the charts alone, each item once; a source that fails finds nothing."""
        return self.recall.retrieve(query, charts=charts)

    def deeper(self, query: Query) -> Iterator[Candidates]:
        """What sources find where they look deeper than ``retrieve`` just did, again and again."""
        return self.recall.deeper(query)

    def legal(self, query: Query, found: Candidates) -> tuple[Candidates, dict[str, int]]:
        """Candidates that may be shown; and how many were dropped, by reason."""
        return self._legality.keep(query, found)

    def why_not(self, query: Query, rows: RowArray) -> list[str]:
        """Why each item (n,) may not be shown to a person; empty where it may."""
        return self._legality.why_not(query, rows)

    def showable(self, rows: RowArray, now_ms: int, surface: str = "", user: int = 0) -> BoolArray:
        """The last check: which items (n,) are still listed, alive, in stock, not hidden, and not barred."""
        return self._legality.showable(rows, now_ms, surface, user)

    def unseen(self, query: Query, legal: Candidates) -> tuple[Candidates, dict[str, int], tuple[str, ...]]:
        """Candidates that were neither shown nor bought lately, how many were, and what of that gave way."""
        return suppression.unseen(self.state, self.policy.suppress, query, legal)

    def assemble(self, query: Query, chosen: Candidates, *, explain: bool = False) -> Batch:
        """The codes of candidates, as of now; their feature rows to explain by, or where nothing is coded."""
        rows, codes = chosen.rows, self._item_codes
        asked = self.state, query.personalised_user, rows, query.now_ms, query.context
        coded = codes.coded(*asked) if codes else None
        features = np.zeros((len(rows), 0), np.float32) if codes and not explain else self.reader.rows(*asked)
        kinds, decided = self.decisions.of(query, rows)
        # A view of no dimensions costs nothing where re-ranking reads none.
        vectors = self.reader.vectors.item[:, : self._dims_read][rows]
        return Batch(query, rows, kinds, chosen.source, decided, features, vectors, self.state.offset, coded)

    def newcomers(self, query: Query, batch: Batch) -> Lottery | None:
        """What newcomers among the candidates draw, if this page explores."""
        rule = self.policy.explore
        if not exploration.takes(rule, query.request_id):
            return None
        return exploration.hold(self.state, rule, self._evidence, query, self.policy.version, batch.rows)

    def first_look(self, batch: Batch) -> Scored:
        """What the first trees of each head expect of each candidate, and what that is worth."""
        return self._valued(batch, self.ranker.predict(batch, self.policy.light.trees))

    def glance(self, batch: Batch, lottery: Lottery | None = None) -> tuple[Batch, dict[str, int]]:
        """The best of many by the first trees of each head, as the policy's ``[light]`` says; and how many were cut.

        Of each kind as many as the page is long stay in any case, so that no bound gives way for the cut; and who may
        win a lottery.
        """
        light = self.policy.light
        if len(batch.rows) <= light.keep:
            return batch, {}
        value = self.first_look(batch).value
        stays = best_mask(value, batch.rows, light.keep)
        for kind in np.unique(batch.kinds):
            of_kind = np.flatnonzero(batch.kinds == kind)
            stays[of_kind[best_mask(value[of_kind], batch.rows[of_kind], batch.query.count)]] = True
        if lottery:
            stays[exploration.places_of(lottery.rows, batch.rows)] = True
        return batch.at(np.flatnonzero(stays)), {"light": int(len(stays) - stays.sum())}

    def score(self, batch: Batch) -> Scored:
        """What is expected of each candidate, and what that is worth on the query's surface."""
        return self._valued(batch, self.ranker.predict(batch))

    def _valued(self, batch: Batch, probabilities: DoubleArray) -> Scored:
        factors = self._factors.get(batch.query.context.surface, self._factors["feed"])
        terms, value = worth(probabilities, batch.kinds, factors, batch.decided.terms)
        return Scored(batch, probabilities, terms, value)


def _known(rows: RowArray) -> RowArray:
    """Those of rows that stand for something."""
    known: RowArray = rows[rows > 0]
    return known
