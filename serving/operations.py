"""What the contract says of each operation beside its types: whom it is for, and which errors it may answer."""

from collections.abc import Mapping
from typing import NamedTuple

from serving.api import Code
from serving.keys import Scope

TAGS = {
    "pages": "Ranking: pages for a person, items in order, and why they are so.",
    "records": "What people and rooms did, what people ask for, and the catalog.",
    "people": "A person's rights.",
    "health": "How the server stands.",
}
_TURNED_AWAY = (Code.UNAUTHORIZED, Code.FORBIDDEN, Code.RATE_LIMITED)
_BODY = (Code.INVALID_REQUEST, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)


class Operation(NamedTuple):
    """Of one handler: its tag, the scope a key must have (None: nobody is asked for one), and its own errors."""

    tag: str
    scope: Scope | None
    may_answer: tuple[Code, ...]

    @property
    def codes(self) -> tuple[Code, ...]:
        """All errors it may answer, in the order of ``Code``."""
        every = {*self.may_answer, Code.INTERNAL, Code.STOPPING, *(_TURNED_AWAY if self.scope else ())}
        return tuple(code for code in Code if code in every)


OPERATIONS: Mapping[str, Operation] = {
    "feed": Operation("pages", "read", (*_BODY, Code.UNKNOWN_SURFACE, Code.OVERLOADED)),
    "rank": Operation("pages", "read", (*_BODY, Code.UNKNOWN_SURFACE, Code.OVERLOADED)),
    "alive": Operation("pages", "read", (*_BODY, Code.UNKNOWN_SURFACE, Code.OVERLOADED)),
    "similar": Operation("pages", "read", (Code.INVALID_REQUEST, Code.NOT_AVAILABLE, Code.OVERLOADED)),
    "why": Operation(
        "pages",
        "admin",
        (
            Code.INVALID_REQUEST,
            Code.NOT_AVAILABLE,
            Code.MOMENT_FAR,
            Code.BUSY,
            Code.LOG_UNAVAILABLE,
            Code.BUNDLE_UNAVAILABLE,
            Code.POLICY_UNAVAILABLE,
        ),
    ),
    "send_events": Operation("records", "events", (*_BODY, Code.OVERLOADED, Code.LOG_UNAVAILABLE)),
    "put_items": Operation("records", "catalog", (*_BODY, Code.OVERLOADED, Code.LOG_UNAVAILABLE)),
    "take_down": Operation("records", "catalog", (Code.INVALID_REQUEST, Code.NOT_AVAILABLE, Code.LOG_UNAVAILABLE)),
    "put_users": Operation("records", "catalog", (*_BODY, Code.OVERLOADED, Code.LOG_UNAVAILABLE)),
    "erase": Operation("people", "catalog", (Code.INVALID_REQUEST, Code.NOT_AVAILABLE, Code.LOG_UNAVAILABLE)),
    "health": Operation("health", None, ()),
    "ready": Operation("health", None, (Code.LOG_UNAVAILABLE,)),
    "status": Operation("health", "admin", ()),
    "metrics": Operation("health", "read", ()),
}
"""By the name of the handler."""
