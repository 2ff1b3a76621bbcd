"""Whom and what a figure is about: slices of the judged impressions by person, item, surface and duration."""

from collections.abc import Mapping

import numpy as np

from features.history import IMPRESSION, History, Slates
from features.outcomes import VIDEO
from features.types import BoolArray, ByteArray, DoubleArray, IntArray
from training.learning.labels import Catalog

DECILES = 10


def known_before(history: History, before_ms: int) -> tuple[BoolArray, BoolArray]:
    """Who is warm: users (users,) and items (items,), by code, with an impression received before a time.

    All others are cold, whatever else is known of them.
    """
    events = history.events
    shown = (events.action == IMPRESSION) & (events.received_ms < before_ms)
    users, items = np.zeros(len(history.users), np.bool_), np.zeros(len(history.items), np.bool_)
    users[events.user[shown]], items[events.item[shown]] = True, True
    return users, items


def durations_of(history: History, slates: Slates) -> DoubleArray:
    """The duration (n,) in ms of each impression's item as of its slate's moment; 0 where it has none."""
    catalog = Catalog.of(history)
    return catalog.duration_ms[catalog.rows(history.events.item[slates.event], slates.read_offset)]


def deciles_of(duration_ms: DoubleArray, kind: ByteArray) -> IntArray:
    """The tenth (n,) that each video's duration falls in among these rows, 1 the shortest; 0 for all else.

    Videos of one duration are in one tenth.
    """
    timed = (kind == VIDEO) & (duration_ms > 0)
    edges = np.quantile(duration_ms[timed], np.arange(1, DECILES) / DECILES) if timed.any() else np.zeros(DECILES - 1)
    return np.where(timed, 1 + np.searchsorted(edges, duration_ms), 0)


def cohorts_of(history: History, slates: Slates, kind: ByteArray, before_ms: int) -> dict[str, BoolArray]:
    """Which impressions (n,) each slice holds, as ``what=which``; what is not known is in no slice.

    Parameters
    ----------
    slates : Slates
        The impressions.
    kind : (n,) uint8
    before_ms : int
        Who and what had an impression before is warm: the end of training.
    """
    events = history.events.take(slates.event)
    warm_users, warm_items = known_before(history, before_ms)
    found = {
        "user=warm": warm_users[events.user],
        "user=cold": ~warm_users[events.user],
        "item=warm": warm_items[events.item],
        "item=cold": ~warm_items[events.item],
    }
    people = [history.people.get(name) for name in history.users]
    words = np.array(history.words, np.str_)
    own_tier = np.array([row.city_tier if row else "" for row in people], np.str_)[events.user]
    found |= _by_word("surface", words[events.surface])
    found |= _by_word("city_tier", np.where(events.city_tier != 0, words[events.city_tier], own_tier))
    for name, field in (("age", "age_band"), ("gender", "gender")):
        found |= _by_word(name, np.array([getattr(row, field) if row else "" for row in people], np.str_)[events.user])
    decile = deciles_of(durations_of(history, slates), kind)
    return found | {f"duration={tenth}": decile == tenth for tenth in range(1, DECILES + 1) if (decile == tenth).any()}


def _by_word(what: str, words: "np.ndarray[tuple[int], np.dtype[np.str_]]") -> Mapping[str, BoolArray]:
    return {f"{what}={word}": words == word for word in np.unique(words).tolist() if word}


def within_deciles(slate: IntArray, slices: Mapping[str, BoolArray]) -> IntArray:
    """Groups (n,) of rows of one slate and one duration decile; each row without a duration is alone."""
    group = -1 - np.arange(len(slate), dtype=np.int64)
    for tenth in range(1, DECILES + 1):
        rows = slices.get(f"duration={tenth}")
        if rows is not None:
            group[rows] = slate[rows] * (DECILES + 1) + tenth
    return group
