"""Whole received days move to the archive while a server runs, so that the live part of a log stays small."""

import logging
import threading
from collections.abc import Callable

from features.errors import HuozhaoError
from ranking.engine import Engine

ARCHIVE_EVERY_S = 3600
"""How long the archiver rests: a day that has ended waits at most so long."""

_log = logging.getLogger(__name__)


class Archiver:
    """Moves the UTC days before the current one at its start and once an hour, in a thread of its own.

    Parameters
    ----------
    engine : Engine
        Opened as the writer.
    now_ms : callable
        The clock.
    """

    def __init__(self, engine: Engine, now_ms: Callable[[], int]) -> None:
        self._engine = engine
        self._now_ms = now_ms
        self._told_to_stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archiver")

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Return when nothing moves any more."""
        self._told_to_stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._told_to_stop.is_set():
            try:
                moved = self._engine.archive(self._now_ms())
            except (HuozhaoError, OSError):
                # Served pages do not need the archive: the fault is told, and the next hour tries again.
                _log.exception("Received days could not be archived; tried again in %d s", ARCHIVE_EVERY_S)
            else:
                if moved:
                    _log.info("%d records of past days moved to the archive", moved)
            self._told_to_stop.wait(ARCHIVE_EVERY_S)
