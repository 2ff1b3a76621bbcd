"""What can be read of an archived file that is damaged: of each row group all before the first page that is not whole.

Pages have checksums, so that what is read is as it was written. pyarrow reads nothing of a column behind a page that is
damaged: the rest of its row group goes with it. Offsets need no page, for records follow each other.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import RecordError
from features.logs.log import SCHEMA, Stored, from_batch, to_batch
from features.records import Lost

DAMAGE = (pa.ArrowException, OSError, ValueError, MemoryError)
"""What pyarrow raises of a file that is not as it was written."""
PIECE_ROWS = 1_024


def readable(path: Path, first: int, end: int) -> pa.Table:
    """The records of a file that are whole, in order.

    Parameters
    ----------
    path : Path
    first, end : int
        The offsets that the file held.

    Returns
    -------
    pa.Table
        Of ``SCHEMA``; empty where not even the file's directory can be read.
    """
    groups = [SCHEMA.empty_table()]
    # Without its directory nothing in the file can be found.
    with suppress(*DAMAGE), pq.ParquetFile(path, page_checksum_verification=True) as file:
        counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        if file.schema_arrow.equals(SCHEMA) and sum(counts) == end - first:
            starts = (first + np.cumsum([0, *counts])).tolist()
            groups += [_group(file, group, starts[group], count) for group, count in enumerate(counts)]
    return pa.concat_tables(groups)


def lost(kept: pa.Table, first: int, end: int) -> list[int]:
    """The offsets of a file that are not among the records that can be read of it, in order."""
    found: list[int] = np.setdiff1d(np.arange(first, end), kept["offset"].to_numpy()).tolist()
    return found


def filled(kept: pa.Table, gone: list[int], since_ms: int) -> pa.Table:
    """Records with a ``lost`` one in the place of each that is gone, received when the one before it was.

    Parameters
    ----------
    kept : pa.Table
        Of ``SCHEMA``, in order.
    gone : list of int
        Offsets.
    since_ms : int
        When the last record before all these was received.
    """
    times = np.concatenate([[since_ms], kept["received_ms"].to_numpy()])
    received = times[np.searchsorted(kept["offset"].to_numpy(), gone)].tolist()
    gaps = to_batch([Stored(offset, ms, Lost(ms)) for offset, ms in zip(gone, received, strict=True)])
    whole = pa.concat_tables([kept, pa.Table.from_batches([gaps])])
    return whole.take(np.argsort(whole["offset"].to_numpy()))


def _group(file: pq.ParquetFile, group: int, first: int, count: int) -> pa.Table:
    """The records of a row group before the first page that is damaged, in any column."""
    columns = {name: _column(file, group, name, count) for name in SCHEMA.names}
    told = columns.pop("offset").to_numpy()
    length = min(map(len, columns.values()))
    offsets = np.arange(first, first + length)
    table = pa.table({"offset": offsets} | {name: one.slice(0, length) for name, one in columns.items()}, SCHEMA)
    agree = np.ones(length, np.bool_)
    agree[: len(told)] = told[:length] == offsets[: len(told)]
    batches = table.filter(agree).to_batches(PIECE_ROWS)
    return pa.Table.from_batches([whole for batch in batches for whole in _decoded(batch)], SCHEMA)


def _column(file: pq.ParquetFile, group: int, name: str, count: int) -> pa.ChunkedArray:
    """A column of a row group up to its first damaged page."""
    found = list[pa.Array]()
    # What is read in pieces stops before the piece that reaches into the page: then one by one, up to the page.
    for piece in (PIECE_ROWS, 1):
        found = []
        try:
            for batch in file.iter_batches(piece, row_groups=[group], columns=[name]):
                batch.validate(full=True)
                found.append(batch.column(0))
        except DAMAGE:
            continue
        # A page whose head counts too few values shifts all behind it, and no checksum covers a head.
        return pa.chunked_array(found if sum(map(len, found)) == count else [], SCHEMA.field(name).type)
    return pa.chunked_array(found, SCHEMA.field(name).type)


def _decoded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch without the records in it that cannot be decoded: files of before have no checksums."""
    try:
        from_batch(batch)
        yield batch
    except (RecordError, msgspec.ValidationError):
        if len(batch) > 1:
            for at in range(len(batch)):
                yield from _decoded(batch.slice(at, 1))
