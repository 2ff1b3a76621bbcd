"""The client: all of the contract, in its types, against real servers that are busy, killed and started again."""

import asyncio
import inspect
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import msgspec
import pytest

import features
import ranking
import serving
from features.logs.live import HomeLog
from features.logs.log import from_batch
from features.records import Action, Event, Item, Kind, User
from ranking.api import AliveRequest, FeedRequest, RankRequest
from serving import keys
from serving.api import MEANINGS, Code, Problem
from serving.async_client import AsyncClient
from serving.calls import BY_CODE, BusyError, CallError, InvalidError, KeyRefusedError, MissingError, UnreachableError
from serving.client import Client
from serving.contract import BY_QUERY, paths
from serving.http import ROUTES
from tests.serving.conftest import ROOT, served
from tests.small_home import NOW

SLOW = 60_000
"""Milliseconds that a busy machine may take for what is not about time."""


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    with served(home, now_ms=NOW) as (_, address), Client(address, within_ms=SLOW, now_ms=lambda: NOW) as client:
        yield client


def event(name: str, item: str = "i1", action: Action = Action.LIKE) -> Event:
    return Event(name, NOW, item, action, "u1")


def methods(of: type[Client | AsyncClient]) -> dict[str, Any]:
    return {name: method for name, method in inspect.getmembers(of, inspect.isfunction) if name[0] != "_"}


@pytest.mark.parametrize("of", [Client, AsyncClient])
def test_every_operation_of_the_contract_is_a_method_of_the_same_types(of: type[Client | AsyncClient]) -> None:
    ours = methods(of)
    for way in paths(ROUTES):
        name = way.operation.removesuffix(BY_QUERY)
        assert name in ours, f"{way.path} has no method in Client"
        theirs, own = get_type_hints(way.handler.fn), get_type_hints(ours[name])
        assert own["return"] == theirs["return"]
        asked = {
            one: theirs[one]
            for one in theirs
            if f"{{{one}}}" in way.path or one in ("k", "bundle", "far", "deadline_ms")
        }
        assert {one: own[one] for one in asked} == asked
        if isinstance(body := theirs.get("data"), type) and issubclass(body, msgspec.Struct):
            assert own["request"] is body


def test_the_two_clients_differ_in_nothing_but_waiting() -> None:
    blocking, waiting = methods(Client), methods(AsyncClient)
    assert set(blocking) == set(waiting)
    for name, method in blocking.items():
        assert inspect.iscoroutinefunction(waiting[name])
        assert inspect.signature(method) == inspect.signature(waiting[name]), name
        assert get_type_hints(method) == get_type_hints(waiting[name])


HEAVY = ("litestar", "lightgbm", "llvmlite", "numba", "numpy", "pyarrow", "scipy", "sklearn", "uvicorn")


def test_the_client_is_imported_without_the_engine() -> None:
    told = f"import sys, serving.client, serving.async_client; print(*sorted(set(sys.modules) & {{*{HEAVY!r}}}))"
    ran = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


@pytest.mark.parametrize("package", [features, ranking, serving])
def test_every_name_of_a_package_is_there_once_it_is_asked_for(package: ModuleType) -> None:
    assert all(
        getattr(package, name).__module__.startswith(package.__name__) for name in package.__all__ if name != "Record"
    )
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018  # asking is what is tried


def test_every_code_is_an_error_of_its_own_kind() -> None:
    assert set(BY_CODE) == set(Code)
    assert all(issubclass(kind, CallError) for kind in BY_CODE.values())
    for code, kind in BY_CODE.items():
        assert issubclass(kind, BusyError) == (MEANINGS[code].status == 429)


def test_all_that_can_be_asked_is_answered_in_types(client: Client) -> None:
    assert client.health().status == "ok"
    page = client.feed(FeedRequest(user_id="u1", count=5, explain=True, deadline_ms=SLOW))
    assert len(page.items) == 5
    assert client.why(page.request_id, "current", far=True).verdict == "equal"
    names = tuple(item.item_id for item in page.items)
    assert set(client.alive(AliveRequest(item_ids=(*names, "nothing"), deadline_ms=SLOW)).item_ids) == set(names)
    ranked = client.rank(RankRequest(item_ids=names, user_id="u1", deadline_ms=SLOW))
    assert {item.item_id for item in ranked.items} == set(names)
    assert client.similar("i3", k=2, deadline_ms=SLOW).item_id == "i3"
    assert "huozhao_items 40.0" in client.metrics()
    odd = "新品/1?a=b"
    assert client.put_items([Item(odd, NOW, Kind.VIDEO, live_from_ms=NOW)]).results[0].status == "accepted"
    assert client.put_users([User("u9", NOW)]).results[0].status == "accepted"
    assert client.take_down(odd).status == "accepted"
    assert client.erase("u9").status == "accepted"
    assert client.ready().status == "ok"
    assert client.status().items == 41


