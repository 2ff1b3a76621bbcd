"""What stands between a log and its files: one writer, faults with a name, records that can be read again."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from features.errors import LogError, RecordError
from features.records import Record, Written, decode, encode, name_of

REPAIR = "Restore it from a copy, or look with `huozhao log check`."
"""What to do about a log that is not as it was written."""


def written(record: Record) -> Written:
    """A record with its JSON, which reads as it: one that does not would make the log unreadable from there on."""
    try:
        body = encode(record)
        if decode(body) == record:
            return Written(record, body)
        fault = "it would be read as another record."
    except RecordError as error:
        fault = error.what
    except (TypeError, ValueError, OverflowError) as error:
        fault = f"{error}."
    raise RecordError(f"{name_of(record)} cannot be kept: {fault}", "See docs/records.md for the fields.")


def locked(folder: Path) -> IO[str]:
    """A file that holds the folder's lock for as long as it is open, and says to others which process that is."""
    held = (folder / "lock").open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.seek(0)
        holder = held.read(20).strip()
        held.close()
        who = f", process {holder}" if holder.isdecimal() else ""
        way_out = (
            "Stop it first: a server, a demo, a simulation or a repair of this home; or name another home. "
            "What only reads, as `huozhao feed` and `huozhao train`, goes on beside it."
        )
        raise LogError(f"Another writer holds the log in {folder}{who}.", way_out) from error
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held


@contextmanager
def named(path: Path, offset: int | None = None) -> Iterator[None]:
    """Say which file SQLite speaks of, and from which offset on it was read."""
    try:
        yield
    except sqlite3.OperationalError as error:
        way_out = "Nothing was changed; mend the cause and try again."
        if "readonly" in str(error):
            # A log with a write-ahead file cannot even be read without its companions.
            way_out = f"Even to read, {path.parent} must be a folder that you may write to: copy the home to one."
        raise LogError(f"{path}: {error}.", way_out) from error
    except sqlite3.Error as error:
        where = "" if offset is None else f" from offset {offset}"
        raise LogError(f"{path} cannot be read{where}: {error}.", REPAIR) from error
