"""Factors: what people did with items, authors and categories as vectors, day d from what was received before it.

A spectral embedding of implicit feedback: the singular vectors of the matrix of people by items, authors and
categories, each entry over the roots of its row's and its column's sums [1]_, without the first, which is popularity.

References
----------
.. [1] Dhillon, "Co-clustering documents and words using bipartite spectral graph partitioning", KDD 2001.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from features.counters import STRENGTH
from features.factors import BUCKETS, Factors, words_of
from features.history import History
from features.log import DAY_MS
from features.replay import Progress as Part
from features.schema import ACTION_CODE
from features.state import HISTORY_STRENGTH
from features.types import DoubleArray, FloatArray, IntArray, RowArray
from training.labels import WATCH, Catalog, watched

DIMS = 32
HALF_LIFE_MS = 14 * DAY_MS
DOUBT = 5.0
"""An item's own vector counts as much as its parts once it has so many interactions."""
PENALTY = 3.0
"""Of the ridge regression of items on their words."""
LEAST_ENTRIES = 100


@dataclass(frozen=True, slots=True)
class Interactions:
    """Who did something with what: codes into the names of a ``History``, (n,) each, as received; and its strength."""

    user: RowArray
    item: RowArray
    received_ms: IntArray
    strength: FloatArray

    @classmethod
    def of(cls, history: History) -> "Interactions":
        """Of all events, with what people did long ago first, stamped 0."""
        events = history.events
        strength = STRENGTH[events.action].copy()
        watches = np.flatnonzero(events.action == WATCH)
        long_view, complete = watched(Catalog.of(history), events.item[watches], events.value[watches])
        strength[watches[long_view]] = STRENGTH[ACTION_CODE["long_view"]]
        strength[watches[complete]] = STRENGTH[ACTION_CODE["complete"]]
        done = np.flatnonzero((strength > 0) & (events.user != 0))
        inside = done[events.via[done] != 0]
        old_user, old_item = _old(history)
        return cls(
            np.concatenate([old_user, events.user[done], events.user[inside]]),
            np.concatenate([old_item, events.item[done], events.via[inside]]),
            np.concatenate([np.zeros(len(old_user), np.int64), events.received_ms[done], events.received_ms[inside]]),
            np.concatenate([np.full(len(old_user), HISTORY_STRENGTH, np.float32), strength[done], strength[inside]]),
        )


def _old(history: History) -> tuple[RowArray, RowArray]:
    """What people are known to have liked before the log began, of items that it mentions."""
    users = {name: code for code, name in enumerate(history.users)}
    items = {name: code for code, name in enumerate(history.items)}
    pairs = [
        (users.get(person.user_id, len(users) + number), items[item])
        for number, person in enumerate(history.people.values())
        for item in person.history
        if item in items
    ]
    user, item = np.array(pairs, np.int32).reshape(-1, 2).T
    return user, item


