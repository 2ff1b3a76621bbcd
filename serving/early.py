"""The quickest parser's protocol, that answers what is turned away itself; needs httptools, which is an extra."""

from typing import ClassVar, cast

from litestar.types import HTTPScope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.connections import Refusing


class Early(HttpToolsProtocol):
    """Asks, of each request that came whole in one piece, whether it is turned away, before a task begins for it.

    What came behind another request that is not answered yet goes the usual way, and so does one whose connection
    is to be closed after it.
    """

    turnstile: ClassVar[Refusing]
    _is_reading = False
    _begun: tuple[RequestResponseCycle, ASGI3Application] | None = None

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request, or of several."""
        self._is_reading = True
        super().data_received(data)
        self._is_reading = False
        if self._begun is not None:
            begun, self._begun = self._begun, None
            if not self._turned_away(begun[0]):
                super()._start_asgi_task(*begun)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Called as soon as the head is read: its body may be in the same piece."""
        if self._is_reading:
            self._begun = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def _turned_away(self, cycle: RequestResponseCycle) -> bool:
        if cycle.more_body or not cycle.keep_alive or self.transport.is_closing():
            return False
        found = self.turnstile.refusal(cast("HTTPScope", cycle.scope), bytes(cycle.body))
        if found is None:
            return False
        head, body = found
        more = b"".join(b"%b: %b\r\n" % line for line in cycle.default_headers)
        self.transport.write(b"%b%b\r\n%b" % (head, more, body))
        cycle.response_started = cycle.response_complete = True
        cycle.on_response()
        return True
