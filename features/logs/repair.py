"""What is damaged in a log, and files that hold all of it that can be read.

Records keep their offsets: where one cannot be read, a ``lost`` record stands in its place. The files as they were are
kept aside, whole, for whoever can read more of them.
"""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from features.errors import LogError, RecordError
from features.logs import rows
from features.logs.archive import Archive
from features.logs.guards import locked, named
from features.logs.log import sync_folder
from features.records import Event, Lost, decode, encode

_BESIDE = {
    "event_ids": ("event_id", "event_id DESC"),
    "people": ("user_id", "user_id DESC", "name", "name DESC"),
    "archived": ("id",),
    "erasures": ("rowid",),
    "erased": ("id",),
}
"""The tables beside the records, with the orders to read each in; both indexes of ``people`` hold all of it."""

_LOST = "SELECT offset FROM records WHERE offset >= :start AND substr(body, 1, length(:head)) = :head ORDER BY offset"


class Fault(NamedTuple):
    """What is wrong, from an offset on; whether in the archive."""

    offset: int
    what: str
    archived: bool = False


class Repaired(NamedTuple):
    """The offsets whose records could not be read, and where the files as they were are kept."""

    lost: tuple[int, ...]
    aside: Path


def check(folder: Path) -> list[Fault]:
    """Read all of a log; what is wrong with it, by offset.

    Raises
    ------
    LogError
        If there is no log, or a file of its archive is missing or out of reach.
    """
    path, archive = _live(folder), Archive(folder / "archive")
    faults = [Fault(error.offset, error.what, archived=True) for _, error in archive.damaged()]
    with named(path), closing(rows.reader(path)) as live:
        found = dict(_readable(live, path, archive.end()))
        unread = [
            Fault(offset, f"{path}, offset {offset}: {'is missing' if row is None else 'is not as it was written'}.")
            for offset, row in found.items()
            if row is None or not _reads(row)
        ]
        with named(path):
            said = [line for (line,) in live.execute("PRAGMA integrity_check(1)") if line != "ok"]
        if said and not unread:
            # The tables beside the records have no checksums of ours; SQLite compares them with their indexes.
            unread.append(Fault(archive.end(), f"{path}: {' '.join(said[0].split())}."))
    return faults + unread


def known_lost(folder: Path) -> list[int]:
    """The offsets in whose place a ``lost`` record stands since a repair, in order; of a log that is whole."""
    path, archive = _live(folder), Archive(folder / "archive")
    head = encode(Lost(0)).partition(b",")[0]
    with named(path), closing(rows.reader(path)) as live:
        found = live.execute(_LOST, {"head": head, "start": archive.end()}).fetchall()
    return [*archive.lost(), *(offset for (offset,) in found)]


def repair(folder: Path) -> Repaired | None:
    """Make a log whole: every record that can be read at its offset; None where nothing was wrong.

    Raises
    ------
    LogError
        If another writer holds the log, its end cannot be found, or a file of its archive is missing or out of reach.
    """
    _live(folder)
    with locked(folder):
        faults = check(folder)
        if not faults:
            return None
        aside = folder / f"damaged-{len(list(folder.glob('damaged-*')))}"
        aside.mkdir()
        sync_folder(folder)
        archive, lost = Archive(folder / "archive"), list[int]()
        for path, _ in list(archive.damaged()):
            lost += archive.mend(path, aside)
        if not all(fault.archived for fault in faults):
            lost += _live_anew(folder, aside, archive.end())
    return Repaired(tuple(lost), aside)


def stretches(offsets: Sequence[int]) -> list[str]:
    """Offsets, sorted, as a person reads them: "3", "5 to 9"."""
    runs = [list(run) for _, run in groupby(enumerate(offsets), lambda one: one[1] - one[0])]
    return [f"{run[0][1]}" if len(run) == 1 else f"{run[0][1]} to {run[-1][1]}" for run in runs]


def _live(folder: Path) -> Path:
    """The live part of a log, which must be there."""
    path = folder / "live.sqlite"
    if not path.is_file():
        raise LogError(f"There is no log in {folder}.", "Name another home.")
    return path


def _live_anew(folder: Path, aside: Path, start: int) -> tuple[int, ...]:
    """Put a live part of all that can be read in the place of the damaged one; the offsets of what cannot."""
    path, draft = folder / "live.sqlite", folder / "live.draft"
    for file in (path, folder / "live.sqlite-wal"):
        if file.exists():
            shutil.copy2(file, aside)
    sync_folder(aside)
    draft.unlink(missing_ok=True)
    with closing(rows.reader(path)) as old, closing(rows.opened(draft, "full")) as new:
        lost = _copied(old, new, path, start)
    for file in (folder / "live.sqlite-wal", folder / "live.sqlite-shm"):
        file.unlink(missing_ok=True)
    draft.rename(path)
    sync_folder(folder)
    return lost


def _copied(old: sqlite3.Connection, new: sqlite3.Connection, path: Path, start: int) -> tuple[int, ...]:
    """Fill a new live part with what an old one tells; the offsets of what it does not."""
    lost, last_ms = [], 0
    with new:
        new.execute("BEGIN")
        for table, orders in _BESIDE.items():
            for order in orders:
                # Damage ends a run over a table: from its other end, or by another index, one may read on.
                with suppress(sqlite3.DatabaseError):
                    for row in old.execute(f"SELECT * FROM {table} ORDER BY {order}"):  # noqa: S608  # the names are ours
                        new.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
        for offset, row in _readable(old, path, start):
            if row is not None and _reads(row):
                _, last_ms, body, check = row
                record = decode(body)
                if isinstance(record, Event):
                    new.execute(rows.NEW_ID, (record.event_id, last_ms))
            else:
                lost.append(offset)
                body = encode(Lost(last_ms))
                check = rows.crc(offset, last_ms, body)
            new.execute("INSERT INTO records VALUES (?, ?, ?, ?)", (offset, last_ms, body, check))
    return tuple(lost)


def _reads(row: rows.Row) -> bool:
    try:
        decode(row[2])
    except RecordError:
        return False
    return rows.is_whole(row)


def _readable(live: sqlite3.Connection, path: Path, start: int) -> Iterator[tuple[int, rows.Row | None]]:
    """Every offset of the live part from one on, in order, with its row where SQLite gives it."""
    with named(path):
        last = live.execute(rows.LAST).fetchone()
    for low in range(start, last[0] + 1 if last else start, rows.PIECE):
        yield from _piece(live, path, low, min(low + rows.PIECE, last[0] + 1))


def _piece(live: sqlite3.Connection, path: Path, low: int, high: int) -> Iterator[tuple[int, rows.Row | None]]:
    """The rows of a stretch; one that cannot be read as a whole is read in halves."""
    try:
        found = {row[0]: row for row in rows.rows(live, path, low, high, high - low)}
    except LogError:
        if high - low == 1:
            yield low, None
            return
        middle = (low + high) // 2
        yield from _piece(live, path, low, middle)
        yield from _piece(live, path, middle, high)
        return
    for offset in range(low, high):
        yield offset, found.get(offset)
