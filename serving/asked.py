"""The request that is being answered: its name, its route and whom it is about, for logs, metrics and traces."""

from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import parse_qs


@dataclass(slots=True)
class Asked:
    """One request while it is answered.

    ``route`` is the contract's pattern, which holds no id; ``person`` whom it names, once that is known; ``parent`` the
    ``traceparent`` that it came with.
    """

    request_id: str
    route: str
    person: str = ""
    parent: str = ""


NOBODY = Asked("", "")
ASKED: ContextVar[Asked] = ContextVar("asked", default=NOBODY)


def about(person: str) -> None:
    """Say whom the request that is being answered is about."""
    ASKED.get().person = person


def person_of(path: str, query: bytes) -> str:
    """The person whom a path, decoded already, or its query names."""
    if path.startswith("/v1/users/"):
        return path.removeprefix("/v1/users/")
    return parse_qs(query.decode("latin-1")).get("user_id", [""])[0]
