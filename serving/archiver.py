"""What the log's files are due while a server runs: past days move to the archive, cleared histories lose contexts."""

import logging
from collections.abc import Callable

from features.errors import HuozhaoError
from ranking.engine import Engine
from serving.watch import Watch

ARCHIVE_EVERY_S = 60
"""How long the archiver rests: a day that has ended, and a history that was cleared, wait at most so long."""

_log = logging.getLogger(__name__)


class Archiver(Watch):
    """Moves the UTC days before the current one, and scrubs, at its start and each minute, in a thread of its own.

    Parameters
    ----------
    engine : Engine
        Opened as the writer.
    now_ms : callable
        The clock.
    """

    def __init__(self, engine: Engine, now_ms: Callable[[], int]) -> None:
        super().__init__("archiver", ARCHIVE_EVERY_S)
        self._engine = engine
        self._now_ms = now_ms

    def _look(self) -> None:
        try:
            moved = self._engine.archive(self._now_ms())
            self._engine.scrub()
        except (HuozhaoError, OSError):
            # Served pages do not need the archive: the fault is told, and the next look tries again.
            _log.exception("Received days could not be archived, or scrubbed; tried again in %d s", ARCHIVE_EVERY_S)
        else:
            if moved:
                _log.info("%d records of past days moved to the archive", moved)