def test_a_persons_own_word_counts_in_the_next_page(client: Client) -> None:
    def shown() -> dict[str, str]:
        page = client.feed(FeedRequest(user_id="u1", count=50, deadline_ms=SLOW))
        return {item.item_id: item.author_id for item in page.items}

    item, author = next(iter(shown().items()))
    assert client.hide_item("u1", item).status == "accepted"
    assert item not in shown()
    assert client.hide_author("u1", author).status == "accepted"
    assert author not in shown().values()
    assert client.personalise("u1", on=False).status == client.personalise("u1", on=True).status == "accepted"
    assert client.clear_history("u1").status == "accepted"
    assert item not in shown()
    assert client.hide_category("u1", "c").status == "accepted"
    assert shown() == {}


def test_events_without_a_name_get_one_and_a_batch_sent_again_changes_nothing(client: Client) -> None:
    unnamed = client.send_events([event(""), event("")])
    assert [one.status for one in unnamed.results] == ["accepted", "accepted"]
    batch = [event("a"), event("b")]
    assert [one.status for one in client.send_events(batch).results] == ["accepted", "accepted"]
    offset = client.status().offset
    assert [one.status for one in client.send_events(batch).results] == ["duplicate", "duplicate"]
    assert client.status().offset == offset


def test_a_server_killed_under_a_batch_and_started_again_keeps_every_event_once(home: Path) -> None:
    kept: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    with served(home, port, NOW) as (first, address), Client(address, within_ms=SLOW) as client:
        begun = threading.Event()

        def send() -> None:
            for number in range(40):
                results = client.send_events([event(f"{number}-{n}", f"i{n}") for n in range(25)]).results
                kept.extend(f"{number}-{n}" for n, ack in enumerate(results) if ack.status in ("accepted", "duplicate"))
                begun.set()

        sender = threading.Thread(target=send)
        sender.start()
        assert begun.wait(60)
        first.kill()
        first.wait()
        with served(home, port, NOW):
            sender.join()
    with HomeLog(home / "log", writer=False) as log:
        found = [
            one.record.event_id for batch in log.read() for one in from_batch(batch) if isinstance(one.record, Event)
        ]
    assert len(kept) == 1000
    assert sorted(name for name in found if "-" in name) == sorted(kept)


Said = tuple[int, dict[str, str], bytes]


class Script:
    """A server that answers by a list, and what it was asked; time passes only where the client sleeps."""

    def __init__(self, answers: list[Said]) -> None:
        self.answers, self.asked, self.slept = answers, list[dict[str, Any]](), list[float]()


def refused(code: Code, **headers: str) -> Said:
    status = MEANINGS[code].status
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, msgspec.json.encode(
        Problem(status, "", "told so.", code)
    )  # fmt: skip


@contextmanager
def scripted(*answers: Said) -> Iterator[tuple[Script, str]]:
    script = Script(list(answers))

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            script.asked.append({"body": msgspec.json.decode(body), "key": self.headers["authorization"]})
            status, headers, said = script.answers.pop(0)
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(said))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield script, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


ALIVE: Said = (200, {}, b'{"item_ids":["i1"],"gone":{},"new_in_a_later_version":1}')
ASK = AliveRequest(item_ids=("i1",))


def test_busy_and_away_are_asked_again_when_the_server_said_and_others_are_not() -> None:
    busy = refused(Code.OVERLOADED, retry_after="3")
    with scripted(busy, (0, {}, b""), refused(Code.LOG_UNAVAILABLE), ALIVE) as (script, address):
        assert Client(address, within_ms=SLOW, sleep=script.slept.append).alive(ASK).item_ids == ("i1",)
        assert len(script.slept) == 3
        assert 3 <= script.slept[0] <= 4.5
        assert 0.1 <= script.slept[1] <= 0.15
        assert 0.2 <= script.slept[2] <= 0.3
    for code in (Code.INVALID_REQUEST, Code.FORBIDDEN, Code.NOT_AVAILABLE, Code.INTERNAL):
        with scripted(refused(code)) as (script, address), pytest.raises(BY_CODE[code], match=r"told so\.") as raised:
            Client(address, within_ms=SLOW, sleep=script.slept.append).alive(ASK)
        assert (raised.value.code, raised.value.status, script.slept) == (code, MEANINGS[code].status, [])


