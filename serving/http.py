"""The contract under /v1: thin handlers over the engine; ``serving.routes`` has those of the hot routes once more."""

from typing import Annotated

import msgspec
from litestar import MediaType, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, Parameter

from ranking.api import Ack, Alive, AliveRequest, Feed, FeedRequest, RankRequest, Status
from ranking.engine import Engine
from ranking.request.ladder import Budget
from serving.api import Acks, Health, Similar
from serving.batch import EVENTS, ITEMS, USERS, Events, Items, Users, keep
from serving.contract import document
from serving.decisions import why
from serving.lane import Lane
from serving.metrics import METRICS_TYPE, Metrics
from serving.page import page
from serving.readiness import Readiness
from serving.telemetry import Telemetry
from serving.writer import Writer

PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"content-security-policy": PAGE_POLICY}

# In the path, or in the query for an id that holds slashes: a path with %2F is not the same everywhere.
ItemId = Annotated[str, Parameter(min_length=1, max_length=128, description="An item of the catalog.")]
UserId = Annotated[str, Parameter(min_length=1, max_length=128, description="A person.")]
Deadline = Annotated[int, Parameter(ge=1, le=60_000, description="Milliseconds until the answer is due.")]
Neighbours = Annotated[int, Parameter(ge=1, le=200, description="How many items at most.")]


@post("/feed", status_code=200, sync_to_thread=True)
def feed(
    engine: NamedDependency[Engine],
    data: JSONBody[FeedRequest],
    now_ms: NamedDependency[int],
    request_id: NamedDependency[str],
    budget: NamedDependency[Budget],
) -> Feed:
    """A page for a person, best first, as of now."""
    return engine.feed(data, now_ms, request_id, budget)


@post("/rank", status_code=200, sync_to_thread=True)
def rank(
    engine: NamedDependency[Engine],
    data: JSONBody[RankRequest],
    now_ms: NamedDependency[int],
    request_id: NamedDependency[str],
    budget: NamedDependency[Budget],
) -> Feed:
    """The given items in order for a person; unknown and illegal ones are counted by reason in ``dropped``."""
    return engine.rank(data, now_ms, request_id, budget)


@post("/alive", status_code=200, sync_to_thread=True)
def alive(engine: NamedDependency[Engine], data: JSONBody[AliveRequest], now_ms: NamedDependency[int]) -> Alive:
    """Which items of a page that was fetched earlier may still be shown; ``gone`` says why each other may not."""
    return engine.alive(data, now_ms)


@post("/events", status_code=200)
async def send_events(writer: NamedDependency[Writer], telemetry: NamedDependency[Telemetry], data: Events) -> Acks:
    """Keep what people and rooms did; it counts in the next page, and a room that ended is in none.

    Each record is kept durably before it is accepted. A bad one is rejected by name, the rest is kept; an event sent
    again is a duplicate and changes nothing. Records of ``type`` control are a person's own word.
    """
    return await keep(writer, telemetry, data, EVENTS)


@put("/items")
async def put_items(writer: NamedDependency[Writer], telemetry: NamedDependency[Telemetry], data: Items) -> Acks:
    """Put items in the catalog, whole; each replaces the one of its id."""
    return await keep(writer, telemetry, data, ITEMS)


@delete(["/items/{item_id:str}", "/items"], status_code=200, sync_to_thread=True)
def take_down(engine: NamedDependency[Engine], item_id: ItemId, now_ms: NamedDependency[int]) -> Ack:
    """Take an item down: no page that is answered after this one holds it."""
    return engine.take_down(item_id, now_ms)


@put("/users")
async def put_users(writer: NamedDependency[Writer], telemetry: NamedDependency[Telemetry], data: Users) -> Acks:
    """Put people in the catalog, whole; each replaces the one of its id."""
    return await keep(writer, telemetry, data, USERS)


@delete(["/users/{user_id:str}", "/users"], status_code=200, sync_to_thread=True)
def erase(engine: NamedDependency[Engine], user_id: UserId, now_ms: NamedDependency[int]) -> Ack:
    """Forget a person: once answered, no file of the home holds the id; counters of items keep what was done."""
    return engine.erase(user_id, now_ms)


@get(["/items/{item_id:str}/similar", "/similar"])
async def similar(
    engine: NamedDependency[Engine],
    lane: NamedDependency[Lane],
    item_id: ItemId,
    now_ms: NamedDependency[int],
    k: Neighbours = 20,
    deadline_ms: Deadline = 50,
) -> Similar:
    """Items of the same kind near one, nearest first."""
    found = await lane.compute(deadline_ms, lambda _: engine.similar(item_id, k, now_ms), has_rungs=False)
    return Similar(item_id, found)


@get("/healthz", sync_to_thread=False)
def health() -> Health:
    """Whether the server runs."""
    return Health()


@get("/readyz")
async def ready(readiness: NamedDependency[Readiness]) -> Health:
    """Whether the server takes requests: the log is folded, the bundle loaded, and the log took an empty write."""
    await readiness.check()
    return Health()


@get("/status", sync_to_thread=True)
def status(engine: NamedDependency[Engine], now_ms: NamedDependency[int]) -> Status:
    """How the engine stands: what it serves, how far the log is folded, how large the indexes are, what is at fault."""
    return engine.status(now_ms)


@get("/metrics", media_type=METRICS_TYPE, sync_to_thread=True)
def metrics(metrics: NamedDependency[Metrics]) -> str:
    """What the server counted and timed, in Prometheus' text format."""
    return metrics.text()


ROUTES = {
    "/v1": (feed, rank, alive, similar, why, send_events, put_items, take_down, put_users, erase, status),
    "": (health, ready, metrics),
}
"""The contract, by the prefix of its paths."""


@get("/schema", media_type=MediaType.HTML, sync_to_thread=False, response_headers=PAGE_HEADERS)
def contract_page() -> bytes:
    """The contract for people."""
    return page(document(ROUTES))


@get("/schema/openapi.json", sync_to_thread=False)
def contract_document() -> Response[bytes]:
    """The contract for programs."""
    return Response(msgspec.json.encode(document(ROUTES)), media_type=MediaType.JSON)
