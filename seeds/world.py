"""The simulated world of live commerce: it writes a log, answers a page, and knows what it would have answered.

The world is immutable: nothing a ranker does changes what people like, only what they see of it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from features import outcomes
from features.errors import RequestError
from features.records import Event
from features.types import DoubleArray, IntArray, RowArray
from seeds import constants, history, respond, schedule, words
from seeds.cast import Cast
from seeds.constants import Size
from seeds.truth import EXPECTED, expect

__all__ = ["Size", "Visits", "World"]


LATEST_MS = 4_102_444_800_000
"""2100: no world begins later."""


class Visits(NamedTuple):
    """Pages that people open, by time, ties by person; n of each."""

    user_id: list[str]
    time_ms: IntArray
    surface: list[str]
    device: list[str]


class World:
    """A world of a seed.

    Parameters
    ----------
    cast : Cast
        Use ``World.create``.
    """

    def __init__(self, cast: Cast) -> None:
        self.cast = cast

    @classmethod
    def create(cls, seed: int, size: Size, start_ms: int = constants.START_MS) -> "World":
        """A world of ``size.days`` days from ``start_ms``, a midnight in Shanghai; the third day is the campaign's.

        Raises
        ------
        RequestError
            If the seed is not of 0 to 2^32 - 1, or the start is no midnight or beyond any log.
        """
        if not 0 <= seed < 1 << 32:
            raise RequestError(f"No world has the seed {seed}.", "Seeds are 0 to 4294967295.")
        if not 0 < start_ms < LATEST_MS or (start_ms + constants.UTC_OFFSET_MS) % constants.DAY_MS:
            raise RequestError(f"No world begins at {start_ms} ms.", "It begins at a midnight in China, before 2100.")
        return cls(Cast.draw(seed, size, start_ms))

    @property
    def start_ms(self) -> int:
        """When the first day begins."""
        return self.cast.start_ms

    @property
    def end_ms(self) -> int:
        """When the last day ends."""
        return self.cast.end_ms

    def catalog(self) -> pa.Table:
        """User, product and video records (``UNPLACED``), received a second before the start."""
        return schedule.catalog(self.cast)

    def room_records(self, since_ms: int, until_ms: int) -> pa.Table:
        """What catalog and rooms send at since_ms <= received_ms < until_ms (``UNPLACED``), sorted.

        Items of rooms, then their start, a pulse a minute, pins and the end; videos and products that appear; price
        and stock changes.
        """
        return schedule.room_records(self.cast, since_ms, until_ms)

    def log(
        self, until_ms: int | None = None, progress: history.Progress = lambda done, of: None
    ) -> Iterator[pa.Table]:
        """A log from the start to ``until_ms`` (default: the end), together sorted by received_ms, the catalog first.

        Every page is recorded as ``served``, its ``read_offset`` right where the first table is placed at offset 0.
        Half of the pages are even draws, half a softmax of popularity and a little taste; ``propensity`` is left at 1
        as it is not known. The page of a visit is answered as ``respond`` would, with its time as ``visit``. What is
        received after the end is not in the log.

        Parameters
        ----------
        progress : callable
            Told the stretches of six hours done and in all.
        """
        last = self.cast.end_ms if until_ms is None else min(until_ms, self.cast.end_ms)
        return history.log(self.cast, last, progress)

    def visits(self, since_ms: int, until_ms: int) -> Visits:
        """Who opens a page at since_ms <= time < until_ms, sorted; none after the last day."""
        found = schedule.visits_between(self.cast, since_ms, until_ms)
        return Visits(
            [self.cast.user_ids[user] for user in found.user.tolist()],
            found.time_ms,
            [words.SURFACES[code] for code in found.surface.tolist()],
            [words.DEVICES[code] for code in self.cast.people.device[found.user].tolist()],
        )

    def respond(
        self,
        user_id: str,
        item_ids: Sequence[str],
        now_ms: int,
        request_id: str = "",
        visit: int | None = None,
        surface: str = "feed",
        seen: Sequence[str] = (),
    ) -> list[tuple[int, Event]]:
        """What a person does with a page: (received_ms, event), sorted by received_ms.

        An impression for every slot; for a slot looked at, a watch (total ms) and what else was done; refunds and
        complaints hours later. One (seed, user, item, visit) has one luck, so it answers the same on any page in the
        same slot at the same time and surface as long as what was seen before tires equally; delays and times of
        events depend on the slots above. What is not there at ``now_ms`` (a room that is over, a video not yet
        published) gets an impression alone.

        Parameters
        ----------
        visit : int, optional
            Names the luck; by default ``now_ms``.
        seen : sequence of str
            What the person saw earlier in the session (fatigue).

        Raises
        ------
        RequestError
            If the person, an item or the surface is not of this world.
        """
        user, place, page = self._user(user_id), self._surface(surface), self._items(item_ids)
        both = np.concatenate([self._items(seen), page])
        out = np.empty((len(page) * respond.MOST_EVENTS, respond.FIELDS), np.int64)
        luck = now_ms if visit is None else visit
        end = respond.answer(self.cast.truth, user, luck, now_ms, place, both, len(seen), out, 0, 0)
        prefix = request_id or f"{user_id}-{luck}"
        return respond.events_of(self.cast, user, surface, request_id, prefix, out[:end])

    def expected(
        self, user_id: str, item_ids: Sequence[str], now_ms: int, surface: str = "feed"
    ) -> dict[str, DoubleArray]:
        """The true probability of each action by item, (n,) float64 each, at a slot that is looked at, nobody tired.

        Exact: ``complete`` and ``long_view`` are tails of the lognormal watch, clicked and not. ``refund`` and
        ``complaint`` are not given (0): they belong to the product bought.

        Raises
        ------
        RequestError
            If the person, an item or the surface is not of this world.
        """
        items = self._items(item_ids)
        out = np.empty((len(items), len(EXPECTED)))
        expect(self.cast.truth, self._user(user_id), items, now_ms, self._surface(surface), out)
        return {name: out[:, k] for k, name in enumerate(EXPECTED)}

    def base_rates(self, heads: Sequence[str]) -> DoubleArray:
        """The share of impressions that each head follows (heads, 4), by code of kind, in a log of any world."""
        rates = np.zeros((len(heads), 1 + max(outcomes.KIND_CODES.values())))
        for kind, table in constants.RATES.items():
            rates[:, outcomes.KIND_CODES[kind]] = [table.get(head, 0.0) for head in heads]
        return rates

    def alive(self, now_ms: int) -> list[str]:
        """Ids of the rooms that are on at a time, by start."""
        goods = self.cast.goods
        on = (goods.kind == outcomes.ROOM) & (goods.from_ms <= now_ms) & (now_ms < goods.until_ms)
        return [self.cast.item_ids[row] for row in np.flatnonzero(on).tolist()]

    def _user(self, user_id: str) -> int:
        if user_id not in self.cast.user_rows:
            raise RequestError(f"No person {user_id!r} lives in this world.", "Take ids from catalog() or visits().")
        return self.cast.user_rows[user_id]

    def _items(self, item_ids: Sequence[str]) -> RowArray:
        rows = self.cast.item_rows
        for item_id in item_ids:
            if item_id not in rows:
                raise RequestError(
                    f"No item {item_id!r} is of this world.", "Take ids from catalog() or room_records()."
                )
        return np.array([rows[item_id] for item_id in item_ids], np.int32)

    def _surface(self, surface: str) -> int:
        if surface not in words.SURFACES:
            raise RequestError(f"Unknown surface {surface!r}.", f"Surfaces are {', '.join(words.SURFACES)}.")
        return words.SURFACES.index(surface)
