"""What an engine writes down: records that come in, pages that go out, and who is erased."""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from features import snapshot
from features.errors import LogError
from features.logs.erase import scrubbed_page
from features.logs.guards import written
from features.logs.live import HomeLog
from features.logs.log import Stored, to_batch
from features.records import FUTURE_MS, Decision, Erase, Record, Served, Written
from ranking.api import Ack
from ranking.mixing.commerce_load import Waiting
from ranking.request.intake import acknowledged, checked

SERVED_KEPT = 256
"""Served pages wait in memory for the next append; the one that makes it so many writes them all down."""
MOST_SERVED = 64 * SERVED_KEPT
"""So many wait where the log takes nothing; then pages are refused, as memory has an end and each page a record."""

_log = logging.getLogger(__name__)


class Journal:
    """The log of a home as its one writer uses it. Safe to call from many threads.

    Parameters
    ----------
    log : HomeLog
    states : Path
        Where snapshots are kept: who is erased is in none of them.
    fold : callable
        Takes in what the log has taken, before it is acknowledged, with the pages among it that had waited.

    Attributes
    ----------
    writing : RLock
        Held while anything is appended: for who holds it the log stands still.
    waiting : Waiting
        Counts of the pages that wait for the log; who takes them in removes them.
    """

    def __init__(self, log: HomeLog, states: Path, fold: Callable[[pa.RecordBatch, Sequence[Served]], None]) -> None:
        self._log, self._states, self._fold = log, states, fold
        self.writing = threading.RLock()
        self.waiting = Waiting()
        self._lock = threading.Lock()
        self._served: list[tuple[Served, Decision | None]] = []
        self._erased: dict[str, int] = {}

    def append(self, records: Sequence[Record], received_ms: int) -> tuple[Ack, ...]:
        """``Engine.append``: the pages that wait are written down before the records."""
        found = [checked(record, received_ms) for record in records]
        good = [one for one in found if not isinstance(one, str)]
        with self.writing:
            behind = self._log.last_ms - received_ms
            if behind > FUTURE_MS:
                what = f"The clock is {behind / 1000:.0f} s behind the log's last record ({self._log.last_ms} ms)."
                raise LogError(what, "Set the clock; if it ran ahead before, begin a new home.")
            pages = tuple(self._served)
            served = [written(record) for page in pages for record in page if record is not None]
            offsets = self._keep([*served, *good], [page for page, _ in pages], received_ms)[len(served) :]
            with self._lock:
                del self._served[: len(pages)]
        placed = iter(offsets)
        return tuple(
            Ack("rejected", error=one) if isinstance(one, str) else acknowledged(next(placed)) for one in found
        )

    def _keep(self, kept: Sequence[Written], pages: Sequence[Served], received_ms: int) -> list[int | None]:
        received_ms = max(received_ms, self._log.last_ms)
        offsets = self._log.append_written(kept, received_ms)
        placed = [Stored(at, received_ms, *one) for at, one in zip(offsets, kept, strict=True) if at is not None]
        if placed:
            self._fold(to_batch(placed), pages)
        return offsets

    def write_down(self, page: Served, decision: Decision | None) -> None:
        """Let a page wait for the log, with what is kept of its decision right behind it.

        Raises
        ------
        LogError
            If more wait than may, and the log takes none of them.
        """
        if len(self._served) >= MOST_SERVED:
            # Before it counts as served: who asked is refused.
            self.flush()
        with self._lock:
            kept = self._without_erased(page, decision)
            self.waiting.add(kept[0])
            self._served.append(kept)
            waiting = len(self._served)
        # While another bundle is taken up pages go on, and wait for the log a little longer.
        if waiting % SERVED_KEPT == 0 and self.writing.acquire(blocking=False):
            try:
                self.flush()
            except LogError:
                # A full disk is no reason to show nothing; what is sent meanwhile is refused by name.
                _log.exception("Pages that were served could not be written down yet")
            finally:
                self.writing.release()

    def _without_erased(self, page: Served, decision: Decision | None) -> tuple[Served, Decision | None]:
        """A page whose person was erased while it was made names neither them nor what it was chosen from."""
        if page.read_offset >= self._erased.get(page.user_id, 0):
            return page, decision
        return scrubbed_page(page, ""), None

    def flush(self) -> None:
        """Write down the pages that still wait for the log, as received when the last of them was asked for.

        A page may be asked for as of an earlier moment than the log's last record: its own time stays in it.
        """
        if waiting := tuple(self._served):
            self.append((), max(self._log.last_ms, *(page.ts_ms for page, _ in waiting)))

    def forget(self, user_id: str, now_ms: int, rename: Callable[[str, str], None]) -> Ack:
        """Begin to erase a person, durably: from here on nothing is written down under their name.

        Parameters
        ----------
        user_id : str
        now_ms : int
        rename : callable
            Gives the person's row in the state, by id, the name that their records go on under.
        """
        with self.writing:
            (ack,) = self.append([Erase(user_id, now_ms)], now_ms)
            rename(user_id, self._log.begin_erasing(user_id))
            with self._lock:
                self._erased[user_id] = self._log.end()
                # Pages that were written down since the append.
                self.waiting.remove(page for page, _ in self._served)
                self._served = [self._without_erased(*page) for page in self._served]
                for page, _ in self._served:
                    self.waiting.add(page)
        return ack

    def scrub(self) -> None:
        """Take who is to be erased out of the log and all snapshots.

        Raises
        ------
        LogError
            If an id could not be taken out everywhere; the home's next start does the rest.
        """
        try:
            snapshot.clear(self._states)
            self._log.scrub()
        finally:
            # One may have been taken meanwhile, of the log as it was.
            snapshot.clear(self._states)
