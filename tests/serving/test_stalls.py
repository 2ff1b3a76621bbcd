"""A loop that stands still: it is measured, and what held it is named."""

import asyncio
import logging
import threading

import pytest

from serving import stalls
from serving.stalls import Stalls


def dragging(told: threading.Event) -> None:
    assert told.wait(60)


class Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()


@pytest.fixture
def told() -> Told:
    handler = Told()
    logging.getLogger("serving.stalls").addHandler(handler)
    return handler


def test_what_holds_up_the_loop_is_named_once_and_its_lateness_counted(
    told: Told, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "BEAT_S", 0.001)
    late: list[float] = []

    async def run() -> None:
        watch = Stalls(late.append)
        watch.start()
        try:
            await asyncio.sleep(0.01)
            assert not told.event.is_set()
            dragging(told.event)
            for _ in range(20):
                await asyncio.sleep(0.001)
        finally:
            watch.stop()

    asyncio.run(run())
    [said] = [record.getMessage() for record in caplog.records]
    assert "MainThread: wait (" in said
    assert "< dragging (serving/test_stalls.py:" in said
    assert max(late) > stalls.LONG_MS / 2e3
