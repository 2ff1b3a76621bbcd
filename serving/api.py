"""What goes over the wire beside ``ranking.api``: answers of the server's own, and errors in one shape (RFC 9457).

Plain structs, that a client can have without the server.
"""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from ranking.api import Ack, FeedItem

MEDIA_TYPE = "application/problem+json"


class Acks(msgspec.Struct, frozen=True):
    """What became of each record, in the order of the batch."""

    results: tuple[Ack, ...]


class Similar(msgspec.Struct, frozen=True):
    """Items near one, nearest first; ``value`` is the inner product of their vectors."""

    item_id: str
    items: tuple[FeedItem, ...]


class Health(msgspec.Struct, frozen=True):
    """That the server runs, or takes requests: nothing that a stranger may not know."""

    status: str = "ok"


class Code(StrEnum):
    """What was wrong, for programs; a code never changes its meaning, and ``MEANINGS`` has all of them."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NOT_AVAILABLE = "not_available"
    UNKNOWN_SURFACE = "unknown_surface"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RECORD_INVALID = "record_invalid"
    MOMENT_FAR = "moment_far"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    BUSY = "busy"
    INTERNAL = "internal"
    STOPPING = "stopping"
    LOG_UNAVAILABLE = "log_unavailable"
    BUNDLE_UNAVAILABLE = "bundle_unavailable"
    POLICY_UNAVAILABLE = "policy_unavailable"


class Meaning(NamedTuple):
    """The status that a code comes with, what it says, and what to do about it."""

    status: int
    means: str
    way_out: str


MEANINGS: dict[Code, Meaning] = {
    Code.INVALID_REQUEST: Meaning(400, "the request is not of this contract", "mend what `detail` names"),
    Code.UNAUTHORIZED: Meaning(401, "the server asks for a key and knows none like it", "send a key that is valid"),
    Code.FORBIDDEN: Meaning(403, "the key has not the scope", "ask with another key"),
    Code.NOT_FOUND: Meaning(404, "there is no such route", "see `/schema`"),
    Code.NOT_AVAILABLE: Meaning(404, "the item, person or page is not known", "put it there first"),
    Code.UNKNOWN_SURFACE: Meaning(404, "the policy declares no such surface", "name one that `detail` lists"),
    Code.METHOD_NOT_ALLOWED: Meaning(405, "the route has no such method", "use one that `Allow` names"),
    Code.TOO_LARGE: Meaning(413, "the body is larger than a server reads", "send several smaller requests"),
    Code.UNSUPPORTED_MEDIA_TYPE: Meaning(
        415,
        "the body does not say that it is JSON, or is packed",
        "send `Content-Type: application/json` and no `Content-Encoding`",
    ),
    Code.RECORD_INVALID: Meaning(422, "a record contradicts itself", "mend what `detail` names"),
    Code.MOMENT_FAR: Meaning(422, "the moment lies far back", "ask with `far=true`"),
    Code.RATE_LIMITED: Meaning(429, "the key asks more often than it may", "come again after `Retry-After`"),
    Code.OVERLOADED: Meaning(
        429, "too much waits before it", "come again after `Retry-After`, or allow more `deadline_ms`"
    ),
    Code.BUSY: Meaning(429, "one such request is answered at a time", "come again after `Retry-After`"),
    Code.INTERNAL: Meaning(500, "the server failed", "its log says how"),
    Code.STOPPING: Meaning(503, "the server was told to stop and had no time left for this", "come again later"),
    Code.LOG_UNAVAILABLE: Meaning(503, "records cannot be kept now: none of the request's was", "come again later"),
    Code.BUNDLE_UNAVAILABLE: Meaning(503, "a bundle cannot be read, or there is none of that name", "name another"),
    Code.POLICY_UNAVAILABLE: Meaning(503, "a policy cannot be read", "restore its version"),
}


class Problem(msgspec.Struct, frozen=True):
    """What was wrong; ``code`` is stable and meant for programs, ``detail`` for people."""

    status: int
    title: str
    detail: str
    code: Code
    type: str = "about:blank"
