"""What a record on its way in must be beyond its types: at one with itself, and not ahead of the clock."""

import math

from features.errors import RecordError
from features.records import (
    FUTURE_MS,
    LATE_MS,
    Action,
    Control,
    Event,
    Item,
    Record,
    Served,
    User,
    name_of,
)

ATTRIBUTES = 256
"""How many a row may have on its way in; a log that holds more is read all the same."""
ROOM_ACTIONS = frozenset({Action.ROOM_START, Action.ROOM_PULSE, Action.ROOM_END, Action.ROOM_PIN})


def check(record: Record, received_ms: int) -> None:
    """Refuse a record whose fields contradict each other or whose clock runs ahead.

    Raises
    ------
    RecordError
        Naming the record, the field and the way out.
    """
    name = name_of(record)
    if record.ts_ms > received_ms + FUTURE_MS:
        ahead = (record.ts_ms - received_ms) / 1000
        raise RecordError(f"{name}: ts_ms is {ahead:.0f} s after it was received.", "Set the sender's clock.")
    if isinstance(record, Event):
        _check_event(name, record, received_ms)
    if isinstance(record, Control) and record.command.startswith("hide_") != bool(record.target):
        raise RecordError(f"{name}: target does not fit {record.command}.", "Only a hide has a target, and needs one.")
    if isinstance(record, Served) and len({slot.item_id for slot in record.slots}) < len(record.slots):
        raise RecordError(f"{name}: slots name an item twice.", "A page holds an item once.")
    if isinstance(record, Item | User):
        if (many := len(record.attributes)) > ATTRIBUTES:
            raise RecordError(f"{name}: attributes has {many} entries, more than {ATTRIBUTES}.", "Send fewer.")
        for key, value in record.attributes.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise RecordError(f"{name}: attributes.{key} is {value}.", "Leave out what is not known.")
    if isinstance(record, Item) and not all(abs(x) <= 1e6 for x in record.embedding):
        raise RecordError(f"{name}: embedding holds NaN or a number beyond ±1e6.", "Send finite numbers, or none.")


def _check_event(name: str, record: Event, received_ms: int) -> None:
    if received_ms - record.ts_ms > LATE_MS and record.action is not Action.ROOM_END:
        days = (received_ms - record.ts_ms) / 86_400_000
        raise RecordError(f"{name}: late: ts_ms is {days:.1f} days old, more than 7.", "Send events when they happen.")
    if record.action in ROOM_ACTIONS:
        if record.user_id:
            raise RecordError(f"{name}: user_id must be empty for {record.action}.", "A room did it, not a person.")
    elif not record.user_id:
        raise RecordError(f"{name}: user_id is missing for {record.action}.", "Name the person who did it.")
    if record.action is Action.ROOM_PIN and not record.via_item_id:
        raise RecordError(f"{name}: via_item_id is missing for room_pin.", "Name the room that sells the product.")
