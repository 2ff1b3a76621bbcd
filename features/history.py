"""A log read for training: its events as columns, its catalog, and the slates in which impressions were shown."""

from dataclasses import dataclass, fields
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.layout import ACTION_CODE
from features.logs.log import SCHEMA, EventLog
from features.records import Context, Item, Served, User, decode
from features.types import BoolArray, ByteArray, IntArray, RowArray

EVENT_SCHEMA = pa.schema([field for field in SCHEMA if field.name not in ("payload", "type", "event_id")])
SESSION_GAP_MS = 30 * 60_000
IMPRESSION = ACTION_CODE["impression"]


@dataclass(frozen=True, slots=True)
class Events:
    """All events of a stretch of log, in its order; (n,) each. Ids are codes into the names of ``History``, 0 none."""

    offset: IntArray
    received_ms: IntArray
    ts_ms: IntArray
    action: ByteArray
    user: RowArray
    item: RowArray
    via: RowArray
    request: RowArray
    value: IntArray
    position: RowArray
    surface: RowArray
    device: RowArray
    city_tier: RowArray

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, where: IntArray) -> "Events":
        """The events at positions, in their order."""
        return Events(**{field.name: getattr(self, field.name)[where] for field in fields(self)})


Row = TypeVar("Row", Item, User)


class Version(NamedTuple, Generic[Row]):
    """A catalog row and when it was said: the next one of its name replaces it."""

    offset: int
    received_ms: int
    row: Row


@dataclass(frozen=True, slots=True)
class History:
    """A log up to a moment.

    ``users``, ``items``, ``requests`` and ``words`` (surfaces, devices, city tiers) give the names of codes, the
    first of each "". ``catalog`` and ``people`` hold the last row of each item and user received in the stretch,
    ``catalog_log`` and ``people_log`` all of them in the order of the log.
    """

    events: Events
    users: tuple[str, ...]
    items: tuple[str, ...]
    requests: tuple[str, ...]
    words: tuple[str, ...]
    catalog: dict[str, Item]
    people: dict[str, User]
    served: dict[str, Served]
    end: int
    last_ms: int
    catalog_log: tuple[Version[Item], ...]
    people_log: tuple[Version[User], ...]

    def catalog_before(self, before_ms: int) -> dict[str, Item]:
        """The last row of each item received before a time, in order of first appearance."""
        return {version.row.item_id: version.row for version in self.catalog_log if version.received_ms < before_ms}

    def people_before(self, before_ms: int) -> dict[str, User]:
        """The last row of each user received before a time, in order of first appearance."""
        return {version.row.user_id: version.row for version in self.people_log if version.received_ms < before_ms}

    def offset_at(self, at_ms: int) -> int:
        """The offset after the last event or row that was received before a time."""
        items = [version.offset for version in self.catalog_log if version.received_ms < at_ms]
        people = [version.offset for version in self.people_log if version.received_ms < at_ms]
        events = int(np.searchsorted(self.events.received_ms, at_ms))
        return 1 + max(
            [*items[-1:], *people[-1:], *self.events.offset[max(events - 1, 0) : events].tolist()], default=-1
        )


@dataclass(frozen=True, slots=True)
class Slates:
    """Impressions by slate; (n,) each, sorted by (read_offset, slate, offset of the impression).

    ``event`` is the position of the impression in ``History.events``; ``slate`` numbers slates from 0 in that order.
    """

    event: IntArray
    slate: IntArray
    read_offset: IntArray
    now_ms: IntArray

    def __len__(self) -> int:
        return len(self.event)

    def take(self, keep: BoolArray) -> "Slates":
        """The impressions that ``keep`` (n,) marks, in their order; slates keep their numbers."""
        return Slates(self.event[keep], self.slate[keep], self.read_offset[keep], self.now_ms[keep])


