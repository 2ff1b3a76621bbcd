"""Replay: fold a log again and read, at each slate's moment, what was known then.

The state that a slate's rows are read from holds the records before ``read_offset`` and no other, whatever the log
says later: what a model trains on is what serving would have seen.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.columns import CONTEXT_NUMBERS, InContext
from features.errors import FeatureError
from features.history import History, Slates, context_of
from features.layout import Layout
from features.logs.log import EventLog, ahead
from features.reader import Reader
from features.records import Context
from features.state import FeatureState
from features.types import BoolArray, FloatArray, RowArray

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


def quiet(done: int, of: int) -> None:
    """Report nothing."""


class Moment(NamedTuple):
    """A page to read: who, which items (ids), where and when."""

    read_offset: int
    now_ms: int
    user_id: str
    item_ids: Sequence[str]
    context: Context


@dataclass(frozen=True, slots=True)
class Readers:
    """Readers by the offset from which they serve; all of one FeatureSet.

    ``since`` ascends; a moment is read by the last reader whose offset is not after its own, one before all of
    them by the first. Offsets, because a person's clock may run ahead of what a reader was fitted on.
    """

    since: tuple[int, ...]
    readers: tuple[Reader, ...]

    @classmethod
    def always(cls, reader: Reader) -> "Readers":
        """One reader for the whole log."""
        return cls((0,), (reader,))

    @property
    def layout(self) -> Layout:
        """What their state must keep."""
        return self.readers[0].feature_set.layout

    def at(self, offset: int) -> int:
        """Which reader serves an offset."""
        return max(0, bisect.bisect_right(self.since, offset) - 1)


def read_moments(
    log: EventLog,
    readers: Readers,
    moments: Sequence[Moment],
    progress: Progress = quiet,
    state: FeatureState | None = None,
) -> Iterator[FloatArray]:
    """Feature rows (items, d) float32 of each moment, in the order given.

    Parameters
    ----------
    moments : sequence of Moment
        Sorted by ``read_offset``.
    state : FeatureState, optional
        Folded up to at most the first moment's offset, and of the readers' layout; fresh by default. It is advanced.

    Raises
    ------
    FeatureError
        If moments are not sorted, or one lies beyond the end of the log.
    """
    state = state or FeatureState(readers.layout)
    batches = ahead(iter(log.read(state.offset)))
    pending, current = None, -1
    for done, moment in enumerate(moments):
        if moment.read_offset < state.offset:
            raise FeatureError(f"A moment at offset {moment.read_offset} comes after {state.offset}.", "Sort them.")
        while state.offset < moment.read_offset:
            if pending is None or pending.end == state.offset:
                batch = next(batches, None)
                if batch is None:
                    raise FeatureError(f"Offset {moment.read_offset} lies beyond the log's end, {state.offset}.")
                pending = state.prepare(batch)
            state.advance(pending, min(pending.end, moment.read_offset))
        chosen = readers.at(moment.read_offset)
        rows = state.take_changed() if chosen == current else state.described()
        current = chosen
        yield _read(state, readers.readers[chosen], rows, moment)
        if done % 1024 == 0:
            progress(done, len(moments))
    progress(len(moments), len(moments))


def _read(state: FeatureState, reader: Reader, changed: RowArray, moment: Moment) -> FloatArray:
    reader.catch_up(state, changed)
    user = state.users.find(moment.user_id)
    if not state.arrays.users.personalised[user]:
        user = 0
    items = state.items.find_all(moment.item_ids)
    return reader.rows(state, user, items, moment.now_ms, moment.context)


def moments_of(history: History, slates: Slates, keep: BoolArray | None = None) -> list[Moment]:
    """A moment for each slate; with ``keep``, only of the impressions it marks, and of slates that have one."""
    events, moments = history.events, []
    kept = np.arange(len(slates)) if keep is None else np.flatnonzero(keep)
    starts = np.flatnonzero(np.diff(slates.slate[kept], prepend=-1))
    for rows in np.split(kept, starts[1:]) if len(kept) else []:
        first = int(slates.event[rows[0]])
        page = history.served.get(history.requests[events.request[first]])
        moments.append(
            Moment(
                read_offset=int(slates.read_offset[rows[0]]),
                now_ms=int(slates.now_ms[rows[0]]),
                user_id=history.users[events.user[first]],
                item_ids=[history.items[code] for code in events.item[slates.event[rows]].tolist()],
                context=page.context if page else context_of(history, first),
            )
        )
    return moments


def replay(
    log: EventLog,
    history: History,
    slates: Slates,
    readers: Readers,
    keep: BoolArray | None = None,
    progress: Progress = quiet,
    state: FeatureState | None = None,
) -> FloatArray:
    """The training table's features (n, d) float32: a row for each impression of ``slates`` that ``keep`` marks.

    ``context.position`` is the impression's own, the rest of the row what was known at the slate's moment. ``state``
    is as in ``read_moments``.
    """
    moments = moments_of(history, slates, keep)
    names = readers.readers[0].feature_set.columns
    table = np.empty((int(keep.sum()) if keep is not None else len(slates), len(names)), np.float32)
    start = 0
    for rows in read_moments(log, readers, moments, progress, state):
        table[start : start + len(rows)] = rows
        start += len(rows)
    shown = slates.event if keep is None else slates.event[keep]
    for j, column in enumerate(names):
        if isinstance(column, InContext) and column.source == CONTEXT_NUMBERS[2]:
            table[:, j] = history.events.position[shown]
    return table
