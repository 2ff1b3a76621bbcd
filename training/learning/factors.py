"""Factors: what people did with items, authors and categories as vectors, day d from what was received before it.

Implicit feedback by alternating least squares [1]_. Vectors keep their lengths, which know how popular an item is: the
product with a person's vector says how much the person would like it, the cosine what it is like.

References
----------
.. [1] Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from features.factors import Factors, Words, embeddings_of, words_of
from features.fold.counters import STRENGTH
from features.grams import BUCKETS
from features.history import History
from features.ids import Ids
from features.layout import ACTION_CODE
from features.logs.log import DAY_MS
from features.records import Item
from features.replay import Progress as Part
from features.state import HISTORY_STRENGTH
from features.types import DoubleArray, FloatArray, IntArray, RowArray
from training.learning.answers import Answers
from training.learning.labels import WATCH, Catalog, watched
from training.learning.least_squares import solved
from training.learning.tastes import fit_tastes

DIMS = 32
HALF_LIFE_MS = 14 * DAY_MS
DOUBT = 5.0
"""An item's own vector counts as much as its parts once it has so many interactions."""
ROUNDS = 3
"""More find a little more of what people want next (docs/log.md), for as much time again."""
ALPHA = 10.0
"""The confidence of an entry is ``1 + ALPHA·ln(1 + strength)``, of all that is not there 1."""
PENALTY = 60.0
WORD_PENALTY = 3.0
"""Of the ridge regressions of items on given embeddings and on words, both of unit length."""
LEAST_ENTRIES = 100
WORKERS = 2
"""Days fitted at a time, each in one thread: no day needs another, and a fit is one thread of plain loops."""
NEVER_MS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Interactions:
    """Who did something with what, (n,) each; what people did long ago first.

    ``user`` and ``item`` are places in the sorted names, whose order no later name changes. An entry counts at times
    after ``received_ms`` and up to ``replaced_ms``.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    user: IntArray
    item: IntArray
    received_ms: IntArray
    replaced_ms: IntArray
    strength: FloatArray

    @classmethod
    def of(cls, history: History) -> "Interactions":
        """Of all events, and of what people are known to have liked before."""
        events, strength = history.events, _strengths(history)
        done = np.flatnonzero((strength > 0) & (events.user != 0))
        inside = done[events.via[done] != 0]
        acts, item = np.concatenate([done, inside]), np.concatenate([events.item[done], events.via[inside]])
        people, liked, received_ms, replaced_ms = _long_ago(history)
        user_names, users, old_users = _placed(history.users, people)
        names, items, old_items = _placed(history.items, liked)
        return cls(
            user_names,
            names,
            np.concatenate([old_users, users[events.user[acts]]]),
            np.concatenate([old_items, items[item]]),
            np.concatenate([np.array(received_ms, np.int64), events.received_ms[acts]]),
            np.concatenate([np.array(replaced_ms, np.int64), np.full(len(acts), NEVER_MS)]),
            np.concatenate([np.full(len(people), HISTORY_STRENGTH, np.float32), strength[acts]]),
        )


def _strengths(history: History) -> FloatArray:
    """(events,) how strong a sign of liking each is."""
    events = history.events
    strength = STRENGTH[events.action].copy()
    watches = np.flatnonzero(events.action == WATCH)
    long_view, complete = watched(Catalog.of(history), events, watches)
    strength[watches[long_view]] = STRENGTH[ACTION_CODE["long_view"]]
    strength[watches[complete]] = STRENGTH[ACTION_CODE["complete"]]
    return strength


def _long_ago(history: History) -> tuple[list[str], list[str], list[int], list[int]]:
    """People and what they liked before the log began, when that was said, and when a later row replaced it."""
    people: list[str] = []
    liked: list[str] = []
    received_ms: list[int] = []
    replaced_ms: list[int] = []
    next_ms: dict[str, int] = {}
    for _, said_ms, person in reversed(history.people_log):
        count = len(person.history)
        people += [person.user_id] * count
        liked += person.history
        received_ms += [said_ms] * count
        replaced_ms += [next_ms.get(person.user_id, NEVER_MS)] * count
        next_ms[person.user_id] = said_ms
    return people, liked, received_ms, replaced_ms


def _placed(names: Sequence[str], more: Sequence[str]) -> tuple[tuple[str, ...], IntArray, IntArray]:
    """All names sorted, and the places there of these and of those."""
    known = tuple(sorted({*names, *more}))
    places = {name: place for place, name in enumerate(known)}
    first, second = (np.array([places[name] for name in each], np.int64) for each in (names, more))
    return known, first, second


@dataclass(frozen=True, slots=True)
class Columns:
    """Items' authors and categories as codes into sorted names, (items,) each, 0 where it has none."""

    author: RowArray
    category: RowArray
    authors: tuple[str, ...]
    categories: tuple[str, ...]

    @classmethod
    def of(cls, described: Sequence[Item | None]) -> "Columns":
        """Of items' rows, None for one without."""
        author, authors = _coded([row.author_id if row else "" for row in described])
        category, categories = _coded([row.category if row else "" for row in described])
        return cls(author, category, authors, categories)


