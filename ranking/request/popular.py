"""Pages without scores, for when there is no time or no ranker: what charts hold, and the list that was made last."""

from collections.abc import Sequence

import numpy as np

from features.types import IntArray
from ranking.api import Level
from ranking.request.generation import Generation
from ranking.types import Candidates, Query

KEPT = 1000
"""Places of the list that is kept for each surface."""
SURFACES = 64
"""Lists that are kept: a name of a surface comes from outside, and each has one."""


class Popular:
    """What is popular and new, by surface; the owner's mutex guards it.

    A list is nobody's own: what one person hid is dropped when it is read, not when it is made.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Candidates] = {}

    def forget(self) -> None:
        """Let all lists go, as when another generation answers from now on."""
        self._kept.clear()

    def find(self, generation: Generation, query: Query, level: Level) -> Candidates:
        """What charts hold, first places first, sources in turn; for ``last`` as it was found the last time."""
        surface = query.context.surface
        if level == "last" and surface in self._kept:
            return self._kept[surface]
        found = generation.retrieve(query, charts=True)
        turns = in_turn(found.source.tolist())[:KEPT]
        kept = Candidates(found.rows[turns], found.source[turns])
        # Charts that fail find nothing: the list of before is worth more.
        if len(turns) and (surface in self._kept or len(self._kept) < SURFACES):
            self._kept[surface] = kept
        return kept


def in_turn(source: Sequence[int]) -> IntArray:
    """Positions (n,) of candidates so that sources take turns, each in its own order."""
    places: dict[int, int] = {}
    place = np.empty(len(source), np.int64)
    for at, one in enumerate(source):
        place[at] = places[one] = places.get(one, -1) + 1
    return np.lexsort((np.arange(len(source)), place))
