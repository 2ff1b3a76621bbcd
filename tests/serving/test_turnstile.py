"""What is turned away before anything is begun for it: what it is told, and who learns nothing of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest
from litestar.types import HTTPScope

from ranking.engine import Engine
from ranking.request.ladder import Budget
from serving.errors import OverloadedError, headers_of, problem
from serving.keys import UnauthorizedError
from serving.lane import Lane
from serving.metrics import Metrics
from serving.routes import READS
from serving.telemetry import Telemetry
from serving.turnstile import Turnstile
from tests.serving.conftest import Time
from tests.small_home import NOW

PAGE_MS = 10.0
FEED = b'{"user_id":"u1","deadline_ms":50}'
Ask = Callable[[Turnstile, Lane], None]


def scope(method: str = "POST", path: str = "/v1/feed") -> HTTPScope:
    return cast("HTTPScope", {"type": "http", "method": method, "path": path, "headers": []})


def no_key(_: HTTPScope) -> None:
    raise UnauthorizedError("This server asks for a key.", "Send one.")


def asked_while(
    waiting: int, time: Time, home: Path, ask: Ask, admit: Callable[[HTTPScope], None] = lambda _: None
) -> Metrics:
    """Ask a turnstile in whose lane so many requests wait, of which each takes ``PAGE_MS``; what was counted."""
    with Engine.open(home) as engine:
        status = engine.status(NOW)
    metrics = Metrics(lambda: status, tuple, lambda: 0)

    def page(_: Budget) -> None:
        time.ms += PAGE_MS

    async def run() -> None:
        lane = Lane(1)
        for _ in range(200):
            await lane.compute(1e9, page)
        turnstile = Turnstile(lane, READS, admit, Telemetry(metrics), lambda: "r1")
        # The first has its turn at once; the others wait until the loop looks again.
        tasks = [asyncio.ensure_future(lane.compute(1e9, page)) for _ in range(waiting + 1)]
        await asyncio.sleep(0)
        ask(turnstile, lane)
        await asyncio.gather(*tasks)

    asyncio.run(run())
    return metrics


def test_it_says_what_the_usual_way_says_and_counts_it(home: Path, time: Time) -> None:
    def ask(turnstile: Turnstile, lane: Lane) -> None:
        with pytest.raises(OverloadedError) as usual:
            lane.compute(50, lambda _: None).send(None)
        answer = turnstile.refusal(scope(), FEED)
        assert answer is not None
        head, body = answer
        assert body == msgspec.json.encode(problem(usual.value, ""))
        status, *lines = head.decode().splitlines()
        assert status == "HTTP/1.1 429 Too Many Requests"
        assert dict(line.split(": ", 1) for line in lines) == headers_of(usual.value) | {
            "content-type": "application/problem+json",
            "content-length": str(len(body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "x-request-id": "r1",
        }

    metrics = asked_while(6, time, home, ask)
    assert 'huozhao_answers_total{route="POST /v1/feed",status="429"} 1.0' in metrics.text()


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        (scope(), b'{"user_id":"u1","deadline_ms":1000}'),
        (scope(), b'{"user_id":"u1","deadline_ms":"50"}'),
        (scope(), b'{"user_id":"u1"'),
        (scope(), b"[" * 100_000),
        (scope(), b'{"user_id":"\xff"}'),
        (scope(), b""),
        (scope("PUT"), FEED),
        (scope(path="/v1/events"), FEED),
        (scope(path="/v1/feed/"), FEED),
    ],
)
def test_what_has_time_or_is_wrong_or_does_not_wait_in_the_lane_goes_the_usual_way(
    home: Path, time: Time, asked: HTTPScope, body: bytes
) -> None:
    def ask(turnstile: Turnstile, _: Lane) -> None:
        assert turnstile.refusal(asked, body) is None

    assert 'status="429"' not in asked_while(6, time, home, ask).text()


def test_who_may_not_ask_does_not_learn_how_busy_it_is(home: Path, time: Time) -> None:
    def ask(turnstile: Turnstile, _: Lane) -> None:
        assert turnstile.refusal(scope(), FEED) is None

    assert 'status="429"' not in asked_while(6, time, home, ask, no_key).text()


def test_of_several_that_are_read_at_once_only_those_go_on_that_there_is_time_for(home: Path, time: Time) -> None:
    def ask(turnstile: Turnstile, _: Lane) -> None:
        assert [turnstile.refusal(scope(), FEED) is None for _ in range(4)] == [True, True, False, False]

    asked_while(2, time, home, ask)


def test_an_idle_lane_turns_nobody_away(home: Path, time: Time) -> None:
    def ask(turnstile: Turnstile, _: Lane) -> None:
        assert all(turnstile.refusal(scope(), FEED) is None for _ in range(20))

    asked_while(0, time, home, ask)
