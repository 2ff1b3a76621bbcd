"""Connections that say what they want in time: who sends a request drop by drop, or a head without end, is cut off.

The parsers behind have no such bounds, and every connection that only waits takes a place and a file of the process.
"""

import asyncio
from importlib.util import find_spec
from typing import Protocol, cast

from litestar.types import HTTPScope
from uvicorn.protocols.http.auto import AutoHTTPProtocol

REQUEST_S = 30.0
"""How long a request may take to come, from the connection or its first byte to the last of its body."""
HEAD_BYTES = 1 << 16
"""What comes of a request before its head is whole."""


class Cycle(Protocol):
    """A request as the server's parser keeps it."""

    more_body: bool


class Refusing(Protocol):
    """Turns requests away before anything is begun for them; ``serving.turnstile`` has one."""

    def refusal(self, scope: HTTPScope, body: bytes) -> tuple[bytes, bytes] | None:
        """Of a request's head and its whole body the answer's head but for its end, and its body; None to go on."""
        ...


class Leaving:
    """A connection as the parser writes to it: what is written to one that is closed is dropped.

    Between the close and the parser's being told of it answers to what was asked before may become ready, and a loop
    raises at those. That a client left is no fault: the parser drops answers too, once it knows.
    """

    def __init__(self, line: asyncio.Transport) -> None:
        self._line = line

    def __getattr__(self, name: str) -> object:
        """All else is the connection's."""
        return getattr(self._line, name)

    def write(self, data: bytes) -> None:
        """Send, if somebody is there."""
        if not self._line.is_closing():
            self._line.write(data)


class Prompt(asyncio.Protocol):
    """Closes a connection whose request does not come in time, or has too large a head; mixed into a parser's protocol.

    ``cycle`` is the parser's: the request whose head came last, None before the first.
    """

    cycle: Cycle | None
    _seen: Cycle | None = None
    _head_bytes = 0
    _overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(cast("asyncio.BaseTransport", Leaving(cast("asyncio.Transport", transport))))
        self._line = transport
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request."""
        # Asked before the parser has it: the last piece of a body is the body's, however large it comes.
        is_head = self._seen is None or not self._seen.more_body
        super().data_received(data)
        if self.cycle is not self._seen:
            self._seen, self._head_bytes = self.cycle, 0
        elif is_head:
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._line.close()
        elif self._head_bytes or self._seen is None or self._seen.more_body:
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._overdue is None:
            self._overdue = asyncio.get_running_loop().call_later(REQUEST_S, self._line.close)

    def _wait_no_more(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None


def prompt_protocol(turnstile: Refusing | None = None) -> type[asyncio.Protocol]:
    """The protocol of the quickest parser that is installed, made prompt.

    Parameters
    ----------
    turnstile : Refusing, optional
        Asked first. The slower parser asks nobody: the application turns away itself.
    """
    if turnstile is None or find_spec("httptools") is None:
        return type("PromptProtocol", (Prompt, AutoHTTPProtocol), {})
    from serving.early import Early  # noqa: PLC0415  # an extra

    return type("EarlyProtocol", (Prompt, Early), {"turnstile": turnstile})
