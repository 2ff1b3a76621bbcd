"""The records of the log: what people and rooms did, what the catalog says, what was served.

A record is what a client sends; the log adds an ``offset`` and a ``received_ms``. All times are milliseconds since
1970 UTC. Money is in minor currency units. An empty string stands for "none".
"""

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

import msgspec

from features.errors import RecordError

FUTURE_MS = 5 * 60_000
"""A record may be stamped this much later than it was received; beyond it the sender's clock is wrong."""
LATE_MS = 7 * 86_400_000
"""An event older than this when received is refused, as its id may be forgotten; an import folds it into nothing."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
OptionalId = Annotated[str, msgspec.Meta(max_length=128)]
Text = Annotated[str, msgspec.Meta(max_length=512)]
NAME_LENGTH = 64
"""Characters of a name, at most."""
Name = Annotated[str, msgspec.Meta(max_length=NAME_LENGTH)]
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=1 << 46)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Action(StrEnum):
    """What an event says was done; ``complete`` and ``long_view`` are derived from ``watch`` by the fold."""

    IMPRESSION = "impression"
    CLICK = "click"
    WATCH = "watch"
    LIKE = "like"
    COMMENT = "comment"
    SHARE = "share"
    FOLLOW = "follow"
    GIFT = "gift"
    CART = "cart"
    ORDER = "order"
    REFUND = "refund"
    COMPLAINT = "complaint"
    HIDE = "hide"
    REPORT = "report"
    ROOM_START = "room_start"
    ROOM_PULSE = "room_pulse"
    ROOM_END = "room_end"
    ROOM_PIN = "room_pin"


class Kind(StrEnum):
    """What an item is."""

    ROOM = "room"
    PRODUCT = "product"
    VIDEO = "video"


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where and on what a person was; ``position`` is the slot on the page, 0 the first, -1 unknown."""

    surface: Name = "feed"
    device: Name = ""
    city_tier: Name = ""
    position: Annotated[int, msgspec.Meta(ge=-1, le=1 << 20)] = -1


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="event"):
    """Something a person or a room did.

    ``item_id`` is what it was done to; ``via_item_id`` the room or video it happened in (for ``room_pin`` the room in
    which the product ``item_id`` is now being sold). ``value`` is milliseconds for ``watch``, minor units for
    ``gift``, ``order`` and ``refund``, viewers for ``room_pulse``. Room events have no ``user_id``.
    """

    event_id: Id
    ts_ms: TimeMs
    item_id: Id
    action: Action
    user_id: OptionalId = ""
    via_item_id: OptionalId = ""
    value: Count = 0
    request_id: OptionalId = ""
    context: Context = Context()


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="item"):
    """A catalog row, whole: a later one replaces it. A takedown is an item with ``listed`` false.

    ``live_from_ms`` is when a video was published or a product came on sale; 0 is unknown: it then counts as
    begun at the ``ts_ms`` of its first row, and its age is no feature. A room is alive by its events alone.
    ``products`` are the item ids in the cart of a room or under a video. ``stock`` -1 is unlimited. ``embedding`` is a
    given content vector. ``attributes`` hold what else is known: texts are categories, numbers are columns.
    """

    item_id: Id
    ts_ms: TimeMs
    kind: Kind
    title: Text = ""
    author_id: OptionalId = ""
    merchant_id: OptionalId = ""
    brand_id: OptionalId = ""
    category: Name = ""
    price: Count = 0
    stock: Annotated[int, msgspec.Meta(ge=-1, le=1 << 31)] = -1
    shop: Literal["", "own", "third_party"] = ""
    room_type: Literal["", "merchant", "kol", "celebrity"] = ""
    duration_ms: Count = 0
    live_from_ms: TimeMs = 0
    products: Annotated[tuple[Id, ...], msgspec.Meta(max_length=512)] = ()
    embedding: Annotated[tuple[float, ...], msgspec.Meta(max_length=1024)] = ()
    listed: bool = True
    attributes: dict[Name, Text | float] = msgspec.field(default_factory=dict)


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="user"):
    """A person's catalog row, whole.

    ``history`` are items the person is known to have liked or watched long before the log began, oldest first:
    they enter the ring of recent items and the factors, never a counter.
    """

    user_id: Id
    ts_ms: TimeMs
    age_band: Name = ""
    gender: Name = ""
    city_tier: Name = ""
    registered_ms: TimeMs = 0
    history: Annotated[tuple[Id, ...], msgspec.Meta(max_length=4096)] = ()
    attributes: dict[Name, Text | float] = msgspec.field(default_factory=dict)


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="control"):
    """A person's own word. ``target`` is the item, author or category of a hide, else empty."""

    user_id: Id
    ts_ms: TimeMs
    command: Literal[
        "personalisation_on", "personalisation_off", "hide_item", "hide_author", "hide_category", "clear_history"
    ]
    target: OptionalId = ""


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One item of a served page; ``propensity`` is 1 where nothing was drawn by lot.

    ``boost_spent`` are impressions of a boost's budget; ``sells`` says whether it was commerce when it was served.
    """

    item_id: Id
    source: Name = ""
    propensity: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    boost_spent: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    sells: bool = False


class Served(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="served"):
    """A page that went out: its moment is ``(read_offset, ts_ms)``; slots are in page order.

    ``level`` is the rung that it was made on, ``degraded`` why it is not all it could be; a page of before these were
    kept reads as ``full``.
    """

    request_id: Id
    ts_ms: TimeMs
    read_offset: Annotated[int, msgspec.Meta(ge=0)]
    user_id: OptionalId = ""
    context: Context = Context()
    bundle: Name = ""
    policy: Name = ""
    slots: tuple[Slot, ...] = ()
    level: Name = "full"
    degraded: Name = ""


class Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one source brought to a page that no other had brought before it, best first."""

    source: Name
    items: tuple[Id, ...]


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="decision"):
    """What cannot be computed again of a page that was sampled; its ``served`` record stands right before it.

    ``found`` are the merged candidates in the order they were merged, since indexes and charts depend on more than the
    log; ``seen`` is what the request said was on the screen; ``granted`` are the impressions that budgets of boosts
    had left for it; ``count`` is how many items were asked for, ``level`` the rung that the page was made on;
    ``checked_offset`` is where the log was at the last check; ``unlogged`` what had been served that day and was not in
    the log yet, where a policy goes by it: slots, how many sold, and how many of these to the person. ``values`` by
    slot and the ``digest`` of the page say what went out. It names no person.
    """

    request_id: Id
    ts_ms: TimeMs
    checked_offset: Annotated[int, msgspec.Meta(ge=0)]
    count: Annotated[int, msgspec.Meta(ge=1)]
    level: Name = "full"
    found: tuple[Found, ...] = ()
    seen: tuple[Id, ...] = ()
    granted: dict[Name, Count] = msgspec.field(default_factory=dict)
    values: tuple[float | None, ...] = ()
    digest: Name = ""
    unlogged: tuple[Count, Count, Count] = (0, 0, 0)