def _coded(values: Sequence[str]) -> tuple[RowArray, tuple[str, ...]]:
    names = ("", *sorted({*values} - {""}))
    codes = {name: code for code, name in enumerate(names)}
    return np.array([codes[value] for value in values], np.int32), names


def fit_by_day(
    history: History, until_ms: int, utc_offset_ms: int, seed: int, progress: Part
) -> list[tuple[int, Factors]]:
    """Factors by the time from which they serve: every local day those of the days before, the last at ``until_ms``.

    The first knows only what people did before the log began. Those of a day are the same to the bit whether the
    history goes on after its midnight or not.
    """
    received = history.events.received_ms
    first = int(received[0]) if len(received) else until_ms
    midnight = (first + utc_offset_ms) // DAY_MS * DAY_MS - utc_offset_ms
    starts = [*range(midnight, until_ms, DAY_MS), until_ms]
    interactions, answers = Interactions.of(history), Answers.of(history)

    def of_day(start: int) -> tuple[int, Factors]:
        catalog, people = history.catalog_before(start), history.people_before(start)
        tastes = fit_tastes(answers, catalog, people, start, seed)
        return start, replace(fit(interactions, catalog, start, seed), tastes=tastes)

    fitted = []
    # The limit around all is what the fits' own ones go back to, whichever ends first.
    with threadpool_limits(1), ThreadPoolExecutor(WORKERS) as pool:
        for done, day in enumerate(pool.map(of_day, starts)):
            progress(done, len(starts))
            fitted.append(day)
    progress(len(starts), len(starts))
    return fitted


def fit(interactions: Interactions, catalog: Mapping[str, Item], before_ms: int, seed: int) -> Factors:
    """Factors from what was received before a time; those that know nothing where that is too little.

    They are the same to the bit whatever ``interactions`` hold of later: ``catalog`` must hold nothing of it.
    """
    known = np.flatnonzero((interactions.received_ms < before_ms) & (before_ms <= interactions.replaced_ms))
    if len(known) < LEAST_ENTRIES:
        return Factors.empty(DIMS)
    age = before_ms - interactions.received_ms[known]
    strength = interactions.strength[known].astype(np.float64) * np.exp2(-age / HALF_LIFE_MS)
    user = np.unique(interactions.user[known], return_inverse=True)[1]
    places, item = np.unique(interactions.item[known], return_inverse=True)
    names = ["", *(interactions.items[place] for place in places.tolist())]
    item += 1
    columns = Columns.of([catalog.get(name) for name in names])
    sizes = (len(names), len(columns.authors), len(columns.categories))
    with threadpool_limits(1):
        blocks = (item, columns.author[item], columns.category[item])
        items, authors, categories = _embedded(user, blocks, sizes, strength, seed)
        return _with_parts(names, catalog, columns, (items, authors, categories), np.bincount(item))


