"""Reading the log of a home: the Parquet archive, then a live part in SQLite, as one, while another may write it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from features.errors import LogError
from features.logs import people, rows
from features.logs.archive import Archive
from features.logs.guards import REPAIR, named
from features.logs.log import BATCH_ROWS, DAY_MS, day_name, from_batch, to_batch
from features.records import Decision, Served


class LogReader:
    """What can be read of a log in a folder; safe to use from many threads.

    Parameters
    ----------
    folder : Path
        Holds ``archive/`` and ``live.sqlite``.
    by_ids : bool
        Whether people are told by the ids that callers gave, or by the names that the files hold.
    """

    def __init__(self, folder: Path, *, by_ids: bool = True) -> None:
        self._folder = folder
        self._path = folder / "live.sqlite"
        self._archive = Archive(folder / "archive")
        self._by_ids = by_ids

    def end(self) -> int:
        """The offset that the next record will get."""
        with named(self._path), closing(self._reader()) as live:
            # The live part first: what leaves it in between is in the archive.
            last, archived = live.execute(rows.LAST).fetchone(), live.execute(rows.ARCHIVED).fetchone()[0]
            return max(last[0] + 1 if last else 0, self._archive_end(archived))

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of ``SCHEMA`` with the records start <= offset < stop, in order, up to the end as of now."""
        at, end = max(start, 0), self.end()
        stop = end if stop is None else min(stop, end)
        if at >= stop:
            return
        with closing(self._reader()) as live:
            told = self._told(live)
            for batch in self._kept(live, at, stop):
                with named(self._path):
                    by_ids = told.batch(batch)
                yield by_ids

    def user_ids(self, names: Sequence[str]) -> list[str]:
        """The ids of people by their names in the log, in order; whom nothing links to an id keeps the name."""
        with named(self._path), closing(self._reader()) as live:
            return self._told(live).ids(names)

    def names(self, user_ids: Sequence[str]) -> list[str]:
        """The names of people in the log by their ids, in order; who has none keeps the id."""
        with named(self._path), closing(self._reader()) as live:
            return self._told(live).names(user_ids)

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

    def erasures(self) -> int:
        """Grows when an erasure begins and when it ends: what was read over a change may hold who was erased."""
        with named(self._path), closing(self._reader()) as live:
            if rows.format_of(live) < 2:
                return 0
            turns: int = live.execute("SELECT turns FROM erased").fetchone()[0]
            return turns

    def _kept(self, live: sqlite3.Connection, at: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Batches as the files hold them, people by their names."""
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

    def _told(self, live: sqlite3.Connection) -> people.Told:
        return people.Told(live if self._by_ids and rows.format_of(live) >= rows.FORMAT else None)

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