class Erase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="erase"):
    """Forget a person: the user's row is zeroed at this record's offset."""

    user_id: Id
    ts_ms: TimeMs


class Lost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="lost"):
    """Stands where a repair found no readable record, so that those after it keep their offsets; changes nothing."""

    ts_ms: TimeMs


Record = Event | Item | User | Control | Served | Decision | Erase | Lost


class Written(NamedTuple):
    """A record as the log will hold it, and its JSON, which reads as the record."""

    record: Record
    body: bytes


_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_ENCODER = msgspec.json.Encoder()


def encode(record: Record) -> bytes:
    """The record as JSON."""
    return _ENCODER.encode(record)


def encoded(name: str) -> bytes:
    """An id as it stands in a record's JSON."""
    return _ENCODER.encode(name)


def decode(line: bytes | str) -> Record:
    """The record that a JSON text holds.

    Raises
    ------
    RecordError
        If the text is no JSON, or a field is missing, unknown or out of its range; the message names the field.
    """
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise RecordError(f"This is not a record: {error}.", "See docs/records.md for the fields.") from error


def name_of(record: Record) -> str:
    """How messages call the record: its type and its id."""
    match record:
        case Event():
            return f"event {record.event_id!r}"
        case Item():
            return f"item {record.item_id!r}"
        case Served() | Decision():
            return f"{type(record).__name__.lower()} {record.request_id!r}"
        case User() | Control() | Erase():
            return f"{type(record).__name__.lower()} {record.user_id!r}"
        case Lost():
            return f"lost record of {record.ts_ms}"


def clean(record: Record) -> Written:
    """The record as the log will hold it, encoded once on its way in.

    A struct made in Python may hold anything: a number for an id, a NaN, a float for a time. What the log cannot give
    back must never get in.

    Raises
    ------
    RecordError
        Naming the record and the field.
    """
    try:
        body = _ENCODER.encode(record)
        return Written(_DECODER.decode(body), body)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"{name_of(record)}: {error}.", "See docs/records.md for the fields.") from error