def _embedded(
    user: IntArray, blocks: Sequence[IntArray | RowArray], sizes: Sequence[int], strength: DoubleArray, seed: int
) -> list[FloatArray]:
    """Vectors (size, DIMS) of items, and of the authors and categories that people who like these like; 0 has none.

    A person's vector is solved for as ``(YᵀY + λI)⁻¹ Σ w·y``. With the inverse as ``L·Lᵀ``, the vectors ``Y·L`` have
    these people's preferences as their products with plain sums ``Σ w·z``, so that reading needs no matrix.
    """
    by_users = [_confidences(user, block, size, strength) for block, size in zip(blocks, sizes, strict=True)]
    by_columns = [matrix.T.tocsr() for matrix in by_users]
    items, people = np.random.default_rng(seed).normal(0, 0.1, (sizes[0], DIMS)), np.zeros((0, DIMS))
    for _ in range(ROUNDS):
        people = _solved(by_users[0], items)
        items = _solved(by_columns[0], people)
    inverse = np.linalg.inv(items.T @ items + PENALTY * np.eye(DIMS))
    root = np.linalg.cholesky((inverse + inverse.T) / 2)
    others = [_solved(matrix, people) for matrix in by_columns[1:]]
    return [(vectors @ root).astype(np.float32) for vectors in (items, *others)]


def _confidences(
    user: IntArray, column: IntArray | RowArray, size: int, strength: DoubleArray
) -> csr_matrix[np.float64]:
    """People by columns, but for column 0: ``1 + ALPHA·ln(1 + strength)`` of the sum of strengths."""
    named = column != 0
    shape = (int(user.max()) + 1, size)
    matrix = csr_matrix((strength[named], (user[named], column[named])), shape=shape)
    matrix.data = 1.0 + ALPHA * np.log1p(matrix.data)
    return matrix


def _solved(matrix: csr_matrix[np.float64], other: DoubleArray) -> DoubleArray:
    return solved(matrix.indptr, matrix.indices, matrix.data, other, PENALTY)


def _with_parts(
    names: Sequence[str],
    catalog: Mapping[str, Item],
    columns: Columns,
    vectors: tuple[FloatArray, FloatArray, FloatArray],
    count: IntArray,
) -> Factors:
    """Scale authors and categories, and learn words, so that together they come near the items; then shrink these.

    Embeddings that come with items say first what authors and categories leave, words what these leave.
    """
    items, authors, categories = vectors
    seen = np.flatnonzero([name in catalog for name in names])
    trust = count[seen] / (count[seen] + DOUBT)
    by_author, by_category = authors[columns.author[seen]], categories[columns.category[seen]]
    design = np.stack([by_author.ravel(), by_category.ravel()], axis=1) * np.sqrt(trust).repeat(DIMS)[:, None]
    target = items[seen] * np.sqrt(trust)[:, None]
    share = np.clip(np.linalg.lstsq(design, target.ravel(), rcond=None)[0], 0.05, 1.0)
    parts = share[0] * by_author + share[1] * by_category
    rows = [catalog[names[code]] for code in seen.tolist()]
    given = None
    if size := _size_of(rows):
        embedded = _sparse(embeddings_of(rows, size), size)
        given = _ridge(embedded, items[seen] - parts, trust)
        parts = parts + embedded @ given
    written = _sparse(words_of(rows), BUCKETS)
    weights = _ridge(written, items[seen] - parts, trust)
    own = trust[:, None] * items[seen] + (1 - trust[:, None]) * (parts + written @ weights)
    return Factors(
        item_ids=Ids(names[code] for code in seen.tolist()),
        items=own.astype(np.float32),
        author_ids=columns.authors[1:],
        authors=(share[0] * authors[1:]).astype(np.float32),
        category_ids=columns.categories[1:],
        categories=(share[1] * categories[1:]).astype(np.float32),
        words=np.ascontiguousarray(weights),
        given=None if given is None else np.ascontiguousarray(given),
    )


def _size_of(rows: Sequence[Item]) -> int:
    """How long the embeddings are that most items come with, the shorter of two as frequent; 0 where none does."""
    sizes = Counter(len(row.embedding) for row in rows if row.embedding)
    return min(sizes, key=lambda size: (-sizes[size], size), default=0)


def _sparse(words: Words, columns: int) -> csr_matrix[np.float32]:
    return csr_matrix((words.weights, words.indices, words.indptr), shape=(len(words.indptr) - 1, columns))


def _ridge(written: csr_matrix[np.float32], target: DoubleArray, trust: DoubleArray) -> FloatArray:
    """What each column says of the target (n, DIMS), rows weighed by trust: (columns, DIMS)."""
    ridge = Ridge(alpha=WORD_PENALTY, fit_intercept=False, solver="sparse_cg", tol=1e-3)
    weights: FloatArray = ridge.fit(written, target, sample_weight=trust).coef_.T.astype(np.float32)
    return weights
