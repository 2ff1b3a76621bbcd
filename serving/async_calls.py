"""Calls of a server from an event loop: tried again as ``serving.calls`` says, over connections that are kept."""

import asyncio
import http.client
import io
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from serving.calls import IDLE_LINES, Call, CallError, Server, Tries, refused, unreachable

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
FAULTS = (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError, http.client.HTTPException)
"""What a connection that fails, or an answer that is no HTTP, raises."""


class Answer(NamedTuple):
    """What was answered, and whether the connection ends with it."""

    status: int
    retry_after: str
    body: bytes
    is_last: bool


class AsyncCaller:
    """Asks one server from one event loop; many calls may be under way at once.

    Parameters
    ----------
    server : Server
    sleep : callable
        Waits so many seconds.
    """

    def __init__(self, server: Server, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._server, self._sleep = server, sleep
        self._idle: deque[Line] = deque()

    async def close(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()
            # A connection that the server has broken off is closed as well.
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def ask(self, call: Call, within_ms: float) -> bytes:
        """The body that answers a call, asked as often as there is time for.

        Parameters
        ----------
        call : Call
        within_ms : float
            All the time there is, with all tries and waits.

        Raises
        ------
        CallError
            Of the kind that the server's code stands for, or ``UnreachableError``.
        """
        tries = Tries(call, within_ms)
        while True:
            try:
                return await self._once(tries)
            except CallError as error:
                await self._sleep(tries.wait_s(error))

    async def _once(self, tries: Tries) -> bytes:
        while True:
            kept = self._idle.pop() if self._idle else None
            try:
                async with asyncio.timeout(tries.left_ms() / 1e3):
                    return await self._said(kept or await self._line(), tries)
            except FAULTS as error:
                if kept is None or isinstance(error, TimeoutError):
                    raise unreachable(tries.call, self._server, error) from error
                # A connection that was kept had been closed by the server: that says nothing of the server now.

    async def _line(self) -> Line:
        server = self._server
        port = server.port or (443 if server.is_secure else 80)
        return await asyncio.open_connection(server.host, port, ssl=server.is_secure or None)

    async def _said(self, line: Line, tries: Tries) -> bytes:
        reader, writer = line
        try:
            writer.write(_wire(tries.call, self._server, tries.left_ms()))
            await writer.drain()
            answer = await _answer(reader)
        except BaseException:
            # Given up half way, by a fault or by the caller: what comes next over it would be of this call.
            writer.close()
            raise
        if answer.is_last or len(self._idle) >= IDLE_LINES:
            writer.close()
        else:
            self._idle.append(line)
        if answer.status != 200:
            raise refused(answer.status, answer.body, answer.retry_after)
        return answer.body


def _wire(call: Call, server: Server, left_ms: float) -> bytes:
    """A request as it is sent."""
    body = call.body(left_ms) if call.body else b""
    host = f"[{server.host}]" if ":" in server.host else server.host
    named = host if server.port is None else f"{host}:{server.port}"
    headers = {"host": named, "content-length": str(len(body)), **server.headers}
    head = [f"{call.method} {server.prefix}{call.target} HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join([*head, "", ""]).encode("ascii") + body


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    version, status = first.split(maxsplit=2)[:2]
    headers = http.client.parse_headers(io.BytesIO(rest))
    is_last = version != b"HTTP/1.1" or headers.get("connection", "").lower() == "close"
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _chunks(reader)
    elif length := headers.get("content-length"):
        body = await reader.readexactly(int(length))
    else:
        is_last, body = True, await reader.read()
    return Answer(int(status), headers.get("retry-after", ""), body, is_last)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A body in chunks (RFC 9112, 7.1), as a proxy may send it."""
    parts: list[bytes] = []
    while size := int((await reader.readline()).partition(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    # Trailers say nothing that is asked for here.
    while (await reader.readline()).strip():
        pass
    return b"".join(parts)
