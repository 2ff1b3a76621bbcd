"""Whether the log takes records: what readiness means, asked by anybody and as often as they like."""

import asyncio

from features.errors import LogError
from serving.writer import Acks, Writer

PATIENCE_S = 5
"""How long the log may take for an empty write before the server is called not ready."""


class Readiness:
    """Passes an empty write through the writer; one at a time, for all who ask meanwhile.

    No key is asked for: were there a write for each who asks, a crowd could fill the writer's queue.

    Parameters
    ----------
    writer : Writer
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._write: asyncio.Task[Acks] | None = None

    async def check(self) -> None:
        """Return when the log has taken an empty write.

        Raises
        ------
        LogError
            If it refuses, or does not in time.
        """
        if self._write is None or self._write.done():
            self._write = asyncio.create_task(self._writer.append(()))
            # One that fails after all who asked have left is nobody's error.
            self._write.add_done_callback(lambda one: one.cancelled() or one.exception())
        try:
            await asyncio.wait_for(asyncio.shield(self._write), PATIENCE_S)
        except TimeoutError as error:
            raise LogError(f"The log has taken no record for {PATIENCE_S} s.", "Look at the disk it is on.") from error
