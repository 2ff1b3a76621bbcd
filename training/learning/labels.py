"""What became of every impression: the outcomes of its label window, and whether that window has closed.

An impression whose window is still open is neither positive nor negative: it does not count for that head at all.
Windows are measured in the time records were received, so that what counts is what was known by then.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit

from features.history import IMPRESSION, Events, History, Slates
from features.layout import ACTION_CODE
from features.outcomes import KIND_CODES, ROOM_TYPE_CODES, is_complete, is_long_view
from features.types import BoolArray, ByteArray, DoubleArray, IntArray, RowArray

HOUR_MS = 3_600_000
WINDOWS_MS: dict[str, int] = {
    "click": HOUR_MS,
    "long_view": 6 * HOUR_MS,
    "complete": 6 * HOUR_MS,
    "like": HOUR_MS,
    "comment": HOUR_MS,
    "share": HOUR_MS,
    "follow": HOUR_MS,
    "hide": HOUR_MS,
    "order": 72 * HOUR_MS,
    "cart": HOUR_MS,
    "gift": 6 * HOUR_MS,
    "report": HOUR_MS,
}
"""The heads, in their order, and how long after the impression an outcome counts."""
HEADS = tuple(WINDOWS_MS)


def cut_of(windows_ms: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The windows that are shorter than they should be, since the log was, beside what they should be; ms by head."""
    return {head: (own, WINDOWS_MS[head]) for head, own in windows_ms.items() if own < WINDOWS_MS.get(head, own)}


WATCHED = ("long_view", "complete")
CREDIT_VIA = ("order", "cart", "gift")
"""What is done to one item and counts for the impression of the room or video it was done in as well."""
WATCH = ACTION_CODE["watch"]


@dataclass(frozen=True, slots=True)
class Catalog:
    """What labels need of every row that described an item of a ``History``; (rows,) each, by key, the first of none.

    ``key`` orders rows by their item's code, then by offset; ``end`` is beyond all offsets.
    """

    key: IntArray
    end: int
    kind: ByteArray
    room_type: ByteArray
    duration_ms: DoubleArray

    @classmethod
    def of(cls, history: History) -> "Catalog":
        """All rows of the catalog; kind 0 until one has described an item."""
        codes = {name: code for code, name in enumerate(history.items)}
        known = [version for version in history.catalog_log if version.row.item_id in codes]
        placed = sorted(
            (codes[version.row.item_id] * history.end + version.offset, i) for i, version in enumerate(known)
        )
        rows = [known[i].row for _, i in placed]
        return cls(
            np.array([-1, *(key for key, _ in placed)], np.int64),
            history.end,
            np.array([0, *(KIND_CODES[row.kind] for row in rows)], np.uint8),
            np.array([0, *(ROOM_TYPE_CODES[row.room_type] for row in rows)], np.uint8),
            np.array([0, *(row.duration_ms for row in rows)], np.float64),
        )

    def rows(self, item: RowArray, offset: IntArray) -> IntArray:
        """(n,) the row that described each item, by code, before an offset; 0 where none did."""
        row = np.searchsorted(self.key, item * np.int64(self.end) + offset) - 1
        return np.where(self.key[row] >= item * np.int64(self.end), row, 0)


@dataclass(frozen=True, slots=True)
class Labels:
    """Outcomes of the impressions of a ``Slates``, in its order.

    y (n, heads) bool; kind (n,) uint8 of the item at the slate's moment; begins, ends (n,) int64: when the first and
    the last impression of the slate were received; windows_ms by head, the columns in their order.
    """

    y: BoolArray
    kind: ByteArray
    begins: IntArray
    ends: IntArray
    windows_ms: dict[str, int]

    def mature(self, head: str, until_ms: int) -> BoolArray:
        """(n,) whether the head's window had closed for the whole slate by a time."""
        return self.ends + self.windows_ms[head] <= until_ms

    def take(self, keep: BoolArray) -> "Labels":
        """The labels of the impressions that ``keep`` (n,) marks."""
        return Labels(self.y[keep], self.kind[keep], self.begins[keep], self.ends[keep], self.windows_ms)

    def of(self, head: str) -> BoolArray:
        """(n,) the outcomes of one head."""
        return self.y[:, list(self.windows_ms).index(head)]