def test_no_try_and_no_wait_goes_past_the_callers_time() -> None:
    with scripted(refused(Code.RATE_LIMITED, retry_after="30")) as (script, address):
        with pytest.raises(BusyError) as raised:
            Client(address, sleep=script.slept.append).alive(ASK, within_ms=20_000)
        assert (raised.value.retry_after_s, script.slept, raised.value.tries) == (30, [], 1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnreachableError):
        Client(f"http://127.0.0.1:{silent.getsockname()[1]}").alive(ASK, within_ms=200)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(UnreachableError) as unreachable:
        Client(f"http://127.0.0.1:{port}").alive(ASK, within_ms=300)
    assert unreachable.value.tries > 1


def test_a_page_is_asked_for_with_no_more_time_than_is_left() -> None:
    page = msgspec.json.encode(
        {"request_id": "r", "user_id": "", "surface": "feed", "now_ms": 0, "read_offset": 0, "bundle": "", "policy": "",
         "items": [], "dropped": {}}
    )  # fmt: skip
    with scripted((200, {}, page), (200, {}, page)) as (script, address), Client(address) as client:
        client.feed(FeedRequest(deadline_ms=50), within_ms=SLOW)
        client.feed(FeedRequest(deadline_ms=60_000), within_ms=30_000)
    first, second = (one["body"]["deadline_ms"] for one in script.asked)
    assert first == 50
    assert 1 <= second <= 30_000


def test_an_answer_of_a_later_server_is_an_error_that_says_so() -> None:
    later: Said = (409, {}, b'{"status": 409, "title": "", "detail": "of tomorrow", "code": "tomorrow", "type": ""}')
    with scripted(later) as (_, address), pytest.raises(CallError, match="of tomorrow") as raised:
        Client(address, within_ms=SLOW).alive(ASK)
    with scripted((502, {}, b"<html>")) as (_, address), pytest.raises(CallError, match="status 502"):
        Client(address, within_ms=SLOW).alive(ASK)
    assert (raised.value.code, raised.value.status) == (None, 409)


