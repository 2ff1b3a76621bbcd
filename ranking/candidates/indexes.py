"""The indexes of a generation: the vectors of all that may be shown, one index a kind."""

from collections.abc import Callable

import numpy as np

from features.factors import unit
from features.outcomes import KIND_NAMES, PRODUCT, ROOM, VIDEO
from features.reader import Reader
from features.state import FeatureState
from features.types import FloatArray, RowArray
from ranking.api import Indexed
from ranking.candidates import eligibility
from ranking.index.exact import ExactIndex, top_k
from ranking.index.kept import Kept
from ranking.index.listed import ListedIndex, rehearse
from ranking.index.lists import ANY
from ranking.types import VectorIndex

ASKING = 256
"""People whose vectors trained lists are tried with, where something is known of them."""
SOON = 8
"""A training is rehearsed from one in so many on of the vectors that call for it: smaller homes start without."""
WIDER = 20
"""So many times as many are found by product as are then chosen by cosine, which has no index of its own."""


class Indexes:
    """Rooms are searched one and all, products and videos by trained lists.

    Parameters
    ----------
    state : FeatureState
    reader : Reader
        Keeps the vectors, which indexes share.
    kept : callable, optional
        Gives, by the name of a kind, where its trained lists are kept from one start to the next. Without it all is
        searched one and all, and nothing is trained beside.
    """

    def __init__(self, state: FeatureState, reader: Reader, kept: Callable[[str], Kept | None] | None) -> None:
        self._state, self._reader = state, reader
        dims = reader.factors.dims

        def shared() -> FloatArray:
            return reader.vectors.item

        # No method of this object: it would hold its indexes, and they it, and only a collection would free vectors.
        def asked() -> FloatArray:
            return vectors_asked(state, reader)

        def listed(kind: int) -> ListedIndex:
            place = kept(KIND_NAMES[kind]) if kept else None
            return ListedIndex(dims, shared=shared, background=True, kept=place, asked=asked)

        self._listed = {kind: listed(kind) for kind in (PRODUCT, VIDEO)} if kept else {}
        self.by_kind: dict[int, VectorIndex] = {
            kind: self._listed[kind] if kind in self._listed else ExactIndex(dims, shared, coarse=kind == ROOM)
            for kind in (ROOM, PRODUCT, VIDEO)
        }

    @property
    def is_training(self) -> bool:
        """Whether lists are being trained for any kind."""
        return any(index.is_training for index in self._listed.values())

    def start(self) -> None:
        """Begin to train lists, now that all items are taken in."""
        for index in self._listed.values():
            index.start()

    def rehearse(self) -> None:
        """Do for vectors of nobody's what a training would, where vectors are so many that one may come."""
        if any(SOON * len(index) >= index.threshold for index in self._listed.values()):
            rehearse(self._reader.factors.dims)

    def close(self) -> None:
        """Give up a training that is under way."""
        for index in self._listed.values():
            index.close()

    def catch_up(self, rows: RowArray) -> None:
        """Come up to items that have changed, whose vectors the reader has by now."""
        if not len(rows):
            return
        kinds = self._state.arrays.items.categories[rows, 4]
        shown = eligibility.presentable(self._state, rows)
        for kind, index in self.by_kind.items():
            held = (kinds == kind) & shown
            index.remove(rows[~held])
            index.put(rows[held], self._reader.vectors.item[rows[held]])

    def alike(self, row: int, k: int) -> tuple[RowArray, FloatArray]:
        """At most k item rows of the same kind by the cosine of their vectors, highest first, ties by row."""
        index = self.by_kind[int(self._state.arrays.items.categories[row, 4])]
        vectors = self._reader.vectors.item
        rows = index.search(vectors[row], WIDER * k)[0]
        return top_k(rows, unit(vectors[rows]) @ unit(vectors[row : row + 1])[0], k)

    def standing(self) -> dict[str, Indexed]:
        """How the index of each kind stands, by the kind's name."""
        found = {}
        for kind, index in self.by_kind.items():
            size, listed = sum(index.memory().values()), self._listed.get(kind)
            lists = listed.lists if listed else None
            found[KIND_NAMES[kind]] = Indexed(
                vectors=len(index),
                bytes=size,
                lists=len(lists) if lists and lists.most else 0,
                training=listed is not None and listed.is_training,
                outside=len(lists.outside) if lists else 0,
                falls_short=lists is not None and lists.most < ANY,
            )
        return found


def vectors_asked(state: FeatureState, reader: Reader) -> FloatArray:
    """The vectors (n, dims) of some people of whom something is known."""
    # The first row is nobody's.
    people = 1 + np.flatnonzero(state.arrays.users.personalised[1 : len(state.users)])
    drawn = np.random.default_rng(0).permutation(len(people))[:ASKING]
    vectors = [reader.user_vector(state, user, state.received_ms) for user in people[drawn].tolist()]
    known = [vector for vector in vectors if vector.any()]
    return np.array(known, np.float32).reshape(-1, reader.factors.dims)
