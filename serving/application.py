"""The application: what answers requests over one engine, what looks on beside them, and in which order they end."""

from collections.abc import Callable, Mapping, Sequence

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException

from ranking.engine import Engine
from ranking.request.ladder import Budget
from serving import clock, errors
from serving.archiver import Archiver
from serving.asked import ASKED
from serving.decisions import Decisions
from serving.hot import MAX_BODY_BYTES, Hot
from serving.http import ROUTES, contract_document, contract_page
from serving.keys import Door
from serving.lane import Lane
from serving.metrics import Metrics
from serving.policies import Policies
from serving.promotion import Promotions
from serving.readiness import Readiness
from serving.routes import READS, hot_routes
from serving.settings import SNAPSHOT_RECORDS
from serving.snapshots import Snapshots
from serving.stalls import Stalls
from serving.telemetry import Observed, Routes, Telemetry, Tracing
from serving.turnstile import Turnstile
from serving.watch import Watch
from serving.writer import Writer

Step = Callable[[], None]


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
    writer, lane = Writer(engine, now_ms), Lane(threads)
    metrics = Metrics(lambda: engine.status(now_ms()), lambda: engine.generation.recall.names, lambda: lane.waiting)
    telemetry = Telemetry(metrics, traces)
    watches = [*_watches(engine, now_ms, snapshot_records, metrics), *beside]
    given = {
        "engine": engine,
        "lane": lane,
        "writer": writer,
        "readiness": Readiness(writer),
        "decisions": Decisions(engine.home),
        "metrics": metrics,
        "telemetry": telemetry,
    }
    begins = [writer.start, *(watch.start for watch in watches)]
    ends = [*(watch.stop for watch in watches[::-1]), writer.stop, engine.close, telemetry.stop]
    contract = _contract(given, now_ms, begins, ends)
    hot = Hot(contract, hot_routes(engine, writer, telemetry, lane, now_ms), Door(engine.home, any_host=any_host))
    turnstile = Turnstile(lane, READS, hot.admit, telemetry, request_id)
    return Observed(hot, telemetry, Routes(route.path_format for route in contract.routes), request_id, turnstile)


def _watches(engine: Engine, now_ms: clock.Clock, snapshot_records: int, metrics: Metrics) -> list[Watch]:
    """What looks on beside requests, in the order in which it begins."""
    return [
        Archiver(engine, now_ms),
        Promotions(engine, engine.bundles, now_ms),
        Policies(engine, now_ms),
        Snapshots(engine, snapshot_records),
        Stalls(metrics.late),
    ]


def _contract(
    given: Mapping[str, object], now_ms: clock.Clock, begins: Sequence[Step], ends: Sequence[Step]
) -> Litestar:
    """The contract's routes, whose handlers ask by name for what is given, and the steps of its life."""
    return Litestar(
        [*(Router(prefix, route_handlers=of) for prefix, of in ROUTES.items()), contract_page, contract_document],
        dependencies={
            **{name: _always(part) for name, part in given.items()},
            "now_ms": Provide(now_ms, sync_to_thread=False),
            "request_id": Provide(_request_id, sync_to_thread=False),
            "budget": Provide(_no_end, sync_to_thread=False),
        },
        exception_handlers={Exception: errors.answer, HTTPException: errors.answer},
        on_startup=[*begins],
        on_shutdown=[*ends],
        openapi_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
    )


def _always(part: object) -> Provide:
    return Provide(lambda: part, sync_to_thread=False, use_cache=True)


def _request_id() -> str:
    """The name of the request that is being answered."""
    return ASKED.get().request_id


def _no_end() -> Budget:
    """The budget of a page that the framework's own way leads to: hot routes have a deadline."""
    return Budget()
