"""A second bundle beside the one that is served: both score the same candidates at the same moment."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np

from features.errors import BundleError
from features.reader import Reader
from features.types import DoubleArray, IntArray, RowArray
from ranking.bundles.bundle import Bundle
from ranking.bundles.ranker import BundleRanker
from ranking.mixing.mixer import best_first
from ranking.request.generation import Generation
from ranking.types import Candidates, Query
from ranking.value import value_of, value_terms

TOP = 10
"""Places of a page that its overlap is of."""


class Compared(NamedTuple):
    """How two bundles see one page: see ``ranking.agreement``; ``mean`` and ``mean_abs`` (heads,) by head of both."""

    overlap: float
    rank_correlation: float
    mean: DoubleArray
    mean_abs: DoubleArray


class Second:
    """A bundle that reads the state of a generation, and answers nobody.

    Parameters
    ----------
    bundle : Bundle
    generation : Generation
        What is served; nobody folds it meanwhile.

    Raises
    ------
    BundleError
        If the bundle needs a state of another layout than the one that is served keeps.
    """

    def __init__(self, bundle: Bundle, generation: Generation) -> None:
        if bundle.feature_set.layout != generation.state.layout:
            what = f"Bundle {bundle.version} counts other things than {generation.bundle.version}, which is served."
            raise BundleError(what, "Only one of the same layout can be beside it; compare them with `huozhao models`.")
        self.version, self._state, self._weights = bundle.version, generation.state, bundle.weights
        self._ranker = BundleRanker(bundle)
        self._scales = bundle.scales_of(self._ranker.heads)
        self._reader = Reader(bundle.feature_set, bundle.codes, bundle.factors)
        self._reader.catch_up(self._state, self._state.described())
        self._changed: list[RowArray] = []
        self._follow, self._among = self._changed.append, generation.followers
        self._among.append(self._follow)
        theirs = generation.ranker.heads
        self.heads = tuple(head for head in self._ranker.heads if head in theirs)
        self._columns = [[heads.index(head) for head in self.heads] for heads in (theirs, self._ranker.heads)]

    def compare(
        self, generation: Generation, query: Query, found: Candidates, mutex: AbstractContextManager[object]
    ) -> Compared | None:
        """Score a page's candidates by both, as of now; None where another bundle was taken up since.

        Rows are read under the mutex, for both at once; scores are computed outside of it.
        """
        with mutex:
            if generation.followers is not self._among:
                return None
            changed, self._changed[:] = self._changed[:], []
            self._reader.catch_up(self._state, np.unique(np.concatenate([*changed, found.rows[:0]])))
            batch = generation.assemble(query, found)
            person, now_ms, context = query.personalised_user, query.now_ms, query.context
            rows = self._reader.rows(self._state, person, found.rows, now_ms, context)
        first = generation.score(batch)
        second = self._ranker.probabilities(rows, batch.kinds)
        weights = generation.policy.weights_for(context.surface, self._weights)
        value = value_of(value_terms(second, self._ranker.heads, batch.kinds, self._scales, weights))
        orders = [best_first(one, batch.rows) for one in (first.value, value)]
        ours, others = self._columns
        apart = second[:, others] - first.probabilities[:, ours]
        return Compared(*_agreement(orders), apart.mean(axis=0), np.abs(apart).mean(axis=0))

    def leave(self) -> None:
        """Follow no more what is folded; the caller holds the mutex."""
        self._among.remove(self._follow)


def _agreement(orders: Sequence[IntArray]) -> tuple[float, float]:
    """Overlap of the first places and Spearman's correlation of two orders (n,) of the same n > 0 items."""
    n = len(orders[0])
    top = min(n, TOP)
    overlap = len(np.intersect1d(orders[0][:top], orders[1][:top])) / top
    places = [np.argsort(order) for order in orders]
    apart = float(((places[0] - places[1]) ** 2).sum())
    return overlap, 1.0 - 6.0 * apart / (n * (n * n - 1)) if n > 1 else 1.0