@dataclass(frozen=True, slots=True)
class Columns:
    """Items' authors and categories as codes, (items,) each by the item's code, 0 where it has none."""

    author: RowArray
    category: RowArray
    authors: tuple[str, ...]
    categories: tuple[str, ...]

    @classmethod
    def of(cls, history: History) -> "Columns":
        """The catalog's last rows."""
        described = [history.catalog.get(name) for name in history.items]
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

    The first knows only what people did before the log began.
    """
    received = history.events.received_ms
    first = int(received[0]) if len(received) else until_ms
    midnight = (first + utc_offset_ms) // DAY_MS * DAY_MS - utc_offset_ms
    starts = [*range(midnight, until_ms, DAY_MS), until_ms]
    interactions, columns = Interactions.of(history), Columns.of(history)
    fitted = []
    for done, start in enumerate(starts):
        progress(done, len(starts))
        fitted.append((start, fit(history, interactions, columns, start, seed)))
    progress(len(starts), len(starts))
    return fitted


def fit(history: History, interactions: Interactions, columns: Columns, before_ms: int, seed: int) -> Factors:
    """Factors from what was received before a time; those that know nothing where that is too little."""
    known = np.flatnonzero(interactions.received_ms < before_ms)
    user, item = interactions.user[known], interactions.item[known]
    # What is older than the log is as old as its first record can say.
    age = before_ms - np.maximum(interactions.received_ms[known], history.events.received_ms[:1].min(initial=before_ms))
    strength = interactions.strength[known] * np.exp2(-age / HALF_LIFE_MS)
    sizes = (len(history.items), len(columns.authors), len(columns.categories))
    if len(known) < LEAST_ENTRIES:
        return Factors.empty(DIMS)
    blocks = (item, columns.author[item], columns.category[item])
    matrix = _matrix(user, blocks, sizes, strength)
    with threadpool_limits(1):
        vectors = _embedded(matrix, seed)
    items, authors, categories = np.split(vectors, np.cumsum(sizes)[:-1])
    return _with_parts(history, columns, items, authors, categories, np.bincount(item, minlength=sizes[0]))


def _matrix(
    user: RowArray, blocks: Sequence[RowArray], sizes: Sequence[int], strength: DoubleArray
) -> csr_matrix[np.float64]:
    """People by items, authors and categories: the logarithm of one and the sum of strengths."""
    starts = np.cumsum([0, *sizes])
    named = np.concatenate([block != 0 for block in blocks])
    column = np.concatenate([block + start for block, start in zip(blocks, starts, strict=False)])[named]
    row, weight = np.tile(user, len(blocks))[named], np.tile(strength, len(blocks))[named]
    matrix = csr_matrix((weight, (row, column)), shape=(int(user.max()) + 1, int(starts[-1])))
    matrix.data = np.log1p(matrix.data)
    return matrix


def _embedded(matrix: csr_matrix[np.float64], seed: int) -> FloatArray:
    """Unit vectors (columns, DIMS) float32; zeros for columns without an entry."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    by_row = np.bincount(row, matrix.data, matrix.shape[0])
    by_column = np.bincount(matrix.indices, matrix.data, matrix.shape[1])
    scaled = matrix.copy()
    scaled.data /= np.sqrt(by_row[row] * by_column[matrix.indices])
    rank = min(DIMS + 1, *scaled.shape)
    _, size, right = randomized_svd(scaled, rank, n_iter=5, random_state=seed)
    vectors = np.zeros((matrix.shape[1], DIMS))
    vectors[:, : rank - 1] = (right * size[:, None])[1:].T / np.sqrt(np.maximum(by_column, 1e-12))[:, None]
    return _unit(vectors)


def _unit(vectors: DoubleArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.where(length > 0, length, 1.0), 0.0).astype(np.float32)


def _with_parts(
    history: History,
    columns: Columns,
    items: FloatArray,
    authors: FloatArray,
    categories: FloatArray,
    count: IntArray,
) -> Factors:
    """Scale authors and categories, and learn words, so that together they come near the items; then shrink these."""
    seen = np.flatnonzero((count > 0) & np.array([name in history.catalog for name in history.items]))
    trust = count[seen] / (count[seen] + DOUBT)
    by_author, by_category = authors[columns.author[seen]], categories[columns.category[seen]]
    design = np.stack([by_author.ravel(), by_category.ravel()], axis=1) * np.sqrt(trust).repeat(DIMS)[:, None]
    target = items[seen] * np.sqrt(trust)[:, None]
    share = np.clip(np.linalg.lstsq(design, target.ravel(), rcond=None)[0], 0.05, 1.0)
    parts = share[0] * by_author + share[1] * by_category
    words = words_of([history.catalog[history.items[code]] for code in seen.tolist()])
    written = csr_matrix((words.weights, words.indices, words.indptr), shape=(len(seen), BUCKETS))
    ridge = Ridge(alpha=PENALTY, fit_intercept=False, solver="sparse_cg", tol=1e-3)
    weights = ridge.fit(written, items[seen] - parts, sample_weight=trust).coef_.T.astype(np.float32)
    own = trust[:, None] * items[seen] + (1 - trust[:, None]) * (parts + written @ weights)
    return Factors(
        item_ids=tuple(history.items[code] for code in seen.tolist()),
        items=own.astype(np.float32),
        author_ids=columns.authors[1:],
        authors=(share[0] * authors[1:]).astype(np.float32),
        category_ids=columns.categories[1:],
        categories=(share[1] * categories[1:]).astype(np.float32),
        words=np.ascontiguousarray(weights),
    )
