"""Turns: pages in the order they came, none begun past its time, and those turned away that would wait too long."""

import asyncio

from ranking.request.ladder import Budget
from serving.errors import OverloadedError
from serving.lane import Lane
from tests.serving.conftest import Time


async def asked(lane: Lane, time: Time, count: int, deadline_ms: float, each_ms: float) -> list[object]:
    order = iter(range(count))

    def page(budget: Budget) -> bytes:
        assert budget.left_ms
        assert budget.left_ms() > 0
        time.ms += each_ms
        return b"%d" % next(order)

    asks = [asyncio.ensure_future(lane.compute(deadline_ms, page)) for _ in range(count)]
    return list(await asyncio.gather(*asks, return_exceptions=True))


def test_pages_are_made_in_the_order_they_came(time: Time) -> None:
    assert asyncio.run(asked(Lane(1), time, 10, 1000, 1)) == [b"%d" % n for n in range(10)]


def test_what_waited_past_its_time_is_turned_away_and_not_computed(time: Time) -> None:
    found = asyncio.run(asked(Lane(1), time, 20, 50, 5))
    made = [one for one in found if isinstance(one, bytes)]
    away = [one for one in found if isinstance(one, OverloadedError)]
    assert made == [b"%d" % n for n in range(8)]
    assert len(made) + len(away) == 20
    assert all(one.retry_after_s >= 1 for one in away)


def test_what_would_wait_too_long_is_turned_away_at_once(time: Time) -> None:
    lane = Lane(1)

    async def both() -> list[object]:
        for _ in range(100):
            await asked(lane, time, 1, 1e9, 10)
        before = time.ms
        found = await asked(lane, time, 20, 50, 10)
        assert time.ms - before == 10 * len([one for one in found if isinstance(one, bytes)])
        return found

    found = asyncio.run(both())
    assert sum(isinstance(one, OverloadedError) for one in found) == 15
    assert asyncio.run(asked(lane, time, 1, 1.5, 0)) == [b"0"]


def test_the_loop_is_looked_at_between_pages_but_half_as_often_while_some_are_turned_away(time: Time) -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        asyncio.get_running_loop().call_soon(look)

    async def run(more_ms: float) -> list[int]:
        lane, seen = Lane(1), list[int]()

        def page(_: Budget) -> None:
            time.ms += 10
            seen.append(looks)

        look()
        await asyncio.gather(*(lane.compute(1e9, page) for _ in range(100)))
        seen.clear()
        pages = asyncio.gather(*(lane.compute(1e9, page) for _ in range(7)))
        while not pages.done():
            await asyncio.sleep(0)
            if len(seen) == 1:
                lane.too_long(more_ms)
        return [seen.count(at) for at in dict.fromkeys(seen)]

    assert asyncio.run(run(1e9)) == [1] * 7
    assert asyncio.run(run(1)) == [1, 2, 2, 1, 1]


def test_a_turn_that_was_given_up_goes_to_the_next(time: Time) -> None:
    async def run() -> bytes:
        lane = Lane(1)
        first, second, third = (asyncio.ensure_future(lane.compute(100, lambda _: b"page")) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        assert await first == b"page"
        return await asyncio.wait_for(third, 5)

    assert asyncio.run(run()) == b"page"


def test_threads_answer_what_they_are_asked(time: Time) -> None:
    found = asyncio.run(asked(Lane(2), time, 10, 1000, 1))
    assert sorted(one for one in found if isinstance(one, bytes)) == [b"%d" % n for n in range(10)]
