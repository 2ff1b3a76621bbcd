"""The feature state: the fold of a log, up to an offset. All that can change a feed is here, and here alone.

One writer folds; whoever reads holds the writer's mutex meanwhile (see ``ranking.engine``).
"""

from collections.abc import Set
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from features.errors import LogError
from features.fold.arrays import RING, USER
from features.fold.counters import ROOM_END, ROOM_START, fold
from features.fold.native import native_arrays, native_slots
from features.fold.pending import Pending, Unpacked, prepare, unpack
from features.fold.rings import POOL, push
from features.fold.storage import arrays_of, forms, slot_arrays
from features.fold.stretch import Stretch, room_for
from features.ids import Ids
from features.layout import ENTITIES, ITEM_NUMBERS, Layout
from features.logs.log import SCHEMA, Stored, to_batch
from features.outcomes import KIND_NAMES, ROOM_TYPE_CODES, SHOP_CODES
from features.payloads import Payloads
from features.records import Action, Control, Erase, Event, Item, Record, User, decode
from features.types import AnyArray, RowArray
from features.vocabulary import Vocabulary

HISTORY_STRENGTH = 1.0
NO_ROWS = np.zeros(0, np.int32)


class Hidden(NamedTuple):
    """What a person does not want to see again: rows of items, authors and categories."""

    items: frozenset[int] = frozenset()
    authors: frozenset[int] = frozenset()
    categories: frozenset[int] = frozenset()


