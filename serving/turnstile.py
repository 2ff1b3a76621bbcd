"""Requests that there is no time for, turned away before anything is begun for them: no task, exception or framework.

Of three requests at three times a server's capacity two are turned away, each between two pages, when nothing of what
answers it is in the processor's caches: what that costs is taken from pages. So it is little, and all of it is here.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

import msgspec
from litestar.exceptions import HTTPException
from litestar.types import HTTPScope

from features.errors import HuozhaoError
from serving.api import MEDIA_TYPE
from serving.asked import Asked
from serving.clock import elapsed_ms
from serving.errors import headers_of, problem
from serving.lane import Lane, overloaded
from serving.telemetry import ALWAYS, Telemetry

FAULTS = (HuozhaoError, HTTPException, msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What may be wrong with a request beside that it comes too late."""


class Timed(Protocol):
    """A request as it was read, with the milliseconds until its answer is due."""

    @property
    def deadline_ms(self) -> float:
        """Milliseconds."""
        ...


Read = Callable[[bytes], Timed]


class Turnstile:
    """Says which whole requests the lane has no time for, and what they are answered.

    Whatever else is wrong with one, a missing key first of all, is told in the usual way, as if it were not here: who
    may not ask learns nothing of how busy the server is.

    Parameters
    ----------
    lane : Lane
    reads : mapping of str to callable
        By path, what reads the body of a POST to a route whose pages wait in the lane.
    admit : callable
        Raises unless a request may be made, by its head alone.
    telemetry : Telemetry
    request_id : callable
        Names requests.
    """

    def __init__(
        self,
        lane: Lane,
        reads: Mapping[str, Read],
        admit: Callable[[HTTPScope], None],
        telemetry: Telemetry,
        request_id: Callable[[], str],
    ) -> None:
        self._lane = lane
        self._reads = reads
        self._admit = admit
        self._telemetry = telemetry
        self._request_id = request_id

    def refusal(self, scope: HTTPScope, body: bytes) -> tuple[bytes, bytes] | None:
        """The head of an answer 429, its last line missing, and its body; None for what goes the usual way."""
        read = self._reads.get(scope["path"]) if scope["method"] == "POST" and self._lane.waiting else None
        if read is None:
            return None
        began_ms = elapsed_ms()
        try:
            wait_ms = self._lane.too_long(read(body).deadline_ms)
            if not wait_ms:
                self._lane.expect()
                return None
            self._admit(scope)
        except FAULTS:
            return None
        head, said = _answer(round(wait_ms))
        asked = Asked(self._request_id(), f"POST {scope['path']}")
        self._telemetry.turned_away(asked, elapsed_ms() - began_ms)
        return b"%bx-request-id: %b\r\n" % (head, asked.request_id.encode()), said


@lru_cache(maxsize=1024)
def _answer(wait_ms: int) -> tuple[bytes, bytes]:
    """What the usual way says to the same error: the head up to what differs from request to request, and the body."""
    error = overloaded(wait_ms)
    found = problem(error, "")
    body, status = msgspec.json.encode(found), HTTPStatus(found.status)
    named = [("content-type", MEDIA_TYPE), ("content-length", str(len(body))), *headers_of(error).items()]
    lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode())]
    lines += [b"%b: %b" % (name.encode(), value.encode()) for name, value in named]
    lines += [b"%b: %b" % line for line in ALWAYS]
    return b"".join(b"%b\r\n" % line for line in lines), body
