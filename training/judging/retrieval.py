"""Retrieval judged on its own: whether what a source finds holds what a person turned out to want.

Every person is asked for once, at the moment of the first slate in the judged stretch, of a state that holds the log
up to there, with the sources and the legal rules of serving. What the person clicked or completed in the stretch is to
be found. Peers are fitted on what was received before the stretch and choose from all that is legal at the moment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.errors import TrainingError
from features.history import History, Slates, read_history, slates_of
from features.logs.log import EventLog
from features.outcomes import KIND_NAMES
from features.records import Context
from features.state import FeatureState
from features.types import BoolArray, DoubleArray, RowArray
from ranking.bundles.bundle import Bundle
from ranking.bundles.ranker import BundleRanker
from ranking.index.exact import top_k
from ranking.policy import Policy
from ranking.request.generation import Generation
from ranking.types import Candidates, Query
from training.baselines.als import ImplicitFactors
from training.baselines.ease import ShallowAutoencoder
from training.baselines.neighbours import ItemNeighbours
from training.baselines.preferences import Affinity, Preferences
from training.judging.bootstrap import Bootstrap
from training.judging.cohorts import known_before
from training.judging.figures import Row
from training.judging.recall import DEPTHS, Recall, recall_rows
from training.judging.worth import LESS
from training.learning.examples import known_until
from training.learning.labels import Labels, label
from training.progress import Progress, quiet

WANTED = ("click", "complete")
MOST_PEOPLE = 3_000
"""More are drawn by lot: a recall of 3,000 people is known to a hundredth."""
LAG = 128
"""The state is folded up to a moment less so many records at most, as a chart of serving may be."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A person at a moment, and the codes of the items of each kind to be found."""

    user: int
    read_offset: int
    now_ms: int
    wanted: dict[int, frozenset[int]]


def evaluate_retrieval(
    log: EventLog,
    bundle: Bundle,
    policy: Policy,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    resamples: int = 200,
    progress: Progress = quiet,
) -> list[Row]:
    """Judge every source, their union, the union without each, and peers, by kind, for warm and cold people.

    Parameters
    ----------
    since_ms, until_ms
        As in ``training.judging.evaluate.evaluate``.

    Returns
    -------
    list of Row
        ``head`` is "retrieval". ``recall@K`` is a person's mean share of what was wanted among the first K; ``slates``
        counts people, ``positives`` what was wanted. ``coverage@100`` is the share of the legal catalogue that
        anybody was given, without an interval; ``new_share@100`` that of items without an impression before training
        ended. System ``legal`` has the recall of all that was legal.

    Raises
    ------
    TrainingError
        If the stretch begins before training ended, or nobody wanted anything in it.
    """
    since_ms = bundle.trained.until_ms if since_ms is None else since_ms
    if since_ms < bundle.trained.until_ms:
        raise TrainingError("The stretch to judge on begins before training ended.", "Choose a later --since.")
    progress("reading the log", 0, 1)
    history = read_history(log, until_ms)
    slates = slates_of(history)
    labels = label(history, slates, {head: bundle.heads[head].window_ms for head in WANTED if head in bundle.heads})
    people = asked(history, slates, labels, since_ms, known_until(log, history, until_ms), bundle.trained.seed)
    if not people:
        raise TrainingError(
            "Nobody clicked or completed anything in the stretch.", "Choose another --since or --until."
        )
    progress("fitting the peers", 0, 1)
    peers = _Peers.fit(history, since_ms, bundle.trained.seed)
    recall = Recall([person.user for person in people])
    warm = known_before(history, bundle.trained.until_ms)
    for done, (person, generation) in enumerate(_at_moments(log, bundle, policy, people)):
        progress("retrieving", done, len(people))
        query = generation.query("", history.users[person.user], DEPTHS[-1], Context(surface="feed"), person.now_ms)
        for kind, wanted in person.wanted.items():
            names = [history.items[code] for code in wanted]
            rows = generation.state.items.find_all(names)
            recall.wanted(done, KIND_NAMES[kind], rows[rows > 0], len(wanted))
            for system, found in _found(generation, peers, query, kind):
                recall.found(done, system, found)
    new = _cold_rows(generation.state, history, warm[1])
    return list(recall_rows(recall, warm[0], new, Bootstrap(resamples, bundle.trained.seed)))