def read_history(log: EventLog, until_ms: int | None = None, first: int = 0) -> History:
    """Read a log from an offset on, by default all of it, up to what was received before ``until_ms``."""
    batches: list[pa.RecordBatch] = []
    catalog: list[Version[Item]] = []
    people: list[Version[User]] = []
    served: dict[str, Served] = {}
    end, last_ms = 0, 0
    for whole in log.read(first):
        batch = whole if until_ms is None else whole.filter(pc.less(whole["received_ms"], until_ms))
        if not len(batch):
            break
        end, last_ms = batch["offset"][-1].as_py() + 1, batch["received_ms"][-1].as_py()
        is_event = pc.equal(batch["type"], "event")
        other = batch.filter(pc.invert(is_event)).select(["offset", "received_ms", "payload"])
        for offset, received_ms, text in zip(*(column.to_pylist() for column in other.columns), strict=True):
            match decode(text):
                case Item() as item:
                    catalog.append(Version(offset, received_ms, item))
                case User() as user:
                    people.append(Version(offset, received_ms, user))
                case Served() as page:
                    served[page.request_id] = page
        batches.append(batch.filter(is_event).select(EVENT_SCHEMA.names))
    events, names = _columns(batches)
    last_rows = {version.row.item_id: version.row for version in catalog}
    last_people = {version.row.user_id: version.row for version in people}
    return History(events, *names, last_rows, last_people, served, end, last_ms, tuple(catalog), tuple(people))


Names = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def _columns(batches: list[pa.RecordBatch]) -> tuple[Events, Names]:
    table = pa.Table.from_batches(batches, EVENT_SCHEMA)
    action = pc.index_in(table["action"], value_set=pa.array(list(ACTION_CODE))).to_numpy().astype(np.uint8)
    user, users = _encoded(table, ["user_id"])
    items, item_names = _encoded(table, ["item_id", "via_item_id"])
    request, requests = _encoded(table, ["request_id"])
    words, word_names = _encoded(table, ["surface", "device", "city_tier"])
    numbers = {name: table[name].to_numpy() for name in ("offset", "received_ms", "ts_ms", "value", "position")}
    events = Events(
        action=action, user=user[0], item=items[0], via=items[1], request=request[0],
        surface=words[0], device=words[1], city_tier=words[2], **numbers,
    )  # fmt: skip
    return events, (users, item_names, requests, word_names)


def _encoded(table: pa.Table, columns: list[str]) -> tuple[list[RowArray], tuple[str, ...]]:
    """Columns of names as codes into one list of names, "" the first."""
    chunks = [pa.array([""]), *(chunk for name in columns for chunk in table[name].chunks)]
    whole = pa.chunked_array(chunks).combine_chunks().dictionary_encode()
    codes = whole.indices.to_numpy()[1:].astype(np.int32)
    return np.split(codes, len(columns)), tuple(whole.dictionary.to_pylist())


def slates_of(history: History) -> Slates:
    """Put every impression in its slate, and find the slate's moment.

    A page that was served is a slate whose moment is in its ``served`` record; impressions of a request that was not
    recorded form a slate whose moment is its first impression; without request ids a slate is one person's session
    (gaps of at most 30 minutes), and its moment the session's first impression.
    """
    events = history.events
    shown = np.flatnonzero(events.action == IMPRESSION)
    part = events.take(shown)
    by_user = np.lexsort((part.offset, part.ts_ms, part.request, part.user))
    user, request, ts = part.user[by_user], part.request[by_user], part.ts_ms[by_user]
    starts = np.ones(len(by_user), np.bool_)
    late = (np.diff(ts) > SESSION_GAP_MS) & (request[1:] == 0)
    starts[1:] = (np.diff(user) != 0) | (np.diff(request) != 0) | late
    slate = np.cumsum(starts) - 1
    # Offsets follow reception, times the clock: a slate's moment takes the earliest of both.
    read_offset = np.minimum.reduceat(part.offset[by_user], np.flatnonzero(starts)) if len(slate) else slate
    now_ms = ts[starts]
    for number, code in enumerate(request[starts]):
        page = history.served.get(history.requests[code]) if code else None
        if page is not None:
            read_offset[number], now_ms[number] = page.read_offset, page.ts_ms
    order = np.lexsort((part.offset[by_user], slate, read_offset[slate]))
    ordered = slate[order]
    numbers = np.cumsum(np.diff(ordered, prepend=ordered[:1]) != 0)
    return Slates(shown[by_user][order], numbers, read_offset[ordered], now_ms[ordered])


def context_of(history: History, event: int) -> Context:
    """The context of an event."""
    events, words = history.events, history.words
    return Context(
        surface=words[events.surface[event]],
        device=words[events.device[event]],
        city_tier=words[events.city_tier[event]],
        position=int(events.position[event]),
    )
