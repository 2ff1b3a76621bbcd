"""Connections that are slow on purpose, or say too much before they say what they want."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from socket import create_server
from typing import cast

import pytest
import uvicorn
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from serving import connections
from serving.connections import Prompt, prompt_protocol
from serving.hot import Hot
from serving.keys import Door

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
WHOLE = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, and answer."""
    assert scope["type"] == ScopeType.HTTP
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


@pytest.fixture(params=["quickest", "h11"])
def protocol(request: pytest.FixtureRequest) -> type[asyncio.Protocol]:
    return prompt_protocol() if request.param == "quickest" else type("OfH11", (Prompt, H11Protocol), {})


def tried(protocol: type[asyncio.Protocol], use: Callable[[Line], Awaitable[None]]) -> None:
    """Use a connection to a server of the protocol."""

    async def run() -> None:
        with create_server(("127.0.0.1", 0)) as bound:
            server = uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None))
            serving = asyncio.create_task(server.serve(sockets=[bound]))
            line = await asyncio.open_connection(*bound.getsockname())
            try:
                await use(line)
            finally:
                line[1].close()
                server.should_exit = True
                await serving

    asyncio.run(run())


async def answered(line: Line) -> bool:
    line[1].write(WHOLE)
    head = await line[0].readuntil(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200") and await line[0].readexactly(2) == b"ok"


async def is_cut_off(line: Line) -> bool:
    """Whether the server ends the connection; what it says before does not matter."""
    with suppress(ConnectionError):
        await asyncio.wait_for(line[0].read(), 60)
    return line[0].at_eof() or line[0].exception() is not None


@pytest.mark.parametrize(
    ("is_second", "sent"),
    [(False, b""), *((second, sent) for second in (False, True) for sent in (b"POST / HT", WHOLE[:-4], WHOLE[:-1]))],
)
def test_a_request_that_does_not_come_is_not_waited_for(
    protocol: type[asyncio.Protocol], is_second: bool, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 0.05)

    async def use(line: Line) -> None:
        if is_second:
            assert await answered(line)
        line[1].write(sent)
        assert await is_cut_off(line)

    tried(protocol, use)


def test_a_head_without_end_is_not_kept(protocol: type[asyncio.Protocol]) -> None:
    async def use(line: Line) -> None:
        line[1].write(b"GET / HTTP/1.1\r\n")
        for number in range(4 * connections.HEAD_BYTES // 1000):
            line[1].write(b"x-%d: %s\r\n" % (number, b"x" * 1000))
        assert await is_cut_off(line)

    tried(protocol, use)


def test_requests_in_time_are_answered_one_after_another_however_they_are_cut(
    protocol: type[asyncio.Protocol],
) -> None:
    async def use(line: Line) -> None:
        assert await answered(line)
        for at in range(0, len(WHOLE), 7):
            line[1].write(WHOLE[at : at + 7])
            await line[1].drain()
            await asyncio.sleep(0)
        assert (await line[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert await answered(line)

    tried(protocol, use)


def test_the_last_piece_of_a_body_is_not_counted_as_a_head(protocol: type[asyncio.Protocol]) -> None:
    size = 64 * connections.HEAD_BYTES

    async def use(line: Line) -> None:
        line[1].write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size)
        await asyncio.sleep(0.05)
        line[1].write(b"x" * size)
        assert (await line[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert await answered(line)

    tried(protocol, use)


class Strict:
    """Turns away whoever asks for /busy."""

    def refusal(self, scope: HTTPScope, body: bytes) -> tuple[bytes, bytes] | None:
        return (
            (b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n", body * 2) if scope["path"] == "/busy" else None
        )


BUSY = WHOLE.replace(b"POST /", b"POST /busy")
NO = b"{}{}"


async def heard(line: Line) -> tuple[bytes, bytes]:
    """The status and the body of an answer."""
    head = await line[0].readuntil(b"\r\n\r\n")
    length = next(int(one.split(b": ")[1]) for one in head.split(b"\r\n") if one.startswith(b"content-length"))
    assert b"\r\ndate: " in head
    return head.split(b" ")[1], await line[0].readexactly(length)


def test_who_is_turned_away_does_not_reach_the_application_and_keeps_the_connection() -> None:
    async def use(line: Line) -> None:
        for wire, said in ((BUSY, (b"429", NO)), (WHOLE, (b"200", b"ok")), (BUSY, (b"429", NO)), (BUSY, (b"429", NO))):
            line[1].write(wire)
            assert await heard(line) == said

    tried(prompt_protocol(Strict()), use)


def test_a_request_in_pieces_or_behind_another_or_the_last_goes_to_the_application() -> None:
    closing = BUSY.replace(b"host: x", b"connection: close")

    async def use(line: Line) -> None:
        line[1].write(BUSY[:-1])
        await asyncio.sleep(0.05)
        line[1].write(BUSY[-1:])
        assert await heard(line) == (b"200", b"ok")
        line[1].write(BUSY + WHOLE + BUSY * 1000)
        assert [await heard(line) for _ in range(3)] == [(b"429", NO), (b"200", b"ok"), (b"200", b"ok")]
        for _ in range(999):
            assert await heard(line) == (b"200", b"ok")
        line[1].write(closing)
        assert await heard(line) == (b"200", b"ok")
        assert await is_cut_off(line)

    tried(prompt_protocol(Strict()), use)


def test_what_follows_and_is_no_request_ends_the_connection() -> None:
    async def use(line: Line) -> None:
        line[1].write(BUSY)
        assert await heard(line) == (b"429", NO)
        line[1].write(BUSY + b"nonsense\r\n\r\n")
        assert await is_cut_off(line)

    tried(prompt_protocol(Strict()), use)


class Closed(asyncio.Transport):
    """A connection that its client left, as the quickest loop has it until it tells the protocol."""

    def is_closing(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise RuntimeError("the handler is closed")

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def test_an_answer_to_a_client_that_left_is_dropped_without_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[BaseException | None] = []

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except BaseException as error:
            ended.append(error)
            raise
        ended.append(None)

    async def run() -> None:
        config = uvicorn.Config(told, ws="none", lifespan="off", log_config=None)
        config.load()
        make = cast("Callable[..., asyncio.Protocol]", prompt_protocol())
        line = make(config=config, server_state=ServerState(), app_state={})
        line.connection_made(Closed())
        line.data_received(WHOLE)
        for _ in range(1000):
            await asyncio.sleep(0)
        line.connection_lost(None)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert ended == [None]
    assert not caplog.records


def test_a_request_of_http_1_1_without_host_is_refused(tmp_path: Path) -> None:
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/v1/status", "headers": []}
    hot = Hot(cast("ASGIApp", app), {}, Door(tmp_path))
    with pytest.raises(HTTPException, match="no Host") as refused:
        hot.admit(cast("HTTPScope", scope))
    assert refused.value.status_code == 400
    hot.admit(cast("HTTPScope", {**scope, "headers": [(b"host", b"localhost")]}))
    hot.admit(cast("HTTPScope", {**scope, "http_version": "1.0"}))