class FeatureState:
    """Counters, catalog and rings by row, and the vocabularies that give the rows.

    Parameters
    ----------
    layout : Layout
        What to keep.

    Attributes
    ----------
    offset : int
        Records before it are folded.
    received_ms : int
        When the last folded record was received.
    ignored : (2,) int64
        Late events and repeated watches.
    spilt : (1,) int64
        Impressions of long sessions that went to the pool that all share.
    changed : list of int
        Item rows whose catalog row changed, or whose room started or ended in a ``fold``, since last taken.
    edition : int
        Grows with every record that may add a name or change the catalog.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.offset = 0
        self.received_ms = 0
        self.ignored = np.zeros(2, np.int64)
        self.spilt = np.zeros(1, np.int64)
        self.users = Ids()
        self.items = Ids()
        self.columns = {name: Vocabulary() for name in layout.item_categories}
        self.columns |= {"kind": Vocabulary(KIND_NAMES[1:]), "shop": Vocabulary([*SHOP_CODES][1:])}
        self.columns["room_type"] = Vocabulary([*ROOM_TYPE_CODES][1:])
        self.user_columns = {name: Vocabulary() for name in layout.user_categories}
        self.payloads = Payloads()
        self.hidden: dict[int, Hidden] = {}
        self.changed: list[int] = []
        self.edition = 0
        self._names = 0
        self.native_slots = native_slots(slot_arrays(layout))
        self._forms = forms(layout)
        self._stretches = [Stretch[AnyArray](*form[1:]) for form in self._forms]
        self._rooms = [0] * (len(ENTITIES) + 1)
        self._reserve()

    def item(self, row: int) -> Item | None:
        """The catalog's row of an item, None where the catalog has not described it."""
        text = self.payloads[row]
        record = decode(text) if text else None
        return record if isinstance(record, Item) else None

    def take_changed(self) -> RowArray:
        """The rows of ``changed``, each once and in order, which is then empty."""
        rows = np.unique(np.array(self.changed, np.int32)) if self.changed else NO_ROWS
        self.changed.clear()
        return rows

    def described(self) -> RowArray:
        """The rows of all items that the catalog has described."""
        return np.flatnonzero(self.arrays.items.categories[: len(self.items), 4]).astype(np.int32)

    def fold(self, batch: pa.RecordBatch) -> Pending:
        """Fold a batch of ``features.logs.log.SCHEMA`` that continues the state; returns it, its ids as rows.

        Raises
        ------
        LogError
            If the batch does not begin at ``offset``.
        """
        pending = self.prepare(unpacked_of(batch))
        self.advance(pending, pending.end)
        turned = np.isin(pending.steps.action, (ROOM_START, ROOM_END))
        self.changed.extend(pending.steps.item[turned].tolist())
        return pending

    def prepare(self, unpacked: Unpacked) -> Pending:
        """Give a batch's ids their rows, in the order of the log, without folding anything."""
        for start in unpacked.batch["offset"][:1].to_pylist():
            if start != self.offset:
                raise LogError(
                    f"The state ends at offset {self.offset}, the batch begins at {start}.", "Fold in order."
                )
        pending = prepare(unpacked, self.offset, self.users, self.items)
        # Each of its records may be an impression that is spilt.
        self._reserve(more=len(unpacked.batch))
        return pending

    def advance(self, pending: Pending, stop: int) -> None:
        """Fold a prepared batch up to, not including, the offset ``stop``."""
        until = stop - pending.start
        while pending.done < until:
            slow = pending.slow[pending.slow_done] if pending.slow_done < len(pending.slow) else until
            if slow > pending.done:
                upto = min(slow, until)
                self._advance(pending, upto)
                continue
            user, item = int(pending.steps.user[slow]), int(pending.steps.item[slow])
            payload = pending.payloads[pending.slow_done].as_py()
            if payload:
                self._apply(decode(payload), payload, user, item)
            else:
                self._advance(pending, slow + 1)
                self._hide(user, items={item})
            pending.done, pending.slow_done = slow + 1, pending.slow_done + 1
        self.advanced(pending, pending.done)

    def advanced(self, pending: Pending, done: int) -> None:
        """Note how many records of a prepared batch a kernel has folded."""
        pending.done = done
        self.offset = pending.start + done
        self.received_ms = int(pending.steps.received_ms[done - 1]) if done else self.received_ms

    def _advance(self, pending: Pending, upto: int) -> None:
        fold(self.native, self.native_slots, pending.steps, pending.done, upto, self.ignored, self.spilt)
        pending.done = upto

    def _apply(self, record: Record, payload: str, user: int, item: int) -> None:
        self.edition += 1
        match record:
            case Item():
                self._apply_item(item, record)
                self.payloads[item] = payload.encode()
            case User():
                self._apply_user(user, record)
            case Control():
                self._apply_control(user, record)
            case Erase():
                self._forget(user)
                self.arrays.users.categories[user] = 0
                self.arrays.users.numbers[user] = np.nan
                self.arrays.users.times[user] = 0
                self.arrays.users.personalised[user] = True
                self.hidden.pop(user, None)
            case _:
                """No other record changes anything by itself."""

    def _apply_item(self, row: int, record: Item) -> None:
        built_in = {
            "author": record.author_id,
            "merchant": record.merchant_id,
            "brand": record.brand_id,
            "category": record.category,
            "kind": str(record.kind),
            "shop": record.shop,
            "room_type": record.room_type,
        }
        codes = [
            vocabulary.add(built_in[name] if name in built_in else _text(record.attributes.get(name)))
            for name, vocabulary in self.columns.items()
        ]
        if self._names != (names := sum(map(len, self.columns.values()))):
            self._names = names
            self._reserve()
        items = self.arrays.items
        items.categories[row] = codes
        numbers = items.numbers[row]
        numbers[0], numbers[1], numbers[2] = record.price, record.stock, record.duration_ms
        for column, name in enumerate(self.layout.item_numbers[len(ITEM_NUMBERS) :], len(ITEM_NUMBERS)):
            numbers[column] = _number(record.attributes.get(name))
        # Below 0: since when an item is known that does not tell its time. A later row must not make it new again.
        first_ms = abs(int(items.times[row, 0])) if self.payloads[row] else record.ts_ms
        items.times[row, 0] = record.live_from_ms or -first_ms
        items.listed[row] = record.listed
        self.changed.append(row)

    def _apply_user(self, row: int, record: User) -> None:
        users = self.arrays.users
        built_in = {"age_band": record.age_band, "gender": record.gender, "city_tier": record.city_tier}
        users.categories[row] = [
            vocabulary.add(built_in[name] if name in built_in else _text(record.attributes.get(name)))
            for name, vocabulary in self.user_columns.items()
        ]
        users.numbers[row] = [_number(record.attributes.get(name)) for name in self.layout.user_numbers]
        users.times[row, 0] = record.registered_ms
        rings = self.arrays.rings
        # A row sent again must not strengthen the same history twice.
        if not rings.item[row].any():
            for item_id in record.history[-RING:]:
                item = self.items.find(item_id)
                push(rings.item, rings.ms, rings.strength, rings.cursor, row, item, record.ts_ms, HISTORY_STRENGTH)

    def _apply_control(self, user: int, record: Control) -> None:
        match record.command:
            case "personalisation_on" | "personalisation_off":
                self.arrays.users.personalised[user] = record.command == "personalisation_on"
            case "hide_item":
                self._hide(user, items={self.items.find(record.target)})
            case "hide_author":
                self._hide(user, authors={self.columns["author"].add(record.target)})
            case "hide_category":
                self._hide(user, categories={self.columns["category"].add(record.target)})
            case "clear_history":
                self._forget(user)
        self._reserve()

    def _hide(
        self,
        user: int,
        items: Set[int] = frozenset(),
        authors: Set[int] = frozenset(),
        categories: Set[int] = frozenset(),
    ) -> None:
        before = self.hidden.get(user, Hidden())
        self.hidden[user] = Hidden(before.items | items, before.authors | authors, before.categories | categories)

    def _forget(self, user: int) -> None:
        rings, sessions = self.arrays.rings, self.arrays.sessions
        # What the pool holds of the person is nobody's from here on.
        for array in (*self.arrays.tables[USER], *rings, sessions.at, sessions.newest):
            array[user] = 0
        for pair in self.arrays.pairs:
            for array in pair:
                array[user] = 0

    def rename_user(self, name: str, after: str) -> None:
        """Know a person's row by another name; all that is in it stays."""
        self.users = Ids(after if one == name else one for one in self.users.names[1:])

    def adopt(self, arrays: list[AnyArray]) -> None:
        """Take over leaves of the names that are there: each is let go when it is copied, the list is empty then."""
        self._reserve()
        for stretch, array in zip(reversed(self._stretches), reversed(arrays), strict=True):
            stretch.array[: len(array)] = array
            arrays.pop()

    def rows(self, more: int = 0) -> list[int]:
        """How many rows of each entity are in use, and of the pool once so many more are spilt."""
        named = [len(self.users), len(self.items), *(len(self.columns[name]) for name in ENTITIES[2:])]
        return [*named, min(int(self.spilt[0]) + more, POOL)]

    def _reserve(self, more: int = 0) -> None:
        """Room for all names that are there, and some more where there was none; nothing is copied."""
        used = self.rows(more)
        if any(rows > room for rows, room in zip(used, self._rooms, strict=True)):
            self._rooms = [
                room if rows <= room else room_for(rows) for rows, room in zip(used, self._rooms, strict=True)
            ]
            self.arrays = arrays_of(
                stretch.grow(self._rooms[form.entity])
                for form, stretch in zip(self._forms, self._stretches, strict=True)
            )
            self.native = native_arrays(self.arrays)


def unpacked_of(batch: pa.RecordBatch) -> Unpacked:
    """What of a batch needs no state; refuses one that is not of ``features.logs.log.SCHEMA``."""
    if not batch.schema.equals(SCHEMA):
        raise LogError("A batch is not of the log's schema.", "Build it with features.logs.log.")
    return unpack(batch)


def _text(value: str | float | None) -> str:
    return value if isinstance(value, str) else ""


def _number(value: str | float | None) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def rehearse(layout: Layout) -> None:
    """Fold an event into a state of nobody: the kernel is compiled, or read from its cache, before anybody waits."""
    FeatureState(layout).fold(to_batch([Stored(0, 0, Event("e", 0, "i", Action.CLICK, "u"))]))