def label(history: History, slates: Slates, windows_ms: dict[str, int] | None = None) -> Labels:
    """Join outcomes to impressions.

    An outcome belongs to the impression of its person, item and request; without a request id to the person's latest
    impression of the item that is not later. Of repeated watches of a request the first counts, and what a watch was
    goes by the catalog's row at its offset, as in the fold.

    Parameters
    ----------
    windows_ms : dict of str to int, optional
        Heads and their windows; ``WINDOWS_MS`` by default.
    """
    windows_ms = WINDOWS_MS if windows_ms is None else windows_ms
    events, catalog = history.events, Catalog.of(history)
    shown = slates.event
    y = np.zeros((len(events), len(windows_ms)), np.bool_)
    column, outcome, item = _outcomes(events, catalog, list(windows_ms))
    impression = _impressions_of(events, outcome, item)
    delay = events.received_ms[outcome] - events.received_ms[impression]
    kept = (impression >= 0) & (delay <= np.array([*windows_ms.values()])[column])
    y[impression[kept], column[kept]] = True
    received = events.received_ms[shown]
    starts = np.flatnonzero(np.diff(slates.slate, prepend=-1))
    begins, ends = ((each.reduceat(received, starts) if len(starts) else received) for each in (np.minimum, np.maximum))
    kind = catalog.kind[catalog.rows(events.item[shown], slates.read_offset)]
    return Labels(y[shown], kind, begins[slates.slate], ends[slates.slate], windows_ms)


def watched_ms(history: History, slates: Slates) -> IntArray:
    """(n,) how long each impression was watched within the window of ``complete``; 0 where no watch is known of it.

    Watches belong to impressions as outcomes do in ``label``; of several the longest counts.
    """
    events = history.events
    watches = _first_watches(events)
    impression = _impressions_of(events, watches, events.item[watches])
    delay = events.received_ms[watches] - events.received_ms[impression]
    kept = (impression >= 0) & (delay <= WINDOWS_MS["complete"])
    found = np.zeros(len(events), np.int64)
    np.maximum.at(found, impression[kept], events.value[watches[kept]])
    return found[slates.event]


def _outcomes(events: Events, catalog: Catalog, heads: list[str]) -> tuple[IntArray, IntArray, RowArray]:
    """The column of its head, the position and the credited item of every outcome; one may be credited twice."""
    watches = _first_watches(events)
    derived = dict(zip(WATCHED, watched(catalog, events, watches), strict=True))
    found = []
    for column, head in enumerate(heads):
        done = watches[derived[head]] if head in derived else np.flatnonzero(events.action == ACTION_CODE[head])
        found.append((column, done, events.item[done]))
        if head in CREDIT_VIA:
            inside = done[events.via[done] != 0]
            found.append((column, inside, events.via[inside]))
    columns = np.repeat([column for column, _, _ in found], [len(done) for _, done, _ in found])
    return columns, np.concatenate([done for _, done, _ in found]), np.concatenate([item for _, _, item in found])


def _first_watches(events: Events) -> IntArray:
    watches = np.flatnonzero(events.action == WATCH)
    order = np.lexsort((watches, events.item[watches], events.user[watches], events.request[watches]))
    user, item, request = (key[watches[order]] for key in (events.user, events.item, events.request))
    same = (np.diff(user) == 0) & (np.diff(item) == 0) & (np.diff(request) == 0) & (request[1:] != 0)
    return np.sort(watches[order[np.concatenate([[True], ~same])[: len(order)]]])


def watched(catalog: Catalog, events: Events, watches: IntArray) -> tuple[BoolArray, BoolArray]:
    """Whether each watch, a position in ``events``, was a long view and whether it was complete."""
    long_view, complete = np.zeros((2, len(watches)), np.bool_)
    row = catalog.rows(events.item[watches], events.offset[watches])
    value = events.value[watches]
    _derive(catalog.kind[row], catalog.room_type[row], catalog.duration_ms[row], value, long_view, complete)
    return long_view, complete


@njit(nogil=True, cache=True)
def _derive(
    kind: ByteArray, room: ByteArray, duration: DoubleArray, value: IntArray, long_view: BoolArray, complete: BoolArray
) -> None:
    for i in range(len(kind)):
        long_view[i] = is_long_view(kind[i], duration[i], value[i])
        complete[i] = is_complete(kind[i], room[i], duration[i], value[i])


def _impressions_of(events: Events, outcome: IntArray, item: RowArray) -> IntArray:
    """The position of the impression that each outcome is credited to, -1 where there is none."""
    shown = np.flatnonzero(events.action == IMPRESSION)
    anywhere = events.request[outcome] == 0
    found = np.full(len(outcome), -1)
    for part, with_request in ((~anywhere, 1), (anywhere, 0)):
        rows = outcome[part]
        position = np.concatenate([shown, rows])
        user, request = events.user[position], events.request[position] * with_request
        key_item = np.concatenate([events.item[shown], item[part]])
        is_outcome = np.arange(len(position)) >= len(shown)
        order = np.lexsort((is_outcome, events.ts_ms[position], request, key_item, user))
        latest = np.maximum.accumulate(np.where(is_outcome[order], -1, np.arange(len(order))))
        candidate = order[latest]
        same = latest >= 0
        for key in (user, key_item, request):
            same &= key[candidate] == key[order]
        joined = np.full(len(position), -1)
        joined[order] = np.where(same, position[candidate], -1)
        found[part] = joined[len(shown) :]
    return found
