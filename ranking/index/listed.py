"""Many vectors by item row: searched exactly while they are few or few are allowed, else through inverted lists.

The contract is that of ``exact.ExactIndex``, but that lists may miss some of the best. Callers hold the state's
mutex; lists are trained beside them, in a thread that never takes it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from features.types import BoolArray, FloatArray, RowArray
from ranking.index.exact import Answer, ExactIndex, check_query, spread
from ranking.index.kept import Kept
from ranking.index.lists import Lists, marks_of
from ranking.index.refit import Refit
from ranking.index.trial import TRIED

SPARSE = 64
"""A filter that leaves less than one in so many is answered exactly over what it leaves."""
CROWDED = 16
"""So is a search for more than one in so many of what may be found."""
RARER = 0.85
"""The power by which visits grow as a filter leaves less; see ADR 23."""
ROUGH = 2048
"""Of so many allowed rows, not all are scored exactly."""
WORSE = 1.5
"""Lists so many times less even than when they were filled are trained anew."""
APART = 64
"""So are those that one vector in so many does not fit, if these are twice as many as when they were filled."""


REHEARSED = 1024
"""Vectors that lists are rehearsed with."""


def rehearse(dims: int) -> None:
    """Train lists of vectors that are nobody's, change and search them.

    Kernels are compiled then, or read from their caches: else the first training compiles them beside pages, and the
    first page that its lists answer compiles the last.
    """
    rows, vectors = np.arange(REHEARSED, dtype=np.int32), np.random.default_rng(0).random((REHEARSED, dims), np.float32)
    index = ListedIndex(dims, REHEARSED, shared=lambda: vectors)
    index.put(rows, vectors)
    index.remove(rows[:1])
    for allowed in (None, rows % 2 == 0, rows % CROWDED**2 == 0, rows[::2]):
        index.search(vectors[0], 1, allowed)
    if index.lists is not None:
        index.lists.best(vectors, vectors[0], 1, rows)
    marks_of(vectors, rows)


@dataclass(frozen=True)
class _Plan:
    """How to search: exactly among some rows, or in some lists under a mask, of ``there`` rows."""

    rows: RowArray | None
    mask: BoolArray | None = None
    visits: int = 0
    there: int = 0


class ListedIndex:
    """Vectors by row, exact below a threshold, beyond it in inverted lists that are mutable in place.

    A search plans by selectivity: few allowed rows are scored exactly, many are found through the lists nearest to
    the vector, under a bitmap. What the lists find is scored anew, exactly; where they find too little, all is scored.
    Of equal scores at the end of an answer, the lists may give any.

    Lists are trained when vectors reach the threshold, and anew when as many changed as they were trained on or when
    they have grown uneven. Until new ones are done the old ones answer, or the exact search where there are none.

    Parameters
    ----------
    dims : int
        Length of a vector.
    threshold : int
        Vectors at which lists are first trained; below half of it they are given up.
    probes : float, optional
        The share of lists that a search without a filter visits; by default as many as ``ranking.index.trial.RECALL``
        takes, found anew with every training.
    shared : callable, optional
        Gives the matrix that keeps the vectors, as for ``ExactIndex``.
    background : bool
        Whether lists are trained in a thread of their own, from ``start`` on; else the change that calls for it
        waits for them.
    kept : Kept, optional
        Where trained lists are kept from one start to the next.
    asked : callable, optional
        Gives vectors (n, dims) float32 such as searches ask for, to try new lists with; called with the mutex held.
    """

    def __init__(
        self,
        dims: int,
        threshold: int = 20_000,
        probes: float | None = None,
        *,
        shared: Callable[[], FloatArray] | None = None,
        background: bool = False,
        kept: Kept | None = None,
        asked: Callable[[], FloatArray] | None = None,
    ) -> None:
        self.dims = dims
        self.threshold = threshold
        self.probes = probes
        self._exact = ExactIndex(dims, shared)
        self._background = background
        self._kept = kept
        self._asked = asked
        self._lists: Lists | None = None
        self._refit: Refit | None = None
        self._trained = False
        self._started = not background
        self._changes = 0
        self._looked = 0

    def __len__(self) -> int:
        return len(self._exact)

    @property
    def lists(self) -> Lists | None:
        """The lists that answer now, if any."""
        return self._lists

    @property
    def is_training(self) -> bool:
        """Whether new lists are under way; the next call after they are done takes them."""
        return self._refit is not None and not self._refit.is_over

    def put(self, rows: RowArray, vectors: FloatArray) -> None:
        """Add vectors (n, dims) float32, or replace those of rows that are there; see ``ExactIndex.put``."""
        self._exact.put(rows, vectors)
        self._follow(rows)

    def remove(self, rows: RowArray) -> None:
        """Take rows out; rows that are not there are ignored."""
        self._exact.remove(rows)
        if 2 * len(self) < self.threshold:
            self.close()
            self._lists = None
        self._follow(rows)

    def search(self, vector: FloatArray, k: int, allowed: BoolArray | RowArray | None = None) -> Answer:
        """At most k rows by inner product, highest first, ties by row; see ``ExactIndex.search``."""
        check_query(vector, self.dims)
        return self._answer(self._plan(k, allowed), vector, k)

    def search_many(
        self, vectors: FloatArray, k: int, allowed: BoolArray | RowArray | None = None, threads: int = 1
    ) -> list[Answer]:
        """``search`` for each of some vectors (m, dims), in as many threads; the same answers."""
        for vector in vectors:
            check_query(vector, self.dims)
        plan = self._plan(k, allowed)
        with spread(threads) as over:
            return over(lambda vector: self._answer(plan, vector, k), list(vectors))

    def start(self) -> None:
        """Train lists in the background from now on, once all that a start brings has been put."""
        self._started = True
        self._follow(np.zeros(0, np.int32))

    def train(self) -> None:
        """Begin to train lists for what is there now, beside what answers meanwhile; see ``wait``."""
        if self._refit is None:
            asked = self._asked() if self._asked else np.zeros((0, self.dims), np.float32)
            self._refit = Refit(self._exact, self.probes, self._kept, again=self._trained, asked=asked)
            self._changes = self._looked = 0
            self._refit.start()

    def wait(self) -> None:
        """Wait until a training that is under way is done, and take its lists."""
        if self._refit is not None:
            self._refit.wait()
            self._take()

    def close(self) -> None:
        """Give up a training that is under way; its thread has ended when this returns."""
        if self._refit is not None:
            self._refit.stop()
            self._refit = None

    def memory(self) -> dict[str, int]:
        """Bytes by part; vectors that are shared are their owner's."""
        return self._exact.memory() | (self._lists.memory() if self._lists is not None else {})

    def _follow(self, rows: RowArray) -> None:
        """Bring lists, old and new, up to rows that have changed."""
        if self._refit is not None:
            self._refit.tell(rows)
            self._take()
        if self._lists is not None and len(rows):
            self._lists.renew(self._exact, rows)
        self._changes += len(rows)
        if self._started and self._refit is None and self._is_due():
            self.train()
            if not self._background:
                self.wait()

    def _is_due(self) -> bool:
        if self._lists is None:
            return len(self) >= self.threshold
        if self._changes >= max(self._lists.size, self.threshold):
            return True
        if len(self._lists.outside) > max(self._lists.size / APART, self.threshold / APART, 2 * self._lists.expected):
            return True
        if 8 * (self._changes - self._looked) < self._lists.size:
            return False
        self._looked = self._changes
        return self._lists.imbalance > WORSE * self._lists.balance

    def _take(self) -> None:
        if self._refit is not None and self._refit.is_over:
            lists = self._refit.take()
            self._refit = None
            if lists is not None:
                self._lists, self._trained = lists, True

    def _plan(self, k: int, allowed: BoolArray | RowArray | None) -> _Plan:
        self._take()
        exact, size = self._exact, len(self)
        if self._lists is None or k > self._lists.most:
            return _Plan(exact.among(allowed))
        rows, mask, there = None, None, size
        if allowed is not None and allowed.dtype == np.bool_:
            mask = np.ascontiguousarray(allowed, np.bool_)
            there = exact.guess(mask)
            if there * SPARSE < size:
                # None where a sample of the mask has misled.
                rows = exact.few(mask, 2 * size // SPARSE)
        elif allowed is not None:
            rows = exact.among(allowed)
        there = there if rows is None else len(rows)
        if not 0 < k * CROWDED <= there:
            return _Plan(exact.among(allowed) if rows is None else rows)
        if rows is not None:
            if there * SPARSE < size:
                return _Plan(rows)
            mask = np.zeros(int(rows[-1]) + 1, np.bool_)
            mask[rows] = True
        # The more are wanted, or the rarer they are under a filter, the farther away they lie.
        farther = max(k / TRIED, 1.0) ** self._lists.farther * max(size / max(there, 1), 1.0) ** RARER
        return _Plan(None, mask, math.ceil(self._lists.visits * farther), there)

    def _answer(self, plan: _Plan, vector: FloatArray, k: int) -> Answer:
        if plan.rows is not None:
            return self._best(vector, k, plan.rows)
        if self._lists is not None:
            found = self._lists.nearest(self._exact.matrix, vector, k, plan.mask, plan.visits)
            if len(found[0]) >= min(k, plan.there):
                return found
        return self._exact.search(vector, k, plan.mask)

    def _best(self, vector: FloatArray, k: int, rows: RowArray) -> Answer:
        """The best of some rows; of many, those that their bytes leave over are scored exactly."""
        lists = self._lists
        if lists is not None and k <= lists.most and 0 < k * CROWDED <= len(rows) > ROUGH:
            return lists.best(self._exact.matrix, vector, k, rows)
        return self._exact.best(vector, k, rows)
