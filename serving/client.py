"""A typed client of the HTTP API: the contract's operations by their names, and the very types that the server has.

Calls are tried again while there is time: no answer, 429 and 503 are not the last word. To send a batch again changes
nothing, since an event is known by its id. ``serving.async_client`` has the same for an event loop.
"""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from features.records import Control, Event, Item, User
from ranking.api import Ack, Alive, AliveRequest, Feed, FeedRequest, RankRequest, Status
from ranking.replay.account import Account
from serving import clock, requests
from serving.api import Acks, Health, Similar
from serving.calls import Call, Caller, MissingError, Server
from serving.requests import Asked

PATIENCE_MS = 10_000.0

T = TypeVar("T")


class Client:
    """Asks one server; may be shared by threads, and used in a ``with``.

    Every method takes ``within_ms``: all the time there is, with all tries and waits between them.

    Parameters
    ----------
    address : str
        As ``http://127.0.0.1:8000``.
    key : str
        Where the server asks for one; it is sent in a header, and told in no message, log or ``repr``.
    within_ms : float
        For calls that are given no other.
    now_ms : callable
        The clock that stamps a person's own word.
    sleep : callable
        Waits so many seconds.

    Raises
    ------
    CallError
        If the address is none, or the key could not be a header.
    """

    def __init__(
        self,
        address: str,
        key: str = "",
        within_ms: float = PATIENCE_MS,
        now_ms: clock.Clock = clock.now_ms,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._caller, self._within_ms, self._now_ms = Caller(Server.at(address, key), sleep), within_ms, now_ms

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._caller.close()

    def feed(self, request: FeedRequest, within_ms: float | None = None) -> Feed:
        """A page for a person; the server gets no more of ``deadline_ms`` than is left of ``within_ms``."""
        return self._ask(requests.feed(request), within_ms)

    def rank(self, request: RankRequest, within_ms: float | None = None) -> Feed:
        """The given items in order for a person; the deadline is as in ``feed``."""
        return self._ask(requests.rank(request), within_ms)

    def alive(self, request: AliveRequest, within_ms: float | None = None) -> Alive:
        """Which items of a page that was fetched earlier may still be shown; the deadline is as in ``feed``."""
        return self._ask(requests.alive(request), within_ms)

    def similar(self, item_id: str, k: int = 20, deadline_ms: int = 50, within_ms: float | None = None) -> Similar:
        """Items of the same kind near one, nearest first."""
        return self._ask(requests.similar(item_id, k, deadline_ms), within_ms)

    def why(self, page: str, bundle: str = "", *, far: bool = False, within_ms: float | None = None) -> Account:
        """The decision of a page by its ``request_id``, made once more."""
        return self._ask(requests.why(page, bundle, far=far), within_ms)

    def send_events(self, records: Sequence[Event | Control], within_ms: float | None = None) -> Acks:
        """Keep what people and rooms did; an event whose ``event_id`` is empty gets one before the first try."""
        return self._ask(requests.send_events(records), within_ms)

    def put_items(self, items: Sequence[Item], within_ms: float | None = None) -> Acks:
        """Put items in the catalog, whole."""
        return self._ask(requests.put_items(items), within_ms)

    def take_down(self, item_id: str, within_ms: float | None = None) -> Ack:
        """Take an item down."""
        return self._ask(requests.take_down(item_id), within_ms)

    def put_users(self, users: Sequence[User], within_ms: float | None = None) -> Acks:
        """Put people in the catalog, whole."""
        return self._ask(requests.put_users(users), within_ms)

    def erase(self, user_id: str, within_ms: float | None = None) -> Ack:
        """Forget a person. One who is not known after a try that got no answer was forgotten by it: a ``duplicate``."""
        try:
            return self._ask(requests.erase(user_id), within_ms)
        except MissingError as error:
            if error.tries > 1:
                return Ack("duplicate")
            raise

    def health(self, within_ms: float | None = None) -> Health:
        """Whether the server runs."""
        return self._ask(requests.HEALTH, within_ms)

    def ready(self, within_ms: float | None = None) -> Health:
        """Whether the server takes requests; one that is not ready yet is asked again while there is time."""
        return self._ask(requests.READY, within_ms)

    def status(self, within_ms: float | None = None) -> Status:
        """How the engine stands."""
        return self._ask(requests.STATUS, within_ms)

    def metrics(self, within_ms: float | None = None) -> str:
        """What the server counted and timed, in Prometheus' text format."""
        return self._body(requests.METRICS, within_ms).decode()

    def hide_item(self, user_id: str, item_id: str, within_ms: float | None = None) -> Ack:
        """Not interested: no page of the person's holds the item any more."""
        return self._say(Control(user_id, self._now_ms(), "hide_item", item_id), within_ms)

    def hide_author(self, user_id: str, author_id: str, within_ms: float | None = None) -> Ack:
        """Not interested in anything of an author."""
        return self._say(Control(user_id, self._now_ms(), "hide_author", author_id), within_ms)

    def hide_category(self, user_id: str, category: str, within_ms: float | None = None) -> Ack:
        """Not interested in a category."""
        return self._say(Control(user_id, self._now_ms(), "hide_category", category), within_ms)

    def personalise(self, user_id: str, *, on: bool, within_ms: float | None = None) -> Ack:
        """Whether pages go by who the person is."""
        return self._say(requests.personalise(user_id, self._now_ms(), on=on), within_ms)

    def clear_history(self, user_id: str, within_ms: float | None = None) -> Ack:
        """Forget all that was counted of a person; what was hidden stays hidden."""
        return self._say(Control(user_id, self._now_ms(), "clear_history"), within_ms)

    def _say(self, control: Control, within_ms: float | None) -> Ack:
        return self.send_events([control], within_ms).results[0]

    def _ask(self, asked: Asked[T], within_ms: float | None) -> T:
        return asked.read(self._body(asked.call, within_ms))

    def _body(self, call: Call, within_ms: float | None) -> bytes:
        return self._caller.ask(call, self._within_ms if within_ms is None else within_ms)
