"""What the outside world decides: the time and the name of a request. Nothing below ``serving`` reads either."""

import time
import uuid
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives milliseconds since 1970 UTC."""


def now_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def now_ns() -> int:
    """Nanoseconds since 1970 UTC."""
    return time.time_ns()


def elapsed_ms() -> float:
    """Milliseconds since some moment that does not change: to say how long something takes."""
    return time.perf_counter() * 1e3


def request_id() -> str:
    """A name no other request has."""
    return uuid.uuid4().hex
