"""The log: an ordered run of records, read in batches of one Arrow schema, archived to Parquet by received day.

The order of the log is the order of the world. Offsets count from 0 without a gap; ``received_ms`` never goes back.
Events have columns of their own, so that millions of them are read without a Python object each; every other record
travels as the JSON of its whole self in ``payload``.
"""

import datetime as dt
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.errors import LogError
from features.records import Context, Event, Item, Lost, Record, Served, decode, encode

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
    user_id = "" if isinstance(record, Item | Lost) else record.user_id
    item_id = record.item_id if isinstance(record, Item) else ""
    request_id = record.request_id if isinstance(record, Served) else ""
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


def day_name(received_ms: int) -> str:
    """The UTC day of a moment, as archive folders are called."""
    return dt.datetime.fromtimestamp(received_ms / 1000, dt.UTC).strftime("day=%Y-%m-%d")


class Archive:
    """The Parquet part of a log: immutable files foldered by received day.

    A file is named by the offsets it holds and the sha256 of its content, ``first-end-digest.parquet``, so that name
    and check appear in one rename; files of before there was a digest have none, and are read unchecked.

    Parameters
    ----------
    folder : Path
        Made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self) -> list[tuple[int, int, Path]]:
        """First offset, end offset and path of each file, in order.

        Raises
        ------
        LogError
            If files overlap or leave a gap; the message names the file.
        """
        found = []
        for path in self._folder.glob("day=*/*.parquet"):
            low, high, *_ = [*path.stem.split("-"), ""]
            if not (low.isdigit() and high.isdigit()):
                raise LogError(f"{path} is not named by its offsets.", "Move it out of the archive.")
            found.append((int(low), int(high), path))
        found.sort()
        expected = 0
        for first, end, path in found:
            if first != expected:
                raise LogError(f"{path} begins at offset {first}, not {expected}.", "Restore the missing file.")
            expected = end
        return found

    def end(self) -> int:
        """The offset after the last archived record."""
        files = self.files()
        return files[-1][1] if files else 0

    def extend(self, table: pa.Table) -> None:
        """Give records of ``UNPLACED`` the offsets that come next, and write them.

        Raises
        ------
        LogError
            If ``received_ms`` goes back within the table.
        """
        received = table["received_ms"].to_numpy()
        if (np.diff(received) < 0).any():
            raise LogError("Records to import are not sorted by received_ms.", "Sort them with features.log.merge.")
        first = self.end()
        offsets = pa.array(np.arange(first, first + len(table)))
        self.write(table.add_column(0, SCHEMA.field(0), offsets).cast(SCHEMA))

    def write(self, table: pa.Table) -> None:
        """Add records, which must continue the archive; a file appears whole or not at all.

        Parameters
        ----------
        table : pa.Table
            Of ``SCHEMA``, sorted by offset; a file is written for each received day.
        """
        days = table["received_ms"].to_numpy() // DAY_MS
        starts = np.flatnonzero(np.diff(days, prepend=-1)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(table)], strict=True):
            self._write_file(table.slice(start, stop - start))

    def _write_file(self, part: pa.Table) -> None:
        first, last = part["offset"][0].as_py(), part["offset"][-1].as_py()
        if first != self.end():
            raise LogError(f"Records from offset {first} do not continue the archive, which ends at {self.end()}.")
        folder = self._folder / day_name(part["received_ms"][0].as_py())
        draft = folder / f"{first:012d}-{last + 1:012d}.draft"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(part, draft, compression="zstd", row_group_size=BATCH_ROWS, write_page_checksum=True)
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            draft.rename(draft.with_name(f"{draft.stem}-{_digest(draft)}.parquet"))
            for changed in (folder, self._folder):
                sync_folder(changed)
        except (pa.ArrowException, OSError) as error:
            # A disk that is full must get back what was taken of it.
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise LogError(f"{draft} cannot be written: {error}.", "Mend the cause and try again.") from error

    def read(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Batches of the records start <= offset < stop."""
        for first, end, path in self.files():
            if first >= stop or end <= start:
                continue
            for batch in _batches(path):
                low, high = batch["offset"][0].as_py(), batch["offset"][-1].as_py() + 1
                if low < stop and high > start:
                    cut = max(start - low, 0)
                    yield batch.slice(cut, min(stop, high) - low - cut)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    _, _, *expected = path.stem.split("-")
    try:
        if expected and _digest(path) != expected[0]:
            raise LogError(f"{path} is not as it was written.", "Restore it from a copy.")
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise LogError(f"{path} is not of the log's schema.", "Restore it from a copy.")
            yield from file.iter_batches(batch_size=BATCH_ROWS)
    except (pa.ArrowException, OSError) as error:
        raise LogError(f"{path} cannot be read: {error}.", "Restore it from a copy.") from error


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
