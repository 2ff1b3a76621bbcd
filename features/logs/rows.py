"""The tables of a log's live part: records and their checksums, event ids, people, and whom to erase."""

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from features.errors import LogError, RecordError
from features.logs import blocks, people
from features.logs.erase import DIGEST, digest
from features.logs.guards import REPAIR, named
from features.logs.log import Stored
from features.records import Event, Served, Written, decode, encode

FORMAT = 3
"""1 had no checksums and overwrote nothing it deleted; a writer mends that, and its rows stay unchecked. 1 and 2 knew
people by their ids, and go on to."""
PIECE = 20_000
"""Rows that one transaction deletes at most: appends wait for no more."""
Durability = Literal["full", "relaxed"]
"""Whether an append waits for the disk; relaxed, a power cut may take the last second, and a kill still nothing."""

_TABLES = (
    people.TABLE
    + """
CREATE TABLE IF NOT EXISTS records (
    offset INTEGER PRIMARY KEY, received_ms INTEGER NOT NULL, body BLOB NOT NULL, crc INTEGER);
CREATE TABLE IF NOT EXISTS event_ids (event_id TEXT PRIMARY KEY, received_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS archived (id INTEGER PRIMARY KEY CHECK (id = 0), stop INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS erasures (user_id TEXT NOT NULL, after TEXT NOT NULL, stop INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS erased (id INTEGER PRIMARY KEY CHECK (id = 0), turns INTEGER NOT NULL);
INSERT OR IGNORE INTO archived VALUES (0, 0);
INSERT OR IGNORE INTO erased VALUES (0, 0);
"""
)
ARCHIVED = "SELECT stop FROM archived"
PATIENCE_MS = 5_000
"""How long a statement waits for a lock."""
LAST = "SELECT offset, received_ms FROM records ORDER BY offset DESC LIMIT 1"
FROM_DAY = "SELECT offset FROM records WHERE received_ms >= ? ORDER BY offset LIMIT 1"
NEW_ID = "INSERT OR IGNORE INTO event_ids VALUES (?, ?)"
_BATCH = "SELECT offset, received_ms, body, {} FROM records WHERE offset >= ? AND offset < ? ORDER BY offset LIMIT ?"
_HAS_DIGESTS = "SELECT 1 FROM event_ids WHERE event_id >= ? AND event_id < ? LIMIT 1"
_PAGE = "SELECT offset FROM records WHERE substr(body, 1, length(:head)) = :head ORDER BY offset DESC LIMIT 1"
_RECORD = "INSERT INTO records VALUES (?, ?, ?, ?)"


Row = tuple[int, int, bytes | str, int | None]


def opened(
    path: Path, durability: Durability, archived: Callable[[], Iterable[Iterable[str]]] = tuple
) -> sqlite3.Connection:
    """A connection that writes, to tables of this format.

    Parameters
    ----------
    path : Path
    durability : {"full", "relaxed"}
    archived : callable
        Gives the people whom an archive of before knows by their ids, some at a time.
    """
    live = sqlite3.connect(path, PATIENCE_MS / 1e3, isolation_level=None, check_same_thread=False)
    try:
        found = live.execute("PRAGMA user_version").fetchone()[0]
        if found not in range(FORMAT + 1):
            raise LogError(f"{path} is of format {found}, not {FORMAT}.", "Open it with a newer Huozhao.")
        live.execute("PRAGMA journal_mode = WAL")
        live.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
        # What is deleted is overwritten: a person who is erased must be in no free page.
        live.execute("PRAGMA secure_delete = ON")
        if found < FORMAT:
            with transaction(live, path):
                _upgrade(live, found, archived())
        if found == 1:
            live.execute("VACUUM")
        live.execute(blocks.TABLE)
    except BaseException:
        live.close()
        raise
    return live


def _upgrade(live: sqlite3.Connection, found: int, archived: Iterable[Iterable[str]]) -> None:
    """Make the tables of this format of those of another, or of none."""
    if found == 1:
        live.execute("ALTER TABLE records ADD COLUMN crc INTEGER")
    for statement in filter(str.strip, _TABLES.split(";")):
        live.execute(statement)
    for some in archived:
        people.take_as_they_are(live, some)
    people.take_as_they_are(live, _named_by_records(live))
    live.execute(f"PRAGMA user_version = {FORMAT}")


def _named_by_records(live: sqlite3.Connection) -> Iterator[str]:
    for (body,) in live.execute("SELECT body FROM records"):
        # What cannot be read is told when the log is.
        with suppress(RecordError):
            yield people.who(decode(body))


def format_of(live: sqlite3.Connection) -> int:
    """The format of the tables."""
    found: int = live.execute("PRAGMA user_version").fetchone()[0]
    return found


def reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


