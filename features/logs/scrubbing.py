"""Taking people out of the files of a log: who was erased, and the contexts of who cleared their history."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from threading import Event

from features.errors import LogError
from features.logs import erasing, rows
from features.logs.archive import Archive
from features.logs.erase import Erasure
from features.logs.guards import named

WAL_TRIES, WAL_REST_S = 500, 0.01
"""How often the write-ahead file is tried to be emptied, and how long appends have between two tries."""


class Scrubber:
    """Scrubs one log, whose archive nobody else writes meanwhile.

    Parameters
    ----------
    path : Path
        The live part.
    archive : Archive
    lock : context manager
        Held by whoever writes to the live part.
    live, reader : callable
        The connection that writes, and a new one that only reads.
    """

    def __init__(
        self,
        path: Path,
        archive: Archive,
        lock: AbstractContextManager[object],
        live: Callable[[], sqlite3.Connection],
        reader: Callable[[], sqlite3.Connection],
    ) -> None:
        self._path, self._archive, self._lock = path, archive, lock
        self._live, self._reader = live, reader

    def scrub(self) -> bool:
        """Scrub all that is due, in every file; whether anybody was erased.

        Raises
        ------
        LogError
            If a file could not be written, or a reader kept the write-ahead file.
        """
        with named(self._path):
            found = self._live().execute(erasing.DUE).fetchall()
        if not found:
            return False
        erasures = [Erasure._make(one) for one in found]
        self._archive.rewrite(erasures, self._hide)
        # Looked for without the lock, so that appends go on: nothing else changes what is there already.
        with named(self._path), closing(self._reader()) as beside:
            offsets = erasing.of_people(beside, erasures)
        for at in range(0, len(offsets), erasing.SCRUBBED):
            with self._lock, rows.transaction(self._live(), self._path) as live:
                erasing.scrub(live, erasures, offsets[at : at + erasing.SCRUBBED])
        # Not ended before no file holds them: who is cut short here, by a reader or a kill, finds it due again.
        with self._lock, rows.transaction(self._live(), self._path) as live:
            nameless = erasing.unname(live, erasures)
        self._empty_wal()
        with self._lock, rows.transaction(self._live(), self._path) as live:
            erasing.end(live, nameless)
        return any(erasure.after for erasure in erasures)

    def _hide(self, event_ids: Sequence[str]) -> None:
        with self._lock, rows.transaction(self._live(), self._path) as live:
            erasing.hide_ids(live, event_ids)

    def _empty_wal(self) -> None:
        """Empty the write-ahead file once no reader is within it; appends go on between the tries."""
        between = Event()
        for _ in range(WAL_TRIES):
            with self._lock, named(self._path):
                live = self._live()
                live.execute("PRAGMA busy_timeout = 0")
                try:
                    busy = live.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                finally:
                    live.execute(f"PRAGMA busy_timeout = {rows.PATIENCE_MS}")
            if not busy:
                return
            between.wait(WAL_REST_S)
        raise LogError(f"{self._path}: a reader keeps the write-ahead file.", "It is emptied when it ends.")
