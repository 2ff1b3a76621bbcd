"""Batches of records in a request: each is read by itself, so that a bad one is named and the rest are kept."""

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from litestar.params import Body

from features.records import Control, Event, Item, Record, User
from ranking.api import Ack
from serving.api import Acks
from serving.clock import elapsed_ms
from serving.errors import MAX_DEPTH, DepthError
from serving.telemetry import Telemetry
from serving.writer import Writer

MAX_RECORDS = 1000
MAX_NAME = 130
"""How many characters of a wrong record an answer repeats: an id in quotes."""


class Form(NamedTuple):
    """What a record of a batch may be: types by the name in its ``type`` field, the first where it has none."""

    types: Mapping[str, type[Record]]


EVENTS = Form({"event": Event, "control": Control})
ITEMS = Form({"item": Item})
USERS = Form({"user": User})

_BOUNDS = Body(min_items=1, max_items=MAX_RECORDS)
Events = Annotated[list[Annotated[object, EVENTS]], _BOUNDS]
Items = Annotated[list[Annotated[object, ITEMS]], _BOUNDS]
Users = Annotated[list[Annotated[object, USERS]], _BOUNDS]


_MANY = msgspec.Meta(min_length=1, max_length=MAX_RECORDS)
_EVENTS: msgspec.json.Decoder[list[Event]] = msgspec.json.Decoder(Annotated[list[Event], _MANY])
_ANYTHING: msgspec.json.Decoder[list[object]] = msgspec.json.Decoder(Annotated[list[object], _MANY])


def read_events(body: bytes) -> list[Event] | list[object]:
    """The events of a batch where all of it is that; else its values, to be read one by one.

    Raises
    ------
    msgspec.DecodeError
        If the body is no JSON array, or has no or too many records.
    """
    try:
        return _EVENTS.decode(body)
    except msgspec.ValidationError:
        return read_rows(body)


def read_rows(body: bytes) -> list[object]:
    """The values of a batch, to be read one by one.

    Raises
    ------
    msgspec.DecodeError
        If the body is no JSON array, or has no or too many records.
    """
    return _ANYTHING.decode(body)


def check_depth(values: Sequence[object]) -> None:
    """Refuse what nests deeper than any record does.

    Raises
    ------
    DepthError
    """
    level = list(values)
    # The batch is the first level, its records the second.
    for _ in range(MAX_DEPTH - 1):
        inner = [value for value in level if isinstance(value, list | dict)]
        level = [child for value in inner for child in (value.values() if isinstance(value, dict) else value)]
    if any(isinstance(value, list | dict) for value in level):
        raise DepthError


async def keep(writer: Writer, telemetry: Telemetry, batch: Sequence[object], form: Form) -> Acks:
    """Append the good records of a batch, and say of every record what became of it.

    Raises
    ------
    DepthError, LogError
    """
    check_depth(batch)
    began_ms = elapsed_ms()
    read = [_read(value, form) for value in batch]
    kept = iter(await writer.append([one for one in read if not isinstance(one, Ack)]))
    acks = [one if isinstance(one, Ack) else next(kept) for one in read]
    telemetry.kept(acks, elapsed_ms() - began_ms)
    return Acks(tuple(_placed(ack, at) for at, ack in enumerate(acks)))


def _placed(ack: Ack, at: int) -> Ack:
    return msgspec.structs.replace(ack, error=f"record {at}: {ack.error}") if ack.error else ack


def _read(value: object, form: Form) -> Record | Ack:
    implied = next(iter(form.types))
    tag = value.get("type", implied) if isinstance(value, dict) else implied
    wanted = form.types.get(tag) if isinstance(tag, str) else None
    if wanted is None:
        return Ack("rejected", error=f"type {_brief(tag)} is not one of {', '.join(form.types)}.")
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        # The first field of what a client sends is its id.
        name = value.get(wanted.__struct_fields__[0]) if isinstance(value, dict) else None
        return Ack("rejected", error=f"{tag} {_brief(name)}: {error}." if isinstance(name, str) else f"{error}.")


def _brief(value: object) -> str:
    """What a client sent, as an answer may repeat it."""
    return repr(value)[:MAX_NAME]
