"""What stands between a log and its files: one writer, faults with a name, records that can be read again."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from features.errors import LogError, RecordError
from features.records import Record, decode, encode, name_of


def written(record: Record) -> bytes:
    """A record's JSON, which reads as the record: one that does not would make the log unreadable from there on."""
    try:
        body = encode(record)
        if decode(body) == record:
            return body
        fault = "it would be read as another record."
    except RecordError as error:
        fault = error.what
    except (TypeError, ValueError, OverflowError) as error:
        fault = f"{error}."
    raise RecordError(f"{name_of(record)} cannot be kept: {fault}", "See docs/records.md for the fields.")


def locked(folder: Path) -> IO[str]:
    """A file that holds the folder's lock for as long as it is open."""
    held = (folder / "lock").open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        way_out = "Stop it first, or open the log without writing."
        raise LogError(f"Another writer holds the log in {folder}.", way_out) from error
    return held


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Say which file SQLite speaks of."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LogError(f"{path}: {error}.", "Nothing was changed; mend the cause and try again.") from error
    except sqlite3.Error as error:
        raise LogError(f"{path} cannot be read: {error}.", "Restore it from a copy.") from error