def asked(history: History, slates: Slates, labels: Labels, since_ms: int, until_ms: int, seed: int) -> list[Asked]:
    """Who to ask for, by read offset: people with something wanted in the stretch, ``MOST_PEOPLE`` at most."""
    inside = np.flatnonzero((labels.begins >= since_ms) & (labels.begins < until_ms))
    events = history.events
    user, item = events.user[slates.event[inside]], events.item[slates.event[inside]]
    wanted = np.any([labels.of(head)[inside] for head in labels.windows_ms], axis=0) & (labels.kind[inside] > 0)
    first = inside[np.unique(user, return_index=True)[1]]
    moments = {int(events.user[slates.event[row]]): row for row in first.tolist()}
    chosen = np.unique(user[wanted])
    chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:MOST_PEOPLE])
    found: dict[int, dict[int, set[int]]] = {code: {} for code in chosen.tolist()}
    for who, what, kind in zip(
        user[wanted].tolist(), item[wanted].tolist(), labels.kind[inside][wanted].tolist(), strict=True
    ):
        if who in found:
            found[who].setdefault(kind, set()).add(what)
    people = [
        Asked(
            who,
            int(slates.read_offset[moments[who]]),
            int(slates.now_ms[moments[who]]),
            {kind: frozenset(items) for kind, items in sorted(of_kind.items())},
        )
        for who, of_kind in found.items()
    ]
    return sorted(people, key=lambda person: (person.read_offset, person.user))


def _at_moments(
    log: EventLog, bundle: Bundle, policy: Policy, people: Sequence[Asked]
) -> Iterator[tuple[Asked, Generation]]:
    """Each person with a generation whose state has come to the moment."""
    state, start = FeatureState(bundle.feature_set.layout), people[0].read_offset
    for folded in log.read(0, start):
        state.fold(folded)
    generation = Generation(bundle, policy, state, BundleRanker(bundle))
    rest: Iterator[pa.RecordBatch] = iter(log.read(start))
    batch: pa.RecordBatch | None = None
    for person in people:
        while person.read_offset - state.offset >= LAG:
            if batch is None or not len(batch):
                batch = next(rest)
            step = min(person.read_offset - state.offset, len(batch))
            generation.fold(batch.slice(0, step))
            batch = batch.slice(step)
        yield person, generation


def _found(generation: Generation, peers: "_Peers", query: Query, kind: int) -> Iterator[tuple[str, RowArray]]:
    """What every system finds of a kind, legal alone, best first."""
    most = DEPTHS[-1]
    sources = {
        source.name: _legal(generation, query, source.retrieve(query, most))
        for code, source in generation.recall.sources
        if code == kind
    }
    yield from sources.items()
    yield "union", in_turn(list(sources.values()), most)
    for name in sources:
        yield LESS + name, in_turn([rows for other, rows in sources.items() if other != name], most)
    of_kind = generation.state.arrays.items.categories[: len(generation.state.items), 4] == kind
    catalogue = _legal(generation, query, np.flatnonzero(of_kind).astype(np.int32))
    yield "legal", catalogue
    yield from peers.found(generation.state, query, catalogue)


def _legal(generation: Generation, query: Query, rows: RowArray) -> RowArray:
    return generation.legal(query, Candidates(rows, np.zeros(len(rows), np.uint8)))[0].rows


def in_turn(lists: Sequence[RowArray], most: int) -> RowArray:
    """The first of each list, then the second of each, …, each row once, at most so many."""
    longest = max((len(rows) for rows in lists), default=0)
    places = np.full((longest, len(lists)), -1, np.int32)
    for column, rows in enumerate(lists):
        places[: len(rows), column] = rows
    flat = places.ravel()
    flat = flat[flat >= 0]
    return flat[np.sort(np.unique(flat, return_index=True)[1])][:most]


@dataclass(frozen=True, slots=True)
class _Peers:
    """What others would retrieve from the same catalogue."""

    past: Preferences
    popular: DoubleArray
    affinities: dict[str, Affinity]

    @classmethod
    def fit(cls, history: History, before_ms: int, seed: int) -> "_Peers":
        past = Preferences.before(history, before_ms)
        affinities: dict[str, Affinity] = {
            "item_knn": ItemNeighbours.fit(past),
            "ials": ImplicitFactors.fit(past, seed),
            "ease": ShallowAutoencoder.fit(past),
        }
        return cls(past, np.asarray(past.matrix.sum(axis=0)).ravel(), affinities)

    def found(self, state: FeatureState, query: Query, catalogue: RowArray) -> Iterator[tuple[str, RowArray]]:
        place = np.array([self.past.items.get(state.items.name(row), -1) for row in catalogue.tolist()], np.int64)
        known, at = catalogue[place >= 0], place[place >= 0]
        yield "popularity", top_k(known, self.popular[at].astype(np.float32), DEPTHS[-1])[0]
        user = self.past.users.get(query.user_id, -1)
        for name, affinity in self.affinities.items():
            nothing = known[:0]
            scores = affinity.of(np.array([user]))[0] if user >= 0 else None
            yield name, nothing if scores is None else top_k(known, scores[at], DEPTHS[-1])[0]


def _cold_rows(state: FeatureState, history: History, warm: BoolArray) -> BoolArray:
    """Mask by item row of items without an impression before training ended."""
    names = [history.items[code] for code in np.flatnonzero(warm).tolist()]
    cold = np.ones(len(state.items), np.bool_)
    cold[state.items.find_all(names)] = False
    return cold
