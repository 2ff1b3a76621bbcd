"""Retrieval: what a policy's sources find for a query, each item once; a source that fails finds nothing."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from features.outcomes import KIND_CODES, PRODUCT, ROOM, VIDEO
from features.state import NO_ROWS, FeatureState
from features.types import BoolArray, RowArray
from ranking.candidates.follow import Follow, Works
from ranking.candidates.on_air import OnAir
from ranking.candidates.sources import Chart, Fresh, Personal, Trending, merge
from ranking.policy import Policy
from ranking.types import Candidates, Query, Source, VectorIndex

_log = logging.getLogger(__name__)
_PERSONAL = {"live": ROOM, "products": PRODUCT, "videos": VIDEO}
"""The kinds that personal sources find, by the name a policy gives them."""
_CHARTS: dict[str, type[Chart]] = {"trending": Trending, "fresh": Fresh}
DEEPER = 4
"""How many times as many each further look asks every source for."""
DEEPEST = 10_000
"""Items that a source is asked for at most where a policy's own number left too few: twice what a session recalls."""


class Recall:
    """The sources of a policy; the caller holds the state's mutex.

    Parameters
    ----------
    policy : Policy
    state : FeatureState
    indexes : mapping of int to VectorIndex
        By the code of the kind that they hold.
    on_air : OnAir
        Of the state.
    faults : Counter
        Counts what fails, by source.

    Attributes
    ----------
    sources : tuple of (int, Source)
        With the code of the kind that each finds; the policy's.
    names : tuple of str
        Of the sources and of the charts behind them, by the code that candidates carry.
    has_failed : bool
        Whether a source failed as candidates were looked for the last time.
    """

    def __init__(
        self,
        policy: Policy,
        state: FeatureState,
        indexes: Mapping[int, VectorIndex],
        on_air: OnAir,
        faults: Counter[str],
    ) -> None:
        self._policy, self._state, self._indexes, self._faults = policy, state, indexes, faults
        # No method of this object, or it and all that it holds would wait for a collection once nobody asks it.
        self._on_air: Callable[[Query], BoolArray] = lambda query: on_air.mask(query.now_ms)
        self.sources = tuple(placed for name in policy.sources for placed in self._placed(name))
        self._charts = self.sources
        if not any(isinstance(source, Chart) for _, source in self.sources):
            # A page without scores needs them, whatever the policy finds by.
            self._charts += tuple(placed for name in _CHARTS for placed in self._placed(name))
        self.names = tuple(source.name for _, source in self._charts)
        self.has_failed = False
        self._is_cut = False

    def _placed(self, name: str) -> list[tuple[int, Source]]:
        """The sources that a policy means by a name, each with the code of the kind it finds."""
        if name in _CHARTS:
            return [(kind, _CHARTS[name](kind, self._state)) for kind in self._indexes]
        if name == Follow.name:
            works = Works(self._state)
            return [
                (kind, Follow(kind, self._state, works, self._on_air if kind == ROOM else None))
                for kind in self._indexes
            ]
        kind = _PERSONAL[name]
        return [(kind, Personal(kind, self._indexes[kind], self._on_air if kind == ROOM else None))]

    def follow(self, rows: RowArray) -> None:
        """Take in item rows that the log has spoken of."""
        for _, source in self._charts:
            if isinstance(source, Chart | Follow):
                source.follow(rows)

    def retrieve(self, query: Query, *, charts: bool = False) -> Candidates:
        """What every source finds, or the charts alone, each item once, credited to the first that found it.

        Where a source fails, or none finds anything, charts that the policy does not find by stand in.
        """
        return self._look(query, self._policy.candidates, personal=not charts, stand_in=charts)

    def deeper(self, query: Query) -> Iterator[Candidates]:
        """What is found beyond what ``retrieve`` just did, for one to whom too little of that may be shown.

        Every source is asked for ``DEEPER`` times as many again and again, until none holds more, or for ``DEEPEST``;
        at last charts that the policy does not find by stand in. Each look is a whole one, and goes deeper.
        """
        depth = self._policy.candidates
        while self._is_cut and depth < DEEPEST:
            depth = min(DEEPER * depth, DEEPEST)
            yield self._look(query, depth, personal=True, stand_in=False)
        if len(self._charts) > len(self.sources):
            yield self._look(query, depth, personal=True, stand_in=True)

    def _look(self, query: Query, depth: int, *, personal: bool, stand_in: bool) -> Candidates:
        kinds = {KIND_CODES[kind] for kind in self._policy.surface(query.context.surface).kinds}
        self.has_failed = self._is_cut = False

        def by(source: Source, kind: int, *, wanted: bool) -> RowArray:
            return self._found_by(source, query, depth) if wanted and kind in kinds else NO_ROWS

        found = [by(one, kind, wanted=personal or isinstance(one, Chart)) for kind, one in self.sources]
        more = stand_in or self.has_failed or not any(map(len, found))
        return merge(found + [by(one, kind, wanted=more) for kind, one in self._charts[len(found) :]])

    def _found_by(self, source: Source, query: Query, depth: int) -> RowArray:
        try:
            rows = source.retrieve(query, depth)
        except Exception:  # noqa: BLE001  # the page is made of what the others find; the fault is counted and told
            if not self._faults[source.name]:
                _log.exception("Source %s failed; it finds nothing, and is asked again", source.name)
            self._faults[source.name] += 1
            self.has_failed = True
            return NO_ROWS
        self._is_cut |= len(rows) >= depth
        return rows
