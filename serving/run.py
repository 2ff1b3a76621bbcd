"""The server: bind, open, serve until told to stop, drain, close."""

import errno
import gc
import os
import socket
import sys
from collections.abc import Callable

import uvicorn

from features.errors import BundleError
from features.records import FUTURE_MS
from ranking.bundles.bundle import load
from ranking.bundles.versions import find
from ranking.engine import Engine
from serving import clock
from serving.application import create_app
from serving.connections import prompt_protocol
from serving.draining import DrainingServer
from serving.foreign import check_packages
from serving.logs import write_logs
from serving.settings import Settings, SettingsError
from serving.shadow import Shadow
from serving.telemetry import Tracing

DRAIN_S = 10
"""How long requests that have begun may take after the server was told to stop."""
SWITCH_S = 0.0005
"""How long one thread may keep the others from running Python: a page waits for the writer so long, not for 5 ms."""


def serve(settings: Settings, announce: Callable[[str], None], now_ms: clock.Clock = clock.now_ms) -> None:
    """Serve a home until SIGTERM or SIGINT; requests that have begun are answered before the engine is closed.

    Parameters
    ----------
    settings : Settings
    announce : callable
        Told the server's address once requests are taken.
    now_ms : callable
        The clock; another than the system's to serve a home of another time.

    Raises
    ------
    SettingsError
        If the address is taken, or open to others without leave.
    ForeignPackageError
        If one of our packages is not ours.
    BundleError, LogError, PolicyError
        If the home cannot be served.
    CutShortError
        If it ended before all that had begun was answered, or could not be closed in order.
    """
    check_packages()
    settings.check()
    write_logs(settings.log_format, ids=settings.log_ids, answers=settings.log_answers)
    traces = _traces() if settings.traces else None
    with _bound(settings) as bound:
        # The application closes the engine, after the last answer.
        engine = _opened(settings, now_ms)
        engine.warm(now_ms())
        beside = _shadow(engine, settings)
        app = create_app(
            engine,
            now_ms,
            clock.request_id,
            cores(),
            settings.snapshot_records,
            traces,
            beside,
            any_host=settings.allow_remote,
        )
        settle()
        config = uvicorn.Config(
            app,
            http=prompt_protocol(app.turnstile),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        host, port = bound.getsockname()[:2]
        announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        DrainingServer(config).run(sockets=[bound])


def settle() -> None:
    """Ready this process for pages: threads take short turns, and no collection looks at what is there now.

    One that looked at all of it would hold up a page by more than its deadline.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()


def _traces() -> Tracing:
    try:
        from serving.traces import exported  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise SettingsError("Traces need OpenTelemetry.", "Install it: pip install 'huozhao[traces]'.") from error
    return exported()


def _shadow(engine: Engine, settings: Settings) -> list[Shadow]:
    """What compares a second bundle with the one that is served, if the settings name one."""
    if not settings.shadow:
        return []
    try:
        version = find(engine.bundles, settings.shadow)
        return [Shadow(engine, load(engine.bundles / version), settings.shadow_share)]
    except BundleError:
        engine.close()
        raise


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _opened(settings: Settings, clock_ms: clock.Clock) -> Engine:
    """The engine of a home whose log is not ahead of the clock: nothing could be appended to it."""
    home = settings.folder
    engine = Engine.open(home, durability=settings.durability, decisions=settings.decisions)
    last_ms, now_ms = engine.status(0).received_ms, clock_ms()
    if last_ms > now_ms + FUTURE_MS:
        engine.close()
        what = f"The log of {home} ends {(last_ms - now_ms) / 1000:.0f} s ahead of the clock."
        raise SettingsError(what, "Set the clock, or serve a home whose log is of the past.")
    return engine


def check_address(settings: Settings) -> None:
    """Refuse an address that cannot be served on as things stand, before anything is done that takes long.

    Raises
    ------
    SettingsError
        If it is taken, or is none of this machine's.
    """
    _bound(settings).close()


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        bound = socket.create_server((settings.host, settings.port), family=family)
        # Connections inherit it; asyncio sets it only where a socket names its protocol. Without it an answer, whose
        # head and body are two writes, waits 40 ms for the other side to acknowledge the head.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return bound
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        # Python puts the address behind the reason once more.
        why = (error.strerror or str(error)).partition(" (while")[0]
        option = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise SettingsError(f"Cannot serve on {where}: {why}.", f"Choose another with {option}.") from error
