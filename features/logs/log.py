"""The log: an ordered run of records, read in batches of one Arrow schema, archived to Parquet by received day.

The order of the log is the order of the world. Offsets count from 0 without a gap; ``received_ms`` never goes back.
Events have columns of their own, so that millions of them are read without a Python object each; every other record
travels as the JSON of its whole self in ``payload``.
"""

import datetime as dt
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.records import Context, Decision, Event, Item, Lost, Record, Served, decode, encode

SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("received_ms", pa.int64(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("ts_ms", pa.int64(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("via_item_id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("value", pa.int64(), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("surface", pa.string(), nullable=False),
        pa.field("device", pa.string(), nullable=False),
        pa.field("city_tier", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("payload", pa.string(), nullable=False),
    ],
    metadata={b"huozhao.format": b"1"},
)
"""One row a record. Columns a record has no use for hold "" or 0; ``payload`` is "" for events."""

UNPLACED = SCHEMA.remove(0)
"""The schema of records that have not been given their offsets yet, as sources of bulk records yield them."""

NO_CONTEXT = Context(surface="")
DAY_MS = 86_400_000
BATCH_ROWS = 65_536
Batch = TypeVar("Batch")


class Stored(NamedTuple):
    """A record in its place, and its JSON where it is known already."""

    offset: int
    received_ms: int
    record: Record
    body: bytes = b""


class EventLog(Protocol):
    """What every log can do; one conformance suite runs over all of them."""

    def end(self) -> int:
        """The offset that the next record will get."""
        ...

    def append(self, records: Sequence[Record], received_ms: int) -> list[int | None]:
        """Keep records durably, in order.

        Returns
        -------
        list of int or None
            The offset of each, None where an event of that ``event_id`` is in the log already.
        """
        ...

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of ``SCHEMA`` with the records start <= offset < stop, in order."""
        ...

    def archive(self, before_ms: int) -> int:
        """Move whole received days before a moment to the Parquet archive; returns the number of records moved."""
        ...


def _row(stored: Stored) -> tuple[object, ...]:
    """A record's columns, in the order of ``SCHEMA``."""
    record, place = stored.record, (stored.offset, stored.received_ms)
    if isinstance(record, Event):
        context = record.context
        return (
            *place, "event", record.ts_ms, record.event_id, record.user_id, record.item_id, record.via_item_id,
            record.action, record.value, record.request_id,
            context.surface, context.device, context.city_tier, context.position, "",
        )  # fmt: skip
    user_id = "" if isinstance(record, Item | Lost | Decision) else record.user_id
    item_id = record.item_id if isinstance(record, Item) else ""
    request_id = record.request_id if isinstance(record, Served | Decision) else ""
    context = record.context if isinstance(record, Served) else NO_CONTEXT
    return (
        *place, type(record).__name__.lower(), record.ts_ms, "", user_id, item_id, "",
        "", 0, request_id,
        context.surface, context.device, context.city_tier, context.position,
        (stored.body or encode(record)).decode(),
    )  # fmt: skip


def to_batch(stored: Sequence[Stored]) -> pa.RecordBatch:
    """Records as one batch of ``SCHEMA``."""
    columns = zip(*map(_row, stored), strict=True) if stored else [()] * len(SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def events_table(columns: Mapping[str, pa.Array | NDArray[np.generic]]) -> pa.Table:
    """Many events at once, as a table of ``UNPLACED``; columns not given are "", 0, or -1 for ``position``.

    Parameters
    ----------
    columns : mapping of str to array
        At least ``received_ms``, ``ts_ms``, ``event_id``, ``item_id`` and ``action``, all of one length.
    """
    length = len(columns["ts_ms"])
    fills = {"type": "event", "position": -1, "surface": "feed"}
    arrays = []
    for field in UNPLACED:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name]).cast(field.type))
        else:
            fill = fills.get(field.name, "" if field.type == pa.string() else 0)
            arrays.append(pa.repeat(pa.scalar(fill, field.type), length))
    return pa.Table.from_arrays(arrays, schema=UNPLACED)


def records_table(records: Sequence[tuple[int, Record]]) -> pa.Table:
    """Pairs of received_ms and record as a table of ``UNPLACED``."""
    batch = to_batch([Stored(0, received_ms, record) for received_ms, record in records])
    return pa.Table.from_batches([batch]).drop_columns(["offset"])


def records_of(table: pa.Table) -> list[tuple[int, Record]]:
    """Pairs of received_ms and record of a table of ``UNPLACED``: the inverse of ``records_table``."""
    return [(row["received_ms"], _record(row)) for row in table.to_pylist()]


def merge(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of ``UNPLACED`` as one, by received_ms, ties in the order given: the order the records are folded in."""
    whole = pa.concat_tables(tables)
    order = np.argsort(whole["received_ms"].to_numpy(), kind="stable")
    return whole.take(order)


def from_batch(batch: pa.RecordBatch) -> list[Stored]:
    """The records that a batch of ``SCHEMA`` holds."""
    return [Stored(row["offset"], row["received_ms"], _record(row)) for row in batch.to_pylist()]


def _record(row: dict[str, object]) -> Record:
    if row["payload"]:
        return decode(str(row["payload"]))
    context = {name: row[name] for name in Context.__struct_fields__}
    fields = {name: row[name] for name in Event.__struct_fields__ if name != "context"}
    return msgspec.convert({"type": "event", "context": context} | fields, Event)


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, the next of them made in a thread of its own while one is used."""
    with ThreadPoolExecutor(1, "ahead") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def day_name(received_ms: int) -> str:
    """The UTC day of a moment, as archive folders are called."""
    return dt.datetime.fromtimestamp(received_ms / 1000, dt.UTC).strftime("day=%Y-%m-%d")


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
