"""The contract under /v1: thin handlers over the engine; ``serving.routes`` has those of the hot routes once more."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from litestar import Litestar, MediaType, Response, Router, delete, get, post, put
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.params import JSONBody, Parameter

from features.errors import LogError
from ranking.api import Ack, Alive, AliveRequest, Feed, FeedRequest, RankRequest, Status
from ranking.engine import Engine
from ranking.request.ladder import Budget
from serving import clock, errors
from serving.api import Acks, Health, Similar
from serving.archiver import Archiver
from serving.asked import ASKED
from serving.batch import EVENTS, ITEMS, USERS, Events, Items, Users, keep
from serving.contract import document
from serving.decisions import Decisions, why
from serving.hot import MAX_BODY_BYTES, Hot
from serving.keys import Door
from serving.lane import Lane
from serving.metrics import METRICS_TYPE, Metrics
from serving.page import page
from serving.policies import Policies
from serving.promotion import Promotions
from serving.routes import READS, hot_routes
from serving.settings import SNAPSHOT_RECORDS
from serving.snapshots import Snapshots
from serving.stalls import Stalls
from serving.telemetry import Observed, Routes, Telemetry, Tracing
from serving.turnstile import Turnstile
from serving.watch import Watch
from serving.writer import Writer

PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {"content-security-policy": PAGE_POLICY}
PATIENCE_S = 5
"""How long the log may take for an empty write before the server is called not ready."""

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
async def ready(
    engine: NamedDependency[Engine], writer: NamedDependency[Writer], now_ms: NamedDependency[int]
) -> Status:
    """How the engine stands, once the log is folded, the bundle loaded, and the log has taken an empty write."""
    try:
        await asyncio.wait_for(writer.append(()), PATIENCE_S)
    except TimeoutError as error:
        raise LogError(f"The log has taken no record for {PATIENCE_S} s.", "Look at the disk it is on.") from error
    return await asyncio.to_thread(engine.status, now_ms)


@get("/metrics", media_type=METRICS_TYPE, sync_to_thread=True)
def metrics(metrics: NamedDependency[Metrics]) -> str:
    """What the server counted and timed, in Prometheus' text format."""
    return metrics.text()


ROUTES = {
    "/v1": (feed, rank, alive, similar, why, send_events, put_items, take_down, put_users, erase),
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


def create_app(
    engine: Engine,
    now_ms: clock.Clock = clock.now_ms,
    request_id: Callable[[], str] = clock.request_id,
    threads: int = 1,
    snapshot_records: int = SNAPSHOT_RECORDS,
    traces: Tracing | None = None,
    beside: Sequence[Watch] = (),
    *,
    any_host: bool = True,
) -> Observed:
    """The application over an engine, whose past days it archives and which it closes when it shuts down.

    Parameters
    ----------
    engine : Engine
        Opened as the writer.
    now_ms, request_id : callable
        The clock, and the names of requests.
    threads : int
        How many compute pages; one, and the event loop does it itself: a hand-over pays only where cores are many.
    snapshot_records : int
        A snapshot is taken whenever so many records have come.
    traces : Tracing, optional
        Who is told of each page's stages.
    beside : sequence of Watch
        What else looks on while requests are answered.
    any_host : bool
        Whether it answers, where the home has no keys, whatever name it is asked by; see ``Door``.
    """
    snapshots = Snapshots(engine, snapshot_records)
    writer, archiver = Writer(engine, now_ms), Archiver(engine, now_ms)
    promotions, policies = Promotions(engine, engine.bundles, now_ms), Policies(engine, now_ms)
    decisions, lane = Decisions(engine.home), Lane(threads)
    metrics = Metrics(lambda: engine.status(now_ms()), lambda: engine.generation.recall.names, lambda: lane.waiting)
    telemetry = Telemetry(metrics, traces)
    watches: list[Watch] = [archiver, promotions, policies, snapshots, Stalls(metrics.late), *beside]
    of_contract = [Router(prefix, route_handlers=of) for prefix, of in ROUTES.items()]
    contract = Litestar(
        [*of_contract, contract_page, contract_document],
        dependencies={
            "engine": Provide(lambda: engine, sync_to_thread=False, use_cache=True),
            "lane": Provide(lambda: lane, sync_to_thread=False, use_cache=True),
            "writer": Provide(lambda: writer, sync_to_thread=False, use_cache=True),
            "decisions": Provide(lambda: decisions, sync_to_thread=False, use_cache=True),
            "now_ms": Provide(now_ms, sync_to_thread=False),
            "request_id": Provide(_request_id, sync_to_thread=False),
            "metrics": Provide(lambda: metrics, sync_to_thread=False, use_cache=True),
            "telemetry": Provide(lambda: telemetry, sync_to_thread=False, use_cache=True),
            "budget": Provide(_no_end, sync_to_thread=False),
        },
        exception_handlers={Exception: errors.answer, HTTPException: errors.answer},
        on_startup=[writer.start, *(watch.start for watch in watches)],
        on_shutdown=[
            *(watch.stop for watch in watches[::-1]),
            writer.stop,
            engine.close,
            telemetry.stop,
        ],
        openapi_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )
    hot = Hot(contract, hot_routes(engine, writer, telemetry, lane, now_ms), Door(engine.home, any_host=any_host))
    turnstile = Turnstile(lane, READS, hot.admit, telemetry, request_id)
    routes = Routes(route.path_format for route in contract.routes)
    return Observed(hot, telemetry, routes, request_id, turnstile)


def _request_id() -> str:
    """The name of the request that is being answered."""
    return ASKED.get().request_id


def _no_end() -> Budget:
    """The budget of a page that the framework's own way leads to: hot routes have a deadline."""
    return Budget()
