"""One thread writes for everybody: what came while it wrote goes into the next write, and shares its fsync."""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Sequence
from typing import NamedTuple

from features.errors import HuozhaoError
from features.records import Record
from ranking.api import Ack
from ranking.engine import Engine
from serving.clock import Clock
from serving.errors import OverloadedError

GROUP_RECORDS = 1000
"""A group is closed when it holds so many: its fold is one hold of the engine's mutex, for which pages wait."""
MOST_WAITING = 100_000
"""Records that wait to be kept at most: a disk that stands still must not fill the memory."""
REST_S, REST_AFTER_FAULT_S = 0.1, 1.0
"""Pages that were served wait no longer than this to be written down, so that no request has to do it."""

_log = logging.getLogger(__name__)
Acks = tuple[Ack, ...]


class Batch(NamedTuple):
    """Records of one request, and where it waits for what became of them."""

    records: Sequence[Record]
    loop: asyncio.AbstractEventLoop
    acks: "asyncio.Future[Acks]"

    def settle(self, outcome: Acks | Exception) -> None:
        """Tell the request, unless it has gone."""

        def tell() -> None:
            if self.acks.done():
                return
            if isinstance(outcome, Exception):
                self.acks.set_exception(outcome)
            else:
                self.acks.set_result(outcome)

        # A loop that has closed took the request with it.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(tell)


class Writer:
    """Appends the records of many requests in groups, in the order they came.

    Parameters
    ----------
    engine : Engine
        Opened as the writer.
    now_ms : callable
        The clock.
    """

    def __init__(self, engine: Engine, now_ms: Clock) -> None:
        self._engine = engine
        self._now_ms = now_ms
        self._waiting: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._rest_s = REST_S
        self._records = 0
        self._thread = threading.Thread(target=self._run, name="writer")

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Return when all that waits is written."""
        self._waiting.put(None)
        self._thread.join()

    async def append(self, records: Sequence[Record]) -> Acks:
        """What became of each record; they are durable and folded by then.

        Raises
        ------
        LogError
            If they could not be kept; none of them was.
        OverloadedError
            If too many wait before them; none of them was taken.
        """
        if records and self._records and self._records + len(records) > MOST_WAITING:
            raise OverloadedError(f"{self._records} records wait to be kept.", "Send these again later.")
        loop = asyncio.get_running_loop()
        batch = Batch(records, loop, loop.create_future())
        self._records += len(records)
        self._waiting.put(batch)
        try:
            return await batch.acks
        finally:
            self._records -= len(records)

    def _run(self) -> None:
        told_to_stop = False
        while not told_to_stop:
            group, told_to_stop = self._group()
            if group:
                self._write(group)
            else:
                self._flush()

    def _group(self) -> tuple[list[Batch], bool]:
        """What waits, in order, at most a group of it; and whether it was the last."""
        group: list[Batch] = []
        try:
            found = self._waiting.get(timeout=self._rest_s)
            while found is not None:
                group.append(found)
                if sum(len(batch.records) for batch in group) >= GROUP_RECORDS:
                    return group, False
                found = self._waiting.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _write(self, group: Sequence[Batch]) -> None:
        try:
            acks = self._engine.append([record for batch in group for record in batch.records], self._now_ms())
        except Exception as error:  # noqa: BLE001  # the requests raise it again, where it is named and logged
            for batch in group:
                batch.settle(error)
            return
        at = 0
        for batch in group:
            batch.settle(acks[at : at + len(batch.records)])
            at += len(batch.records)

    def _flush(self) -> None:
        try:
            self._engine.flush()
            self._rest_s = REST_S
        except HuozhaoError:
            # They wait in memory for the next append.
            _log.exception("Pages that were served could not be written down yet")
            self._rest_s = REST_AFTER_FAULT_S
