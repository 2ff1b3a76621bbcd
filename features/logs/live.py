"""Writing the log of a home: a live part in SQLite, and the Parquet archive that whole days move on to.

Records go to the live part and are durable when ``append`` returns; ``archive`` moves whole received days on. A
record is published in the archive before it leaves the live part, and the archive is always read first, so that every
reader sees each record once, whenever either side stops.
"""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock, RLock
from types import TracebackType
from typing import IO, Self

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import LogError, RecordError
from features.logs import erasing, people, rows
from features.logs.blocks import Blocks
from features.logs.erase import Erasure
from features.logs.guards import locked, named, written
from features.logs.log import DAY_MS, SCHEMA, sync_folder
from features.logs.reading import LogReader
from features.logs.rows import Durability
from features.logs.scrubbing import Scrubber
from features.records import FUTURE_MS, LATE_MS, Control, Record, Written

LAST_MS = 1 << 46
"""The last moment that a record may be received at, as it is the last that one may be stamped with."""
KEPT_MS = LATE_MS + 2 * FUTURE_MS
"""How long event ids are kept: an event sent again after that is late, though its clock, and then ours, ran ahead."""


class HomeLog(LogReader):
    """An ``EventLog`` in a folder; safe to use from many threads.

    Parameters
    ----------
    folder : Path
        Holds ``archive/``, ``live.sqlite`` and ``lock``; made by the first writer.
    writer : bool
        Whether to append. One writer at a time; readers may read while it writes, from any process.
    durability : {"full", "relaxed"}
        Whether an append waits until the disk holds it.
    by_ids : bool
        Whether people are read by the ids that callers gave, or by the names that the files hold.

    Raises
    ------
    LogError
        If another writer holds the folder, a reader finds no log, or a file is not as it was written.
    """

    def __init__(self, folder: Path, *, writer: bool, durability: Durability = "full", by_ids: bool = True) -> None:
        super().__init__(folder, by_ids=by_ids)
        self._lock, self._archiving = RLock(), Lock()
        self._scrubber = Scrubber(self._path, self._archive, self._lock, lambda: self._live, self._reader)
        self._held: IO[str] | None = None
        self._writer: sqlite3.Connection | None = None
        self._end = self._last_ms = 0
        self._names: dict[str, str] = {}
        self._dropped_day = -1
        self._blocks = Blocks()
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
                self._writer = rows.opened(self._path, durability, self._archive.people)
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
        return super().end() if self._writer is None else self._end

    def append(self, records: Sequence[Record], received_ms: int) -> list[int | None]:
        """Keep records durably, in order, all or none; a clock that runs back stands still instead.

        To keep none shows whether the log takes any: the disk is written to and waited for all the same.

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
                names = self._named({user_id for one in kept if (user_id := people.who(one.record))})
                bodies = [people.named(one, names) for one in kept]
                if not kept:
                    rows.touch(live)
                offsets = rows.put(live, self._end, now_ms, kept, bodies)
                theirs = [names.get(people.who(one.record), "") for one in kept]
                self._blocks.take(
                    live, self._end, [name for name, at in zip(theirs, offsets, strict=True) if at is not None]
                )
                for offset, one in zip(offsets, kept, strict=True):
                    if isinstance(one.record, Control) and one.record.command == "clear_history" and offset is not None:
                        erasing.begin(live, Erasure(names[one.record.user_id], "", offset))
            self._remember(names)
            if count := len(offsets) - offsets.count(None):
                self._end, self._last_ms = self._end + count, now_ms
            return offsets

    def archive(self, before_ms: int) -> int:
        """Move whole received UTC days before a moment to the Parquet archive; returns the number of records moved."""
        with self._archiving:
            with self._lock, named(self._path):
                kept = self._live.execute(rows.FROM_DAY, (before_ms // DAY_MS * DAY_MS,)).fetchone()
                first, stop = self._archive.end(), kept[0] if kept else self._end
            day = max(before_ms, self._last_ms) // DAY_MS
            if stop <= first and day == self._dropped_day:
                return 0
            if stop > first:
                with closing(self._reader()) as live:
                    self._archive.write(pa.Table.from_batches(self._kept(live, first, stop), SCHEMA))
            with self._lock:
                self._follow_archive(known=stop)
            self._drop_archived()
            # What is old is gone, and what another left when it was killed: until a day is over there is no more.
            self._dropped_day = day
            return max(stop - first, 0)

    def import_tables(self, tables: Iterable[pa.Table]) -> int:
        """Put records in bulk straight into the archive, which they continue; returns the end.

        Parameters
        ----------
        tables : iterable of pa.Table
            Of ``features.logs.log.UNPLACED``, sorted by received_ms within and between tables.

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
                    with rows.transaction(self._live, self._path):
                        names = self._named(set(table["user_id"].unique().to_pylist()) - {""})
                    self._archive.extend(people.named_table(table, names))
                    self._last_ms = table["received_ms"][-1].as_py() if len(table) else self._last_ms
            finally:
                self._follow_archive()
            return self._end

    def begin_erasing(self, user_id: str) -> str:
        """Cut the link to a person, and remember durably to scrub their records; ``scrub`` does it, or the next writer.

        Returns
        -------
        str
            The name that their records go on under.
        """
        with self._lock, rows.transaction(self._live, self._path) as live:
            name = people.enrolled(live, [user_id])[user_id]
            after = people.drawn_name() if name == user_id else name
            people.forget(live, user_id)
            erasing.begin(live, Erasure(name, after, self._end))
            self._names.pop(user_id, None)
        return after

    def scrub(self) -> bool:
        """Scrub the records of who was erased or cleared their history, in every file; whether anybody was erased.

        Raises
        ------
        LogError
            If a file could not be written, or a reader kept the write-ahead file; the next writer tries again.
        """
        with self._archiving:
            return self._scrubber.scrub()

    def _named(self, user_ids: Collection[str]) -> dict[str, str]:
        """The names of people, drawn now for those who have none; within a transaction."""
        unknown = [user_id for user_id in user_ids if user_id not in self._names]
        return people.enrolled(self._live, unknown) | {one: self._names[one] for one in user_ids if one in self._names}

    def _remember(self, names: Mapping[str, str]) -> None:
        """Keep names at hand that are durable now."""
        if len(self._names) > people.AT_HAND:
            self._names.clear()
        self._names |= names

    @property
    def _live(self) -> sqlite3.Connection:
        if self._writer is None:
            raise LogError(f"The log in {self._folder} is not open for writing.", "Open it with writer=True.")
        return self._writer

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
