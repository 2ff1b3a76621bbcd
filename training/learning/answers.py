"""What people answered to impressions that were looked at: clicks and watches, and when each was known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.history import IMPRESSION, Events, History
from features.layout import ACTION_CODE
from features.types import IntArray
from training.learning.labels import WATCH

CLICK = ACTION_CODE["click"]
NEVER_MS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Answers:
    """Impressions that were looked at, (n,) each: who, what, when that was known, and when a click.

    ``user`` and ``item`` are codes of the history that ``users`` and ``items`` name.
    """

    users: tuple[str, ...]
    items: tuple[str, ...]
    user: IntArray
    item: IntArray
    looked_ms: IntArray
    clicked_ms: IntArray
    watched_ms: IntArray
    watch: IntArray

    @classmethod
    def of(cls, history: History) -> "Answers":
        """Of all impressions of a history. One was looked at if a watch or a click is known of it."""
        events = history.events
        looked, clicked = (np.full(len(events), NEVER_MS) for _ in range(2))
        for known, actions in ((looked, (WATCH, CLICK)), (clicked, (CLICK,))):
            done, impression = _answered(events, actions)
            np.minimum.at(known, impression, events.received_ms[done])
        watched, watch = np.full(len(events), NEVER_MS), np.zeros(len(events), np.int64)
        done, impression = _answered(events, (WATCH,))
        # The first watch of an impression counts, in the order of the log.
        order = np.lexsort((done, impression))
        first = order[np.unique(impression[order], return_index=True)[1]]
        at, seen = impression[first], done[first]
        watched[at], watch[at] = events.received_ms[seen], events.value[seen]
        shown = np.flatnonzero(looked < NEVER_MS)
        user, item = events.user[shown].astype(np.int64), events.item[shown].astype(np.int64)
        times = (each[shown] for each in (looked, clicked, watched, watch))
        return cls(history.users, history.items, user, item, *times)


def _answered(events: Events, actions: Sequence[int]) -> tuple[IntArray, IntArray]:
    """Positions of events of some actions, and of the last impression before each of that person, item and request.

    Before in the log, so that nothing that comes later changes what an event belongs to.
    """
    some = np.flatnonzero(np.isin(events.action, (IMPRESSION, *actions)) & (events.user != 0))
    order = some[np.lexsort((some, events.request[some], events.item[some], events.user[some]))]
    keys = (events.user[order], events.item[order], events.request[order])
    begins = np.append(True, np.any([np.diff(key) != 0 for key in keys], axis=0))[: len(order)]
    place = np.arange(len(order))
    shown = np.maximum.accumulate(np.where(events.action[order] == IMPRESSION, place, -1))
    first = np.maximum.accumulate(np.where(begins, place, 0))
    done = np.flatnonzero((events.action[order] != IMPRESSION) & (shown >= first))
    return order[done], order[shown[done]]
