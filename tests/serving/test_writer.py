"""The writer: what many requests send at once is kept once, in order, and each is told of its own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.errors import LogError
from features.logs.live import HomeLog
from features.logs.log import from_batch
from features.records import Action, Event
from ranking.api import Ack, FeedRequest
from ranking.engine import Engine
from serving.errors import OverloadedError
from serving.writer import GROUP_RECORDS, Writer
from tests.small_home import NOW


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    with Engine.open(home) as engine:
        yield engine


def like(name: str) -> Event:
    return Event(name, NOW, "i1", Action.LIKE, "u1")


def sent(writer: Writer, batches: list[list[Event]]) -> list[tuple[Ack, ...]]:
    async def send() -> list[tuple[Ack, ...]]:
        sending = [asyncio.ensure_future(writer.append(batch)) for batch in batches]
        # All wait before the first is written.
        await asyncio.sleep(0)
        writer.start()
        return await asyncio.gather(*sending)

    return asyncio.run(send())


def test_requests_that_wait_together_are_kept_in_order_and_told_of_their_own(engine: Engine, home: Path) -> None:
    writer = Writer(engine, lambda: NOW)
    batches = [[like(f"e{n}-{k}") for k in range(n % 4)] + [like("again")] for n in range(30)]
    acks = sent(writer, batches)
    writer.stop()
    assert [len(one) for one in acks] == [len(batch) for batch in batches]
    assert [one[-1].status for one in acks] == ["accepted", *["duplicate"] * 29]
    with HomeLog(home / "log", writer=False) as log:
        kept = {one.offset: one.record for batch in log.read(51) for one in from_batch(batch)}
    told = {ack.offset: event for pair in zip(acks, batches, strict=True) for ack, event in zip(*pair, strict=True)}
    told.pop(None)
    assert kept == told


def test_more_than_a_group_is_kept_whole(engine: Engine) -> None:
    writer = Writer(engine, lambda: NOW)
    acks = sent(writer, [[like(f"{n}-{k}") for k in range(400)] for n in range(6)])
    writer.stop()
    assert 2 * GROUP_RECORDS < 6 * 400
    assert [ack.offset for one in acks for ack in one] == list(range(51, 51 + 2400))


def test_a_log_that_takes_nothing_is_every_waiting_request_s_fault(home: Path) -> None:
    engine = Engine.open(home)
    writer = Writer(engine, lambda: NOW)
    engine.close()
    with pytest.raises(LogError, match="not open"):
        sent(writer, [[like("a")], [like("b")]])
    writer.stop()


def test_pages_are_written_down_though_nothing_else_is(engine: Engine, home: Path) -> None:
    writer = Writer(engine, lambda: NOW)
    writer.start()
    engine.feed(FeedRequest(user_id="u1"), NOW, "page")
    with HomeLog(home / "log", writer=False) as log:
        while log.end() == 51:
            pass
        [page] = [one.record for batch in log.read(51) for one in from_batch(batch)]
    writer.stop()
    assert getattr(page, "request_id", "") == "page"


def test_more_records_than_may_wait_are_turned_away_and_an_empty_write_is_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.writer.MOST_WAITING", 10)
    writer = Writer(engine, lambda: NOW)

    async def send() -> None:
        # One that is larger than all that may wait is taken where nothing waits.
        first = asyncio.ensure_future(writer.append([like(f"a{n}") for n in range(11)]))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="11 records wait"):
            await writer.append([like("b")])
        empty = asyncio.ensure_future(writer.append(()))
        await asyncio.sleep(0)
        writer.start()
        assert len(await first) == 11
        assert await empty == ()
        assert [ack.status for ack in await writer.append([like("b")])] == ["accepted"]

    asyncio.run(send())
    writer.stop()
