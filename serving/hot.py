"""The hot routes, from bytes to bytes: the contract's own functions without the framework's way to them.

The framework declares them, so that they are in the contract, and answers every other route. It would spend more on
finding out what a handler wants than a page costs to encode; and it turns ``"5"`` into 5, which a contract should not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from serving.api import MEDIA_TYPE
from serving.asked import ASKED
from serving.errors import EMPTY, MediaTypeError, StoppingError, headers_of, problem
from serving.halves import half_of, is_malformed
from serving.keys import Door
from serving.keys import Scope as KeyScope

MAX_BODY_BYTES = 16 << 20
HEARD_OUT_BYTES = 4 * MAX_BODY_BYTES
"""So much of a body that is too large is read and thrown away: a client that is cut off while it sends may never read
why."""

OPEN = ("/healthz", "/readyz", "/schema")
"""What anybody may see: that the server runs, whether it takes requests (a load balancer holds no key), and what it can
be asked."""
READ = ("/v1/feed", "/v1/rank", "/v1/alive", "/v1/similar", "/metrics")
CATALOG = ("/v1/items", "/v1/users")
JSON = b"application/json"

Route = Callable[[bytes], Awaitable[bytes]]
"""From the JSON that was sent to the JSON that answers."""


class Hot:
    """An application that answers some requests by itself: those that have a body.

    Parameters
    ----------
    contract : ASGI application
        Answers all else.
    routes : mapping of (str, str) to callable
        By method and path.
    door : Door
        Every request passes it, those of the contract too.
    """

    def __init__(self, contract: ASGIApp, routes: Mapping[tuple[str, str], Route], door: Door) -> None:
        self._contract = contract
        self._routes = routes
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live one lifespan."""
        if scope["type"] != ScopeType.HTTP:
            await self._contract(scope, receive, send)
            return
        more = dict[str, str]()
        try:
            self.admit(scope)
            route = self._routes.get((scope["method"], scope["path"]))
            if route is None:
                await self._contract(scope, receive, send)
                return
            status, media_type, body = 200, JSON, await _made(route, await _body(receive))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # whatever it was, who asked is answered
            # Nobody cancels a request but the server, at the end of its drain.
            fault = error if isinstance(error, Exception) else StoppingError()
            found, more = problem(fault, ASKED.get().route), headers_of(fault)
            status, media_type, body = found.status, MEDIA_TYPE.encode(), msgspec.json.encode(found)
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        headers += [(name.encode(), value.encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def admit(self, scope: HTTPScope) -> None:
        """Raise unless a request may be made, by its head alone."""
        path = scope["path"]
        if path != "/" and (path.endswith("/") or "//" in path):
            # The framework would forgive it, and answer without what is looked at here.
            raise HTTPException(f"There is no route {path[:128]!r}: it has a slash too many.", status_code=404)
        # Of what is said twice, the first.
        headers = dict(reversed(list(scope["headers"])))
        if b"host" not in headers and scope.get("http_version") == "1.1":
            raise HTTPException("A request of HTTP/1.1 has no Host. Send the header.", status_code=400)
        if (wanted := scope_of(scope["method"], scope["path"])) is not None:
            self._door.check(headers.get(b"authorization", b""), wanted, headers.get(b"host", b""))
        if (scope["method"], path) in self._routes:
            _check_media_type(headers)


def scope_of(method: str, path: str) -> KeyScope | None:
    """What a key must be allowed for a request; None where nobody is asked for one."""
    if path in OPEN or path.startswith("/schema/"):
        return None
    if path in READ or (method == "GET" and path.startswith("/v1/items/")):
        return "read"
    if path == "/v1/events":
        return "events"
    return "catalog" if path.startswith(CATALOG) else "admin"


def _check_media_type(headers: Mapping[bytes, bytes]) -> None:
    """Refuse packed JSON, and any other type: a page of another site could send it from a browser without asking."""
    if (coded := headers.get(b"content-encoding", b"identity")) != b"identity":
        what = f"The body is encoded as {coded[:64].decode('latin-1')!r}."
        raise MediaTypeError(what, "Send the JSON itself, without Content-Encoding.")
    sent = headers.get(b"content-type", b"")
    if sent != JSON and sent.partition(b";")[0].strip().lower() != JSON:
        what = f"The body is of type {sent[:64].decode('latin-1')!r}."
        raise MediaTypeError(what, "Send JSON, and `Content-Type: application/json`.")


async def _made(route: Route, sent: bytes) -> bytes:
    """What a route makes of a body; of one that is no JSON it is told where half a character stands, if one does."""
    try:
        return await route(sent)
    except msgspec.DecodeError as error:
        raise (half_of(sent) if is_malformed(error) else None) or error from error


async def _body(receive: Receive) -> bytes:
    """The whole body of a request; one that is too large is refused, and no more of it is kept than is allowed."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise HTTPException("The client left.", status_code=400)
        size, more = size + len(message["body"]), message["more_body"] and size <= HEARD_OUT_BYTES
        if size <= MAX_BODY_BYTES:
            parts.append(message["body"])
    if size > MAX_BODY_BYTES:
        what = f"The body is larger than {MAX_BODY_BYTES} bytes."
        raise HTTPException(f"{what} Send it in several requests.", status_code=413)
    if not size:
        raise HTTPException(EMPTY, status_code=400)
    return b"".join(parts)
