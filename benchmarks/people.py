"""Who asks in benchmarks of feeds, and what must be over before anything is timed."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.market import NOW_MS
from features.state import FeatureState
from ranking import Engine, FeedRequest
from ranking.api import Feed
from ranking.index.listed import ListedIndex
from ranking.request.generation import Generation

PAGE, PEOPLE = 50, 64


def people_of(state: FeatureState) -> list[int]:
    """Some who engaged with something: nothing is near to others."""
    known = np.flatnonzero(state.arrays.rings.item[: len(state.users)].any(axis=1))
    chosen: list[int] = np.random.default_rng(4).choice(known, min(PEOPLE, len(known)), replace=False).tolist()
    return chosen


def asking(engine: Engine, people: Sequence[str]) -> Callable[[], Feed]:
    """Asks for a page of the next of some people, again and again."""
    turns = itertools.cycle(people)
    numbers = itertools.count()

    def ask() -> Feed:
        request = FeedRequest(user_id=next(turns), count=PAGE)
        return engine.feed(request, NOW_MS, f"feed-{next(numbers)}")

    return ask


def settle(generation: Generation) -> None:
    """Wait for lists that are being trained, while nobody asks: until then all is searched exactly."""
    for index in generation.indexes.values():
        if isinstance(index, ListedIndex):
            index.wait()
