"""What is told of every request: a name, counts and times, a line of the log where wanted, a trace where wanted."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Protocol

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ranking.api import Ack, Feed
from ranking.request.ladder import Budget
from serving.asked import ASKED, Asked, person_of
from serving.clock import elapsed_ms, now_ns
from serving.connections import Refusing
from serving.metrics import Metrics

_log = logging.getLogger(__name__)
PARENT = re.compile(rb"[0-9a-f-]{55}")
"""The form of a ``traceparent`` (W3C Trace Context)."""
ALWAYS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""What every answer says: it is of its moment and may be of a person, and it is what it says that it is."""


class Tracing(Protocol):
    """Who takes traces of pages; ``serving.traces`` has one."""

    def page(self, asked: Asked, feed: Feed, budget: Budget, ended_ns: int) -> None:
        """Take the trace of a page that was ready at a moment."""

    def stop(self) -> None:
        """Return when all is sent."""


class Routes:
    """The contract's patterns of paths, so that an id in a path is not told on.

    Parameters
    ----------
    patterns : iterable of str
        As ``/v1/items/{item_id}``.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._plain, self._named = set[str](), list[tuple[re.Pattern[str], str]]()
        for pattern in patterns:
            if "{" in pattern:
                parts = (re.escape(part) for part in re.split(r"\{[^}]*\}", pattern))
                self._named.append((re.compile("[^/]+".join(parts)), pattern))
            else:
                self._plain.add(pattern)

    def of(self, path: str) -> str:
        """The pattern of a path; ``unknown`` where there is none."""
        if path in self._plain:
            return path
        return next((pattern for form, pattern in self._named if form.fullmatch(path)), "unknown")


class Telemetry:
    """Tells of what a server did.

    Parameters
    ----------
    metrics : Metrics
    traces : Tracing, optional
    """

    def __init__(self, metrics: Metrics, traces: Tracing | None = None) -> None:
        self._metrics = metrics
        self._traces = traces

    def page(self, feed: Feed, budget: Budget) -> None:
        """Tell of a page, once it is on its way: it is not held up."""
        asyncio.get_running_loop().call_soon(self._page, ASKED.get(), feed, budget, now_ns())

    def _page(self, asked: Asked, feed: Feed, budget: Budget, ended_ns: int) -> None:
        self._metrics.page(feed, budget)
        if self._traces:
            self._traces.page(asked, feed, budget, ended_ns)

    def kept(self, acks: Sequence[Ack], took_ms: float) -> None:
        """Tell what became of records."""
        self._metrics.kept(acks, took_ms / 1e3)

    def answered(self, asked: Asked, status: int, took_ms: float) -> None:
        """Tell of an answer."""
        self._metrics.answered(asked.route, status, took_ms / 1e3)
        if _log.isEnabledFor(logging.INFO):
            _log.info("answered", extra={"fields": {"route": asked.route, "status": status, "ms": round(took_ms, 2)}})

    def turned_away(self, asked: Asked, took_ms: float) -> None:
        """Tell of a request for which nothing was begun: it has no context of its own to be named by in the log."""
        before = ASKED.set(asked)
        self.answered(asked, HTTPStatus.TOO_MANY_REQUESTS, took_ms)
        ASKED.reset(before)

    def stop(self) -> None:
        """Return when all is told."""
        if self._traces:
            self._traces.stop()


class Observed:
    """An application that answers as another does, names every request, and tells of it.

    Parameters
    ----------
    app : ASGI application
    telemetry : Telemetry
    routes : Routes
    request_id : callable
        Names requests.
    turnstile : Refusing
        For the server, which asks it before this application.
    """

    def __init__(
        self, app: ASGIApp, telemetry: Telemetry, routes: Routes, request_id: Callable[[], str], turnstile: Refusing
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._routes = routes
        self._request_id = request_id
        self.turnstile = turnstile

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live one lifespan."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began_ms, status = elapsed_ms(), 500
        asked = Asked(
            self._request_id(),
            f"{scope['method']} {self._routes.of(scope['path'])}",
            person_of(scope["path"], scope["query_string"]),
            _parent(scope["headers"]),
        )
        ASKED.set(asked)

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *ALWAYS, (b"x-request-id", asked.request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, named)
        finally:
            self._telemetry.answered(asked, status, elapsed_ms() - began_ms)


def _parent(headers: Iterable[tuple[bytes, bytes]]) -> str:
    sent = next((value for name, value in headers if name == b"traceparent"), b"")
    return sent.decode() if PARENT.fullmatch(sent) else ""