@contextmanager
def transaction(live: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """All or nothing, durable when it is left."""
    with named(path), live:
        live.execute("BEGIN IMMEDIATE")
        yield live


def touch(live: sqlite3.Connection) -> None:
    """Write what stands there already: a transaction that changes nothing asks nothing of the disk."""
    live.execute(f"PRAGMA user_version = {FORMAT}")


def crc(offset: int, received_ms: int, body: bytes) -> int:
    """The checksum of a record in its place."""
    return zlib.crc32(body, (offset * 1_000_003 ^ received_ms) & 0xFFFF_FFFF)


def is_whole(row: Row) -> bool:
    """Whether a row is as it was written, as far as one can tell; damage may have changed its types as well."""
    offset, received_ms, body, check = row
    return check is None or (isinstance(body, bytes) and check == crc(offset, received_ms, body))


def put(
    live: sqlite3.Connection, first: int, now_ms: int, kept: Sequence[Written], bodies: Sequence[bytes]
) -> list[int | None]:
    """Insert records by their bodies from an offset on; the offset of each, None where its event id is known."""
    fresh = _fresh(live, now_ms, kept)
    offsets: list[int | None] = []
    at = first
    for is_fresh in fresh:
        offsets.append(at if is_fresh else None)
        at += is_fresh
    live.executemany(
        _RECORD,
        [
            (offset, now_ms, body, crc(offset, now_ms, body))
            for offset, body in zip(offsets, bodies, strict=True)
            if offset is not None
        ],
    )
    return offsets


def _fresh(live: sqlite3.Connection, now_ms: int, kept: Sequence[Written]) -> list[bool]:
    """Take up the event ids of records; which records bring none that is there already."""
    ids = [(one.record.event_id, now_ms) for one in kept if isinstance(one.record, Event)]
    live.execute("SAVEPOINT ids")
    taken = live.executemany(NEW_ID, ids).rowcount if ids else 0
    digests = live.execute(_HAS_DIGESTS, (DIGEST, chr(ord(DIGEST) + 1))).fetchone() is not None
    if taken == len(ids) and not digests:
        live.execute("RELEASE ids")
        return [True] * len(kept)
    # One or more came again: only now is it asked which.
    live.execute("ROLLBACK TO ids")
    found = [not isinstance(one.record, Event) or _is_new(live, one.record.event_id, now_ms, digests) for one in kept]
    live.execute("RELEASE ids")
    return found


def _is_new(live: sqlite3.Connection, event_id: str, now_ms: int, digests: bool) -> bool:
    if digests and live.execute("SELECT 1 FROM event_ids WHERE event_id = ?", (digest(event_id),)).fetchone():
        return False
    return bool(live.execute(NEW_ID, (event_id, now_ms)).rowcount)


def rows(live: sqlite3.Connection, path: Path, start: int, stop: int, most: int) -> list[Row]:
    """At most so many rows from an offset on."""
    with named(path, start):
        checked = format_of(live) >= 2
        found: list[Row] = live.execute(_BATCH.format("crc" if checked else "NULL"), (start, stop, most)).fetchall()
    return found


def page(live: sqlite3.Connection, request_id: str) -> int | None:
    """The offset of the last page that was served under a request's name."""
    head = encode(Served(request_id, 0, 0)).partition(b',"ts_ms"')[0]
    found = live.execute(_PAGE, {"head": head}).fetchone()
    return None if found is None else int(found[0])


def stored(path: Path, found: Sequence[Row]) -> list[Stored]:
    """The records of rows, which follow each other.

    Raises
    ------
    LogError
        Naming the first offset whose record is missing, or not as it was written.
    """
    records = []
    for expected, (offset, received_ms, body, check) in enumerate(found, found[0][0]):
        if offset != expected:
            raise LogError(f"{path} has lost the record at offset {expected}.", REPAIR)
        if not is_whole((offset, received_ms, body, check)):
            raise LogError(f"{path}, offset {offset}: the record is not as it was written.", REPAIR)
        try:
            records.append(Stored(offset, received_ms, decode(body)))
        except RecordError as error:
            raise LogError(f"{path}, offset {offset}: {error.what}", REPAIR) from error
    return records


def drop_archived(live: sqlite3.Connection) -> bool:
    """Delete a piece of the records that are archived; whether there was one."""
    piece = "DELETE FROM records WHERE offset < min((SELECT stop FROM archived), (SELECT min(offset) FROM records) + ?)"
    more = live.execute(piece, (PIECE,)).rowcount > 0
    blocks.drop_archived(live)
    return more


def drop_old_ids(live: sqlite3.Connection, after: str, since_ms: int) -> str | None:
    """Forget event ids of before a time, a piece of the table at a time; the last id looked at, None at the end."""
    next_ids = "SELECT max(event_id) FROM (SELECT event_id FROM event_ids WHERE event_id > ? ORDER BY event_id LIMIT ?)"
    last: str | None = live.execute(next_ids, (after, PIECE)).fetchone()[0]
    if last is not None:
        old = "DELETE FROM event_ids WHERE event_id > ? AND event_id <= ? AND received_ms < ?"
        live.execute(old, (after, last, since_ms))
    return last
