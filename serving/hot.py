"""The hot routes, from bytes to bytes: the contract's own functions without the framework's way to them.

The framework declares them, so that they are in the contract, and answers every other route. It would spend more on
finding out what a handler wants than a page costs to encode; and it turns ``"5"`` into 5, which a contract should not.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from serving.errors import EMPTY, MEDIA_TYPE, MediaTypeError, headers_of, problem
from serving.keys import Door
from serving.keys import Scope as KeyScope

MAX_BODY_BYTES = 16 << 20

OPEN = ("/healthz", "/schema")
"""What anybody may see: that the server runs, and what it can be asked."""
READ = ("/v1/feed", "/v1/rank", "/v1/alive", "/v1/similar")
CATALOG = ("/v1/items", "/v1/users")
JSON = b"application/json"

Route = Callable[[bytes], Awaitable[bytes]]
"""From the JSON that was sent to the JSON that answers."""


class Hot:
    """An application that answers POST requests of some paths by itself.

    Parameters
    ----------
    contract : ASGI application
        Answers all else.
    routes : mapping of str to callable
        By path.
    door : Door
        Every request passes it, those of the contract too.
    """

    def __init__(self, contract: ASGIApp, routes: Mapping[str, Route], door: Door) -> None:
        self._contract = contract
        self._routes = routes
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live one lifespan."""
        if scope["type"] != ScopeType.HTTP:
            await self._contract(scope, receive, send)
            return
        status, media_type, more = 200, b"application/json", dict[str, str]()
        try:
            self._admit(scope)
            route = self._routes.get(scope["path"]) if scope["method"] == "POST" else None
            if route or (scope["method"] == "PUT" and scope["path"] in CATALOG):
                _check_media_type(scope)
            if route is None:
                await self._contract(scope, receive, send)
                return
            body = await route(await _body(receive))
        except Exception as error:  # noqa: BLE001  # whatever it was, the person who asked is answered
            found = problem(error, f"{scope['method']} {scope['path']}")
            status, media_type, body = found.status, MEDIA_TYPE.encode(), msgspec.json.encode(found)
            more = headers_of(error)
        headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        headers += [(name.encode(), value.encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _admit(self, scope: HTTPScope) -> None:
        if (wanted := scope_of(scope["method"], scope["path"])) is not None:
            sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            self._door.check(sent, wanted)


def scope_of(method: str, path: str) -> KeyScope | None:
    """What a key must be allowed for a request; None where nobody is asked for one."""
    if path in OPEN or path.startswith("/schema/"):
        return None
    if path in READ or (method == "GET" and path.startswith("/v1/items/")):
        return "read"
    if path == "/v1/events":
        return "events"
    return "catalog" if path.startswith(CATALOG) else "admin"


def _check_media_type(scope: HTTPScope) -> None:
    """Refuse what a page of another site could send from a person's browser without asking: any type but JSON."""
    sent = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if sent != JSON and sent.partition(b";")[0].strip().lower() != JSON:
        what = f"The body is of type {sent[:64].decode('latin-1')!r}."
        raise MediaTypeError(what, "Send JSON, and `Content-Type: application/json`.")


async def _body(receive: Receive) -> bytes:
    """The whole body of a request; one that is too large is refused before it is all here."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise HTTPException("The client left.", status_code=400)
        parts.append(message["body"])
        size, more = size + len(message["body"]), message["more_body"]
        if size > MAX_BODY_BYTES:
            what = f"The body is larger than {MAX_BODY_BYTES} bytes."
            raise HTTPException(f"{what} Send it in several requests.", status_code=413)
    if not size:
        raise HTTPException(EMPTY, status_code=400)
    return b"".join(parts)
