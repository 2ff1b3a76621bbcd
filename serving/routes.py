"""The hot routes' handlers, from bytes to bytes; ``serving.hot`` calls them, and ``serving.http`` declares the same."""

from collections.abc import Callable, Mapping

import msgspec

from ranking.api import AliveRequest, Feed, FeedRequest, RankRequest
from ranking.engine import Engine
from ranking.request.ladder import Budget
from serving.asked import ASKED, about
from serving.batch import EVENTS, ITEMS, USERS, Form, keep, read_events, read_rows
from serving.clock import Clock
from serving.hot import Route
from serving.lane import Lane
from serving.telemetry import Telemetry
from serving.turnstile import Read
from serving.writer import Writer

_feed_request, _rank_request = msgspec.json.Decoder(FeedRequest), msgspec.json.Decoder(RankRequest)
_alive_request = msgspec.json.Decoder(AliveRequest)
_encode = msgspec.json.Encoder().encode

READS: Mapping[str, Read] = {
    "/v1/feed": _feed_request.decode,
    "/v1/rank": _rank_request.decode,
    "/v1/alive": _alive_request.decode,
}
"""What reads the body of a POST to each route whose requests wait in the lane."""


def hot_routes(
    engine: Engine, writer: Writer, telemetry: Telemetry, lane: Lane, now_ms: Clock
) -> dict[tuple[str, str], Route]:
    """The handlers by method and path, given what they ask for."""

    async def computed(deadline_ms: float, make: Callable[[Budget], Feed]) -> bytes:
        def answer(budget: Budget) -> tuple[bytes, Feed, Budget]:
            made = make(budget)
            return _encode(made), made, budget

        body, made, budget = await lane.compute(deadline_ms, answer)
        telemetry.page(made, budget)
        return body

    async def answer_feed(body: bytes) -> bytes:
        asked, name = _feed_request.decode(body), ASKED.get().request_id
        about(asked.user_id)
        return await computed(asked.deadline_ms, lambda budget: engine.feed(asked, now_ms(), name, budget))

    async def answer_rank(body: bytes) -> bytes:
        asked, name = _rank_request.decode(body), ASKED.get().request_id
        about(asked.user_id)
        return await computed(asked.deadline_ms, lambda budget: engine.rank(asked, now_ms(), name, budget))

    async def answer_alive(body: bytes) -> bytes:
        asked = _alive_request.decode(body)
        about(asked.user_id)
        return await lane.compute(asked.deadline_ms, lambda _: _encode(engine.alive(asked, now_ms())), has_rungs=False)

    def keeping(form: Form) -> Route:
        read = read_events if form is EVENTS else read_rows

        async def answer(body: bytes) -> bytes:
            return _encode(await keep(writer, telemetry, read(body), form))

        return answer

    return {
        ("POST", "/v1/feed"): answer_feed,
        ("POST", "/v1/rank"): answer_rank,
        ("POST", "/v1/alive"): answer_alive,
        ("POST", "/v1/events"): keeping(EVENTS),
        ("PUT", "/v1/items"): keeping(ITEMS),
        ("PUT", "/v1/users"): keeping(USERS),
    }
