"""What a client asks for each operation of the contract: the call, and the type of its answer."""

import uuid
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from features.records import Control, Event, Item, User
from ranking.api import Ack, Alive, AliveRequest, Feed, FeedRequest, RankRequest, Status
from ranking.replay.account import Account
from serving.api import Acks, Health, Similar
from serving.calls import Call

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class Asked(NamedTuple, Generic[T]):
    """A call, and the type of its answer."""

    call: Call
    answer: type[T]

    def read(self, body: bytes) -> T:
        """The answer that a body holds."""
        return msgspec.json.decode(body, type=self.answer)


def feed(request: FeedRequest) -> Asked[Feed]:
    """A page for a person."""
    return _in_time("/v1/feed", request, Feed)


def rank(request: RankRequest) -> Asked[Feed]:
    """The given items in order for a person."""
    return _in_time("/v1/rank", request, Feed)


def alive(request: AliveRequest) -> Asked[Alive]:
    """Which items of a page that was fetched earlier may still be shown."""
    return _in_time("/v1/alive", request, Alive)


def similar(item_id: str, k: int, deadline_ms: int) -> Asked[Similar]:
    """Items of the same kind near one."""
    return Asked(Call("GET", _target("/v1/similar", item_id=item_id, k=k, deadline_ms=deadline_ms)), Similar)


def why(page: str, bundle: str, *, far: bool) -> Asked[Account]:
    """The decision of a page, made once more."""
    more = {"bundle": bundle} if bundle else {}
    return Asked(Call("GET", _target("/v1/feeds", page=page, far=str(far).lower(), **more)), Account)


def send_events(records: Sequence[Event | Control]) -> Asked[Acks]:
    """Keep what people and rooms did; an event whose ``event_id`` is empty gets one here, before the first try."""
    return _kept("POST", "/v1/events", [_named(record) for record in records])


def personalise(user_id: str, now_ms: int, *, on: bool) -> Control:
    """A person's word on whether pages go by who they are."""
    return Control(user_id, now_ms, "personalisation_on" if on else "personalisation_off")


def put_items(items: Sequence[Item]) -> Asked[Acks]:
    """Put items in the catalog."""
    return _kept("PUT", "/v1/items", items)


def put_users(users: Sequence[User]) -> Asked[Acks]:
    """Put people in the catalog."""
    return _kept("PUT", "/v1/users", users)


def take_down(item_id: str) -> Asked[Ack]:
    """Take an item down."""
    return Asked(Call("DELETE", _target("/v1/items", item_id=item_id)), Ack)


def erase(user_id: str) -> Asked[Ack]:
    """Forget a person."""
    return Asked(Call("DELETE", _target("/v1/users", user_id=user_id)), Ack)


HEALTH = Asked(Call("GET", "/healthz"), Health)
READY = Asked(Call("GET", "/readyz"), Health)
STATUS = Asked(Call("GET", "/v1/status"), Status)
METRICS = Call("GET", "/metrics")


def _in_time(target: str, request: FeedRequest | RankRequest | AliveRequest, answer: type[T]) -> Asked[T]:
    """A call that gives the server no more time than is left."""

    def body(left_ms: float) -> bytes:
        return _encode(msgspec.structs.replace(request, deadline_ms=max(1, min(request.deadline_ms, int(left_ms)))))

    return Asked(Call("POST", target, body), answer)


def _kept(method: str, target: str, records: Sequence[Any]) -> Asked[Acks]:
    body = _encode(records)
    return Asked(Call(method, target, lambda _: body), Acks)


def _target(path: str, **query: str | int) -> str:
    """A path and its query: ids go there, since a path holds no slash of theirs."""
    return f"{path}?{urlencode(query, quote_via=quote)}"


def _named(record: Event | Control) -> Event | Control:
    if isinstance(record, Event) and not record.event_id:
        return msgspec.structs.replace(record, event_id=uuid.uuid4().hex)
    return record
