"""The contract under /v1: thin handlers that call the engine in a thread, so that its kernels run beside the loop."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import msgspec
from litestar import Litestar, Router, delete, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.params import JSONBody, Parameter

from features.errors import HuozhaoError
from ranking.engine import Engine
from ranking.types import Ack, Feed, FeedItem, FeedRequest, RankRequest, Status
from serving import clock, errors
from serving.archiver import Archiver
from serving.batch import EVENTS, ITEMS, USERS, Acks, Events, Items, RecordSchemas, Users, keep
from serving.errors import PROBLEMS
from serving.page import ContractPage

MAX_BODY_BYTES = 16 << 20

# In the path, or in the query for an id that holds slashes: a path with %2F is not the same everywhere.
ItemId = Annotated[str, Parameter(min_length=1, max_length=128, description="An item of the catalog.")]
Neighbours = Annotated[int, Parameter(ge=1, le=200, description="How many items at most.")]


class Similar(msgspec.Struct, frozen=True):
    """Items near one, nearest first; ``value`` is the inner product of their vectors."""

    item_id: str
    items: tuple[FeedItem, ...]


class Health(msgspec.Struct, frozen=True):
    """That the server runs."""

    status: str = "ok"


@post("/feed", status_code=200, responses=PROBLEMS, sync_to_thread=True)
def feed(
    engine: NamedDependency[Engine],
    data: JSONBody[FeedRequest],
    now_ms: NamedDependency[int],
    request_id: NamedDependency[str],
) -> Feed:
    """A page for a person, best first, as of now."""
    return engine.feed(data, now_ms, request_id)


@post("/rank", status_code=200, responses=PROBLEMS, sync_to_thread=True)
def rank(
    engine: NamedDependency[Engine],
    data: JSONBody[RankRequest],
    now_ms: NamedDependency[int],
    request_id: NamedDependency[str],
) -> Feed:
    """The given items in order for a person; unknown and illegal ones are counted by reason in ``dropped``."""
    return engine.rank(data, now_ms, request_id)


@post("/events", status_code=200, responses=PROBLEMS, sync_to_thread=True)
def send_events(engine: NamedDependency[Engine], data: Events, now_ms: NamedDependency[int]) -> Acks:
    """Keep what people and rooms did; it counts in the next page, and a room that ended is in none.

    Each record is kept durably before it is accepted. A bad one is rejected by name, the rest is kept; an event sent
    again is a duplicate and changes nothing. Records of ``type`` control are a person's own word.
    """
    return keep(engine, data, EVENTS, now_ms)


@put("/items", responses=PROBLEMS, sync_to_thread=True)
def put_items(engine: NamedDependency[Engine], data: Items, now_ms: NamedDependency[int]) -> Acks:
    """Put items in the catalog, whole; each replaces the one of its id."""
    return keep(engine, data, ITEMS, now_ms)


@delete(["/items/{item_id:str}", "/items"], status_code=200, responses=PROBLEMS, sync_to_thread=True)
def take_down(engine: NamedDependency[Engine], item_id: ItemId, now_ms: NamedDependency[int]) -> Ack:
    """Take an item down: no page that is answered after this one holds it."""
    return engine.take_down(item_id, now_ms)


@put("/users", responses=PROBLEMS, sync_to_thread=True)
def put_users(engine: NamedDependency[Engine], data: Users, now_ms: NamedDependency[int]) -> Acks:
    """Put people in the catalog, whole; each replaces the one of its id."""
    return keep(engine, data, USERS, now_ms)


@get(["/items/{item_id:str}/similar", "/similar"], responses=PROBLEMS, sync_to_thread=True)
def similar(
    engine: NamedDependency[Engine], item_id: ItemId, now_ms: NamedDependency[int], k: Neighbours = 20
) -> Similar:
    """Items of the same kind near one, nearest first."""
    return Similar(item_id, engine.similar(item_id, k, now_ms))


@get("/healthz", sync_to_thread=False)
def health() -> Health:
    """Whether the server runs."""
    return Health()


@get("/readyz", sync_to_thread=True)
def ready(engine: NamedDependency[Engine], now_ms: NamedDependency[int]) -> Status:
    """How the engine stands; it answers once the log is folded and the bundle loaded."""
    return engine.status(now_ms)


def create_app(
    engine: Engine,
    now_ms: Callable[[], int] = clock.now_ms,
    request_id: Callable[[], str] = clock.request_id,
) -> Litestar:
    """The application over an engine, whose past days it archives and which it closes when it shuts down.

    Parameters
    ----------
    engine : Engine
        Opened as the writer.
    now_ms, request_id : callable
        The clock, and the names of requests.
    """
    archiver = Archiver(engine, now_ms)
    routes = [feed, rank, send_events, put_items, take_down, put_users, similar]
    return Litestar(
        [Router("/v1", route_handlers=routes), health, ready],
        dependencies={
            "engine": Provide(lambda: engine, sync_to_thread=False, use_cache=True),
            "now_ms": Provide(now_ms, sync_to_thread=False),
            "request_id": Provide(request_id, sync_to_thread=False),
        },
        exception_handlers={
            HuozhaoError: errors.ours,
            HTTPException: errors.theirs,
            RecursionError: errors.unreadable,
            UnicodeDecodeError: errors.unreadable,
            Exception: errors.unforeseen,
        },
        on_startup=[archiver.start],
        on_shutdown=[archiver.stop, engine.close],
        openapi_config=OpenAPIConfig(
            "Huozhao", _version(), use_handler_docstrings=True, render_plugins=[ContractPage(path="/")]
        ),
        plugins=[RecordSchemas()],
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )


def _version() -> str:
    try:
        return version("huozhao")
    except PackageNotFoundError:
        return "0"
