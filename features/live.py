"""The log of a home: the Parquet archive, then a live part in SQLite, read as one.

Records go to the live part and are durable when ``append`` returns; ``archive`` moves whole received days on. A
record is published in the archive before it leaves the live part, and the archive is always read first, so that every
reader sees each record once, whenever either side stops.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock, RLock
from types import TracebackType
from typing import IO, Self

import pyarrow as pa
import pyarrow.compute as pc

from features import rows
from features.archive import Archive
from features.erase import Erasure
from features.errors import LogError, RecordError
from features.guards import REPAIR, locked, named, written
from features.log import BATCH_ROWS, DAY_MS, SCHEMA, day_name, from_batch, sync_folder, to_batch
from features.records import FUTURE_MS, LATE_MS, Decision, Record, Served, Written
from features.rows import Durability

LAST_MS = 1 << 46
"""The last moment that a record may be received at, as it is the last that one may be stamped with."""
KEPT_MS = LATE_MS + 2 * FUTURE_MS
"""How long event ids are kept: an event sent again after that is late, though its clock, and then ours, ran ahead."""


class HomeLog:
    """An ``EventLog`` in a folder; safe to use from many threads.

    Parameters
    ----------
    folder : Path
        Holds ``archive/``, ``live.sqlite`` and ``lock``; made by the first writer.
    writer : bool
        Whether to append. One writer at a time; readers may read while it writes, from any process.
    durability : {"full", "relaxed"}
        Whether an append waits until the disk holds it.

    Raises
    ------
    LogError
        If another writer holds the folder, a reader finds no log, or a file is not as it was written.
    """

    def __init__(self, folder: Path, *, writer: bool, durability: Durability = "full") -> None:
        self._folder = folder
        self._path = folder / "live.sqlite"
        self._archive = Archive(folder / "archive")
        self._lock, self._archiving = RLock(), Lock()
        self._held: IO[str] | None = None
        self._writer: sqlite3.Connection | None = None
        self._end = self._last_ms = 0
        self.has_scrubbed = False
        if writer:
            self._open(durability)
        elif not self._path.is_file():
            raise LogError(f"There is no log in {folder}.", "Import or simulate one, or name another home.")

    def _open(self, durability: Durability) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._held = locked(self._folder)
            with named(self._path):
                self._writer = rows.opened(self._path, durability)
            self._follow_archive()
            self._drop_archived()
            self.has_scrubbed = self.scrub()
        except BaseException:
            self.close()
            raise
        # The first commit made the write-ahead file; from here on it outlives a power cut.
        for folder in (self._folder, self._folder.parent):
            sync_folder(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; nothing is lost without it."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if self._held is not None:
                self._held.close()
                self._held = None

    @property
    def last_ms(self) -> int:
        """When the last record was received, as a writer knows it; no later one will be before it."""
        return self._last_ms

    def end(self) -> int:
        """The offset that the next record will get."""
        if self._writer is not None:
            return self._end
        with named(self._path), closing(self._reader()) as live:
            # The live part first: what leaves it in between is in the archive.
            last, archived = live.execute(rows.LAST).fetchone(), live.execute(rows.ARCHIVED).fetchone()[0]
            return max(last[0] + 1 if last else 0, self._archive_end(archived))

    def append(self, records: Sequence[Record], received_ms: int) -> list[int | None]:
        """Keep records durably, in order, all or none; a clock that runs back stands still instead.

        Parameters
        ----------
        records : sequence of Record
        received_ms : int

        Returns
        -------
        list of int or None
            The offset of each, None where an event of that ``event_id`` is in the log already.

        Raises
        ------
        LogError
            If the records could not be kept; none of them was.
        RecordError
            If one would not be read again as it is, naming it, or ``received_ms`` is no moment; none was kept.
        """
        return self.append_written([written(record) for record in records], received_ms)

    def append_written(self, kept: Sequence[Written], received_ms: int) -> list[int | None]:
        """As ``append``, of records that are encoded already."""
        if type(received_ms) is not int or not 0 <= received_ms <= LAST_MS:
            raise RecordError(f"received_ms is {received_ms!r}.", "Give whole milliseconds since 1970 UTC.")
        with self._lock:
            now_ms = max(received_ms, self._last_ms)
            with rows.transaction(self._live, self._path) as live:
                offsets = rows.put(live, self._end, now_ms, kept)
            if count := len(offsets) - offsets.count(None):
                self._end, self._last_ms = self._end + count, now_ms
            return offsets

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of ``SCHEMA`` with the records start <= offset < stop, in order, up to the end as of now."""
        at, end = max(start, 0), self.end()
        stop = end if stop is None else min(stop, end)
        if at >= stop:
            return
        with closing(self._reader()) as live:
            while at < stop:
                for batch in self._archive.read(at, stop):
                    yield batch
                    at += len(batch)
                if at == stop:
                    return
                found = rows.rows(live, self._path, at, stop, BATCH_ROWS)
                if found and found[0][0] == at:
                    yield to_batch(rows.stored(self._path, found))
                    at += len(found)
                elif self._archive.end() <= at:
                    raise LogError(f"{self._path} has lost the record at offset {at}.", REPAIR)

    def since(self, received_ms: int) -> int:
        """An offset before which all was received before the UTC day of a moment; the first where no day is told."""
        day, end = day_name(received_ms), self.end()
        for first, _, path in self._archive.files():
            if path.parent.name >= day:
                return first
        with named(self._path), closing(self._reader()) as live:
            found = live.execute(rows.FROM_DAY, (received_ms // DAY_MS * DAY_MS,)).fetchone()
        return int(found[0]) if found else end

    def page(self, request_id: str, *, archived: bool = True) -> tuple[Served, Decision | None] | None:
        """The last page that was served under a request's name, and what was kept of its decision.

        Parameters
        ----------
        request_id : str
        archived : bool
            Whether the archive is looked at too, day after day from the last.
        """
        with named(self._path), closing(self._reader()) as live:
            at = rows.page(live, request_id)
        if at is None and archived:
            at = self._archive.page(request_id)
        if at is None:
            return None
        found = [one.record for batch in self.read(at, at + 2) for one in from_batch(batch)]
        kept = found[1] if len(found) > 1 else None
        if not isinstance(found[0], Served):
            raise LogError(f"{self._folder}, offset {at}: there is no served page.", REPAIR)
        return found[0], kept if isinstance(kept, Decision) and kept.request_id == request_id else None

    def archive(self, before_ms: int) -> int:
        """Move whole received UTC days before a moment to the Parquet archive; returns the number of records moved."""
        with self._archiving:
            with self._lock, named(self._path):
                kept = self._live.execute(rows.FROM_DAY, (before_ms // DAY_MS * DAY_MS,)).fetchone()
                first, stop = self._archive.end(), kept[0] if kept else self._end
            if stop > first:
                self._archive.write(pa.Table.from_batches(self.read(first, stop), SCHEMA))
            with self._lock:
                self._follow_archive(known=stop)
            self._drop_archived()
            return max(stop - first, 0)

    def import_tables(self, tables: Iterable[pa.Table]) -> int:
        """Put records in bulk straight into the archive, which they continue; returns the end.

        Parameters
        ----------
        tables : iterable of pa.Table
            Of ``features.log.UNPLACED``, sorted by received_ms within and between tables.

        Raises
        ------
        LogError
            If the live part holds records, or tables are not sorted; what came before the fault stays.
        """
        with self._archiving, self._lock:
            with named(self._path):
                last = self._live.execute(rows.LAST).fetchone()
            if last:
                raise LogError(f"The log in {self._folder} is live already.", "Import into a home of its own.")
            try:
                for table in tables:
                    if len(table) and table["received_ms"][0].as_py() < self._last_ms:
                        raise LogError("A table to import begins before the log's last record.", "Sort the tables.")
                    self._archive.extend(table)
                    self._last_ms = table["received_ms"][-1].as_py() if len(table) else self._last_ms
            finally:
                self._follow_archive()
            return self._end

    def begin_erasing(self, erasure: Erasure) -> None:
        """Remember durably whom to erase; ``scrub`` does it, and the next writer if this one cannot."""
        with self._lock, rows.transaction(self._live, self._path) as live:
            rows.begin(live, erasure)

    def scrub(self) -> bool:
        """Take everybody who is to be erased out of every file of the log; whether there was anybody.

        Raises
        ------
        LogError
            If a file could not be written, or a reader kept the write-ahead file; the next writer tries again.
        """
        with self._archiving:
            with named(self._path):
                found = self._live.execute("SELECT user_id, after, stop FROM erasures").fetchall()
            for erasure in map(Erasure._make, found):
                with self._lock, rows.transaction(self._live, self._path) as live:
                    rows.hide_ids(live, self._archive.events_of(erasure))
                self._archive.rewrite(erasure)
                with self._lock, rows.transaction(self._live, self._path) as live:
                    rows.scrub(live, erasure)
            if found:
                with self._lock, named(self._path):
                    busy = self._live.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if busy:
                    raise LogError(f"{self._path}: a reader keeps the write-ahead file.", "It is emptied when it ends.")
            return bool(found)

    def erasures(self) -> int:
        """Grows when an erasure begins and when it ends: what was read over a change may hold who was erased."""
        with named(self._path), closing(self._reader()) as live:
            if live.execute("PRAGMA user_version").fetchone()[0] < rows.FORMAT:
                return 0
            turns: int = live.execute("SELECT turns FROM erased").fetchone()[0]
            return turns

    @property
    def _live(self) -> sqlite3.Connection:
        if self._writer is None:
            raise LogError(f"The log in {self._folder} is not open for writing.", "Open it with writer=True.")
        return self._writer

    def _reader(self) -> sqlite3.Connection:
        with named(self._path):
            # A connection of its own for every reading: a generator may end in another thread than it began.
            return rows.reader(self._path)

    def _archive_end(self, stop: int) -> int:
        """The end of the archive, which held the records before ``stop`` once."""
        end = self._archive.end()
        if end < stop:
            raise LogError(f"The archive in {self._folder} ends at {end}, not {stop}.", "Restore its last files.")
        return end

    def _follow_archive(self, known: int | None = None) -> None:
        """Drop what is archived from the live part, and remember the event ids of records from ``known`` on."""
        archive = self._folder / "archive"
        for folder in (archive, self._folder) if archive.is_dir() else ():
            # A day's folder may be new: its name must outlive a power cut before the live part lets go.
            sync_folder(folder)
        with rows.transaction(self._live, self._path) as live:
            stop = live.execute(rows.ARCHIVED).fetchone()[0]
            end = self._archive_end(stop)
            last = live.execute(rows.LAST).fetchone()
            if last is None or last[0] < end:
                tail = list(self._archive.read(end - 1, end))
                last = (end - 1, tail[-1]["received_ms"][-1].as_py() if tail else 0)
            since_ms = last[1] - KEPT_MS
            for batch in self._archive.read(stop if known is None else known, end):
                fresh = pc.and_(pc.not_equal(batch["event_id"], ""), pc.greater_equal(batch["received_ms"], since_ms))
                ids = batch.select(["event_id", "received_ms"]).filter(fresh)
                live.executemany(rows.NEW_ID, zip(*(column.to_pylist() for column in ids.columns), strict=True))
            live.execute("UPDATE archived SET stop = ?", (end,))
        self._end, self._last_ms = last[0] + 1, last[1]

    def _drop_archived(self) -> None:
        """Delete what is archived and ids that are old from the live part, in pieces, so that appends go on between."""
        more = True
        last_id: str | None = ""
        while more:
            with self._lock, rows.transaction(self._live, self._path) as live:
                more = rows.drop_archived(live)
        while last_id is not None:
            with self._lock, rows.transaction(self._live, self._path) as live:
                last_id = rows.drop_old_ids(live, last_id, self._last_ms - KEPT_MS)
