"""The end of a server: a drain that was whole is success, however it was asked for, and one cut short is told."""

import signal
import socket
from types import FrameType

import uvicorn

from features.errors import HuozhaoError


class CutShortError(HuozhaoError):
    """A server ended before all that had begun was answered, or before its home was closed in order."""


class DrainingServer(uvicorn.Server):
    """Ends by returning, with what has begun answered and the home closed.

    uvicorn raises the signal once more after its drain and dies of it, which what looks after processes takes for a
    failure.
    """

    _unanswered = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second SIGINT waits for requests no more."""
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what has begun, then close the application, which closes its engine: that is never left out."""
        begun = tuple(self.server_state.tasks)
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()
        self._unanswered = sum(not task.done() or task.cancelling() > 0 for task in begun)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop, and drain.

        Raises
        ------
        CutShortError
            If the drain was cut short.
        """
        super().run(sockets)
        if self._unanswered:
            what = f"The server was stopped before {self._unanswered} of the requests that had begun were answered."
            raise CutShortError(what, "Nothing acknowledged is lost; who got no answer may ask again.")
        if self.lifespan.should_exit:
            raise CutShortError("The home could not be closed in order.", "The log above says why; start it again.")
