"""Times as people write them, and what "now" is for a log of the past."""

import datetime as dt
import time

from features.errors import RequestError
from features.logs.log import DAY_MS
from features.standard import standard

UTC_OFFSET_MS = standard({}, {}).utc_offset_ms


def wall_ms() -> int:
    """Milliseconds since 1970 UTC, by the clock of this machine."""
    return time.time_ns() // 1_000_000


def local_day_ms(at_ms: int) -> int:
    """When the day of a moment began, in China."""
    return (at_ms + UTC_OFFSET_MS) // DAY_MS * DAY_MS - UTC_OFFSET_MS


def moment_ms(option: str, text: str) -> int:
    """Milliseconds of an ISO 8601 time with its offset, or of the beginning of a plain date, in China (+08:00).

    Raises
    ------
    RequestError
        Naming the option.
    """
    way_out = "Write 2022-04-29 (it begins at midnight, +08:00), 2022-04-29T12:00:00+08:00 or 2022-04-29T04:00:00Z."
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestError(f"{option}: {text!r} is not a time.", way_out) from error
    if at.tzinfo is None:
        if len(text) > len("2022-04-29"):
            raise RequestError(f"{option}: {text!r} does not say of which time zone it is.", way_out)
        at = at.replace(tzinfo=dt.timezone(dt.timedelta(milliseconds=UTC_OFFSET_MS)))
    if not 1971 <= at.year < 2100:
        raise RequestError(f"{option}: {text!r} is not a time of any log.", "Name one from 1971 to 2099.")
    return round(at.timestamp() * 1000)


def optional_ms(option: str, text: str | None) -> int | None:
    """``moment_ms`` of what may not have been given."""
    return None if text is None else moment_ms(option, text)


def iso(at_ms: int) -> str:
    """A moment as ISO 8601 to the second, in China."""
    zone = dt.timezone(dt.timedelta(milliseconds=UTC_OFFSET_MS))
    return dt.datetime.fromtimestamp(at_ms / 1000, zone).isoformat(timespec="seconds")


def now_of(last_received_ms: int) -> int:
    """The clock's now; for a log that ended more than a day ago, the moment after its last record."""
    now_ms = wall_ms()
    return last_received_ms + 1 if now_ms - last_received_ms > DAY_MS else now_ms
