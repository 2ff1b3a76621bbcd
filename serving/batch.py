"""Batches of records in a request: each is read by itself, so that a bad one is named and the rest are kept."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from litestar.openapi.spec import Schema
from litestar.params import Body
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from features.records import Control, Event, Item, Record, User
from ranking.engine import Engine
from ranking.types import Ack

if TYPE_CHECKING:
    from litestar._openapi.schema_generation import SchemaCreator

MAX_RECORDS = 1000


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


class Acks(msgspec.Struct, frozen=True):
    """What became of each record, in the order of the batch."""

    results: tuple[Ack, ...]


class RecordSchemas(OpenAPISchemaPlugin):
    """Shows in the contract what an unread record may be."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Whether the field is an unread record."""
        return any(isinstance(mark, Form) for mark in field_definition.metadata)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: "SchemaCreator") -> Schema:
        """Schema of the types the record may be of."""
        form = next(mark for mark in field_definition.metadata if isinstance(mark, Form))
        fields = [FieldDefinition.from_annotation(type_) for type_ in form.types.values()]
        return Schema(one_of=[schema_creator.for_field_definition(field) for field in fields])


def keep(engine: Engine, batch: Sequence[object], form: Form, received_ms: int) -> Acks:
    """Append the good records of a batch, and say of every record what became of it."""
    read = [_read(value, form, at) for at, value in enumerate(batch)]
    acks = iter(engine.append([one for one in read if not isinstance(one, Ack)], received_ms))
    return Acks(tuple(one if isinstance(one, Ack) else next(acks) for one in read))


def _read(value: object, form: Form, at: int) -> Record | Ack:
    implied = next(iter(form.types))
    tag = value.get("type", implied) if isinstance(value, dict) else implied
    wanted = form.types.get(tag) if isinstance(tag, str) else None
    if wanted is None:
        return Ack("rejected", error=f"record {at}: type {tag!r} is not one of {', '.join(form.types)}.")
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        return Ack("rejected", error=f"record {at}: {error}.")