def test_a_key_goes_into_a_header_and_nowhere_else(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = keys.add(home, "app", ["read"], per_second=1000)
    with served(home, now_ms=NOW) as (_, address):
        with Client(address, token, within_ms=SLOW) as client:
            assert client.feed(FeedRequest(deadline_ms=SLOW)).items
            with pytest.raises(KeyRefusedError) as raised:
                client.status()
            assert token not in repr(client) + str(raised.value)
        with Client(address, within_ms=SLOW) as nobody, pytest.raises(KeyRefusedError):
            nobody.feed(FeedRequest())
    with pytest.raises(CallError) as bad:
        Client(address, "hz_\n" + token)
    assert token not in caplog.text + str(bad.value)
    with pytest.raises(CallError, match="no address"):
        Client("127.0.0.1:8000")


def test_what_is_not_there_and_what_is_not_of_the_contract_have_names(client: Client) -> None:
    with pytest.raises(MissingError, match="nowhere"):
        client.similar("nowhere")
    with pytest.raises(MissingError):
        client.erase("nobody")
    with pytest.raises(InvalidError, match="count"):
        client.feed(FeedRequest(count=201))
    with pytest.raises(InvalidError, match="in another request"):
        client.send_events([event(f"{n}") for n in range(1001)])


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    with served(home, now_ms=NOW) as (_, address):
        yield address


def asynchronous(address: str, key: str = "") -> AsyncClient:
    return AsyncClient(address, key, within_ms=SLOW, now_ms=lambda: NOW)


def test_all_that_can_be_asked_can_be_asked_from_an_event_loop(address: str) -> None:
    async def use() -> None:
        async with asynchronous(address) as client:
            assert (await client.health()).status == "ok"
            page = await client.feed(FeedRequest(user_id="u1", count=5, explain=True, deadline_ms=SLOW))
            assert (await client.why(page.request_id, "current", far=True)).verdict == "equal"
            names = tuple(item.item_id for item in page.items)
            assert set((await client.alive(AliveRequest(item_ids=names, deadline_ms=SLOW))).item_ids) == set(names)
            ranked = await client.rank(RankRequest(item_ids=names, user_id="u1", deadline_ms=SLOW))
            assert {item.item_id for item in ranked.items} == set(names)
            assert (await client.similar("i3", k=2, deadline_ms=SLOW)).item_id == "i3"
            odd = "新品/1?a=b"
            kept = await client.put_items([Item(odd, NOW, Kind.VIDEO, live_from_ms=NOW)])
            assert kept.results[0].status == "accepted"
            assert (await client.put_users([User("u9", NOW)])).results[0].status == "accepted"
            assert (await client.take_down(odd)).status == (await client.erase("u9")).status == "accepted"
            batch = [event("a"), event("b")]
            assert [one.status for one in (await client.send_events(batch)).results] == ["accepted"] * 2
            assert [one.status for one in (await client.send_events(batch)).results] == ["duplicate"] * 2
            said = [
                await client.hide_item("u1", names[0]),
                await client.hide_author("u1", "a3"),
                await client.hide_category("u1", "c"),
                await client.personalise("u1", on=False),
                await client.clear_history("u1"),
            ]
            assert {ack.status for ack in said} == {"accepted"}
            assert (await client.ready()).status == "ok"
            assert (await client.status()).items == 41
            assert "huozhao_items 41.0" in await client.metrics()
            with pytest.raises(MissingError, match="nowhere"):
                await client.similar("nowhere", deadline_ms=SLOW)
            with pytest.raises(InvalidError, match="count"):
                await client.feed(FeedRequest(count=201))

    asyncio.run(use())


def test_many_calls_are_under_way_at_once_and_one_that_is_given_up_harms_no_other(address: str) -> None:
    async def use() -> None:
        async with asynchronous(address) as client:
            given_up = asyncio.create_task(client.feed(FeedRequest(count=1, deadline_ms=SLOW)))
            await asyncio.sleep(0.001)
            given_up.cancel()
            counts = range(1, 41)
            pages = await asyncio.gather(*(client.feed(FeedRequest(count=n, deadline_ms=SLOW)) for n in counts))
            assert [len(page.items) for page in pages] == [min(n, len(pages[-1].items)) for n in counts]

    asyncio.run(use())


def test_tries_from_an_event_loop_end_as_those_that_block_do() -> None:
    async def use() -> None:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        busy = refused(Code.OVERLOADED, retry_after="3")
        with scripted(busy, (0, {}, b""), refused(Code.LOG_UNAVAILABLE), ALIVE) as (_, address):
            async with AsyncClient(address, within_ms=SLOW, sleep=sleep) as client:
                assert (await client.alive(ASK)).item_ids == ("i1",)
        assert 3 <= slept[0] <= 4.5
        assert 0.1 <= slept[1] <= 0.15
        with scripted(refused(Code.FORBIDDEN)) as (_, address):
            async with AsyncClient(address, within_ms=SLOW, sleep=sleep) as client:
                with pytest.raises(KeyRefusedError):
                    await client.alive(ASK)
        assert len(slept) == 3
        with scripted((502, {}, b"<html>")) as (_, address):
            async with AsyncClient(address, within_ms=SLOW) as client:
                with pytest.raises(CallError, match="status 502"):
                    await client.alive(ASK)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with AsyncClient(f"http://127.0.0.1:{silent.getsockname()[1]}") as client:
                with pytest.raises(UnreachableError):
                    await client.alive(ASK, within_ms=200)

    asyncio.run(use())


@pytest.mark.parametrize(
    ("said", "is_read"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n" + b'{"status":"ok"}', True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
         b'7;x=y\r\n{"statu\r\n8\r\ns":"ok"}\r\n0\r\ntrailer: 1\r\n\r\n', True),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b'{"status":"ok"}', True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nz\r\n", False),
        (b"220 mail.example.com\r\n\r\n", False),
        (b"x" * 100_000 + b"\r\n\r\n", False),
        (b"", False),
    ],
)  # fmt: skip
def test_answers_however_they_are_framed_are_read_and_what_is_no_http_is_no_answer(said: bytes, is_read: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async def use() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, AsyncClient(f"http://127.0.0.1:{port}") as client:
            if is_read:
                assert (await client.health()).status == "ok"
            else:
                with pytest.raises(UnreachableError):
                    await client.health(within_ms=100)

    asyncio.run(use())
