"""Batches of records in a request: each is read by itself, so that a bad one is named and the rest are kept."""

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from litestar.params import Body

from features.records import Control, Event, Item, Record, User
from ranking.api import Ack
from serving.api import Acks
from serving.clock import elapsed_ms
from serving.halves import half_of, is_malformed, without_halves
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
Events = Annotated[list[Annotated[msgspec.Raw, EVENTS]], _BOUNDS]
Items = Annotated[list[Annotated[msgspec.Raw, ITEMS]], _BOUNDS]
Users = Annotated[list[Annotated[msgspec.Raw, USERS]], _BOUNDS]


_MANY = msgspec.Meta(min_length=1, max_length=MAX_RECORDS)
_EVENTS: msgspec.json.Decoder[list[Event]] = msgspec.json.Decoder(Annotated[list[Event], _MANY])
_PIECES: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(Annotated[list[msgspec.Raw], _MANY])


class _Tagged(msgspec.Struct):
    """Of a record its type, and the fields that may be its name, as they were sent."""

    type: str = ""
    event_id: msgspec.Raw = msgspec.Raw()
    item_id: msgspec.Raw = msgspec.Raw()
    user_id: msgspec.Raw = msgspec.Raw()


_TAGGED, _TEXT = msgspec.json.Decoder(_Tagged), msgspec.json.Decoder(str)
_DECODERS: dict[type[Record], msgspec.json.Decoder[Record]] = {
    kind: msgspec.json.Decoder(kind) for form in (EVENTS, ITEMS, USERS) for kind in form.types.values()
}


def read_events(body: bytes) -> Sequence[Event] | Sequence[msgspec.Raw]:
    """The events of a batch where all of it is that; else its pieces, to be read one by one.

    Raises
    ------
    msgspec.DecodeError
        If the body is no JSON array, or has no or too many records.
    """
    try:
        return _EVENTS.decode(body)
    except msgspec.DecodeError:
        return read_rows(body)


def read_rows(body: bytes) -> Sequence[msgspec.Raw]:
    """The pieces of a batch, to be read one by one: what is in them takes no memory before it is known to be a record.

    A piece that holds half a character, as a text that was cut within one does, is told apart as well.

    Raises
    ------
    msgspec.DecodeError
        If the body is no JSON array, or has no or too many records.
    UnicodeDecodeError
        If it is not UTF-8.
    """
    body.decode()
    try:
        return _PIECES.decode(body)
    except msgspec.DecodeError as error:
        if not is_malformed(error):
            raise
        filled = without_halves(body)
        return _as_sent(body, filled, _PIECES.decode(filled))


def _as_sent(body: bytes, filled: bytes, pieces: Sequence[msgspec.Raw]) -> list[msgspec.Raw]:
    """The pieces of a body, found where those lie of its twin, which has as many bytes and no halves of characters."""
    found, end = list[msgspec.Raw](), 0
    for piece in pieces:
        text = bytes(piece)
        begin = filled.index(text, end)
        end = begin + len(text)
        found.append(msgspec.Raw(body[begin:end]))
    return found


async def keep(
    writer: Writer, telemetry: Telemetry, batch: Sequence[Event] | Sequence[msgspec.Raw], form: Form
) -> Acks:
    """Append the good records of a batch, and say of every record what became of it.

    Raises
    ------
    LogError
    """
    began_ms = elapsed_ms()
    read = [read_piece(piece, form) if isinstance(piece, msgspec.Raw) else piece for piece in batch]
    kept = iter(await writer.append([one for one in read if not isinstance(one, Ack)]))
    acks = [one if isinstance(one, Ack) else next(kept) for one in read]
    telemetry.kept(acks, elapsed_ms() - began_ms)
    return Acks(tuple(_placed(ack, at) for at, ack in enumerate(acks)))


def _placed(ack: Ack, at: int) -> Ack:
    return msgspec.structs.replace(ack, error=f"record {at}: {ack.error}") if ack.error else ack


def read_piece(piece: msgspec.Raw, form: Form) -> Record | Ack:
    """A piece of a batch as the record that it is, or why it is none."""
    try:
        found = _TAGGED.decode(piece)
    except msgspec.DecodeError as error:
        fault = (half_of(piece) if is_malformed(error) else None) or error
        return Ack("rejected", error=f"type: {fault}." if "$.type" in str(fault) else f"{fault}.")
    tag = found.type or next(iter(form.types))
    wanted = form.types.get(tag)
    if wanted is None:
        return Ack("rejected", error=f"type {_brief(tag)} is not one of {', '.join(form.types)}.")
    try:
        return _DECODERS[wanted].decode(piece)
    except msgspec.DecodeError as error:
        # The first field of what a client sends is its id.
        name = _name(getattr(found, wanted.__struct_fields__[0]))
        return Ack("rejected", error=f"{tag} {name}: {error}." if name else f"{error}.")


def _name(sent: msgspec.Raw) -> str:
    """An id as an answer may repeat it, "" where it is none."""
    try:
        return _brief(_TEXT.decode(sent))
    except msgspec.DecodeError:
        return ""


def _brief(value: object) -> str:
    """What a client sent, as an answer may repeat it."""
    return repr(value)[:MAX_NAME]
