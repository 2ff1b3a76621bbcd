"""Pages that overstay: a lesser one answers in time, or a named error, and one page is written down."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from features.logs.live import HomeLog
from features.records import Served
from features.types import DoubleArray
from ranking.api import Feed, FeedRequest
from ranking.engine import Engine
from ranking.request.ladder import AnsweredError, Budget
from ranking.types import Batch
from serving.clock import elapsed_ms
from serving.errors import OverloadedError
from serving.guard import Claim, Guard
from serving.lane import with_no_time
from tests.small_home import NOW

LONG_MS = 60_000.0


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What a part waits for; let go in the end, so that no thread stays."""
    event = threading.Event()
    yield event
    event.set()


def page(name: str) -> Callable[[Claim], str]:
    def make(claim: Claim) -> str:
        Budget(claim=claim).claim()
        return name

    return make


def noted(made: list[str], name: str) -> Callable[[Claim], str]:
    def make(_claim: Claim) -> str:
        made.append(name)
        return name

    return make


def stuck(held: threading.Event, ended: list[str]) -> Callable[[Claim], str]:
    def make(claim: Claim) -> str:
        held.wait()
        try:
            return page("stuck")(claim)
        except AnsweredError:
            ended.append("thrown away")
            raise

    return make


def first(
    guard: Guard, make: Callable[[Claim], str], lesser: Callable[[Claim], str] | None, due_ms: float, last_ms: float
) -> str:
    now_ms = elapsed_ms()
    return asyncio.run(guard.first(make, lesser, now_ms + due_ms, now_ms + last_ms))


def test_a_page_that_is_there_in_time_is_the_answer_and_no_other_is_made() -> None:
    made: list[str] = []
    assert first(Guard(1), page("whole"), noted(made, "lesser"), LONG_MS, LONG_MS) == "whole"
    assert not made


def test_a_lesser_page_answers_for_one_that_overstays_and_that_is_thrown_away(held: threading.Event) -> None:
    guard, ended = Guard(1), list[str]()
    assert first(guard, stuck(held, ended), page("lesser"), 10, LONG_MS) == "lesser"
    held.set()
    assert first(guard, page("after"), page("lesser"), LONG_MS, LONG_MS) == "after"
    assert ended == ["thrown away"]


def test_where_neither_comes_an_error_says_so_in_time_and_neither_counts(held: threading.Event) -> None:
    guard, ended = Guard(1), list[str]()
    with pytest.raises(OverloadedError, match="A part of the page"):
        first(guard, stuck(held, ended), stuck(held, ended), 10, 20)
    held.set()
    assert first(guard, page("after"), page("lesser"), LONG_MS, LONG_MS) == "after"
    while len(ended) < 2:
        held.wait(0.01)


def test_what_has_no_lesser_form_is_waited_for_and_not_begun_again(held: threading.Event) -> None:
    guard, made = Guard(1), list[str]()

    def slow(claim: Claim) -> str:
        threading.Timer(0.05, held.set).start()
        held.wait()
        return noted(made, "whole")(claim)

    assert first(guard, slow, None, 10, LONG_MS) == "whole"
    assert made == ["whole"]
    held.clear()
    with pytest.raises(OverloadedError, match="A part of the page"):
        first(guard, stuck(held, made), None, 10, 20)


def test_what_has_not_begun_when_it_is_due_is_turned_away_and_never_made(held: threading.Event) -> None:
    guard, ended, made = Guard(1), list[str](), list[str]()

    async def both() -> tuple[str | BaseException, str | BaseException]:
        now_ms = elapsed_ms()
        one = guard.first(stuck(held, ended), page("lesser"), now_ms + 10, now_ms + LONG_MS)
        other = guard.first(noted(made, "late"), page("lesser"), now_ms + 10, now_ms + LONG_MS)
        return await asyncio.gather(one, other, return_exceptions=True)

    found = asyncio.run(both())
    assert found[0] == "lesser"
    assert isinstance(found[1], OverloadedError)
    held.set()
    assert first(guard, page("after"), page("lesser"), LONG_MS, LONG_MS) == "after"
    assert not made


def test_a_page_that_has_claimed_to_be_the_answer_is_waited_for(held: threading.Event) -> None:
    def claimed(claim: Claim) -> str:
        assert claim()
        held.wait()
        return "whole"

    def lesser(claim: Claim) -> str:
        threading.Timer(0.1, held.set).start()
        return page("lesser")(claim)

    assert first(Guard(1), claimed, lesser, 10, 20) == "whole"


def test_an_error_of_a_page_is_raised_though_a_lesser_one_is_under_way(held: threading.Event) -> None:
    began = threading.Event()

    def fails(_claim: Claim) -> str:
        began.wait()
        raise ValueError("wrong")

    def lesser(_claim: Claim) -> str:
        began.set()
        held.wait()
        return "lesser"

    with pytest.raises(ValueError, match="wrong"):
        first(Guard(1), fails, lesser, 10, LONG_MS)


def test_a_ranker_that_overstays_costs_the_scores_alone_and_one_page_is_kept(
    home: Path, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(1)
    with Engine.open(home) as engine:
        engine.refresh(NOW)
        predict = engine.generation.ranker.predict

        def waits(batch: Batch, trees: int | None = None) -> DoubleArray:
            held.wait()
            return predict(batch, trees)

        def feed(budget: Budget) -> Feed:
            return engine.feed(FeedRequest(user_id="u1", count=10), NOW, "page", budget)

        monkeypatch.setattr(engine.generation.ranker, "predict", waits)
        now_ms = elapsed_ms()
        made = asyncio.run(
            guard.first(
                lambda claim: feed(Budget(lambda: LONG_MS, claim)),
                lambda claim: with_no_time(feed, claim),
                now_ms + 50,
                now_ms + LONG_MS,
            )
        )
        assert (made.level, made.degraded, len(made.items)) == ("last", "deadline", 10)
        held.set()
        assert first(guard, page("after"), page("lesser"), LONG_MS, LONG_MS) == "after"
        engine.flush()
        with HomeLog(home / "log", writer=False) as log:
            kept = [one for batch in log.read() for one in batch.to_pylist() if one["request_id"] == "page"]
    assert len([one for one in kept if one["type"] == Served.__struct_config__.tag]) == 1
