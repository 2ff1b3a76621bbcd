"""A generation: one bundle with the state, the indexes and the sources it is served from, and the stages of a request.

The owner's mutex guards a generation, but for ``glance``, ``score``, ``compose`` and ``show``, which read nothing that
changes.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from features.counters import ROOM_PULSE
from features.factors import unit
from features.outcomes import KIND_CODES, KIND_NAMES, PRODUCT, ROOM, VIDEO
from features.reader import Reader
from features.records import Context
from features.state import NO_ROWS, FeatureState
from features.types import BoolArray, ByteArray, DoubleArray, FloatArray, IntArray, RowArray
from ranking import eligibility, exploration, suppression
from ranking.boosts import Lift, Purse, lift, lifted
from ranking.bundle import Bundle
from ranking.decided import Decisions
from ranking.exact import ExactIndex, top_k
from ranking.exploration import Lottery
from ranking.follow import Follow, Works
from ranking.index import FaissIndex
from ranking.item_codes import ItemCodes
from ranking.kept import Kept
from ranking.load import Load
from ranking.mixer import NONE, best_first, best_mask, bounded, fitting, mix, without
from ranking.on_air import OnAir
from ranking.policy import Policy
from ranking.quality import Quality
from ranking.rerank import reranker_of
from ranking.rules import Rules
from ranking.show import shown, why_of
from ranking.sources import Chart, Fresh, Personal, Trending, merge
from ranking.types import (
    Batch,
    Bounded,
    Candidates,
    FeedItem,
    Indexed,
    Page,
    Query,
    Ranker,
    Scored,
    Slate,
    Source,
    VectorIndex,
)
from ranking.value import value_of, value_terms

_log = logging.getLogger(__name__)
CHUNK = 10_000
"""Items that are taken in at a time when a generation is made."""
ASKING = 256
"""People whose vectors trained lists are tried with, where something is known of them."""
WIDER = 20
"""So many times as many are found by product as are then chosen by cosine, which has no index of its own."""
_PERSONAL = {"live": ROOM, "products": PRODUCT, "videos": VIDEO}
"""The kinds that personal sources find, by the name a policy gives them."""
_CHARTS: dict[str, type[Chart]] = {"trending": Trending, "fresh": Fresh}


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
    keeps : bool
        Whether they are kept there, or only read.
    exact : bool
        Whether to search without lists, for one who asks little: nothing is trained beside.
    """

    def __init__(
        self,
        bundle: Bundle,
        policy: Policy,
        state: FeatureState,
        ranker: Ranker,
        *,
        lists: Path | None = None,
        keeps: bool = False,
        exact: bool = False,
    ) -> None:
        self.bundle = bundle
        self.state = state
        state.make_room()
        self.ranker = ranker
        self._scales = bundle.scales_of(self.ranker.heads)
        self.reader = Reader(bundle.feature_set, bundle.codes, bundle.factors)
        forest = ranker.forest
        self._item_codes = ItemCodes(forest, bundle.feature_set) if forest and forest.compiled else None
        dims = bundle.factors.dims

        def shared() -> FloatArray:
            return self.reader.vectors.item

        def many(name: str) -> FaissIndex:
            kept = Kept(lists, f"{bundle.factors.version}-{name}", writes=keeps) if lists else None
            return FaissIndex(dims, shared=shared, background=True, kept=kept, asked=self._asked)

        self._listed = {} if exact else {PRODUCT: many("product"), VIDEO: many("video")}
        unlisted = (ROOM, PRODUCT, VIDEO) if exact else (ROOM,)
        self.indexes: dict[int, VectorIndex] = {
            **{kind: ExactIndex(dims, shared, coarse=kind == ROOM) for kind in unlisted},
            **self._listed,
        }
        self._evidence = exploration.evidence_slots(state.layout)
        self.faults = Counter[str]()
        self._go_by(policy)
        state.take_changed()
        for rows in np.array_split(state.described(), 1 + len(state.items) // CHUNK):
            self._catch_up(rows)
        for index in self._listed.values():
            index.start()

    def _go_by(self, policy: Policy) -> None:
        """Set up what follows from the policy alone; nothing that is trained or indexed does."""
        state = self.state
        self.policy = policy
        self.reranker = reranker_of(policy.rerank)
        self._dims_read = 0 if policy.rerank.method == "none" else self.bundle.factors.dims
        self.on_air = OnAir(state, policy.room_ttl_ms)
        self.sources = tuple(placed for name in policy.sources for placed in self._placed(name))
        self._charts = self.sources
        if not any(isinstance(source, Chart) for _, source in self.sources):
            # A page without scores needs them, whatever the policy finds by.
            self._charts += tuple(placed for name in _CHARTS for placed in self._placed(name))
        self.names = tuple(source.name for _, source in self._charts)
        self._rules = Rules(state, policy.rules)
        self._quality = Quality(state, policy.quality)
        self.load = Load(state, policy.commerce.surfaces, self.bundle.feature_set.utc_offset_ms)
        self._decisions = Decisions(state, policy, self._quality, self.load)

    def under(self, policy: Policy) -> Self:
        """The same under another policy, over the same state and indexes; nobody folds meanwhile."""
        other = copy(self)
        other._go_by(policy)
        return other

    def fill_load(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Count what the log says was served on the last day, where the policy goes by it."""
        for batch in batches:
            self.load.fold(batch)

    def _placed(self, name: str) -> list[tuple[int, Source]]:
        """The sources that a policy means by a name, each with the code of the kind it finds."""
        if name in _CHARTS:
            return [(kind, _CHARTS[name](kind, self.state)) for kind in self.indexes]
        if name == Follow.name:
            works = Works(self.state)
            return [
                (kind, Follow(kind, self.state, works, self._on_air if kind == ROOM else None)) for kind in self.indexes
            ]
        kind = _PERSONAL[name]
        return [(kind, Personal(kind, self.indexes[kind], self._on_air if kind == ROOM else None))]

    def _on_air(self, query: Query) -> BoolArray:
        return self.on_air.mask(query.now_ms)

    def _asked(self) -> FloatArray:
        """The vectors (n, dims) of some people of whom something is known."""
        state = self.state
        # The first row is nobody's.
        people = 1 + np.flatnonzero(state.arrays.users.personalised[1 : len(state.users)])
        drawn = np.random.default_rng(0).permutation(len(people))[:ASKING]
        vectors = [self.reader.user_vector(state, user, state.received_ms) for user in people[drawn].tolist()]
        known = [vector for vector in vectors if vector.any()]
        return np.array(known, np.float32).reshape(-1, self.reader.factors.dims)

    def fold(self, batch: pa.RecordBatch) -> None:
        """Fold a batch of the log and bring vectors, indexes, charts and the list of rooms up to it."""
        steps, changed = self.state.fold(batch).steps, self.state.take_changed()
        self._catch_up(changed)
        self.on_air.follow(np.concatenate([changed, steps.item[steps.action == ROOM_PULSE]]))
        self._rules.follow(changed)
        if self.policy.counts_served:
            self.load.fold(batch)
        spoken = np.concatenate([changed, steps.item, steps.via])
        for _, source in self._charts:
            if isinstance(source, Chart | Follow):
                source.follow(spoken)

    def indexed(self) -> dict[str, Indexed]:
        """How the index of each kind stands, by the kind's name."""
        found = {}
        for kind, index in self.indexes.items():
            size, listed = sum(index.memory().values()), self._listed.get(kind)
            lists = len(listed.lists) if listed and listed.lists else 0
            training = listed is not None and listed.is_training
            found[KIND_NAMES[kind]] = Indexed(vectors=len(index), bytes=size, lists=lists, training=training)
        return found

    def close(self) -> None:
        """End what runs beside: a training of lists that is under way is given up."""
        for index in self._listed.values():
            index.close()

    def _catch_up(self, rows: RowArray) -> None:
        self.reader.catch_up(self.state, rows)
        if self._item_codes:
            self._item_codes.catch_up(self.reader, self.state, rows)
        if not len(rows):
            return
        kinds = self.state.arrays.items.categories[rows, 4]
        shown = eligibility.presentable(self.state, rows)
        for kind, index in self.indexes.items():
            held = (kinds == kind) & shown
            index.remove(rows[~held])
            index.put(rows[held], self.reader.vectors.item[rows[held]])

    def query(
        self,
        request_id: str,
        user_id: str,
        count: int,
        context: Context,
        now_ms: int,
        seen: Sequence[str] = (),
        *,
        explain: bool = False,
    ) -> Query:
        """Who asks, what they like, and what they have on the screen."""
        user = self.state.users.find(user_id)
        personal = user if self.state.arrays.users.personalised[user] else 0
        vector = self.reader.user_vector(self.state, personal, now_ms)
        shown = self.state.items.find_all(seen) if seen else NO_ROWS
        liked = self.state.arrays.rings.item[personal] if explain else NO_ROWS
        return Query(
            request_id, user_id, user, personal, now_ms, count, context, vector, shown[shown > 0], liked[liked > 0]
        )

    def alike(self, row: int, k: int) -> tuple[RowArray, FloatArray]:
        """At most k item rows of the same kind by the cosine of their vectors, highest first, ties by row."""
        index = self.indexes[int(self.state.arrays.items.categories[row, 4])]
        vectors = self.reader.vectors.item
        rows = index.search(vectors[row], WIDER * k)[0]
        return top_k(rows, unit(vectors[rows]) @ unit(vectors[row : row + 1])[0], k)

    def retrieve(self, query: Query, *, charts: bool = False) -> Candidates:
        """What every source finds, or the charts alone, each item once; a source that fails finds nothing."""
        kinds = {KIND_CODES[kind] for kind in self.policy.surface(query.context.surface).kinds}
        sources = self._charts if charts else self.sources
        asked = [kind in kinds and (not charts or isinstance(source, Chart)) for kind, source in sources]
        found = zip(sources, asked, strict=True)
        return merge([self._found_by(source, query) if wanted else NO_ROWS for (_, source), wanted in found])

    def _found_by(self, source: Source, query: Query) -> RowArray:
        try:
            return source.retrieve(query, self.policy.candidates)
        except Exception:  # noqa: BLE001  # the page is made of what the others find; the fault is counted and told
            if not self.faults[source.name]:
                _log.exception("Source %s failed; it finds nothing, and is asked again", source.name)
            self.faults[source.name] += 1
            return NO_ROWS

    def legal(self, query: Query, found: Candidates) -> tuple[Candidates, dict[str, int]]:
        """Candidates that may be shown; and how many were dropped, by reason."""
        reasons = self._reasons(query, found.rows)
        mask = reasons == 0
        return Candidates(found.rows[mask], found.source[mask]), eligibility.counts(reasons, self._rules.names)

    def why_not(self, query: Query, rows: RowArray) -> list[str]:
        """Why each item (n,) may not be shown to a person; empty where it may."""
        names = (*eligibility.REASONS, *self._rules.names)
        return [names[reason] for reason in self._reasons(query, rows).tolist()]

    def _reasons(self, query: Query, rows: RowArray) -> ByteArray:
        _, reasons = eligibility.keep(self.state, self.policy, query, rows)
        self._judge(reasons, rows, query.context.surface, query.now_ms)
        return reasons

    def showable(self, rows: RowArray, now_ms: int, surface: str = "", user: int = 0) -> BoolArray:
        """The last check: which items (n,) are still listed, alive, in stock, not hidden, and not barred."""
        reasons = np.zeros(len(rows), np.uint8)
        self._judge(reasons, rows, surface, now_ms)
        fit: BoolArray = eligibility.fit_to_show(self.state, self.policy, rows, now_ms, user) & (reasons == 0)
        return fit

    def _judge(self, reasons: ByteArray, rows: RowArray, surface: str, now_ms: int) -> None:
        """Give items (n,) that are legal otherwise the reason why the policy's own rules do not let them pass."""
        if self.policy.rules:
            broken = self._rules.broken(surface, now_ms, rows)
            fallen = (reasons == 0) & (broken > 0)
            reasons[fallen] = len(eligibility.REASONS) - 1 + broken[fallen]
        if self.policy.quality:
            reasons[(reasons == 0) & self._quality.blocked(rows, now_ms)] = eligibility.QUALITY

    def unseen(self, query: Query, legal: Candidates) -> tuple[Candidates, dict[str, int], tuple[str, ...]]:
        """Candidates that were neither shown nor bought lately, how many were, and what of that gave way."""
        return suppression.unseen(self.state, self.policy.suppress, query, legal)

    def assemble(self, query: Query, chosen: Candidates, *, explain: bool = False) -> Batch:
        """The feature rows and codes of candidates, as of now; every feature to explain by, else what codes need."""
        rows, codes = chosen.rows, self._item_codes
        columns = codes.moving if codes and not explain else None
        features = self.reader.rows(self.state, query.personalised_user, rows, query.now_ms, query.context, columns)
        coded = codes.coded(features, rows) if codes else None
        kinds = self.state.arrays.items.categories[rows, 4].astype(np.uint8)
        decided = self._decisions.of(query, rows)
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
        weights = self.policy.weights_for(batch.query.context.surface)
        terms = value_terms(probabilities, self.ranker.heads, batch.kinds, self._scales, weights)
        if self._decisions.names:
            terms = np.concatenate([terms, batch.decided.terms], axis=1)
        return Scored(batch, probabilities, terms, value_of(terms))

    def lift(self, scored: Scored, ledger: Purse) -> Lift:
        """What was scored with the policy's boosts, as far as their budgets go."""
        return lift(scored, self.policy.boosts, ledger)

    def compose(self, scored: Scored, lottery: Lottery | None = None) -> tuple[Slate, tuple[str, ...]]:
        """A page within the surface's bounds, the reserve, and the bounds that gave way.

        Slots of the policy's ``[explore]`` are drawn by lot, each given the page so far.
        """
        batch, query = scored.batch, scored.batch.query
        order, bounds = self.reranker.order(query, scored), self._bounds(batch)
        begun, drawn = NONE, dict[int, float]()
        if lottery and len(lottery.rows):
            asked = exploration.places_of(lottery.rows, batch.rows)
            for slot in self.policy.explore.slots:
                if slot >= min(query.count, len(order)):
                    break
                begun = mix(bounds, without(order, begun), slot, begun)[0].page
                q = lottery.chances(fitting(bounds, begun, asked))
                if q.any():
                    won = lottery.pick(q, query.request_id, slot)
                    begun = np.append(begun, asked[won])
                    drawn[int(asked[won])] = float(q[won])
        slate, relaxed = mix(bounds, without(order, begun), query.count, begun)
        return replace(slate, drawn=drawn), relaxed

    def unscored(self, query: Query, legal: Candidates) -> Scored:
        """Candidates that nobody scored, worth 0 each."""
        rows, none = legal.rows, np.zeros((len(legal.rows), 0), np.float32)
        kinds = self.state.arrays.items.categories[rows, 4].astype(np.uint8)
        decided = self._decisions.of(query, rows)
        batch = Batch(query, rows, kinds, legal.source, decided, none, none, self.state.offset)
        return self.worthless(batch)

    def worthless(self, batch: Batch) -> Scored:
        """A batch as if nothing were expected of it."""
        n, heads = len(batch.rows), len(self.ranker.heads)
        terms = np.zeros((n, heads + len(self._decisions.names)))
        return Scored(batch, np.zeros((n, heads)), terms, np.zeros(n))

    def line_up(self, batch: Batch) -> tuple[Slate, tuple[str, ...]]:
        """A page of a batch as it stands, within the surface's bounds."""
        return mix(self._bounds(batch), np.arange(len(batch.rows)), batch.query.count)

    def _bounds(self, batch: Batch) -> Bounded:
        written = self.policy.surface(batch.query.context.surface).bounds
        return bounded(written, batch.decided.keys, batch.decided.held, batch.query.count)

    def fit(self, scored: Scored, slate: Slate) -> tuple[Page, dict[str, int]]:
        """The page after its last check: what has gone meanwhile is dropped and the reserve moves up."""
        batch, at, relaxed = scored.batch, slate.page, None
        fit = self._still_fit(batch, at)
        gone = int(len(fit) - fit.sum())
        if gone:
            at = at[fit]
        if gone and slate.bounds:
            # What follows a gap moves up and may now break a bound: the page's bounds are judged anew.
            spare = slate.reserve[self._still_fit(batch, slate.reserve)]
            mixed, relaxed = mix(slate.bounds, spare, min(batch.query.count, len(at) + len(spare)), at)
            at = mixed.page
        payloads = [self.state.payloads[row] for row in batch.rows[at].tolist()]
        near = self._near(batch.query.liked, batch.rows[at])
        return Page(at, tuple(payloads), slate.drawn, relaxed, near), {"gone": gone} if gone else {}

    def _near(self, liked: RowArray, rows: RowArray) -> tuple[str, ...]:
        """Of what the person liked, the id of what each item (n,) is nearest to; "" where none is like it at all."""
        if not len(liked):
            return ()
        vectors = self.reader.vectors.item
        # What is compared is of one item: its own length changes nothing.
        cosine = vectors[rows] @ unit(vectors[liked]).T
        best, names = cosine.argmax(axis=1), [self.state.items.name(row) for row in liked.tolist()]
        some = np.take_along_axis(cosine, best[:, None], axis=1)[:, 0] > 0
        return tuple(names[one] if near else "" for one, near in zip(best.tolist(), some.tolist(), strict=True))

    def _still_fit(self, batch: Batch, at: IntArray) -> BoolArray:
        query = batch.query
        return self.showable(batch.rows[at], query.now_ms, query.context.surface, query.user)

    def show(self, scored: Scored, page: Page, *, explain: bool, source: str = "") -> tuple[FeedItem, ...]:
        """The items of a page as an answer shows them."""
        at, batch, heads = page.at, scored.batch, self.ranker.heads
        names = heads + self._decisions.names
        found = [source] * len(at) if source else [self.names[one] for one in batch.source[at]]
        for slot in np.flatnonzero(np.isin(at, [*page.drawn])) if page.drawn else ():
            found[slot] = exploration.SOURCE
        drawn = [page.drawn.get(one, 1.0) for one in at.tolist()]
        known = explain and batch.features.shape[1] > 0
        features = self._explained(batch.features[at]) if known else [{}] * len(at)
        columns = (page.payloads, found, drawn, scored.value[at].tolist(), scored.terms[at].tolist())
        lifts = lifted(scored)[at].tolist()
        why = [why_of(*one) for one in zip(found, page.near or ("",) * len(at), lifts, strict=True)]
        marks = (lifts, batch.decided.sells[at].tolist(), why)
        return tuple(
            shown(
                payload,
                value,
                where,
                dict(zip(names, terms, strict=True)),
                dict(zip(heads, odds, strict=True)),
                row,
                propensity,
                boosted=boosted,
                sells=sells,
                why=why,
            )
            for payload, where, propensity, value, terms, odds, row, boosted, sells, why in zip(
                *columns, scored.probabilities[at].tolist(), features, *marks, strict=True
            )
        )

    def given_up(self, scored: Scored, at: IntArray) -> dict[str, float]:
        """What a slot of a page lost on average of the value by heads alone, against the best by that."""
        if not len(at):
            return {}
        own, rows = value_of(scored.terms[:, : len(self.ranker.heads)]), scored.batch.rows
        best, valued = (own[best_first(value, rows)[: len(at)]].mean() for value in (own, scored.value))
        return {"terms": float(best - valued), "page": float(valued - own[at].mean())}

    def _explained(self, features: FloatArray) -> list[dict[str, float | None]]:
        names = self.reader.feature_set.names
        known = [[None if math.isnan(value) else value for value in row] for row in features.tolist()]
        return [dict(zip(names, row, strict=True)) for row in known]
