"""Pages to read while a log is folded: who, which items, where and when, as codes into lists of names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.fold.arrays import Pages
from features.history import History, Slates
from features.ids import Ids
from features.records import Context
from features.types import BoolArray, RowArray


class Moment(NamedTuple):
    """A page to read: who, which items (ids), where and when."""

    read_offset: int
    now_ms: int
    user_id: str
    item_ids: Sequence[str]
    context: Context


@dataclass(frozen=True, slots=True)
class Asked:
    """Pages in the order they are read, whose people, words and items are codes into names; the first word is ""."""

    pages: Pages
    users: Sequence[str]
    items: Sequence[str]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.pages.read_offset)

    @classmethod
    def of_slates(cls, history: History, slates: Slates, keep: BoolArray | None = None) -> "Asked":
        """A page for each slate; with ``keep``, only of the impressions it marks, and of slates that have one."""
        events = history.events
        kept = np.arange(len(slates)) if keep is None else np.flatnonzero(keep)
        starts = np.flatnonzero(np.diff(slates.slate[kept], prepend=-1))
        heads = kept[starts]
        shown = slates.event[heads]
        words = np.stack([events.surface[shown], events.device[shown], events.city_tier[shown]], axis=1)
        position = events.position[shown].astype(np.int32)
        names = {word: code for code, word in enumerate(history.words)}
        for page, code in enumerate(events.request[shown].tolist()) if history.served else ():
            served = history.served.get(history.requests[code])
            if served is not None:
                words[page], position[page] = _coded(served.context, names), served.context.position
        pages = Pages(
            read_offset=slates.read_offset[heads],
            now_ms=slates.now_ms[heads],
            user=events.user[shown],
            words=words,
            position=position,
            first=np.append(starts, len(kept)),
            item=events.item[slates.event[kept]],
        )
        return cls(pages, history.users, history.items, list(names))

    @classmethod
    def of_moments(cls, moments: Sequence[Moment]) -> "Asked":
        """A page for each moment."""
        names = {"": 0}
        lengths = [len(moment.item_ids) for moment in moments]
        pages = Pages(
            read_offset=np.array([moment.read_offset for moment in moments], np.int64),
            now_ms=np.array([moment.now_ms for moment in moments], np.int64),
            user=np.arange(len(moments), dtype=np.int32),
            words=np.array([_coded(moment.context, names) for moment in moments], np.int32).reshape(-1, 3),
            position=np.array([moment.context.position for moment in moments], np.int32),
            first=np.cumsum([0, *lengths]),
            item=np.arange(sum(lengths), dtype=np.int32),
        )
        items = [name for moment in moments for name in moment.item_ids]
        return cls(pages, [moment.user_id for moment in moments], items, list(names))

    def moments(self) -> Iterator[Moment]:
        """Each page by its names."""
        pages = self.pages
        columns = (*pages[:-1], pages.first[1:])
        for read_offset, now_ms, user, words, position, first, last in zip(
            *(column.tolist() for column in columns), strict=False
        ):
            surface, device, city_tier = (self.names[word] for word in words)
            item_ids = [self.items[code] for code in pages.item[first:last].tolist()]
            yield Moment(read_offset, now_ms, self.users[user], item_ids, Context(surface, device, city_tier, position))


def _coded(context: Context, names: dict[str, int]) -> tuple[int, int, int]:
    surface, device, city_tier = (
        names.setdefault(word, len(names)) for word in (context.surface, context.device, context.city_tier)
    )
    return surface, device, city_tier


class Known:
    """Rows by codes of names, as far as a state knows them: each name is looked for until it has a row.

    Parameters
    ----------
    ids : Ids
    names : sequence of str
    """

    def __init__(self, ids: Ids, names: Sequence[str]) -> None:
        self._ids, self._names = ids, names
        self._rows = np.zeros(len(names), np.int32)

    def find(self, codes: RowArray) -> RowArray:
        """The rows (n,) int32 of codes, 0 where one has none."""
        unknown = np.unique(codes[self._rows[codes] == 0])
        if len(unknown):
            self._rows[unknown] = self._ids.find_all([self._names[code] for code in unknown.tolist()])
        return self._rows[codes]
