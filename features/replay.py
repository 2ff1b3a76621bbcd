"""Replay: fold a log again and read, at each slate's moment, what was known then.

The state that a slate's rows are read from holds the records before ``read_offset`` and no other, whatever the log
says later: what a model trains on is what serving would have seen.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from features.columns import CONTEXT_NUMBERS, InContext
from features.errors import FeatureError
from features.fold.along import fold_and_read
from features.fold.arrays import Pages
from features.fold.stretch import room_for
from features.history import History, Slates
from features.layout import Layout
from features.logs.log import EventLog, ahead, to_batch
from features.pages import Asked, Known, Moment
from features.reader import Reader
from features.state import NO_ROWS, FeatureState, unpacked_of
from features.types import BoolArray, FloatArray, IntArray

AT_A_TIME = 32
"""Moments that ``read_moments`` reads before it hands out the first of them."""

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


def quiet(done: int, of: int) -> None:
    """Report nothing."""


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

    def before(self, offset: int, pages: IntArray) -> int:
        """How many pages, by their offsets (m,) in order from ``offset`` on, the reader of an offset serves."""
        later = self.since[self.at(offset) + 1 :]
        return int(np.searchsorted(pages, later[0])) if later else len(pages)


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
    course = _Course(log, readers, state)
    for done in range(0, len(moments), AT_A_TIME):
        asked = Asked.of_moments(moments[done : done + AT_A_TIME])
        table = np.empty((len(asked.pages.item), len(readers.readers[0].feature_set.columns)), np.float32)
        for _ in course.read(asked, table):
            """All of them are read before the first is handed out."""
        progress(done, len(moments))
        yield from np.split(table, asked.pages.first[1:-1])
    progress(len(moments), len(moments))


class _Course:
    """A log on its way through a state, which is read meanwhile; what needs no state is made in a second thread."""

    def __init__(self, log: EventLog, readers: Readers, state: FeatureState | None) -> None:
        self._state = state or FeatureState(readers.layout)
        self._readers = readers
        self._batches = ahead(map(unpacked_of, log.read(self._state.offset)))
        self._pending = self._state.prepare(unpacked_of(to_batch([])))
        self._current, self._names, self._wanted = -1, 0, False
        self._stale = np.zeros(0, np.bool_)

    def read(self, asked: Asked, out: FloatArray) -> Iterator[int]:
        """Write the rows (n, d) of pages that come after those read before; how many are done, now and then."""
        state, codes = self._state, asked.pages
        # Nobody and nothing has a row yet.
        pages = codes._replace(user=np.zeros_like(codes.user), item=np.zeros_like(codes.item))
        users, items = Known(state.users, asked.users), Known(state.items, asked.items)
        steps = np.diff(codes.read_offset, prepend=state.offset)
        if (steps < 0).any():
            late = int(np.argmax(steps < 0))
            what = f"A moment at offset {codes.read_offset[late]} comes after {codes.read_offset[late] - steps[late]}."
            raise FeatureError(what, "Sort them.")
        done = found = 0
        while done < len(asked):
            self._fold_to(int(codes.read_offset[done]))
            due, pending = codes.read_offset[done:], self._pending
            if done == found:
                # Who and what is asked for has a row once the batch has that names it.
                found += int(np.searchsorted(due, pending.end, "right"))
                rows = slice(codes.first[done], codes.first[found])
                pages.user[done:found] = users.find(codes.user[done:found])
                pages.item[rows] = items.find(codes.item[rows])
            # Up to there the kernel needs nobody: what it cannot fold, and the next reader's pages, come later.
            plain = int(np.searchsorted(due, pending.plain_end, "right"))
            upto = done + min(plain, self._readers.before(state.offset, due))
            done = self._read(pages, asked.names, (done, upto), out)
            yield done

    def _fold_to(self, offset: int) -> None:
        state = self._state
        while state.offset < offset:
            if self._pending.end == state.offset:
                unpacked = next(self._batches, None)
                if unpacked is None:
                    raise FeatureError(f"Offset {offset} lies beyond the log's end, {state.offset}.")
                self._pending = state.prepare(unpacked)
            state.advance(self._pending, min(self._pending.end, offset))

    def _read(self, pages: Pages, names: Sequence[str], some: tuple[int, int], out: FloatArray) -> int:
        """Read some pages with one reader, and fold to the last of them; the first that was not read.

        The kernel folds alone so far. It stops where a vector is wanted that is not as the catalog has it by now.
        """
        state, pending = self._state, self._pending
        reader = self._caught_up()
        done, page = fold_and_read(
            state.native,
            state.native_slots,
            pending.steps,
            state.ignored,
            state.spilt,
            reader.native,
            reader.words(state, names),
            pages,
            (pending.start, pending.done),
            some,
            self._stale,
            out,
        )
        state.advanced(pending, done)
        self._wanted = page < some[1]
        return page

    def _caught_up(self) -> Reader:
        """The reader of the state's offset. It takes in names as they come, and items together once one is wanted."""
        state, chosen = self._state, self._readers.at(self._state.offset)
        reader, changed = self._readers.readers[chosen], state.take_changed()
        if len(self._stale) < len(state.items):
            grown = np.zeros(room_for(len(state.items)), np.bool_)
            grown[: len(self._stale)] = self._stale
            self._stale = grown
        self._stale[changed] = True
        names = sum(map(len, (*state.columns.values(), *state.user_columns.values())))
        if chosen != self._current:
            reader.catch_up(state, state.described())
            self._stale[:] = False
        elif self._wanted:
            reader.catch_up(state, np.flatnonzero(self._stale).astype(np.int32))
            self._stale[:] = False
        elif names > self._names:
            reader.catch_up(state, NO_ROWS)
        self._current, self._names = chosen, names
        return reader


def moments_of(history: History, slates: Slates, keep: BoolArray | None = None) -> list[Moment]:
    """A moment for each slate; with ``keep``, only of the impressions it marks, and of slates that have one."""
    return [*Asked.of_slates(history, slates, keep).moments()]


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
    asked, names = Asked.of_slates(history, slates, keep), readers.readers[0].feature_set.columns
    table = np.empty((len(asked.pages.item), len(names)), np.float32)
    reported = 0
    for done in _Course(log, readers, state).read(asked, table):
        if done >= reported:
            progress(done, len(asked))
            reported = done + len(asked) // 256 + 1
    progress(len(asked), len(asked))
    shown = slates.event if keep is None else slates.event[keep]
    for j, column in enumerate(names):
        if isinstance(column, InContext) and column.source == CONTEXT_NUMBERS[2]:
            table[:, j] = history.events.position[shown]
    return table
